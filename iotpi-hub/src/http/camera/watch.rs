//! The MJPEG stream.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use iotpi_core::model::camera::ViewerKind;

use super::{
    super::api_router::{ApiRouter, routes},
    CameraParams, Jpeg, NotFound, PermissionDenied, Query, RateLimited,
    mjpeg::Mjpeg,
};
use crate::{Hub, admission::ConnectionPermit, error, ops::authorization::Authorization};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new().routes(routes!(watch))
}

/// Watch a camera
///
/// An endless MJPEG stream of the newest frame; each viewer skips the frames that it is too slow for. While the camera delivers
/// nothing, the stream has one drawn image a second with `X-Signal: none`. If the module has not delivered yet, the stream waits.
#[utoipa::path(
    get, path = "/api/camera/stream", tag = "camera", operation_id = "watch",
    security(("session" = []), ("bearer" = []), ("basic" = []), ("signed_url" = [])),
    params(CameraParams),
    responses(
        (status = 200, description = "One part per frame, with `Content-Length`, `X-Timestamp` (capture time by the hub's clock) and `X-Sequence`",
         body = inline(Jpeg), content_type = "multipart/x-mixed-replace; boundary=frame"),
        PermissionDenied, NotFound, RateLimited
    )
)]
async fn watch(
    State(hub): State<Hub>,
    authorization: Authorization,
    Extension(connection): Extension<Arc<ConnectionPermit>>,
    Query(query): Query<CameraParams>,
) -> error::Result<Response> {
    authorization.caller().may_read()?;
    connection.cancel_on_close();
    let camera = hub.resolve_camera(query.module_id)?;
    let viewer = hub.watch(&camera, ViewerKind::Mjpeg)?;
    // Of unknown length, like the parts that the server sends in its place.
    let mut response = Body::from_stream(stream::empty::<Result<Bytes, Infallible>>()).into_response();
    response.extensions_mut().insert(Mjpeg::new(hub, viewer, authorization));
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("multipart/x-mixed-replace; boundary=frame"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A proxy that buffers would delay frames.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}
