//! The upload of frames in one long request: `multipart/x-mixed-replace`, one part for each frame, while the
//! answer reports the number of viewers line by line.
//!
//! It has its own connection outside the pool, because its buffers matter: a frame in a buffer is no longer
//! the newest. hyper therefore requests the next frame when the last one is with the kernel, and the kernel
//! keeps little unsent data.
//!
//! Deliberately absent: reconnecting. [`FrameReceiver::forward_to`] does it.

use std::{
    convert::Infallible,
    fmt::Write,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{
    HeaderValue, Method, StatusCode,
    header::{CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt, StreamBody};
use hyper::{
    body::{Frame as Chunk, Incoming},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;

use super::{
    HubClient,
    http::{Call, Connection, Http},
};
use crate::{
    client::frame_publisher::FrameReceiver,
    client::{
        frame_publisher,
        hub_clock::{HubClock, SAMPLES},
    },
    model::{camera::FrameReceipt, error::Problem, frame::Frame, id::ModuleId},
    time::{Clock, SystemClock},
    uplink::UplinkError,
};

const BOUNDARY: &str = "iotpi-picture";
/// hyper's minimum: after a larger frame it requests the next one only when that is with the kernel.
const WRITE_BUFFER: usize = 8192;
/// The maximum of unsent bytes in the kernel.
#[cfg(any(target_os = "linux", target_os = "android"))]
const MAX_UNSENT: u32 = 16 * 1024;
/// The maximum size of one line of the answer.
const MAX_LINE: usize = 64 * 1024;
/// The time that the first frame waits for the offset between the clocks.
const FIRST_SAMPLE: Duration = Duration::from_secs(1);
const SAMPLE_EVERY: Duration = Duration::from_secs(10);

/// The end of an upload without an error.
pub(super) enum PushEnd {
    /// The publisher was dropped.
    Over,
    /// The hub is older and has no such route.
    NoSuchRoute,
}

/// One line of the answer.
#[derive(Deserialize)]
#[serde(untagged)]
enum AnswerLine {
    Problem { problem: Box<Problem> },
    Receipt(FrameReceipt),
}

/// The offset of the hub's clock, once it is known.
#[derive(Clone)]
struct ClockOffset {
    clock: SystemClock,
    hub: Arc<Mutex<HubClock>>,
}

impl ClockOffset {
    fn secs(&self) -> Option<f64> {
        let hub = self.hub.lock().unwrap_or_else(PoisonError::into_inner);
        hub.offset_secs(self.clock.now(), self.clock.monotonic())
    }

    /// Takes one sample of the hub's clock.
    async fn sample(&self, client: &HubClient) -> Result<(), UplinkError> {
        let sent = self.clock.monotonic();
        let hub_time = client.time().await?;
        let received = self.clock.monotonic();
        self.hub.lock().unwrap_or_else(PoisonError::into_inner).heard(sent, received, hub_time);
        Ok(())
    }

    /// Takes samples periodically; stops if the hub has no such route.
    async fn keep(&self, client: &HubClient) -> Infallible {
        let mut asked = 1;
        loop {
            if asked >= SAMPLES {
                tokio::time::sleep(SAMPLE_EVERY).await;
            }
            asked += 1;
            match self.sample(client).await {
                Err(error) if !error.is_transient() => std::future::pending::<()>().await,
                Err(_) => asked = SAMPLES,
                Ok(()) => {}
            }
        }
    }
}

/// Uploads frames until the publisher is dropped or the connection breaks.
pub(super) async fn push(
    client: &HubClient,
    module_id: &ModuleId,
    frames: &mut FrameReceiver,
) -> Result<PushEnd, UplinkError> {
    // Connects only when there is something to send.
    if frames.next().await.is_none() {
        return Ok(PushEnd::Over);
    }
    let offset = ClockOffset { clock: SystemClock::new(), hub: Arc::default() };
    let _ = timeout(FIRST_SAMPLE, offset.sample(client)).await;
    let http = &client.http;
    let socket = http.connect(|socket| bound_buffers(socket, http.deadline)).await?;
    tokio::select! {
        ended = converse(&client.http, socket, module_id, frames, offset.clone()) => ended,
        never = offset.keep(client) => match never {},
    }
}

/// Sends frames and processes the answer.
async fn converse(
    http: &Http,
    socket: Box<dyn Connection>,
    module_id: &ModuleId,
    frames: &FrameReceiver,
    offset: ClockOffset,
) -> Result<PushEnd, UplinkError> {
    let over = CancellationToken::new();
    let body = StreamBody::new(parts(frames.slot(), offset, over.clone()));
    let path = Call::post("/api/camera/stream").query("module_id", Some(module_id)).path;
    let request = http
        .request(Method::POST, &format!("{}{path}", http.prefix()))?
        .header(HOST, http.authority())
        .header(CONTENT_TYPE, content_type())
        .body(body)
        .map_err(|e| http.not_a_hub(format!("the request could not be built: {e}")))?;
    let (mut sender, connection) = http1::Builder::new()
        .max_buf_size(WRITE_BUFFER)
        .handshake(TokioIo::new(socket))
        .await
        .map_err(|e| http.unreachable(e))?;
    let exchange = async {
        let answered = timeout(http.deadline, sender.send_request(request)).await;
        let answer = answered.map_err(|_| http.timed_out(http.deadline))?.map_err(|e| http.unreachable(e))?;
        let status = answer.status();
        if matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED) {
            return Ok(PushEnd::NoSuchRoute);
        }
        if !status.is_success() {
            let read = timeout(http.deadline, http.read(answer.into_body())).await;
            let body = read.map_err(|_| http.timed_out(http.deadline))??;
            return Err(http.refusal(status, &body));
        }
        let hearing = read_answer(http, answer.into_body(), frames);
        let last_moment = async {
            over.cancelled().await;
            tokio::time::sleep(http.deadline).await;
        };
        tokio::select! {
            ended = hearing => if over.is_cancelled() { Ok(PushEnd::Over) } else { Err(ended) },
            () = last_moment => Ok(PushEnd::Over),
        }
    };
    tokio::pin!(exchange, connection);
    tokio::select! {
        ended = &mut exchange => return ended,
        _ = &mut connection => {}
    }
    // Data that arrived before the end of the connection is processed, and says how it ended.
    exchange.await
}

/// Reads the answer to its end and returns the reason for the end.
async fn read_answer(http: &Http, mut answer: Incoming, frames: &FrameReceiver) -> UplinkError {
    let mut buffer = BytesMut::new();
    let mut last_problem = None;
    loop {
        match answer.frame().await {
            None => {
                let ended = || http.unreachable("the hub ended the stream of frames");
                return last_problem.map_or_else(ended, UplinkError::Problem);
            }
            Some(Err(e)) => return http.unreachable(e),
            Some(Ok(chunk)) => {
                if let Some(data) = chunk.data_ref() {
                    buffer.extend_from_slice(data);
                }
            }
        }
        while let Some(end) = buffer.iter().position(|&byte| byte == b'\n') {
            let line = buffer.split_to(end + 1);
            if line.trim_ascii().is_empty() {
                continue;
            }
            match serde_json::from_slice(&line) {
                Ok(AnswerLine::Receipt(receipt)) => {
                    last_problem = None;
                    frames.accepted(receipt);
                }
                Ok(AnswerLine::Problem { problem }) => {
                    last_problem = Some(problem.clone());
                    if let Err(error) = frames.record(Err(UplinkError::Problem(problem))) {
                        return error;
                    }
                }
                Err(e) => return http.not_a_hub(format!("its answer was not understood: {e}")),
            }
        }
        if buffer.len() > MAX_LINE {
            return http.not_a_hub("a line of its answer has no end".to_owned());
        }
    }
}

/// The request body: header and JPEG of each frame as two chunks; the JPEG is not copied.
fn parts(
    slot: watch::Receiver<Option<Frame>>,
    offset: ClockOffset,
    over: CancellationToken,
) -> impl stream::Stream<Item = Result<Chunk<Bytes>, Infallible>> + Send + 'static {
    struct BodyState {
        slot: watch::Receiver<Option<Frame>>,
        offset: ClockOffset,
        over: CancellationToken,
        /// The frame whose header was sent.
        jpeg: Option<Bytes>,
    }
    stream::unfold(BodyState { slot, offset, over, jpeg: None }, async |mut parts| {
        if let Some(jpeg) = parts.jpeg.take() {
            return Some((Ok(Chunk::data(jpeg)), parts));
        }
        if parts.over.is_cancelled() {
            return None;
        }
        let head = match frame_publisher::next(&mut parts.slot).await {
            Some(frame) => {
                parts.jpeg = Some(frame.jpeg().clone());
                head(&match parts.offset.secs() {
                    Some(secs) => frame.with_clock_offset(secs),
                    None => frame,
                })
            }
            None => {
                parts.over.cancel();
                format!("\r\n--{BOUNDARY}--\r\n")
            }
        };
        Some((Ok(Chunk::data(head.into())), parts))
    })
}

/// The header of a part. The line break before the boundary belongs to the boundary (RFC 2046 section 5.1.1).
fn head(frame: &Frame) -> String {
    let mut head =
        format!("\r\n--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n", frame.jpeg().len());
    for (name, value) in stamps(frame) {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    head
}

/// The headers of a frame: its capture time, its number, and the offset between the clocks.
///
/// A clock that was never set shows a time that no hub accepts; then the hub's time is sent if it is known,
/// otherwise none.
pub(super) fn stamps(frame: &Frame) -> impl Iterator<Item = (&'static str, String)> {
    let own = frame.taken_at().is_valid();
    let at = if own { frame.taken_at() } else { frame.captured_at() };
    let offset = (own && frame.clock_offset_secs() != 0.0).then(|| frame.clock_offset_secs());
    [
        ("x-timestamp", at.is_valid().then(|| at.as_secs_f64().to_string())),
        ("x-sequence", frame.sequence().map(|number| number.to_string())),
        ("x-clock-offset", offset.map(|secs| secs.to_string())),
    ]
    .into_iter()
    .filter_map(|(name, value)| value.map(|value| (name, value)))
}

fn content_type() -> HeaderValue {
    HeaderValue::from_static("multipart/x-mixed-replace; boundary=iotpi-picture")
}

/// Limits the data that the kernel keeps, and the time for which the peer may accept none. On systems other
/// than Linux the kernel's defaults apply.
fn bound_buffers(socket: &TcpStream, deadline: Duration) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let socket = socket2::SockRef::from(socket);
        // A kernel without this option works, too.
        let _ = socket.set_tcp_notsent_lowat(MAX_UNSENT);
        let _ = socket.set_tcp_user_timeout(Some(deadline));
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (socket, deadline);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    fn taken(at: Timestamp) -> Frame {
        let jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 1, 0, 1, 0xFF, 0xD9];
        Frame::from_jpeg(jpeg.into(), at).unwrap()
    }

    fn said(frame: &Frame) -> Vec<(&'static str, String)> {
        stamps(frame).collect()
    }

    #[test]
    fn a_time_has_microseconds_and_the_clock_offset() {
        let frame = taken(Timestamp::from_micros(1_795_472_000_123_456)).numbered(7).with_clock_offset(-0.25);

        let expected = [
            ("x-timestamp", "1795472000.123456".to_owned()),
            ("x-sequence", "7".to_owned()),
            ("x-clock-offset", "-0.25".to_owned()),
        ];
        assert_eq!(said(&frame), expected);
    }

    #[test]
    fn a_camera_whose_clock_was_never_set_uses_the_time_of_the_hub() {
        let in_1970 = taken(Timestamp::from_micros(5_000_000));

        let known = said(&in_1970.clone().with_clock_offset(1_795_472_000.0));
        let unknown = said(&in_1970);

        assert_eq!(known, [("x-timestamp", "1795472005".to_owned())]);
        assert_eq!(unknown, []);
    }

    #[test]
    fn the_boundary_in_the_head_is_that_of_the_parts() {
        let said = content_type();

        assert!(said.to_str().unwrap().ends_with(&format!("; boundary={BOUNDARY}")));
    }
}
