//! A stream of frames in one request, with a response that is sent meanwhile.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, header};
use http_body_util::BodyExt as _;
use iotpi_core::{
    ModuleId,
    model::{
        camera::FrameReceipt,
        error::Problem,
        mixed_replace::{MalformedStream, MixedReplace, Part},
    },
};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        api_router::{ApiRouter, routes},
        extract::{IngestAuth, too_slow},
        problem::{self, StorageFull, TooLarge, Unprocessable},
        proxy::connection,
        until::EndsItself,
    },
    FrameMetadata, Jpeg, PermissionDenied, Query, RateLimited, camera_of,
};
use crate::{
    Hub,
    admission::{BudgetPermit, ConnectionPermit, MinimumRate},
    auth::Caller,
    error::{HubError, Result},
    frames::Slot,
    ops::authorization::{AuthorizationEnd, RequestAuthorization, authorization_ended},
};

/// A stream ends when nothing arrives for this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// The memory of a frame is taken from the budget in steps of this size.
const MEMORY_STEP_BYTES: usize = 64 * 1024;
/// The response begins after this many refused frames if none was published before.
const MAX_REFUSED_BEFORE_RESPONSE: u32 = 3;

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new().routes(routes!(push))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PushParams {
    /// The module of the camera. When omitted: the module of the token, or else `camera`.
    module_id: Option<ModuleId>,
}

/// A line of the response.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum PushEvent {
    /// The response begins, or the number of viewers changed. `seq` is 0 before the first frame.
    Receipt(FrameReceipt),
    /// The reason why a frame was refused, or why the stream ends.
    Problem {
        /// The problem, as in other responses.
        problem: Problem,
    },
}

/// Push frames
///
/// The body is an endless `multipart/x-mixed-replace`. Each part is a JPEG with the headers of `POST /api/camera/frame`;
/// `Content-Length` may be omitted. The response begins after the first published frame, or the third refused one. It consists of
/// lines of JSON: a receipt whenever the number of viewers changes, and a problem when a frame is refused, which never ends the
/// stream. A repeated problem is reported again only after a published frame. The stream ends when nothing arrives for 60 s.
#[utoipa::path(
    post, path = "/api/camera/stream", tag = "camera", operation_id = "push",
    params(PushParams),
    request_body(content = inline(Jpeg), content_type = "multipart/x-mixed-replace"),
    responses(
        (status = 200, description = "Lines of JSON", body = inline(PushEvent), content_type = "application/x-ndjson"),
        PermissionDenied, TooLarge, Unprocessable, RateLimited, StorageFull
    )
)]
async fn push(
    State(hub): State<Hub>,
    IngestAuth(caller): IngestAuth,
    Query(query): Query<PushParams>,
    request: Request,
) -> Result<Response> {
    let module_id = camera_of(query.module_id, &caller)?;
    caller.may_deliver_as(&module_id)?;
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let parts = MixedReplace::of_content_type(content_type.unwrap_or_default()).map_err(malformed)?;
    let authorized = request.extensions().get::<RequestAuthorization>().cloned().unwrap_or_default();
    let (head, body) = request.into_parts();
    let mut incoming = IncomingFrames {
        parts,
        body,
        connection: Arc::clone(connection(&head.extensions)?),
        memory: None,
        rate: MinimumRate::new(),
        is_over: false,
        uncounted: 0,
        caller,
        module_id,
        hub,
    };
    let mut seq = 0;
    let mut refusal = None;
    for refused in 1.. {
        match incoming.next().await? {
            Next::Published(receipt) => {
                seq = receipt.seq;
                break;
            }
            Next::Refused(error) => {
                refusal = Some(error);
                if refused == MAX_REFUSED_BEFORE_RESPONSE {
                    break;
                }
            }
            Next::End => {
                return Err(refusal.unwrap_or_else(|| {
                    HubError::invalid_argument("the stream ended before its first frame")
                }));
            }
        }
    }
    let slot = incoming.hub.slot(&incoming.caller, &incoming.module_id)?;
    (0..std::mem::take(&mut incoming.uncounted)).for_each(|_| slot.refused());
    let viewers = slot.watch_demand();
    let ended: AuthorizationEnd = Box::pin(async move { authorized.ended().await });
    let response = PushResponse {
        incoming,
        ended,
        slot,
        viewers,
        reported_viewers: None,
        refusal,
        reported_problem: None,
        seq,
        over: false,
    };
    let lines =
        stream::unfold(response, |mut response| async move { Some((response.next_line().await?, response)) });
    let mut response = Body::from_stream(lines).into_response();
    response.extensions_mut().insert(EndsItself);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn malformed(error: MalformedStream) -> HubError {
    match error {
        MalformedStream::TooLarge => HubError::too_large(error.to_string()),
        _ => HubError::invalid_argument(error.to_string()),
    }
}

/// The frames of the request.
struct IncomingFrames {
    hub: Hub,
    caller: Caller,
    module_id: ModuleId,
    parts: MixedReplace,
    body: Body,
    connection: Arc<ConnectionPermit>,
    /// Memory of the part in progress, taken from the budget for frames.
    memory: Option<BudgetPermit>,
    /// The minimum rate of the part in progress.
    rate: MinimumRate,
    /// The body was read to its end.
    is_over: bool,
    /// Refused parts that are not counted yet because the hub does not know the camera.
    uncounted: u32,
}

/// The next event of a stream.
enum Next {
    Published(FrameReceipt),
    /// The part was not a frame. It was counted, and the stream continues.
    Refused(HubError),
    End,
}

impl IncomingFrames {
    /// Publishes the next frame.
    ///
    /// # Errors
    /// The stream ends: its sender may no longer deliver, it was cut off, or it is not a multipart stream.
    ///
    /// # Cancel safety
    /// Cancel safe until the frame is published, which does not wait.
    async fn next(&mut self) -> Result<Next> {
        loop {
            match self.parts.part() {
                Ok(Some(part)) => return self.publish(&part).await,
                Ok(None) if self.parts.has_ended() => return Ok(Next::End),
                Ok(None) => {}
                Err(error) if error.is_final() => return Err(malformed(error)),
                Err(error) => return Ok(self.refuse(malformed(error))),
            }
            if self.is_over {
                return Ok(Next::End);
            }
            let deadline = self.account_for_memory().await?;
            match tokio::time::timeout_at(deadline, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    let data = frame.into_data().unwrap_or_default();
                    self.rate.received(data.len());
                    self.parts.push(data);
                }
                Ok(Some(Err(error))) => {
                    return Err(HubError::invalid_argument("the stream was cut off").caused_by(error));
                }
                Ok(None) => {
                    self.is_over = true;
                    self.parts.finish();
                }
                Err(_) if self.memory.is_some() => return Err(too_slow()),
                Err(_) => return Err(HubError::invalid_argument("nothing arrived for 60 s")),
            }
        }
    }

    /// Takes the memory of the part in progress from the budget for frames, or returns it between two parts. Returns the deadline
    /// for the next bytes.
    ///
    /// # Errors
    /// `Unavailable` when the budget is used up. That ends the stream.
    async fn account_for_memory(&mut self) -> Result<Instant> {
        let bytes = self.parts.memory_bytes();
        if bytes == 0 {
            self.memory = None;
            return Ok(Instant::now() + IDLE_TIMEOUT);
        }
        let frames = &self.hub.inner.admission.frames;
        // In steps, so that not every chunk of a frame needs a permit.
        let bytes = bytes.next_multiple_of(MEMORY_STEP_BYTES);
        match &mut self.memory {
            Some(permit) => frames.resize(permit, bytes).await?,
            None => {
                self.memory = Some(frames.acquire(&self.connection.holder(), bytes).await?);
                self.rate = MinimumRate::new();
            }
        }
        Ok(self.rate.deadline())
    }

    async fn publish(&mut self, part: &Part) -> Result<Next> {
        let now = self.hub.now().wall;
        let metadata = FrameMetadata::from_fields(|name| part.header(name.as_str()), now);
        let frame = metadata
            .and_then(|metadata| Ok((metadata.ignores_time, metadata.into_frame(part.body.clone(), now)?)));
        let (ignores_time, frame) = match frame {
            Ok(frame) => frame,
            Err(error) => return Ok(self.refuse(error)),
        };
        let receipt = self.hub.publish_frame(&self.caller, &self.module_id, frame).await?;
        if ignores_time {
            self.hub.ignored_frame_time(&self.module_id);
        }
        Ok(Next::Published(receipt))
    }

    /// Counts a part that is not a frame.
    fn refuse(&mut self, error: HubError) -> Next {
        if !self.hub.refused_frame(&self.caller, &self.module_id) {
            self.uncounted += 1;
        }
        Next::Refused(error)
    }
}

