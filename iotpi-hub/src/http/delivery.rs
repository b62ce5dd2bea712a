//! What arrived of a module's numbered readings, and what never will: `/api/gaps`, `/api/modules/{id}/gaps`,
//! `/api/modules/{id}/delivery`.

use axum::{Json, extract::State};
use http::StatusCode;
use iotpi_core::{DeliveryAccount, Gap, ModuleId, NewGap, SensorType};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{
    api_router::{ApiRouter, routes},
    extract::{IngestAuth, JsonBody, Path, Query, page, parse_time},
    page::Page,
    problem::{NotFound, PermissionDenied, RateLimited, StorageFull, TooLarge, Unprocessable},
};
use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    store::GapQuery,
};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new().routes(routes!(list)).routes(routes!(record)).routes(routes!(account))
}

/// Say that readings will never come
///
/// For the module itself, when it had to drop numbered readings. The same gap (by epoch and first number) said again
/// replaces what was said before.
#[utoipa::path(
    post, path = "/api/modules/{id}/gaps", tag = "sensors", operation_id = "record_gap",
    params(("id" = ModuleId, Path, description = "The module")),
    request_body = NewGap,
    responses((status = 204, description = "Kept"), PermissionDenied, TooLarge, Unprocessable, RateLimited, StorageFull)
)]
async fn record(
    State(hub): State<Hub>,
    IngestAuth(caller): IngestAuth,
    Path(id): Path<ModuleId>,
    JsonBody(gap): JsonBody<NewGap>,
) -> Result<StatusCode> {
    hub.record_gap(&caller, &id, &gap).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct GapParams {
    /// Only this module's.
    module_id: Option<ModuleId>,
    /// Only those of this series' type, or of a series nobody knows.
    #[serde(rename = "type")]
    kind: Option<SensorType>,
    /// Only those that end at this moment or later: Unix seconds or RFC 3339, years 2000 to 2099.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    since: Option<String>,
    /// Only those that begin before this moment: Unix seconds or RFC 3339, years 2000 to 2099.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    until: Option<String>,
    /// How many a page holds; 100 when left out.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The last page's `next`.
    #[param(max_length = 1000)]
    cursor: Option<String>,
}

/// Readings that will never arrive
///
/// By the moment they begin: one for each series that lost some, and one for those of which nobody knows the series.
#[utoipa::path(
    get, path = "/api/gaps", tag = "sensors", operation_id = "list_gaps",
    params(GapParams),
    responses((status = 200, description = "Gaps", body = Page<Gap>), PermissionDenied, Unprocessable)
)]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    Query(query): Query<GapParams>,
) -> Result<Json<Page<Gap>>> {
    caller.may_read_of(query.module_id.as_ref())?;
    let wanted = GapQuery {
        module_id: query.module_id,
        sensor: query.kind,
        since: parse_time("since", query.since.as_deref())?,
        until: parse_time("until", query.until.as_deref())?,
    };
    let page = page(query.limit, query.cursor)?;
    Ok(Json(hub.store().gaps(&wanted, &page).await?.into()))
}

/// A module's account
///
/// How many of its numbered readings arrived, were lost, or are missing: in all, and series by series.
#[utoipa::path(
    get, path = "/api/modules/{id}/delivery", tag = "sensors", operation_id = "read_delivery",
    params(("id" = ModuleId, Path, description = "The module")),
    responses((status = 200, description = "The account", body = DeliveryAccount), PermissionDenied, NotFound)
)]
async fn account(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
) -> Result<Json<DeliveryAccount>> {
    caller.may_read_of(Some(&id))?;
    if hub.store().module(&id).await?.is_none() {
        return Err(HubError::not_found(format!("There is no module `{id}`.")));
    }
    Ok(Json(hub.store().delivery(&id).await?))
}
