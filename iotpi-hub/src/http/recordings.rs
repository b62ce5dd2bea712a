//! `/api/cameras/{id}/recording...`: recording settings of a camera, and access to its recorded frames.

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::{HeaderValue, header};
use iotpi_core::{
    ModuleId, Timestamp,
    model::recording::{Clip, FrameSelection, MAX_FRAME_TIMES, Recording, RecordingSettings, StartRecording},
};
use serde::Deserialize;
use tokio::task::spawn_blocking;
use utoipa::{IntoParams, ToSchema};

use super::{
    api_router::{ApiRouter, routes},
    extract::{JsonBody, Path, Query, page, page_with_max, parse_time},
    page::Page,
    problem::{Conflict, NotFound, PermissionDenied, RateLimited, TooLarge, Unprocessable},
};
use crate::{
    Hub,
    admission::BudgetPermit,
    auth::Caller,
    error::{HubError, Result},
    recording::{Export, Format},
    store::ClipQuery,
};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new()
        .routes(routes!(read_recording, set_recording))
        .routes(routes!(record_camera, stop_recording))
        .routes(routes!(list_recordings))
        .routes(routes!(list_recorded_frames))
        .routes(routes!(recorded_frame))
        .routes(routes!(export_recording))
}

/// A JPEG file.
#[derive(ToSchema)]
#[schema(value_type = String, content_media_type = "image/jpeg")]
#[allow(dead_code)] // Only its schema is used.
struct Jpeg(Vec<u8>);

/// A file in the requested export format.
#[derive(ToSchema)]
#[schema(value_type = String, content_media_type = "application/octet-stream")]
#[allow(dead_code)] // Only its schema is used.
struct AnyFile(Vec<u8>);

/// Get the recording settings and state of a camera
///
/// Returns the settings, the current state of the recorder, and totals of the recorded frames.
#[utoipa::path(
    get, path = "/api/cameras/{id}/recording", tag = "camera", operation_id = "read_recording",
    params(("id" = ModuleId, Path, description = "Module id of the camera")),
    responses((status = 200, description = "The settings and the state", body = Recording), PermissionDenied, NotFound)
)]
async fn read_recording(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
) -> Result<Json<Recording>> {
    hub.recording(&caller, &id).await.map(Json)
}

/// Set when a camera is recorded
///
/// Replaces all settings; an omitted setting gets its default. The settings take effect at once and survive a
/// restart of the hub.
#[utoipa::path(
    put, path = "/api/cameras/{id}/recording", tag = "camera", operation_id = "set_recording",
    params(("id" = ModuleId, Path, description = "Module id of the camera")),
    request_body = RecordingSettings,
    responses((status = 200, description = "The new settings and the state", body = Recording), PermissionDenied, NotFound, Conflict, TooLarge)
)]
async fn set_recording(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    JsonBody(settings): JsonBody<RecordingSettings>,
) -> Result<Json<Recording>> {
    hub.set_recording(&caller, &id, settings).await.map(Json)
}

/// Record a camera now
///
/// Records every frame for the given number of seconds, in every mode. A second request extends the recording
/// if it ends later. In the mode `on_event` the frames from just before the request are recorded too.
#[utoipa::path(
    post, path = "/api/cameras/{id}/record", tag = "camera", operation_id = "record_camera",
    params(("id" = ModuleId, Path, description = "Module id of the camera")),
    request_body = StartRecording,
    responses((status = 200, description = "Recording has started", body = Recording), PermissionDenied, NotFound, Conflict)
)]
async fn record_camera(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    JsonBody(request): JsonBody<StartRecording>,
) -> Result<Json<Recording>> {
    hub.record_camera(&caller, &id, &request).await.map(Json)
}

