//! `/api/camera`: publishing and watching frames.

pub(crate) mod mjpeg;
mod publish;
mod push;
mod watch;

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use iotpi_core::{
    Frame, ModuleId, Timestamp,
    model::{
        camera::{ViewerKind, WatchedCamera},
        frame::InvalidFrame,
    },
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    api_router::{ApiRouter, routes},
    extract::{Query, parse_time},
    page::Page,
    problem::{NotFound, PermissionDenied, RateLimited, Unavailable},
};
use crate::{
    Hub,
    admission::ConnectionPermit,
    auth::Caller,
    error::{HubError, Result},
    frames::PublishedFrame,
};

/// How long `?fresh=1` waits for the next frame.
const FRESH_WAIT: Duration = Duration::from_secs(10);

static X_TIMESTAMP: HeaderName = HeaderName::from_static("x-timestamp");
static X_SEQUENCE: HeaderName = HeaderName::from_static("x-sequence");
static X_CLOCK_OFFSET: HeaderName = HeaderName::from_static("x-clock-offset");

pub(crate) use self::publish::{PublishParams, is_jpeg, publish_jpeg};

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new()
        .merge(publish::routes())
        .merge(push::routes())
        .merge(watch::routes())
        .routes(routes!(snapshot))
        .routes(routes!(list))
}

/// A JPEG file.
#[derive(ToSchema)]
#[schema(value_type = String, content_media_type = "image/jpeg")]
#[allow(dead_code)] // Only its schema is used.
struct Jpeg(Vec<u8>);

/// A capture time that differs more from the hub's clock is ignored: the camera's clock was never set.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(24 * 3600);

/// The metadata of a frame, from the headers of its request or of its part.
#[derive(Debug, Default)]
pub(crate) struct FrameMetadata {
    timestamp: Option<Timestamp>,
    /// `X-Timestamp` is not a possible time. The time of arrival is used as the capture time.
    ignores_time: bool,
    sequence: Option<u64>,
    clock_offset: f64,
}

impl FrameMetadata {
    /// Reads the metadata from the headers that `field` looks up by name.
    fn from_fields<'a>(field: impl Fn(&HeaderName) -> Option<&'a str>, now: Timestamp) -> Result<Self> {
        let wrong = |name: &HeaderName, should: &str| {
            HubError::invalid_argument(format!("the header `{name}` is {should}"))
        };
        let sequence =
            field(&X_SEQUENCE).map(|text| text.parse().map_err(|_| wrong(&X_SEQUENCE, "a whole number")));
        let offset = field(&X_CLOCK_OFFSET).map(|text| {
            let secs = text.parse().ok().filter(|secs: &f64| secs.is_finite());
            secs.ok_or_else(|| wrong(&X_CLOCK_OFFSET, "a number of seconds"))
        });
        let clock_offset = offset.transpose()?.unwrap_or_default();
        let stated = field(&X_TIMESTAMP);
        let timestamp = stated.and_then(|text| possible_time(text, clock_offset, now));
        Ok(Self {
            ignores_time: stated.is_some() && timestamp.is_none(),
            timestamp,
            sequence: sequence.transpose()?,
            clock_offset,
        })
    }

    pub(crate) fn from_headers(headers: &HeaderMap, now: Timestamp) -> Result<Self> {
        // A value that is not text is neither a time nor a number.
        Self::from_fields(|name| headers.get(name).map(|value| value.to_str().unwrap_or("?")), now)
    }

    /// Replaces the time by one from the query or a form, if there is one.
    pub(crate) fn with_time(self, timestamp: Option<Timestamp>) -> Self {
        match timestamp {
            Some(_) => Self { timestamp, ignores_time: false, ..self },
            None => self,
        }
    }

    /// The frame of a JPEG with this metadata.
    ///
    /// # Errors
    /// `TooLarge` or `Unprocessable` when it is not a frame.
    fn into_frame(self, jpeg: bytes::Bytes, now: Timestamp) -> Result<Frame> {
        let frame = Frame::from_jpeg(jpeg, self.timestamp.unwrap_or(now)).map_err(|error| match error {
            InvalidFrame::TooLarge(_) => HubError::too_large(error.to_string()),
            _ => HubError::unprocessable(error.to_string()),
        })?;
        // The time of arrival is by the hub's own clock.
        let frame = frame.with_clock_offset(self.timestamp.map_or(0.0, |_| self.clock_offset));
        Ok(match self.sequence {
            Some(number) => frame.numbered(number),
            None => frame,
        })
    }
}

/// Parses a capture time: Unix seconds or RFC 3339 in the years 2000 to 2099 that, with the offset of the clocks, is within a day
/// of the hub's clock. Seconds since boot, 0, and the first day of a clock chip are not.
fn possible_time(text: &str, clock_offset: f64, now: Timestamp) -> Option<Timestamp> {
    let time = parse_time("x-timestamp", Some(text.trim())).ok()??;
    let difference = (time.as_secs_f64() + clock_offset - now.as_secs_f64()).abs();
    (difference <= MAX_CLOCK_DIFFERENCE.as_secs_f64()).then_some(time)
}

