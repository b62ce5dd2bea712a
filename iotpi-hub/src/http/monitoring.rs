//! `/health`, `/metrics`, `/api/time` and the OpenAPI document.

use std::sync::OnceLock;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{StatusCode, header};
use iotpi_core::{Timestamp, model::protocol::ProtocolVersion};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    api_router::{ApiRouter, routes},
    extract::IngestAuth,
    openapi::openapi,
    problem::PermissionDenied,
};
use crate::{
    Hub, auth::Caller, error::Result, frames, maintenance, metrics, ops::health::problem as store_problem,
};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(scrape))
        .routes(routes!(time))
        .routes(routes!(describe))
}

/// The health of the hub.
#[derive(Debug, Serialize, ToSchema)]
struct HealthReport {
    /// The overall status.
    status: HubHealth,
    /// The problem, in one sentence; absent while there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// The version of the hub.
    version: &'static str,
    /// The version of the protocol.
    protocol: ProtocolVersion,
    /// Seconds since the hub started.
    uptime_secs: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum HubHealth {
    /// The hub responds and its store works.
    Ok,
    /// The hub is shutting down.
    Stopping,
    /// The store of the hub fails.
    Failing,
}

/// Get the health of the hub
///
/// The hub checks its store at most once a second.
#[utoipa::path(
    get, path = "/health", tag = "operations", operation_id = "health", security(()),
    responses(
        (status = 200, description = "The hub responds and its store works", body = HealthReport),
        (status = 503, description = "The hub is stopping or its store fails", body = HealthReport)
    )
)]
async fn health(State(hub): State<Hub>) -> (StatusCode, Json<HealthReport>) {
    let (status, problem) = if hub.stopping().is_cancelled() {
        (HubHealth::Stopping, None)
    } else if let Err(error) = hub.check_store().await {
        (HubHealth::Failing, Some(store_problem(&error)))
    } else {
        (HubHealth::Ok, None)
    };
    let code = if status == HubHealth::Ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let uptime_secs = hub.inner.clock.uptime().as_secs_f64();
    let (version, protocol) = (env!("CARGO_PKG_VERSION"), ProtocolVersion::CURRENT);
    (code, Json(HealthReport { status, problem, version, protocol, uptime_secs }))
}

/// The time by the clock of the hub.
#[derive(Debug, Serialize, ToSchema)]
struct HubTime {
    /// The current time, in Unix seconds.
    hub_time: Timestamp,
}

/// Get the time of the hub
///
/// For clients that estimate their clock offset: repeat the request, take the shortest round trip, and assume
/// that the hub read its clock in the middle of it.
#[utoipa::path(
    get, path = "/api/time", tag = "operations", operation_id = "time",
    responses((status = 200, description = "The current time", body = HubTime), PermissionDenied)
)]
async fn time(State(hub): State<Hub>, IngestAuth(_): IngestAuth) -> Json<HubTime> {
    Json(HubTime { hub_time: hub.now().wall })
}

/// Get metrics
///
/// Returns the metrics of the hub in the Prometheus text format.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "metrics",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"), PermissionDenied)
)]
async fn scrape(State(hub): State<Hub>, caller: Caller) -> Result<Response> {
    caller.may_read()?;
    let mut families = hub.inner.metrics.families(hub.inner.started_at);
    families.extend(frames::metrics(&hub.watched_cameras()));
    // The other metrics are reported even if the store fails.
    if let Ok(report) = hub.storage_report().await {
        families.extend(maintenance::metrics(&report));
    }
    let text = metrics::text(families);
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// Get the OpenAPI document
///
/// Returns the OpenAPI description of this API.
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "operations", operation_id = "openapi", security(()),
    responses((status = 200, description = "The OpenAPI 3.1 document", body = Object, content_type = "application/json"))
)]
async fn describe() -> impl IntoResponse {
    // Generated on the first request: the hub starts faster and uses less memory without it.
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| openapi().into()).clone();
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], document)
}
