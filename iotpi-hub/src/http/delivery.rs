//! Delivery of numbered readings, which arrived and which are lost: `/api/gaps`, `/api/modules/{id}/gaps`,
//! `/api/modules/{id}/delivery`.

use axum::{Json, extract::State};
use http::StatusCode;
use iotpi_core::{
    ModuleId, SensorType,
    model::{
        gap::{DeliveryAccount, Gap, NewGap},
        reading::ChannelFilter,
    },
};
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

/// Report a gap
///
/// A module reports numbered readings that it dropped and will never send. A gap with the same epoch and
/// first sequence number replaces the earlier report.
#[utoipa::path(
    post, path = "/api/modules/{id}/gaps", tag = "sensors", operation_id = "record_gap",
    params(("id" = ModuleId, Path, description = "The id of the module")),
    request_body = NewGap,
    responses((status = 204, description = "Recorded"), PermissionDenied, TooLarge, Unprocessable, RateLimited, StorageFull)
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
    /// Only gaps of this module.
    module_id: Option<ModuleId>,
    /// Only gaps in series of this type, and gaps whose series is unknown.
    #[serde(rename = "type")]
    kind: Option<SensorType>,
    /// Only gaps of this channel, and gaps whose series is unknown; empty: of the default channel.
    #[param(value_type = Option<String>, pattern = "^([a-z0-9][a-z0-9_-]{0,63})?$")]
    channel: Option<ChannelFilter>,
    /// Only gaps that end at this time or later: Unix seconds or RFC 3339, years 2000 to 2099.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    since: Option<String>,
    /// Only gaps that begin before this time: Unix seconds or RFC 3339, years 2000 to 2099.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    until: Option<String>,
    /// The most items on the page; the default is 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the previous page.
    #[param(max_length = 1000)]
    cursor: Option<String>,
}

/// List gaps
///
/// Lists the readings that will never arrive, ordered by the time at which each gap begins. There is one
/// entry for each series that lost readings, and one for lost readings whose series is unknown.
#[utoipa::path(
    get, path = "/api/gaps", tag = "sensors", operation_id = "list_gaps",
    params(GapParams),
    responses((status = 200, description = "A page of gaps", body = Page<Gap>), PermissionDenied, Unprocessable)
)]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    Query(query): Query<GapParams>,
) -> Result<Json<Page<Gap>>> {
    caller.may_read_of(query.module_id.as_ref())?;
    let gaps = GapQuery {
        module_id: query.module_id,
        sensor: query.kind,
        channel: query.channel,
        since: parse_time("since", query.since.as_deref())?,
        until: parse_time("until", query.until.as_deref())?,
    };
    let page = page(query.limit, query.cursor)?;
    Ok(Json(hub.store().gaps(&gaps, &page).await?.into()))
}

/// Get the delivery account of a module
///
/// Returns how many of its numbered readings arrived, were lost or are missing, in total and for each series.
#[utoipa::path(
    get, path = "/api/modules/{id}/delivery", tag = "sensors", operation_id = "read_delivery",
    params(("id" = ModuleId, Path, description = "The id of the module")),
    responses((status = 200, description = "The delivery account", body = DeliveryAccount), PermissionDenied, NotFound)
)]
async fn account(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
) -> Result<Json<DeliveryAccount>> {
    caller.may_read_of(Some(&id))?;
    if hub.store().module(&id).await?.is_none() {
        return Err(HubError::no_module(&id));
    }
    Ok(Json(hub.store().delivery(&id).await?))
}