/// The module of a camera: the one named in the request, or else the token's, or else `camera`.
pub(crate) fn camera_of(named: Option<ModuleId>, caller: &Caller) -> Result<ModuleId> {
    match named.or_else(|| caller.module_id().cloned()) {
        Some(id) => Ok(id),
        None => {
            ModuleId::new("camera").map_err(|error| HubError::internal("no default name").caused_by(error))
        }
    }
}

/// Other fields are ignored: pages add one of their own, such as `?t=123`, so that a browser does not use its cache.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CameraParams {
    /// The module of the camera. It may be omitted if there is only one camera.
    module_id: Option<ModuleId>,
}

/// Other fields are ignored, as in [`CameraParams`].
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SnapshotParams {
    /// The module of the camera. It may be omitted if there is only one camera.
    module_id: Option<ModuleId>,
    /// 1 to wait up to 10 s for the next frame instead of returning the newest one.
    #[param(value_type = Option<u8>, maximum = 1)]
    fresh: Option<String>,
}

/// The newest frame of a camera
///
/// Always a frame of the camera, never an image drawn by the hub: `X-Timestamp` shows its age. With `fresh=1` the next frame.
#[utoipa::path(
    get, path = "/api/camera/snapshot", tag = "camera", operation_id = "snapshot",
    security(("session" = []), ("bearer" = []), ("basic" = []), ("signed_url" = [])),
    params(SnapshotParams),
    responses(
        (status = 200, description = "The newest JPEG", body = inline(Jpeg), content_type = "image/jpeg",
         headers(("etag" = String, description = "Identifies this frame"),
                 ("x-timestamp" = f64, description = "Capture time by the hub's clock, Unix seconds"),
                 ("x-sequence" = u64, description = "Number of the frame; the numbers of a camera rise from the hub's start"))),
        (status = 304, description = "The frame of `If-None-Match` is still the newest"),
        PermissionDenied, NotFound, RateLimited, Unavailable
    )
)]
async fn snapshot(
    State(hub): State<Hub>,
    caller: Caller,
    Extension(connection): Extension<Arc<ConnectionPermit>>,
    Query(query): Query<SnapshotParams>,
    headers: HeaderMap,
) -> Result<Response> {
    caller.may_read()?;
    let fresh = match query.fresh.as_deref() {
        None | Some("0" | "false") => false,
        Some("1" | "true" | "") => true,
        Some(_) => return Err(HubError::invalid_argument("`fresh` is 0 or 1")),
    };
    if fresh {
        connection.cancel_on_close();
    }
    let camera = hub.resolve_camera(query.module_id)?;
    let newest = hub.newest_frame(&camera);
    let published = match newest {
        newest if fresh => next_frame(&hub, &camera, newest.map(|published| published.seq)).await?,
        Some(newest) => newest,
        None => return Err(HubError::not_found(format!("camera `{camera}` has delivered no frame yet"))),
    };
    // The time of arrival makes the tags of two runs of the hub different.
    let etag = format!("\"{}-{}\"", published.received_at.as_micros(), published.seq);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let mut response = if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let jpeg = hub.inner.admission.view(&caller, published.frame.jpeg()).await?;
        ([(header::CONTENT_TYPE, "image/jpeg")], Body::from(jpeg)).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (X_TIMESTAMP.clone(), format!("{:.6}", published.captured_at.as_secs_f64())),
        (X_SEQUENCE.clone(), published.seq.to_string()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

/// Waits for the next frame of a camera after this number. The request counts as a viewer, so that an idle camera delivers a
/// frame.
async fn next_frame(hub: &Hub, camera: &ModuleId, after: Option<u64>) -> Result<Arc<PublishedFrame>> {
    let mut viewer = hub.watch(camera, ViewerKind::Mjpeg)?;
    let wait = async {
        loop {
            match viewer.next().await {
                Some(published) if published.no_signal || Some(published.seq) <= after => {}
                Some(published) => return Ok(published),
                None => return Err(HubError::not_found(format!("camera `{camera}` was removed"))),
            }
        }
    };
    tokio::select! {
        () = hub.stopping().cancelled() => Err(HubError::unavailable("the hub is stopping")),
        waited = tokio::time::timeout(FRESH_WAIT, wait) => {
            waited.unwrap_or_else(|_| Err(HubError::unavailable(format!("camera `{camera}` delivered no frame within 10 s"))))
        }
    }
}

/// The cameras
///
/// The cameras that have delivered a frame since the hub started, with their rates, ages and viewers.
#[utoipa::path(
    get, path = "/api/cameras", tag = "camera", operation_id = "list_cameras",
    responses((status = 200, description = "All cameras, by module id", body = Page<WatchedCamera>), PermissionDenied)
)]
async fn list(State(hub): State<Hub>, caller: Caller) -> Result<Json<Page<WatchedCamera>>> {
    caller.may_read()?;
    Ok(Json(Page::single(hub.watched_cameras())))
}
