//! `/api/camera`: pictures in and out.

pub(crate) mod line;
pub(crate) mod mjpeg;
mod publish;
mod push;
mod watch;

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use iotpi_core::{Frame, InvalidFrame, ModuleId, Timestamp, ViewerKind, WatchedCamera};
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
    auth::Caller,
    error::{HubError, Result},
    frames::PublishedFrame,
};

/// How long `?fresh=1` waits for a frame.
const FRESH_WAIT: Duration = Duration::from_secs(10);

static X_TIMESTAMP: HeaderName = HeaderName::from_static("x-timestamp");
static X_SEQUENCE: HeaderName = HeaderName::from_static("x-sequence");
static X_CLOCK_OFFSET: HeaderName = HeaderName::from_static("x-clock-offset");

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

/// A capture time that differs from the hub's clock by more than this is not a time: the camera's clock was never set.
const MAX_CLOCK_DIFFERENCE: Duration = Duration::from_secs(24 * 3600);

/// What the headers say about a picture.
#[derive(Debug, Default)]
struct FrameMetadata {
    timestamp: Option<Timestamp>,
    /// `X-Timestamp` is no possible time: the picture counts as taken when it arrived.
    ignores_time: bool,
    sequence: Option<u64>,
    clock_offset: f64,
}

impl FrameMetadata {
    /// Reads it from fields by name, of a request or of a part.
    fn of<'a>(field: impl Fn(&HeaderName) -> Option<&'a str>, now: Timestamp) -> Result<Self> {
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
        let said = field(&X_TIMESTAMP);
        let timestamp = said.and_then(|text| possible_time(text, clock_offset, now));
        Ok(Self {
            ignores_time: said.is_some() && timestamp.is_none(),
            timestamp,
            sequence: sequence.transpose()?,
            clock_offset,
        })
    }

    fn of_headers(headers: &HeaderMap, now: Timestamp) -> Result<Self> {
        // A value that is not text is neither a time nor a number.
        Self::of(|name| headers.get(name).map(|value| value.to_str().unwrap_or("?")), now)
    }

    /// The same with a time that was asked for otherwise, which wins.
    fn at(self, timestamp: Option<Timestamp>) -> Self {
        match timestamp {
            Some(_) => Self { timestamp, ignores_time: false, ..self },
            None => self,
        }
    }

    /// The picture with its caption.
    fn on(self, jpeg: bytes::Bytes, now: Timestamp) -> Result<Frame> {
        let frame = Frame::from_jpeg(jpeg, self.timestamp.unwrap_or(now)).map_err(|error| match error {
            InvalidFrame::TooLarge(_) => HubError::too_large(error.to_string()),
            InvalidFrame::NotJpeg(_) | InvalidFrame::Dimensions(..) => {
                HubError::unprocessable(error.to_string())
            }
        })?;
        // An arrival is by the hub's own clock.
        let frame = frame.with_clock_offset(self.timestamp.map_or(0.0, |_| self.clock_offset));
        Ok(match self.sequence {
            Some(number) => frame.numbered(number),
            None => frame,
        })
    }
}

/// A capture time as cameras send it, if it can be one: Unix seconds or RFC 3339 in the years 2000 to 2099, and with the offset of
/// the clocks within a day of the hub's own. Seconds since boot, 0, and the first day of a clock chip are none.
fn possible_time(text: &str, clock_offset: f64, now: Timestamp) -> Option<Timestamp> {
    let time = parse_time("x-timestamp", Some(text.trim())).ok()??;
    let difference = (time.as_secs_f64() + clock_offset - now.as_secs_f64()).abs();
    (difference <= MAX_CLOCK_DIFFERENCE.as_secs_f64()).then_some(time)
}

/// Whose camera it is: the one named, else the token's module, else `camera`.
fn camera_of(named: Option<ModuleId>, caller: &Caller) -> Result<ModuleId> {
    match named.or_else(|| caller.module_id().cloned()) {
        Some(id) => Ok(id),
        None => {
            ModuleId::new("camera").map_err(|error| HubError::internal("no default name").caused_by(error))
        }
    }
}

