//! `/api/cameras/{id}/recording...`: when a camera is recorded, and what was.

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use http::{HeaderValue, header};
use iotpi_core::{
    Clip, FrameSelection, MAX_FRAME_TIMES, ModuleId, Recording, RecordingSettings, StartRecording, Timestamp,
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
    admission::Permit,
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

/// A file.
#[derive(ToSchema)]
#[schema(value_type = String, content_media_type = "application/octet-stream")]
#[allow(dead_code)] // Only its schema is used.
struct AnyFile(Vec<u8>);

/// A camera's recording
///
/// When it is recorded, for how long that is kept, and what is going on.
#[utoipa::path(
    get, path = "/api/cameras/{id}/recording", tag = "camera", operation_id = "read_recording",
    params(("id" = ModuleId, Path, description = "Whose camera")),
    responses((status = 200, description = "How it is", body = Recording), PermissionDenied, NotFound)
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
/// Replaces all settings; what is left out has its default. Acted on at once, and kept across restarts.
#[utoipa::path(
    put, path = "/api/cameras/{id}/recording", tag = "camera", operation_id = "set_recording",
    params(("id" = ModuleId, Path, description = "Whose camera")),
    request_body = RecordingSettings,
    responses((status = 200, description = "Set", body = Recording), PermissionDenied, NotFound, Conflict, TooLarge)
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
/// Every frame for so many seconds, in every mode; said again before the end, it goes on until the later end. With `on_event`
/// the frames from just before are recorded too.
#[utoipa::path(
    post, path = "/api/cameras/{id}/record", tag = "camera", operation_id = "record_camera",
    params(("id" = ModuleId, Path, description = "Whose camera")),
    request_body = StartRecording,
    responses((status = 200, description = "Begun", body = Recording), PermissionDenied, NotFound, Conflict)
)]
async fn record_camera(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    JsonBody(order): JsonBody<StartRecording>,
) -> Result<Json<Recording>> {
    hub.record_camera(&caller, &id, &order).await.map(Json)
}

/// Stop recording a camera now
///
/// Ends the current event or the order to record now; without one it does nothing. A `continuous` recording or a `time_lapse`
/// goes on, and the next event starts a new recording.
#[utoipa::path(
    delete, path = "/api/cameras/{id}/record", tag = "camera", operation_id = "stop_recording",
    params(("id" = ModuleId, Path, description = "Whose camera")),
    responses((status = 200, description = "Ended", body = Recording), PermissionDenied, NotFound)
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
    /// From this moment on, inclusive: Unix seconds or RFC 3339.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    since: Option<String>,
    /// Up to this parse_time, exclusive.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    until: Option<String>,
    /// How many, 1 to 1,000; default 100.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The last page's `next`.
    cursor: Option<String>,
}

