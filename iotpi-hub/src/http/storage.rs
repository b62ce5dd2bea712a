//! `/api/storage`: the device, its wear and room, backups, damage, age.

use axum::{Json, extract::State};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    api_router::{ApiRouter, routes},
    extract::JsonBody,
    problem::{Conflict, PermissionDenied, StorageFull},
};
use crate::{
    Hub,
    auth::Caller,
    error::Result,
    storage::{LastBackup, RetentionReport, StorageReport},
};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new()
        .routes(routes!(storage))
        .routes(routes!(acknowledge))
        .routes(routes!(back_up))
        .routes(routes!(expire))
}

/// How the storage is
///
/// Room, wear and its forecast, the newest backup, damage, and what somebody should look after.
#[utoipa::path(
    get, path = "/api/storage", tag = "operations", operation_id = "storage",
    responses((status = 200, description = "How it is", body = StorageReport), PermissionDenied)
)]
async fn storage(State(hub): State<Hub>, caller: Caller) -> Result<Json<StorageReport>> {
    hub.storage(&caller).await.map(Json)
}

/// Acknowledge what was put aside
///
/// The damaged databases are told of no more. Their files stay where they are.
#[utoipa::path(
    post, path = "/api/storage/acknowledge", tag = "operations", operation_id = "acknowledge_quarantine",
    responses((status = 204, description = "Acknowledged"), PermissionDenied)
)]
async fn acknowledge(State(hub): State<Hub>, caller: Caller) -> Result<StatusCode> {
    hub.acknowledge_quarantine(&caller)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Make a backup
///
/// Answers when it is on the disk and verified; a caller who hangs up cancels it.
#[utoipa::path(
    post, path = "/api/storage/backup", tag = "operations", operation_id = "back_up",
    responses((status = 200, description = "Made and verified", body = LastBackup), PermissionDenied, Conflict, StorageFull)
)]
async fn back_up(State(hub): State<Hub>, caller: Caller) -> Result<Json<LastBackup>> {
    hub.back_up(&caller).await.map(Json)
}

/// Whether to remove what is old.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Expire {
    /// Removes it, also more than a tenth at once; else it is only looked what would go.
    #[serde(default)]
    confirm: bool,
}

/// Remove what is old
///
/// What the config's `[retention]` says. The hub does it by itself every hour, and refuses when more than a tenth would go or
/// the clock is doubtful: then an admin looks, and confirms.
#[utoipa::path(
    post, path = "/api/storage/retention", tag = "operations", operation_id = "expire",
    request_body = Expire,
    responses((status = 200, description = "What went, or would", body = RetentionReport), PermissionDenied)
)]
async fn expire(
    State(hub): State<Hub>,
    caller: Caller,
    JsonBody(wanted): JsonBody<Expire>,
) -> Result<Json<RetentionReport>> {
    hub.expire(&caller, wanted.confirm).await.map(Json)
}
