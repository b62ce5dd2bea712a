//! `/api/storage`: free space, wear, backups, damage and retention.

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
    maintenance::{LastBackup, RetentionReport, StorageReport},
};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new()
        .routes(routes!(storage))
        .routes(routes!(acknowledge))
        .routes(routes!(back_up))
        .routes(routes!(expire))
}

/// Get the storage report
///
/// Reports free space, wear with a forecast, the newest backup, damage, and warnings that need attention.
#[utoipa::path(
    get, path = "/api/storage", tag = "operations", operation_id = "storage",
    responses((status = 200, description = "The storage report", body = StorageReport), PermissionDenied)
)]
async fn storage(State(hub): State<Hub>, caller: Caller) -> Result<Json<StorageReport>> {
    hub.storage(&caller).await.map(Json)
}

/// Acknowledge quarantined databases
///
/// Ends the warning about damaged databases. Their files stay where they are.
#[utoipa::path(
    post, path = "/api/storage/acknowledge", tag = "operations", operation_id = "acknowledge_quarantine",
    responses((status = 204, description = "Acknowledged"), PermissionDenied)
)]
async fn acknowledge(State(hub): State<Hub>, caller: Caller) -> Result<StatusCode> {
    hub.acknowledge_quarantine(&caller)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Create a backup
///
/// Responds when the backup is on disk and verified. Closing the connection cancels the backup.
#[utoipa::path(
    post, path = "/api/storage/backup", tag = "operations", operation_id = "back_up",
    responses((status = 200, description = "The verified backup", body = LastBackup), PermissionDenied, Conflict, StorageFull)
)]
async fn back_up(State(hub): State<Hub>, caller: Caller) -> Result<Json<LastBackup>> {
    hub.back_up(&caller).await.map(Json)
}

/// How to apply the retention rules.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Expire {
    /// Deletes expired data, even more than a tenth at once. Without it, the hub only reports what it would
    /// delete.
    #[serde(default)]
    confirm: bool,
}

/// Apply retention
///
/// Deletes data that has expired by the `[retention]` section of the configuration. The hub does this every
/// hour on its own. It refuses to delete more than a tenth at once, or while its clock may be wrong. An admin
/// can then review the report and confirm.
#[utoipa::path(
    post, path = "/api/storage/retention", tag = "operations", operation_id = "expire",
    request_body = Expire,
    responses((status = 200, description = "The data that was or would be deleted", body = RetentionReport), PermissionDenied)
)]
async fn expire(
    State(hub): State<Hub>,
    caller: Caller,
    JsonBody(request): JsonBody<Expire>,
) -> Result<Json<RetentionReport>> {
    hub.expire(&caller, request.confirm).await.map(Json)
}