/// Stop recording a camera now
///
/// Ends the current event or the recording started by `POST`; does nothing if there is none. A `continuous`
/// or `time_lapse` recording continues, and the next event starts a new recording.
#[utoipa::path(
    delete, path = "/api/cameras/{id}/record", tag = "camera", operation_id = "stop_recording",
    params(("id" = ModuleId, Path, description = "Module id of the camera")),
    responses((status = 200, description = "Recording has stopped", body = Recording), PermissionDenied, NotFound)
)]
async fn stop_recording(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
) -> Result<Json<Recording>> {
    hub.stop_recording(&caller, &id).await.map(Json)
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ListParams {
    /// Start of the range, inclusive: Unix seconds or RFC 3339.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    since: Option<String>,
    /// End of the range, exclusive: Unix seconds or RFC 3339.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    until: Option<String>,
    /// Maximum number of clips in the page, 1 to 1,000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Cursor: the `next` of the previous page.
    cursor: Option<String>,
}

/// List the recorded clips of a camera
///
/// A clip is a recording without a pause. Lists the clips that overlap the range, oldest first.
#[utoipa::path(
    get, path = "/api/cameras/{id}/recordings", tag = "camera", operation_id = "list_recordings",
    params(("id" = ModuleId, Path, description = "Module id of the camera"), ListParams),
    responses((status = 200, description = "A page of clips", body = Page<Clip>), PermissionDenied, NotFound, Unprocessable)
)]
async fn list_recordings(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    Query(query): Query<ListParams>,
) -> Result<Json<Page<Clip>>> {
    let query_range = clip_query(id, query.since.as_deref(), query.until.as_deref())?;
    let page = page(query.limit, query.cursor)?;
    hub.recordings(&caller, &query_range, &page).await.map(|page| Json(page.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct TimesParams {
    /// Start of the range, inclusive: Unix seconds or RFC 3339.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    since: Option<String>,
    /// End of the range, exclusive: Unix seconds or RFC 3339.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    until: Option<String>,
    /// Maximum number of times in the page, 1 to 10,000; default 100.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
    /// Cursor: the `next` of the previous page.
    cursor: Option<String>,
}

/// List the capture times of the recorded frames of a camera
///
/// For scrubbing: `at` in the request of a recorded frame accepts each of these times.
#[utoipa::path(
    get, path = "/api/cameras/{id}/recordings/frames", tag = "camera", operation_id = "list_recorded_frames",
    params(("id" = ModuleId, Path, description = "Module id of the camera"), TimesParams),
    responses((status = 200, description = "A page of times, oldest first", body = Page<Timestamp>), PermissionDenied, NotFound, Unprocessable)
)]
async fn list_recorded_frames(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    Query(query): Query<TimesParams>,
) -> Result<Json<Page<Timestamp>>> {
    let query_range = clip_query(id, query.since.as_deref(), query.until.as_deref())?;
    let page = page_with_max(query.limit, query.cursor, MAX_FRAME_TIMES)?;
    hub.recorded_times(&caller, &query_range, &page).await.map(|page| Json(page.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct FrameParams {
    /// Requested time: Unix seconds or RFC 3339.
    #[param(value_type = f64, required)]
    at: Option<String>,
    /// Which frame to return: the one nearest to `at`, the first after it, or the last before it. Default
    /// `nearest`.
    #[serde(default)]
    #[param(inline)]
    pick: FrameSelection,
}

/// Get a recorded frame
///
/// The header `x-timestamp` has the capture time. A response to a request for exactly that time may be cached
/// forever.
#[utoipa::path(
    get, path = "/api/cameras/{id}/recordings/frame", tag = "camera", operation_id = "recorded_frame",
    params(("id" = ModuleId, Path, description = "Module id of the camera"), FrameParams),
    responses(
        (status = 200, description = "The JPEG", body = inline(Jpeg), content_type = "image/jpeg",
         headers(("x-timestamp" = f64, description = "Capture time, Unix seconds"))),
        PermissionDenied, NotFound, Unprocessable
    )
)]
async fn recorded_frame(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    Query(query): Query<FrameParams>,
) -> Result<Response> {
    // Authorization is checked before the parameters.
    caller.may_read()?;
    let missing = || HubError::invalid_argument("`at` is missing.");
    let at = parse_time("at", query.at.as_deref())?.ok_or_else(missing)?;
    let (found_at, jpeg) = hub.recorded_frame(&caller, &id, at, query.pick).await?;
    let mut response = ([(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(format!("{:.6}", found_at.as_secs_f64())) {
        headers.insert("x-timestamp", value);
    }
    // The nearest frame to any other time may change when the next frame is recorded.
    let is_named = found_at == at && query.pick == FrameSelection::Nearest;
    let cache = if is_named { "private, max-age=31536000, immutable" } else { "private, no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    Ok(response)
}

/// File format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ExportFormat {
    /// One MJPEG AVI file.
    Avi,
    /// A ZIP archive of the JPEG files, named by their capture times (UTC).
    Zip,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ExportParams {
    /// Start of the range, inclusive: Unix seconds or RFC 3339.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    since: Option<String>,
    /// End of the range, exclusive: Unix seconds or RFC 3339.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    until: Option<String>,
    /// File format: `avi` (up to 2 GB) or `zip`.
    #[param(inline, required)]
    format: Option<ExportFormat>,
    /// Constant frame rate of an AVI file, 0.1 to 120 frames a second, without pauses. By default the file
    /// keeps the times at which the frames were captured.
    #[param(minimum = 0.1, maximum = 120)]
    fps: Option<f64>,
}

/// Export a recording
///
/// The response is streamed. An interrupted export is shorter than its `content-length`, or has no last chunk
/// (RFC 9112, section 7.1).
#[utoipa::path(
    get, path = "/api/cameras/{id}/recordings/export", tag = "camera", operation_id = "export_recording",
    params(("id" = ModuleId, Path, description = "Module id of the camera"), ExportParams),
    responses(
        (status = 200, description = "The file", content((inline(AnyFile) = "video/x-msvideo"), (inline(AnyFile) = "application/zip"))),
        PermissionDenied, NotFound, Unprocessable, TooLarge, RateLimited
    )
)]
async fn export_recording(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    Query(query): Query<ExportParams>,
) -> Result<Response> {
    caller.may_read()?;
    let format =
        query.format.ok_or_else(|| HubError::invalid_argument("`format` must be `avi` or `zip`."))?;
    if query.fps.is_some_and(|fps| !(0.1..=120.0).contains(&fps)) {
        return Err(HubError::invalid_argument("`fps` must be 0.1 to 120."));
    }
    let (format, extension, media) = match format {
        ExportFormat::Avi => (Format::Avi(query.fps), "avi", "video/x-msvideo"),
        ExportFormat::Zip => (Format::Zip, "zip", "application/zip"),
    };
    let name = format!("attachment; filename=\"{id}.{extension}\"");
    let query_range = clip_query(id, query.since.as_deref(), query.until.as_deref())?;
    let (export, bytes, permit) = hub.export_recording(&caller, &query_range, format).await?;
    let mut response = Body::from_stream(parts(hub, export, permit)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(name) = HeaderValue::try_from(name) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    if let Some(bytes) = bytes {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    Ok(response)
}

/// Streams the file. Each part is made after the previous one was handed to the connection.
fn parts(
    hub: Hub,
    export: Export,
    permit: BudgetPermit,
) -> impl stream::Stream<Item = std::io::Result<bytes::Bytes>> {
    stream::try_unfold((hub, export, permit), |(hub, mut export, permit)| async move {
        let stopping = hub.stopping().clone();
        let made = spawn_blocking(move || {
            let before = export.damaged();
            let part = export.next();
            let damaged = export.damaged() - before;
            (part, export, damaged)
        });
        let (part, export, damaged) = tokio::select! {
            () = stopping.cancelled() => return Err(std::io::Error::other("the hub is stopping")),
            made = made => made.map_err(std::io::Error::other)?,
        };
        let part = part.inspect_err(|error| {
            hub.inner.metrics.recording_errors.inc();
            tracing::warn!(%error, "an export was interrupted");
        })?;
        if damaged > 0 {
            hub.inner.metrics.recording_errors.inc_by(damaged);
            tracing::error!(frames = damaged, "damaged frames were left out of an export");
        }
        Ok(part.map(|part| (part, (hub, export, permit))))
    })
}

fn clip_query(module_id: ModuleId, since: Option<&str>, until: Option<&str>) -> Result<ClipQuery> {
    Ok(ClipQuery { module_id, since: parse_time("since", since)?, until: parse_time("until", until)? })
}
