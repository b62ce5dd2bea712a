//! The MJPEG stream.

use std::convert::Infallible;

use axum::{
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderValue, header};
use iotpi_core::Via;

use super::{CameraParams, Jpeg, NotFound, PermissionDenied, Query, RateLimited};
use crate::{
    Hub,
    auth::Caller,
    error::Result,
    frames::{Shown, Viewer},
};

/// Watch a camera
///
/// MJPEG without end: for each viewer the newest frame, never a queue. While the camera delivers nothing, a drawn picture a
/// second says so, with `X-Signal: none`. Waits when the module has not delivered yet.
#[utoipa::path(
    get, path = "/api/camera/stream", tag = "camera", operation_id = "watch",
    params(CameraParams),
    responses(
        (status = 200, description = "Frames, each a part with `Content-Length`, `X-Timestamp` (captured, by the hub's clock) and `X-Sequence`",
         body = inline(Jpeg), content_type = "multipart/x-mixed-replace; boundary=frame"),
        PermissionDenied, NotFound, RateLimited
    )
)]
pub(super) async fn watch(
    State(hub): State<Hub>,
    caller: Caller,
    Query(query): Query<CameraParams>,
) -> Result<Response> {
    caller.may_read()?;
    let camera = hub.the_camera(query.module_id)?;
    let viewer = hub.watch(&camera, Via::Mjpeg)?;
    let mut response = Body::from_stream(mjpeg(hub, viewer)).into_response();
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_TYPE, HeaderValue::from_static("multipart/x-mixed-replace; boundary=frame"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Proxies that buffer would break the stream's promise.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The parts of the stream, each asked for when the viewer is ready for it.
///
/// The boundary follows its frame at once: Chrome paints a part only when it has seen where it ends.
fn mjpeg(hub: Hub, viewer: Viewer) -> impl stream::Stream<Item = Result<Bytes, Infallible>> {
    let opening = stream::iter([Bytes::from_static(b"--frame\r\n")]);
    let parts = stream::unfold((hub, viewer), |(hub, mut viewer)| async move {
        let shown = tokio::select! {
            () = hub.stopping().cancelled() => None,
            shown = viewer.next() => shown,
        }?;
        Some((stream::iter(part(&shown)), (hub, viewer)))
    });
    opening.chain(parts.flatten()).map(Ok)
}

fn part(shown: &Shown) -> [Bytes; 3] {
    let jpeg = shown.frame.jpeg().clone();
    let head = format!(
        "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: {:.6}\r\nX-Sequence: {}\r\n{}\r\n",
        jpeg.len(),
        shown.captured_at.as_secs_f64(),
        shown.seq,
        if shown.no_signal { "X-Signal: none\r\n" } else { "" },
    );
    [head.into(), jpeg, Bytes::from_static(b"\r\n--frame\r\n")]
}
