//! The HTTP transport: translates requests into operations of the hub.
//!
//! `ApiRouter` both routes and documents the operations, so every route is documented. Deliberately absent:
//! domain rules, which belong to `ops/`.

mod api_router;
mod auth;
pub(crate) mod camera;
mod commands;
mod compression;
#[cfg(feature = "dashboard")]
mod content_coding;
mod cookie;
#[cfg(feature = "dashboard")]
mod dashboard;
mod decompression;
mod delivery;
mod export;
pub(crate) mod extract;
mod json_syntax;
mod live;
pub(crate) mod middleware;
mod modules;
mod monitoring;
mod openapi;
mod page;
mod path_suggestion;
pub(crate) mod problem;
pub(crate) mod proxy;
mod recordings;
mod sensors;
mod serde_messages;
mod service;
mod storage;
mod until;

#[cfg(feature = "docs")]
use axum::middleware::map_response;
use axum::{
    Router,
    extract::Request,
    response::{IntoResponse, Response},
};

use api_router::ApiRouter;
pub(crate) use camera::mjpeg;
pub(crate) use middleware::answer;
pub use openapi::openapi;

use crate::{Hub, error::HubError};

/// The API. A new resource is one line here.
fn api() -> ApiRouter {
    // Large text responses without secrets.
    let compressed = ApiRouter::new()
        .merge(sensors::routes())
        .merge(modules::routes())
        .merge(delivery::routes())
        .merge(commands::routes())
        .merge(storage::routes())
        .compressed();
    compressed
        .merge(camera::routes())
        .merge(recordings::routes())
        .merge(auth::routes())
        .merge(live::routes())
        .merge(monitoring::routes())
}

/// The router of the hub. Requests reach it through [`answer`].
pub(crate) fn router(hub: Hub) -> Router {
    let router = api().into_router();
    #[cfg(feature = "docs")]
    let router = {
        let config = utoipa_swagger_ui::Config::from("../api/openapi.json");
        let docs: Router<Hub> = utoipa_swagger_ui::SwaggerUi::new("/docs").config(config).into();
        router.merge(docs.layer(map_response(docs_policy)))
    };
    #[cfg(feature = "dashboard")]
    let pages = dashboard::PageCache::default();
    let fallback = async move |request: Request| {
        outside_the_api(
            request,
            #[cfg(feature = "dashboard")]
            &pages,
        )
    };
    router.fallback(fallback).with_state(hub)
}

/// The content security policy of the API page: its own scripts and styles, and requests to this hub only.
#[cfg(feature = "docs")]
async fn docs_policy(mut response: Response) -> Response {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                  connect-src 'self'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_SECURITY_POLICY, http::HeaderValue::from_static(policy));
    // Redirects from `/docs` to `/docs/` relative to the base path of a proxy.
    if let Some(location) = headers.get_mut(http::header::LOCATION) {
        *location = http::HeaderValue::from_static("docs/");
    }
    response
}

fn contains(value: &http::HeaderValue, word: &str) -> bool {
    value.to_str().is_ok_and(|value| value.contains(word))
}

/// Serves paths outside the API: pages of the dashboard, and errors for everything else.
fn outside_the_api(request: Request, #[cfg(feature = "dashboard")] pages: &dashboard::PageCache) -> Response {
    let path = request.uri().path();
    let is_page = matches!(*request.method(), http::Method::GET | http::Method::HEAD)
        && request.headers().get(http::header::ACCEPT).is_some_and(|accept| contains(accept, "text/html"));
    let is_api = path == "/api" || path.starts_with("/api/");
    if (is_api || !is_page)
        && let Some(suggestion) = path_suggestion::suggest(path)
    {
        return HubError::not_found(format!("There is nothing at {path}. Did you mean {suggestion}?"))
            .into_response();
    }
    if is_api {
        return HubError::not_found(format!("There is nothing at {path}. See /docs.")).into_response();
    }
    #[cfg(feature = "dashboard")]
    return dashboard::serve(&request, pages);
    #[cfg(not(feature = "dashboard"))]
    HubError::not_found("This hub was built without the dashboard.").into_response()
}