/// The response, and the state of its stream.
struct PushResponse {
    incoming: IncomingFrames,
    ended: AuthorizationEnd,
    slot: Arc<Slot>,
    viewers: watch::Receiver<u32>,
    reported_viewers: Option<u32>,
    /// The reason why the last frame was refused, until a line reports it.
    refusal: Option<HubError>,
    /// The problem that was reported last, until a frame is published.
    reported_problem: Option<String>,
    seq: u64,
    over: bool,
}

impl Drop for PushResponse {
    fn drop(&mut self) {
        // A camera that delivered only refused parts must not keep its slot.
        self.incoming.hub.inner.frames.remove_unused(&self.incoming.module_id, &self.slot);
    }
}

impl PushResponse {
    /// Publishes frames until the next line is due, and returns it; `None` at the end.
    async fn next_line(&mut self) -> Option<Result<Bytes, std::convert::Infallible>> {
        let line = loop {
            if self.over || self.slot.is_gone() {
                return None;
            }
            if let Some(error) = self.refusal.take()
                && self.reported_problem.as_deref() != Some(error.detail())
            {
                self.reported_problem = Some(error.detail().to_owned());
                break PushEvent::Problem { problem: problem::document(&error, None) };
            }
            let viewers = *self.viewers.borrow_and_update();
            if self.reported_viewers.replace(viewers) != Some(viewers) {
                break PushEvent::Receipt(FrameReceipt::new(viewers, self.seq));
            }
            let stopping = self.incoming.hub.stopping().clone();
            tokio::select! {
                biased;
                () = stopping.cancelled() => return None,
                () = &mut self.ended => {
                    self.over = true;
                    break PushEvent::Problem { problem: problem::document(&authorization_ended(), None) };
                }
                // It cannot fail: `slot` holds the sender.
                _ = self.viewers.changed() => {}
                next = self.incoming.next() => match next {
                    Ok(Next::Published(receipt)) => {
                        self.seq = receipt.seq;
                        self.reported_problem = None;
                    }
                    Ok(Next::Refused(error)) => self.refusal = Some(error),
                    Ok(Next::End) => return None,
                    Err(error) => {
                        self.over = true;
                        break PushEvent::Problem { problem: problem::document(&error, None) };
                    }
                },
            }
        };
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Some(Ok(text.into()))
    }
}