/// What was recorded of a camera
///
/// Stretches without a pause that touch the time asked for, oldest first.
#[utoipa::path(
    get, path = "/api/cameras/{id}/recordings", tag = "camera", operation_id = "list_recordings",
    params(("id" = ModuleId, Path, description = "Whose camera"), ListParams),
    responses((status = 200, description = "A page of them", body = Page<Clip>), PermissionDenied, NotFound, Unprocessable)
)]
async fn list_recordings(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    Query(query): Query<ListParams>,
) -> Result<Json<Page<Clip>>> {
    let wanted = footage(id, query.since.as_deref(), query.until.as_deref())?;
    let page = page(query.limit, query.cursor)?;
    hub.recordings(&caller, &wanted, &page).await.map(|page| Json(page.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct TimesParams {
    /// From this moment on, inclusive: Unix seconds or RFC 3339.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    since: Option<String>,
    /// Up to this parse_time, exclusive.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    until: Option<String>,
    /// How many, 1 to 10,000; default 100.
    #[param(minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
    /// The last page's `next`.
    cursor: Option<String>,
}

/// When the recorded frames of a camera were captured
///
/// For scrubbing: each of these times names its frame.
#[utoipa::path(
    get, path = "/api/cameras/{id}/recordings/frames", tag = "camera", operation_id = "list_recorded_frames",
    params(("id" = ModuleId, Path, description = "Whose camera"), TimesParams),
    responses((status = 200, description = "A page of times, oldest first", body = Page<Timestamp>), PermissionDenied, NotFound, Unprocessable)
)]
async fn list_recorded_frames(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    Query(query): Query<TimesParams>,
) -> Result<Json<Page<Timestamp>>> {
    let wanted = footage(id, query.since.as_deref(), query.until.as_deref())?;
    let page = page_with_max(query.limit, query.cursor, MAX_FRAME_TIMES)?;
    hub.recorded_times(&caller, &wanted, &page).await.map(|page| Json(page.into()))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct FrameParams {
    /// The moment: Unix seconds or RFC 3339.
    #[param(value_type = f64, required)]
    at: Option<String>,
    /// Which frame is meant: the one nearest to it, the first after it, the last before it. Default `nearest`.
    #[serde(default)]
    #[param(inline)]
    pick: FrameSelection,
}

/// A recorded frame
///
/// `x-timestamp` says when it was captured. Asked for by exactly that time, it may be kept for ever.
#[utoipa::path(
    get, path = "/api/cameras/{id}/recordings/frame", tag = "camera", operation_id = "recorded_frame",
    params(("id" = ModuleId, Path, description = "Whose camera"), FrameParams),
    responses(
        (status = 200, description = "The JPEG", body = inline(Jpeg), content_type = "image/jpeg",
         headers(("x-timestamp" = f64, description = "When it was captured, Unix seconds"))),
        PermissionDenied, NotFound, Unprocessable
    )
)]
async fn recorded_frame(
    State(hub): State<Hub>,
    caller: Caller,
    Path(id): Path<ModuleId>,
    Query(query): Query<FrameParams>,
) -> Result<Response> {
    // Who may not is told so before what is missing.
    caller.may_read()?;
    let missing = || HubError::invalid_argument("say which moment is meant with `at`");
    let at = parse_time("at", query.at.as_deref())?.ok_or_else(missing)?;
    let (found_at, jpeg) = hub.recorded_frame(&caller, &id, at, query.pick).await?;
    let mut response = ([(header::CONTENT_TYPE, "image/jpeg")], jpeg).into_response();
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::try_from(format!("{:.6}", found_at.as_secs_f64())) {
        headers.insert("x-timestamp", value);
    }
    // Which frame is nearest to another moment may change with the next that is recorded.
    let is_named = found_at == at && query.pick == FrameSelection::Nearest;
    let keep = if is_named { "private, max-age=31536000, immutable" } else { "private, no-cache" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    Ok(response)
}

/// As what a recording is exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ExportFormat {
    /// One MJPEG AVI file.
    Avi,
    /// The JPEG files, named by their times (UTC).
    Zip,
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct ExportParams {
    /// From this moment on, inclusive: Unix seconds or RFC 3339.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    since: Option<String>,
    /// Up to this parse_time, exclusive.
    #[param(value_type = Option<f64>, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0)]
    until: Option<String>,
    /// As what: `avi` (up to 2 GB) or `zip`.
    #[param(inline, required)]
    format: Option<ExportFormat>,
    /// Of an AVI file: frames a second, 0.1 to 120, one after the other without pauses; when left out, each is shown when it was
    /// captured.
    #[param(minimum = 0.1, maximum = 120)]
    fps: Option<f64>,
}

/// Export a recording
///
/// Streamed. One that breaks off is shorter than its `content-length`, or has no last chunk (RFC 9112, 7.1).
#[utoipa::path(
    get, path = "/api/cameras/{id}/recordings/export", tag = "camera", operation_id = "export_recording",
    params(("id" = ModuleId, Path, description = "Whose camera"), ExportParams),
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
    let asked =
        query.format.ok_or_else(|| HubError::invalid_argument("`format` has to be `avi` or `zip`"))?;
    if query.fps.is_some_and(|fps| !(0.1..=120.0).contains(&fps)) {
        return Err(HubError::invalid_argument("`fps` is 0.1 to 120"));
    }
    let (format, ending, media) = match asked {
        ExportFormat::Avi => (Format::Avi(query.fps), "avi", "video/x-msvideo"),
        ExportFormat::Zip => (Format::Zip, "zip", "application/zip"),
    };
    let name = format!("attachment; filename=\"{id}.{ending}\"");
    let wanted = footage(id, query.since.as_deref(), query.until.as_deref())?;
    let (export, bytes, place) = hub.export_recording(&caller, &wanted, format).await?;
    let mut response = Body::from_stream(parts(hub, export, place)).into_response();
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

/// The file, each part made when the one before is on its way.
fn parts(
    hub: Hub,
    export: Export,
    place: Permit,
) -> impl stream::Stream<Item = std::io::Result<bytes::Bytes>> {
    stream::try_unfold((hub, export, place), |(hub, mut export, place)| async move {
        let stopping = hub.stopping().clone();
        let made = spawn_blocking(move || {
            let before = export.damaged();
            let part = export.next();
            let damaged = export.damaged() - before;
            (part, export, damaged)
        });
        let (part, export, damaged) = tokio::select! {
            () = stopping.cancelled() => return Err(std::io::Error::other("the hub stops")),
            made = made => made.map_err(std::io::Error::other)?,
        };
        let part = part.inspect_err(|error| {
            hub.inner.metrics.recording_errors.add(1);
            tracing::warn!(%error, "an export broke off");
        })?;
        if damaged > 0 {
            hub.inner.metrics.recording_errors.add(damaged);
            tracing::error!(frames = damaged, "damaged frames were left out of an export");
        }
        Ok(part.map(|part| (part, (hub, export, place))))
    })
}

fn footage(module_id: ModuleId, since: Option<&str>, until: Option<&str>) -> Result<ClipQuery> {
    Ok(ClipQuery { module_id, since: parse_time("since", since)?, until: parse_time("until", until)? })
}