/// Other fields are ignored: pages add one of their own, such as `?t=123`, so that a browser loads a picture anew.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CameraParams {
    /// Which camera; the only one when left out.
    module_id: Option<ModuleId>,
}

/// Other fields are ignored, as in [`CameraParams`].
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SnapshotParams {
    /// Which camera; the only one when left out.
    module_id: Option<ModuleId>,
    /// 1 to wait for the next frame, up to 10 s, instead of taking the newest there is.
    #[param(value_type = Option<u8>, maximum = 1)]
    fresh: Option<String>,
}

/// The newest frame of a camera
///
/// A frame, never a picture the hub drew: `X-Timestamp` says how old it is. With `fresh=1` the next one to come.
#[utoipa::path(
    get, path = "/api/camera/snapshot", tag = "camera", operation_id = "snapshot",
    security(("session" = []), ("bearer" = []), ("basic" = []), ("signed_url" = [])),
    params(SnapshotParams),
    responses(
        (status = 200, description = "The newest JPEG", body = inline(Jpeg), content_type = "image/jpeg",
         headers(("etag" = String, description = "Names this frame"),
                 ("x-timestamp" = f64, description = "When it was captured by the hub's clock, Unix seconds"),
                 ("x-sequence" = u64, description = "Its number; numbers of a camera rise from the hub's start"))),
        (status = 304, description = "Still the frame of `If-None-Match`"),
        PermissionDenied, NotFound, RateLimited, Unavailable
    )
)]
async fn snapshot(
    State(hub): State<Hub>,
    caller: Caller,
    Query(query): Query<SnapshotParams>,
    headers: HeaderMap,
) -> Result<Response> {
    caller.may_read()?;
    let fresh = match query.fresh.as_deref() {
        None | Some("0" | "false") => false,
        Some("1" | "true" | "") => true,
        Some(_) => return Err(HubError::invalid_argument("`fresh` is 0 or 1")),
    };
    let camera = hub.resolve_camera(query.module_id)?;
    let newest = hub.newest_frame(&camera);
    let shown = match newest {
        newest if fresh => next(&hub, &camera, newest.map(|shown| shown.seq)).await?,
        Some(newest) => newest,
        None => return Err(HubError::not_found(format!("camera `{camera}` has delivered no frame yet"))),
    };
    // The moment of arrival keeps tags of two runs of the hub apart.
    let etag = format!("\"{}-{}\"", shown.received_at.as_micros(), shown.seq);
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let mut response = if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let jpeg = hub.inner.admission.view(&caller, shown.frame.jpeg()).await?;
        ([(header::CONTENT_TYPE, "image/jpeg")], Body::from(jpeg)).into_response()
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::ETAG, etag),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (X_TIMESTAMP.clone(), format!("{:.6}", shown.captured_at.as_secs_f64())),
        (X_SEQUENCE.clone(), shown.seq.to_string()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

/// The next frame of a camera after that number. Whoever waits counts as a viewer, so that a camera at rest delivers one.
async fn next(hub: &Hub, camera: &ModuleId, after: Option<u64>) -> Result<std::sync::Arc<PublishedFrame>> {
    let mut viewer = hub.watch(camera, ViewerKind::Mjpeg)?;
    let wait = async {
        loop {
            match viewer.next().await {
                Some(shown) if shown.no_signal || Some(shown.seq) <= after => {}
                Some(shown) => return Ok(shown),
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
/// Those that have delivered a frame since the hub started, with rates, ages and who watches.
#[utoipa::path(
    get, path = "/api/cameras", tag = "camera", operation_id = "list_cameras",
    responses((status = 200, description = "All of them, by module id", body = Page<WatchedCamera>), PermissionDenied)
)]
async fn list(State(hub): State<Hub>, caller: Caller) -> Result<Json<Page<WatchedCamera>>> {
    caller.may_read()?;
    Ok(Json(Page::single(hub.watched_cameras())))
}
