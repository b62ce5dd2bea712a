//! `/api/modules`: registration, manifests, health and quotas of modules.

use axum::{Json, extract::State};
use http::StatusCode;
use iotpi_core::{Manifest, ModuleId, model::manifest::ModuleInfo};

use super::{
    api_router::{ApiRouter, routes},
    extract::{JsonBody, PageParams, Path, Query},
    page::Page,
    problem::{NotFound, PermissionDenied, RateLimited, StorageFull, TooLarge, Unprocessable},
};
use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    quotas::ModuleUsage,
};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new().routes(routes!(list)).routes(routes!(read, register, remove)).routes(routes!(usage))
}

/// Register a module
///
/// Registers the module with its manifest, or replaces its manifest. The operation is idempotent.
#[utoipa::path(
    put, path = "/api/modules/{id}", tag = "modules", operation_id = "register",
    params(("id" = ModuleId, Path, description = "The id of the module")),
    request_body = Manifest,
    responses((status = 200, description = "The module", body = ModuleInfo), PermissionDenied, TooLarge, Unprocessable, RateLimited, StorageFull)
)]
async fn register(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    JsonBody(manifest): JsonBody<Manifest>,
) -> Result<Json<ModuleInfo>> {
    hub.register(&caller, &id, &manifest).await.map(Json)
}

/// Get a module
///
/// Returns the manifest, state and health of the module.
#[utoipa::path(
    get, path = "/api/modules/{id}", tag = "modules", operation_id = "read_module",
    params(("id" = ModuleId, Path, description = "The id of the module")),
    responses((status = 200, description = "The module", body = ModuleInfo), PermissionDenied, NotFound)
)]
async fn read(State(hub): State<Hub>, caller: Caller, Path(id): Path<ModuleId>) -> Result<Json<ModuleInfo>> {
    caller.may_read_of(Some(&id))?;
    let record = hub.store().module(&id).await?;
    let record = record.ok_or_else(|| HubError::no_module(&id))?;
    Ok(Json(hub.describe(record)))
}

/// Get the quota usage of a module
///
/// Returns the usage and limit of each quota. A module token can read the usage of its own module.
#[utoipa::path(
    get, path = "/api/modules/{id}/usage", tag = "modules", operation_id = "read_module_usage",
    params(("id" = ModuleId, Path, description = "The id of the module")),
    responses((status = 200, description = "The usage and limit of each quota", body = ModuleUsage), PermissionDenied, NotFound)
)]
async fn usage(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
) -> Result<Json<ModuleUsage>> {
    caller.may_read_of(Some(&id))?;
    hub.module_usage(&id).await.map(Json)
}

/// Remove a module
///
/// Removes the module with its series, commands and tokens.
#[utoipa::path(
    delete, path = "/api/modules/{id}", tag = "modules", operation_id = "remove_module",
    params(("id" = ModuleId, Path, description = "The id of the module")),
    responses((status = 204, description = "Removed"), PermissionDenied, NotFound, StorageFull)
)]
async fn remove(State(hub): State<Hub>, caller: Caller, Path(id): Path<ModuleId>) -> Result<StatusCode> {
    hub.remove_module(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// List modules
///
/// Lists the modules by id.
#[utoipa::path(
    get, path = "/api/modules", tag = "modules", operation_id = "list_modules",
    params(PageParams),
    responses((status = 200, description = "A page of modules", body = Page<ModuleInfo>), PermissionDenied)
)]
async fn list(
    State(hub): State<Hub>,
    caller: Caller,
    Query(page): Query<PageParams>,
) -> Result<Json<Page<ModuleInfo>>> {
    caller.may_read()?;
    let modules = hub.store().modules(&page.request()?).await?;
    Ok(Json(Page::map(modules, |record| hub.describe(record))))
}
