//! The MJPEG stream.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use iotpi_core::ViewerKind;

use super::{
    super::api_router::{ApiRouter, routes},
    CameraParams, Jpeg, NotFound, PermissionDenied, Query, RateLimited,
    mjpeg::Mjpeg,
};
use crate::{Hub, auth::Authorization, error};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new().routes(routes!(watch))
}

/// Watch a camera
///
/// MJPEG without end: for each viewer the newest frame, never a queue. While the camera delivers nothing, a drawn picture a
/// second says so, with `X-Signal: none`. Waits when the module has not delivered yet.
#[utoipa::path(
    get, path = "/api/camera/stream", tag = "camera", operation_id = "watch",
    security(("session" = []), ("bearer" = []), ("basic" = []), ("signed_url" = [])),
    params(CameraParams),
    responses(
        (status = 200, description = "Frames, each a part with `Content-Length`, `X-Timestamp` (captured, by the hub's clock) and `X-Sequence`",
         body = inline(Jpeg), content_type = "multipart/x-mixed-replace; boundary=frame"),
        PermissionDenied, NotFound, RateLimited
    )
)]
async fn watch(
    State(hub): State<Hub>,
    authorization: Authorization,
    Query(query): Query<CameraParams>,
) -> error::Result<Response> {
    authorization.caller().may_read()?;
    let camera = hub.resolve_camera(query.module_id)?;
    let viewer = hub.watch(&camera, ViewerKind::Mjpeg)?;
    // Of no length, as what is sent in its place.
    let mut response = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>()).into_response();
    response.extensions_mut().insert(Mjpeg::new(hub, viewer, authorization));
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("multipart/x-mixed-replace; boundary=frame"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that buffer would break the stream's promise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}
