//! `/api/camera`: pictures in and out.

use std::convert::Infallible;

use axum::{
    Json,
    body::Body,
    extract::{FromRequest as _, Multipart, Request, State, multipart::MultipartError},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use iotpi_core::{Frame, FrameReceipt, InvalidFrame, MAX_FRAME_BYTES, ModuleId, Via, WatchedCamera};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    extract::{Deliverer, Query, moment, read},
    page::Page,
    problem::{NotFound, PermissionDenied, RateLimited, StorageFull, TooLarge, Unprocessable},
};
use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    frames::{Shown, Viewer},
};

const TOO_LARGE: &str = "a frame has up to 8 MiB";

pub(super) fn routes() -> OpenApiRouter<Hub> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(watch))
        .routes(routes!(snapshot))
        .routes(routes!(list))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ShowParams {
    /// Whose camera; when left out the token's module, else `camera`.
    module_id: Option<ModuleId>,
    /// When the picture was taken: Unix seconds or RFC 3339; the moment of arrival when left out.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    timestamp: Option<String>,
}

/// A JPEG file.
#[derive(ToSchema)]
#[schema(value_type = String, content_media_type = "image/jpeg")]
#[allow(dead_code)] // Only its schema is used.
struct Jpeg(Vec<u8>);

/// A form with a picture.
#[derive(ToSchema)]
#[allow(dead_code)] // Only its schema is used.
struct FrameForm {
    /// The picture; `file` and `image` are good names for the field too.
    #[schema(value_type = String, content_media_type = "image/jpeg")]
    frame: Vec<u8>,
    /// Whose camera.
    #[schema(nullable = false)]
    module_id: Option<ModuleId>,
    /// When the picture was taken: Unix seconds or RFC 3339.
    #[schema(value_type = Option<f64>, nullable = false, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    timestamp: Option<String>,
}

/// Show a frame
///
/// The body is one JPEG of up to 8 MiB and 8,192 pixels a side, or a form with one. Newest wins: it is never queued or
/// stored.
#[utoipa::path(
    post, path = "/api/camera/frame", tag = "camera", operation_id = "show",
    params(ShowParams),
    request_body(content(
        (inline(Jpeg) = "image/jpeg"),
        (inline(Jpeg) = "application/octet-stream"),
        (inline(FrameForm) = "multipart/form-data"),
    )),
    responses((status = 200, description = "Shown", body = FrameReceipt), PermissionDenied, TooLarge, Unprocessable, RateLimited, StorageFull)
)]
async fn show(
    State(hub): State<Hub>,
    Deliverer(caller): Deliverer,
    Query(query): Query<ShowParams>,
    request: Request,
) -> Result<Json<FrameReceipt>> {
    let form = match media_type(request.headers()).as_str() {
        "multipart/form-data" => read_form(request, &hub).await?,
        "" | "image/jpeg" | "image/jpg" | "application/octet-stream" => {
            Form { frame: Some(read(request, MAX_FRAME_BYTES, TOO_LARGE).await?), ..Form::default() }
        }
        other => {
            return Err(HubError::invalid_argument(format!(
                "a frame comes as image/jpeg, not as `{other}`: with curl, add -H 'content-type: image/jpeg'"
            )));
        }
    };
    let module_id = match query.module_id.or(form.module_id).or_else(|| caller.module_id().cloned()) {
        Some(id) => id,
        None => {
            ModuleId::new("camera").map_err(|error| HubError::internal("no default name").caused_by(error))?
        }
    };
    let timestamp = query.timestamp.or(form.timestamp);
    let taken_at = moment("timestamp", timestamp.as_deref())?.unwrap_or_else(|| hub.now().wall);
    let jpeg = form.frame.ok_or_else(|| {
        HubError::invalid_argument("the form has no picture: put it in a field `frame`, `file` or `image`")
    })?;
    let frame = Frame::from_jpeg(jpeg, taken_at).map_err(|error| match error {
        InvalidFrame::TooLarge(_) => HubError::too_large(error.to_string()),
        InvalidFrame::NotJpeg(_) | InvalidFrame::Dimensions(..) => HubError::unprocessable(error.to_string()),
    })?;
    hub.show(&caller, &module_id, frame).await.map(Json)
}

