//! Pictures pushed one after the other in one request, answered as they come.

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
use iotpi_core::{FrameReceipt, MalformedStream, MixedReplace, ModuleId, Part, Problem};
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
    admission::{ConnectionPermit, MinimumRate, Permit},
    auth::{AuthorizationEnd, Caller, RequestAuthorization, authorization_ended},
    error::{HubError, Result},
    frames::Slot,
};

/// A stream in which nothing comes for so long is ended.
const SILENCE: Duration = Duration::from_secs(60);
/// The memory of a frame is taken from the budget in steps of this size.
const MEMORY_STEP_BYTES: usize = 64 * 1024;
/// The answer begins after this many refused pictures when there was no good one before.
const MAX_REFUSED_UNANSWERED: u32 = 3;

pub(super) fn routes() -> ApiRouter {
    ApiRouter::new().routes(routes!(push))
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct PushParams {
    /// Whose camera; when left out the token's module, else `camera`.
    module_id: Option<ModuleId>,
}

/// A line of the answer.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
enum Line {
    /// The answer begins, or the number of viewers changed. `seq` is 0 before the first picture.
    Receipt(FrameReceipt),
    /// Why a picture was refused, or why the stream ends.
    Problem {
        /// What was wrong.
        problem: Problem,
    },
}

/// Push frames
///
/// A `multipart/x-mixed-replace` body without end, each part a JPEG with the headers of one that is posted; `Content-Length` may
/// be left out. The answer begins after the first frame that was taken, or the third that was refused. It consists of lines of
/// JSON: a receipt whenever the number of viewers changes, and a problem when a picture is refused, which never ends the stream. The
/// same problem is reported once until a picture is taken again. A stream in which nothing arrives for 60 s is ended.
#[utoipa::path(
    post, path = "/api/camera/stream", tag = "camera", operation_id = "push",
    params(PushParams),
    request_body(content = inline(Jpeg), content_type = "multipart/x-mixed-replace"),
    responses(
        (status = 200, description = "Lines of JSON", body = inline(Line), content_type = "application/x-ndjson"),
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
    let mut pushed = Pushed {
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
        match pushed.next().await? {
            Next::Taken(receipt) => {
                seq = receipt.seq;
                break;
            }
            Next::Refused(error) => {
                refusal = Some(error);
                if refused == MAX_REFUSED_UNANSWERED {
                    break;
                }
            }
            Next::End => {
                return Err(refusal.unwrap_or_else(|| {
                    HubError::invalid_argument("the stream ended before its first picture")
                }));
            }
        }
    }
    let slot = pushed.hub.slot(&pushed.caller, &pushed.module_id)?;
    (0..std::mem::take(&mut pushed.uncounted)).for_each(|_| slot.refused());
    let viewers = slot.watch_demand();
    let ended: AuthorizationEnd = Box::pin(async move { authorized.ended().await });
    let answer =
        Answer { pushed, ended, slot, viewers, told: None, refusal, reported: None, seq, over: false };
    let lines = stream::unfold(answer, |mut answer| async move { Some((answer.line().await?, answer)) });
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

/// What comes in.
struct Pushed {
    hub: Hub,
    caller: Caller,
    module_id: ModuleId,
    parts: MixedReplace,
    body: Body,
    connection: Arc<ConnectionPermit>,
    /// The memory of the part in progress, taken from the budget for frames.
    memory: Option<Permit>,
    /// The pace of the part in progress.
    rate: MinimumRate,
    /// The body was read to its end.
    is_over: bool,
    /// Refused parts of a camera that the hub does not know yet.
    uncounted: u32,
}

/// What became of the next part of a stream.
enum Next {
    Taken(FrameReceipt),
    /// The part was no picture, and was counted. The stream continues.
    Refused(HubError),
    End,
}

impl Pushed {
    /// Shows the next picture.
    ///
    /// # Errors
    /// What ends the stream: its sender may not deliver any more, it broke off, or it is no stream of parts.
    ///
    /// # Cancel safety
    /// Cancel safe up to the showing, which is over at once.
    async fn next(&mut self) -> Result<Next> {
        loop {
            match self.parts.part() {
                Ok(Some(part)) => return self.show(&part).await,
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
                    return Err(HubError::invalid_argument("the stream broke off").caused_by(error));
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

    /// Takes the memory of the part in progress from the budget for frames, or gives it back between two parts. Answers by when
    /// the next bytes have to arrive.
    ///
    /// # Errors
    /// `Unavailable` when there is no room in the budget; that ends the stream.
    async fn account_for_memory(&mut self) -> Result<Instant> {
        let bytes = self.parts.memory_bytes();
        if bytes == 0 {
            self.memory = None;
            return Ok(Instant::now() + SILENCE);
        }
        let frames = &self.hub.inner.admission.frames;
        // In steps, so that not each piece of a frame asks.
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

    async fn show(&mut self, part: &Part) -> Result<Next> {
        let now = self.hub.now().wall;
        let caption = FrameMetadata::of(|name| part.header(name.as_str()), now);
        let frame =
            caption.and_then(|caption| Ok((caption.ignores_time, caption.on(part.body.clone(), now)?)));
        let (ignores_time, frame) = match frame {
            Ok(frame) => frame,
            Err(error) => return Ok(self.refuse(error)),
        };
        let receipt = self.hub.publish_frame(&self.caller, &self.module_id, frame).await?;
        if ignores_time {
            self.hub.ignored_frame_time(&self.module_id);
        }
        Ok(Next::Taken(receipt))
    }

    /// Counts a part that is no picture.
    fn refuse(&mut self, error: HubError) -> Next {
        if !self.hub.refused_frame(&self.caller, &self.module_id) {
            self.uncounted += 1;
        }
        Next::Refused(error)
    }
}

/// What goes out.
struct Answer {
    pushed: Pushed,
    ended: AuthorizationEnd,
    slot: Arc<Slot>,
    viewers: watch::Receiver<u32>,
    told: Option<u32>,
    /// Why the last picture was refused, until a line reports it.
    refusal: Option<HubError>,
    /// The problem that was reported last, until a picture is taken.
    reported: Option<String>,
    seq: u64,
    over: bool,
}

impl Drop for Answer {
    fn drop(&mut self) {
        // A camera that delivered nothing but refused parts leaves no place behind.
        self.pushed.hub.inner.frames.remove_unused(&self.pushed.module_id, &self.slot);
    }
}

impl Answer {
    /// The next line, while taking pictures; nothing at the end.
    async fn line(&mut self) -> Option<Result<Bytes, std::convert::Infallible>> {
        let line = loop {
            if self.over || self.slot.is_gone() {
                return None;
            }
            if let Some(error) = self.refusal.take()
                && self.reported.as_deref() != Some(error.detail())
            {
                self.reported = Some(error.detail().to_owned());
                break Line::Problem { problem: problem::document(&error, None) };
            }
            let viewers = *self.viewers.borrow_and_update();
            if self.told.replace(viewers) != Some(viewers) {
                break Line::Receipt(FrameReceipt { viewers, seq: self.seq });
            }
            let stopping = self.pushed.hub.stopping().clone();
            tokio::select! {
                biased;
                () = stopping.cancelled() => return None,
                () = &mut self.ended => {
                    self.over = true;
                    break Line::Problem { problem: problem::document(&authorization_ended(), None) };
                }
                // The slot lives as long as we do.
                _ = self.viewers.changed() => {}
                next = self.pushed.next() => match next {
                    Ok(Next::Taken(receipt)) => {
                        self.seq = receipt.seq;
                        self.reported = None;
                    }
                    Ok(Next::Refused(error)) => self.refusal = Some(error),
                    Ok(Next::End) => return None,
                    Err(error) => {
                        self.over = true;
                        break Line::Problem { problem: problem::document(&error, None) };
                    }
                },
            }
        };
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        Some(Ok(text.into()))
    }
}
