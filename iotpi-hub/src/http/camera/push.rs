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
use iotpi_core::{FrameReceipt, MalformedStream, MixedReplace, ModuleId, Problem};
use serde::{Deserialize, Serialize};
use tokio::{sync::watch, time::Instant};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        extract::{Deliverer, credential},
        problem::{self, StorageFull, TooLarge, Unprocessable},
    },
    Caption, Jpeg, PermissionDenied, Query, RateLimited, camera_of,
};
use crate::{
    Hub,
    auth::Caller,
    error::{HubError, Result},
    frames::Slot,
    ops::auth::Credential,
};

/// A stream in which nothing comes for so long is ended.
const SILENCE: Duration = Duration::from_secs(60);
/// How often it is asked whether the one who pushes still may.
const ASK_AGAIN: Duration = Duration::from_secs(10);

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
    /// The first frame was taken, or the number of viewers changed.
    Receipt(FrameReceipt),
    /// A picture was refused, and the stream goes on; or what ends it.
    Problem {
        /// What was wrong.
        problem: Problem,
    },
}

/// Push frames
///
/// A `multipart/x-mixed-replace` body without end, each part a JPEG with the headers of one that is posted; `Content-Length` may
/// be left out. The answer begins after the first frame and says, a line of JSON each, whenever the number of viewers changes,
/// and what was wrong with a picture that was refused. A stream in which nothing comes for 60 s is ended.
#[utoipa::path(
    post, path = "/api/camera/stream", tag = "camera", operation_id = "push",
    params(PushParams),
    request_body(content = inline(Jpeg), content_type = "multipart/x-mixed-replace"),
    responses(
        (status = 200, description = "Lines of JSON", body = inline(Line), content_type = "application/x-ndjson"),
        PermissionDenied, TooLarge, Unprocessable, RateLimited, StorageFull
    )
)]
pub(super) async fn push(
    State(hub): State<Hub>,
    Deliverer(caller): Deliverer,
    Query(query): Query<PushParams>,
    request: Request,
) -> Result<Response> {
    let module_id = camera_of(query.module_id, &caller)?;
    caller.may_deliver_as(&module_id)?;
    let content_type = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let parts = MixedReplace::of_content_type(content_type.unwrap_or_default()).map_err(malformed)?;
    let (head, body) = request.into_parts();
    let mut pushed =
        Pushed { parts, body, credential: credential(&head)?, caller, module_id, asked: Instant::now(), hub };
    let Some(receipt) = pushed.next().await? else {
        return Err(HubError::invalid_argument("the stream ended before its first picture"));
    };
    let slot = pushed.hub.slot(&pushed.caller, &pushed.module_id)?;
    let viewers = slot.viewers_changing();
    let answer = Answer { pushed, slot, viewers, told: None, seq: receipt.seq, over: false };
    let lines = stream::unfold(answer, |mut answer| async move { Some((answer.line().await?, answer)) });
    let mut response = Body::from_stream(lines).into_response();
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
    credential: Option<Credential>,
    module_id: ModuleId,
    parts: MixedReplace,
    body: Body,
    /// When it was last asked whether they still may.
    asked: Instant,
}

impl Pushed {
    /// Shows the next picture; nothing when the stream has ended. After `Unprocessable` it goes on.
    ///
    /// Cancel safe up to the showing, which is over at once.
    async fn next(&mut self) -> Result<Option<FrameReceipt>> {
        loop {
            if let Some(part) = self.parts.next().map_err(malformed)? {
                self.ask_again().await?;
                let caption = Caption::of(|name| part.header(name.as_str()));
                let frame = caption.and_then(|caption| caption.on(part.body.clone(), self.hub.now().wall));
                let frame = frame.inspect_err(|_| self.hub.refused_frame(&self.caller, &self.module_id));
                return self.hub.show(&self.caller, &self.module_id, frame?).await.map(Some);
            }
            if self.parts.has_ended() {
                return Ok(None);
            }
            match tokio::time::timeout(SILENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => self.parts.push(frame.into_data().unwrap_or_default()),
                Ok(Some(Err(error))) => {
                    return Err(HubError::invalid_argument("the stream broke off").caused_by(error));
                }
                Ok(None) => return Ok(None),
                Err(_) => return Err(HubError::invalid_argument("nothing came for 60 s")),
            }
        }
    }

    /// A token may be revoked while its stream goes on.
    async fn ask_again(&mut self) -> Result<()> {
        if let Some(credential) = &self.credential
            && self.asked.elapsed() >= ASK_AGAIN
        {
            self.caller = self.hub.identify(credential).await?;
            self.asked = Instant::now();
        }
        Ok(())
    }
}

/// What goes out.
struct Answer {
    pushed: Pushed,
    slot: Arc<Slot>,
    viewers: watch::Receiver<u32>,
    told: Option<u32>,
    seq: u64,
    over: bool,
}

impl Answer {
    /// The next line, while taking what comes in; nothing at the end.
    async fn line(&mut self) -> Option<Result<Bytes, std::convert::Infallible>> {
        let line = loop {
            if self.over || self.slot.is_gone() {
                return None;
            }
            let viewers = *self.viewers.borrow_and_update();
            if self.told.replace(viewers) != Some(viewers) {
                break Line::Receipt(FrameReceipt { viewers, seq: self.seq });
            }
            let stopping = self.pushed.hub.stopping().clone();
            tokio::select! {
                () = stopping.cancelled() => return None,
                // The slot lives as long as we do.
                _ = self.viewers.changed() => {}
                shown = self.pushed.next() => match shown {
                    Ok(Some(receipt)) => self.seq = receipt.seq,
                    Ok(None) => return None,
                    Err(error) => {
                        self.over = error.kind() != iotpi_core::ErrorKind::Unprocessable;
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