fn media_type(headers: &HeaderMap) -> String {
    let value = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

#[derive(Default)]
struct Form {
    frame: Option<Bytes>,
    module_id: Option<ModuleId>,
    timestamp: Option<String>,
}

async fn read_form(request: Request, hub: &Hub) -> Result<Form> {
    let mut multipart = Multipart::from_request(request, hub)
        .await
        .map_err(|rejection| HubError::invalid_argument(format!("not a form: {}", rejection.body_text())))?;
    let mut form = Form::default();
    while let Some(field) = multipart.next_field().await.map_err(broken_form)? {
        match field.name().unwrap_or_default() {
            "frame" | "file" | "image" => form.frame = Some(field.bytes().await.map_err(broken_form)?),
            "module_id" => {
                let text = field.text().await.map_err(broken_form)?;
                let id = text.trim().parse();
                form.module_id =
                    Some(id.map_err(|error| HubError::invalid_argument(format!("`module_id`: {error}")))?);
            }
            "timestamp" => form.timestamp = Some(field.text().await.map_err(broken_form)?.trim().to_owned()),
            other => {
                return Err(HubError::invalid_argument(format!(
                    "the form has a field `{other}`; it may have `frame`, `module_id` and `timestamp`"
                )));
            }
        }
    }
    Ok(form)
}

fn broken_form(error: MultipartError) -> HubError {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        HubError::too_large(TOO_LARGE)
    } else {
        HubError::invalid_argument(format!("the form is broken: {}", error.body_text()))
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct CameraParams {
    /// Which camera; the only one when left out.
    module_id: Option<ModuleId>,
}

/// Watch a camera
///
/// MJPEG without end: for each viewer the newest frame, never a queue. Waits when the module has not delivered yet.
#[utoipa::path(
    get, path = "/api/camera/stream", tag = "camera", operation_id = "watch",
    params(CameraParams),
    responses(
        (status = 200, description = "Frames, each a part with `Content-Length` and `X-Timestamp`",
         body = inline(Jpeg), content_type = "multipart/x-mixed-replace; boundary=frame"),
        PermissionDenied, NotFound, RateLimited
    )
)]
async fn watch(
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
        "Content-Type: image/jpeg\r\nContent-Length: {}\r\nX-Timestamp: {:.6}\r\n\r\n",
        jpeg.len(),
        shown.frame.taken_at().as_secs_f64()
    );
    [head.into(), jpeg, Bytes::from_static(b"\r\n--frame\r\n")]
}

/// The newest frame of a camera
#[utoipa::path(
    get, path = "/api/camera/snapshot", tag = "camera", operation_id = "snapshot",
    params(CameraParams),
    responses(
        (status = 200, description = "The newest JPEG", body = inline(Jpeg), content_type = "image/jpeg",
         headers(("etag" = String, description = "Names this frame"), ("x-timestamp" = f64, description = "When it was taken, Unix seconds"))),
        (status = 304, description = "Still the frame of `If-None-Match`"),
        PermissionDenied, NotFound
    )
)]
async fn snapshot(
    State(hub): State<Hub>,
    caller: Caller,
    Query(query): Query<CameraParams>,
    headers: HeaderMap,
) -> Result<Response> {
    caller.may_read()?;
    let camera = hub.the_camera(query.module_id)?;
    let shown = hub
        .newest_frame(&camera)
        .ok_or_else(|| HubError::not_found(format!("camera `{camera}` has delivered no frame yet")))?;
    // The moment of arrival keeps tags of two runs of the hub apart.
    let etag = format!("\"{}-{}\"", shown.received_at.as_micros(), shown.seq);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let mut response = if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, "image/jpeg")], shown.frame.jpeg().clone()).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (
            http::HeaderName::from_static("x-timestamp"),
            format!("{:.6}", shown.frame.taken_at().as_secs_f64()),
        ),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

/// The cameras
///
/// Those that have delivered a frame since the hub started, with rates, ages and who watches.
#[utoipa::path(
    get, path = "/api/cameras", tag = "camera", operation_id = "list_cameras",
    responses((status = 200, description = "All of them, by module id", body = Page<WatchedCamera>), PermissionDenied)
)]
async fn list(State(hub): State<Hub>, caller: Caller) -> Result<Json<Page<WatchedCamera>>> {
    caller.may_read()?;
    Ok(Json(Page::whole(hub.watched_cameras())))
}
