//! `/health`, `/metrics` and the API's own description.

use std::sync::OnceLock;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{StatusCode, header};
use iotpi_core::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    api_router::{ApiRouter, routes},
    extract::IngestAuth,
    openapi::openapi,
    problem::PermissionDenied,
};
use crate::{Hub, auth::Caller, error::Result, ops::health::problem as store_problem};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new()
        .routes(routes!(health))
        .routes(routes!(metrics))
        .routes(routes!(time))
        .routes(routes!(describe))
}

/// How the hub is.
#[derive(Debug, Serialize, ToSchema)]
struct HealthReport {
    status: HubHealth,
    /// What is wrong, in one sentence; left out while nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// The hub's version.
    version: &'static str,
    /// Seconds since it started.
    uptime_secs: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum HubHealth {
    /// It answers and its store works.
    Ok,
    /// It is going.
    Stopping,
    /// Its store fails.
    Failing,
}

/// Health of the hub
///
/// The store is checked at most once a second.
#[utoipa::path(
    get, path = "/health", tag = "operations", operation_id = "health", security(()),
    responses(
        (status = 200, description = "The hub answers and its store works", body = HealthReport),
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
    (code, Json(HealthReport { status, problem, version: env!("CARGO_PKG_VERSION"), uptime_secs }))
}

/// The hub's clock at one moment.
#[derive(Debug, Serialize, ToSchema)]
struct HubTime {
    /// Unix seconds.
    hub_time: Timestamp,
}

/// The hub's clock
///
/// For whoever wants to know how far theirs is off: half of the round trip before and after, the shortest of some.
#[utoipa::path(
    get, path = "/api/time", tag = "operations", operation_id = "time",
    responses((status = 200, description = "The time", body = HubTime), PermissionDenied)
)]
async fn time(State(hub): State<Hub>, IngestAuth(_): IngestAuth) -> Json<HubTime> {
    Json(HubTime { hub_time: hub.now().wall })
}

/// What the hub counts
///
/// Prometheus text.
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "metrics",
    responses((status = 200, description = "Counters", body = String, content_type = "text/plain"), PermissionDenied)
)]
async fn metrics(State(hub): State<Hub>, caller: Caller) -> Result<Response> {
    caller.may_read()?;
    let mut text = hub.inner.metrics.text(hub.inner.started_at);
    text.push_str(&crate::frames::metrics(&hub.watched_cameras()));
    // What the hub counts itself is told also when the store is gone.
    if let Ok(report) = hub.storage_report().await {
        text.push_str(&crate::storage::metrics(&report));
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response())
}

/// This document
#[utoipa::path(
    get, path = "/api/openapi.json", tag = "operations", operation_id = "openapi", security(()),
    responses((status = 200, description = "OpenAPI 3.1", body = Object, content_type = "application/json"))
)]
async fn describe() -> impl IntoResponse {
    // Made when first asked for: a hub starts faster and smaller without it.
    static DOCUMENT: OnceLock<Bytes> = OnceLock::new();
    let document = DOCUMENT.get_or_init(|| openapi().into()).clone();
    ([(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-cache")], document)
}
