//! A frame in a request of its own.

use axum::{
    Json,
    body::Body,
    extract::{DefaultBodyLimit, FromRequest as _, Multipart, Request, State, multipart::MultipartError},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use iotpi_core::{
    ModuleId,
    model::{camera::FrameReceipt, frame::MAX_FRAME_BYTES},
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        api_router::{ApiRouter, routes},
        extract::{IngestAuth, read},
        problem::{StorageFull, TooLarge, Unprocessable},
    },
    FrameMetadata, Jpeg, PermissionDenied, Query, RateLimited, camera_of, parse_time,
};
use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
};

const TOO_LARGE: &str = "a frame has up to 8 MiB";
/// Maximum size of a form: a frame and the other fields.
const MAX_FORM_BYTES: usize = MAX_FRAME_BYTES + 64 * 1024;

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new().routes(routes!(publish))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublishParams {
    /// The module of the camera. When omitted: the module of the token, or else `camera`.
    pub(crate) module_id: Option<ModuleId>,
    /// Capture time by the camera's clock, in Unix seconds or RFC 3339; the time of arrival when omitted. The header
    /// `X-Timestamp` has the same meaning.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    pub(crate) timestamp: Option<String>,
}

/// A form with a frame.
#[derive(ToSchema)]
#[allow(dead_code)] // Only its schema is used.
pub(super) struct FrameForm {
    /// The JPEG: the only file of the form, in a field of any name.
    #[schema(value_type = String, content_media_type = "image/jpeg")]
    frame: Vec<u8>,
    /// The module of the camera.
    #[schema(nullable = false)]
    module_id: Option<ModuleId>,
    /// Capture time, in Unix seconds or RFC 3339.
    #[schema(value_type = Option<f64>, nullable = false, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    timestamp: Option<String>,
}

/// Publish a frame
///
/// The body is one JPEG of up to 8 MiB and 8,192 pixels a side, or a form that contains one. The newest frame wins: frames are
/// never queued. A refused request leaves the previous frame in place.
#[utoipa::path(
    post, path = "/api/camera/frame", tag = "camera", operation_id = "show",
    params(
        PublishParams,
        ("x-timestamp" = Option<f64>, Header, description = "Capture time by the camera's clock"),
        ("x-sequence" = Option<u64>, Header, description = "The camera's own number of the frame, one higher than that of the previous frame"),
        ("x-clock-offset" = Option<f64>, Header, description = "Seconds by which the hub's clock is ahead of the camera's, as measured with `/api/time`"),
    ),
    request_body(content(
        (inline(Jpeg) = "image/jpeg"),
        (inline(Jpeg) = "application/octet-stream"),
        (inline(FrameForm) = "multipart/form-data"),
    )),
    responses((status = 200, description = "Published", body = FrameReceipt), PermissionDenied, TooLarge, Unprocessable, RateLimited, StorageFull)
)]
async fn publish(
    State(hub): State<Hub>,
    IngestAuth(caller): IngestAuth,
    Query(query): Query<PublishParams>,
    request: Request,
) -> Result<Json<FrameReceipt>> {
    let metadata = FrameMetadata::from_headers(request.headers(), hub.now().wall)?;
    let form = match media_type(request.headers()).as_str() {
        "multipart/form-data" => read_form(request, &hub).await?,
        _ if is_jpeg(request.headers()) => {
            let buffers = &hub.inner.frames.buffers;
            let limit = (MAX_FRAME_BYTES, TOO_LARGE);
            let frame =
                read(request, limit, &hub.inner.admission.frames, |bytes| buffers.take(bytes)).await?;
            Form { frame: Some(frame.freeze()), ..Form::default() }
        }
        other => {
            return Err(HubError::invalid_argument(format!(
                "the content type of a frame is image/jpeg, not `{other}`: with curl, add -H 'content-type: image/jpeg'"
            )));
        }
    };
    let module_id = camera_of(query.module_id.or(form.module_id), &caller)?;
    let jpeg = form.frame.ok_or_else(|| {
        HubError::invalid_argument("the form has no file: send the JPEG as a file in a field of any name")
    })?;
    let time = query.timestamp.or(form.timestamp);
    let metadata = metadata.with_time(parse_time("timestamp", time.as_deref())?);
    publish_jpeg(&hub, &caller, &module_id, metadata, jpeg).await.map(Json)
}

/// Publishes a JPEG as the camera's newest frame.
///
/// # Errors
/// `Unprocessable` or `TooLarge` when it is not a frame, which is counted for the camera; those of [`Hub::publish_frame`].
pub(crate) async fn publish_jpeg(
    hub: &Hub,
    caller: &Caller,
    module_id: &ModuleId,
    metadata: FrameMetadata,
    jpeg: Bytes,
) -> Result<FrameReceipt> {
    let ignores_time = metadata.ignores_time;
    let frame = metadata.into_frame(jpeg, hub.now().wall).inspect_err(|_| {
        hub.refused_frame(caller, module_id);
    })?;
    let receipt = hub.publish_frame(caller, module_id, frame).await?;
    if ignores_time {
        hub.ignored_frame_time(module_id);
    }
    Ok(receipt)
}

/// Whether the content type allows the body to be a JPEG.
pub(crate) fn is_jpeg(headers: &HeaderMap) -> bool {
    matches!(media_type(headers).as_str(), "" | "image/jpeg" | "image/jpg" | "application/octet-stream")
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
    let mut head = Request::new(Body::empty());
    *head.headers_mut() = request.headers().clone();
    // Read like every body, within the budget for frames and at the minimum rate, and parsed afterwards.
    let limit = (MAX_FORM_BYTES, TOO_LARGE);
    let whole = read(request, limit, &hub.inner.admission.frames, BytesMut::with_capacity).await?;
    let mut request = head.map(|_| Body::from(whole.freeze()));
    DefaultBodyLimit::disable().apply(&mut request);
    let mut multipart = Multipart::from_request(request, hub)
        .await
        .map_err(|rejection| HubError::invalid_argument(format!("not a form: {}", rejection.body_text())))?;
    let mut form = Form::default();
    while let Some(field) = multipart.next_field().await.map_err(broken_form)? {
        // A file is the frame, whatever the name of its field: `imageFile`, `upload`, `photo` ...
        let is_file = field.file_name().is_some()
            || field.content_type().is_some_and(|media| media.to_ascii_lowercase().starts_with("image/"));
        match field.name().unwrap_or_default() {
            name if is_file || matches!(name, "frame" | "file" | "image") => {
                let is_unnamed = field.file_name() == Some("");
                let bytes = field.bytes().await.map_err(broken_form)?;
                // A browser sends a file field in which nothing was chosen as an empty file without a name.
                if is_unnamed && bytes.is_empty() {
                    continue;
                }
                if form.frame.replace(bytes).is_some() {
                    return Err(HubError::invalid_argument(
                        "the form has two files: send one frame with each request",
                    ));
                }
            }
            "module_id" => {
                let text = field.text().await.map_err(broken_form)?;
                let id = text.trim().parse();
                form.module_id =
                    Some(id.map_err(|error| HubError::invalid_argument(format!("`module_id`: {error}")))?);
            }
            "timestamp" => form.timestamp = Some(field.text().await.map_err(broken_form)?.trim().to_owned()),
            other => {
                return Err(HubError::invalid_argument(format!(
                    "the form has a field `{other}`; it may have one file, `module_id` and `timestamp`"
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
