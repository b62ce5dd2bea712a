//! The doors: HTTP, translated into calls of the rooms.
//!
//! One table routes and documents: what is not in it does not exist. Deliberately absent: rules. A door that decides
//! something is in the wrong file.

mod api_router;
mod auth;
mod camera;
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
mod extract;
mod json_syntax;
mod live;
mod middleware;
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
mod storage;
mod until;

#[cfg(feature = "docs")]
use axum::middleware::map_response;
use axum::{
    Router,
    response::{IntoResponse, Response},
};

use api_router::ApiRouter;
pub(crate) use camera::{line, mjpeg};
pub(crate) use middleware::answer;
pub use openapi::openapi;

use crate::{Hub, error::HubError};

/// The API. A new resource is one line here.
fn api() -> ApiRouter {
    // Large answers of text without secrets.
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

/// Everything a hub answers; requests come to it through [`answer`].
pub(crate) fn router(hub: Hub) -> Router {
    let router = api().into_router();
    #[cfg(feature = "docs")]
    let router = {
        let config = utoipa_swagger_ui::Config::from("../api/openapi.json");
        let docs: Router<Hub> = utoipa_swagger_ui::SwaggerUi::new("/docs").config(config).into();
        router.merge(docs.layer(map_response(docs_policy)))
    };
    router.fallback(fallback).with_state(hub)
}

/// The browsable description runs its own scripts, styles itself, and asks this hub; nothing else.
#[cfg(feature = "docs")]
async fn docs_policy(mut response: Response) -> Response {
    let policy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                  connect-src 'self'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_SECURITY_POLICY, http::HeaderValue::from_static(policy));
    // From `/docs` to `/docs/`, below whatever path a proxy serves the hub.
    if let Some(location) = headers.get_mut(http::header::LOCATION) {
        *location = http::HeaderValue::from_static("docs/");
    }
    response
}

fn contains(value: &http::HeaderValue, word: &str) -> bool {
    value.to_str().is_ok_and(|value| value.contains(word))
}

/// What the table does not have: the dashboard's paths, and nothing else.
async fn fallback(request: axum::extract::Request) -> Response {
    let path = request.uri().path();
    let is_page = matches!(*request.method(), http::Method::GET | http::Method::HEAD)
        && request.headers().get(http::header::ACCEPT).is_some_and(|accept| contains(accept, "text/html"));
    let is_api = path == "/api" || path.starts_with("/api/");
    if (is_api || !is_page)
        && let Some(meant) = path_suggestion::suggest(path)
    {
        return HubError::not_found(format!("there is nothing at {path}: did you mean {meant}?"))
            .into_response();
    }
    if is_api {
        return HubError::not_found(format!("there is nothing at {path}; see /docs")).into_response();
    }
    #[cfg(feature = "dashboard")]
    return dashboard::serve(&request);
    #[cfg(not(feature = "dashboard"))]
    HubError::not_found("this hub was built without the dashboard").into_response()
}
