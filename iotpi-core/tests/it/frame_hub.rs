//! A server with the frame routes of a hub. A test controls its behaviour and receives what clients send.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Either, Full, channel::Channel};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame as Chunk, Incoming},
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use iotpi_core::{Clock, SystemClock};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc},
    task::JoinSet,
};

use crate::bounded;

/// The behaviour of the server.
#[derive(Clone, Copy, Default)]
pub struct Behavior {
    /// The seconds by which its clock is ahead; `None`: it has no route for the time.
    pub clock_ahead: Option<f64>,
    /// It has no route for frame streams, as an older hub.
    pub is_old: bool,
    /// It refuses every stream with 401.
    pub refuses: bool,
    /// It reads a part only with a permit of the test.
    pub is_slow: bool,
}

/// What a client sent.
#[derive(Debug)]
pub enum Received {
    /// The request of a stream.
    Push { authorization: Option<String>, content_type: String },
    /// A part of a stream: its head in lower case, its body.
    Part { head: String, jpeg: Bytes },
    /// A single frame: its target, its headers, its body.
    Single { target: String, headers: HeaderMap, jpeg: Bytes },
    /// The end of a stream, with the closing boundary or without.
    End { is_complete: bool },
}

pub struct FrameHub {
    pub url: String,
    pub received: mpsc::UnboundedReceiver<Received>,
    /// The next lines of the response to a stream; `None` ends it.
    pub response_lines: mpsc::UnboundedSender<Option<String>>,
    /// With `is_slow`: the permits to read parts.
    pub permits: Arc<Semaphore>,
    pub connections: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

struct Shared {
    behavior: Behavior,
    received: mpsc::UnboundedSender<Received>,
    lines: tokio::sync::Mutex<mpsc::UnboundedReceiver<Option<String>>>,
    permits: Arc<Semaphore>,
}

type Answer = Response<Either<Full<Bytes>, Channel<Bytes, Infallible>>>;

pub async fn frame_hub(behavior: Behavior) -> FrameHub {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, received) = mpsc::unbounded_channel();
    let (response_lines, lines) = mpsc::unbounded_channel();
    let (permits, connections) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
    let shared =
        Arc::new(Shared { behavior, received: sender, lines: lines.into(), permits: permits.clone() });
    let mut serving = JoinSet::new();
    let count = connections.clone();
    serving.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let shared = shared.clone();
            open.spawn(async move {
                let service = service_fn(move |request| answer(shared.clone(), request));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    FrameHub { url, received, response_lines, permits, connections, _serving: serving }
}

impl FrameHub {
    /// The next event that is not the request of a stream.
    pub async fn next(&mut self) -> Received {
        bounded("an event of the server", async {
            loop {
                match self.received.recv().await.unwrap() {
                    Received::Push { .. } => {}
                    received => return received,
                }
            }
        })
        .await
    }

    /// The next part of a stream.
    pub async fn part(&mut self) -> (String, Bytes) {
        match self.next().await {
            Received::Part { head, jpeg } => (head, jpeg),
            other => panic!("not a part: {other:?}"),
        }
    }

    /// Sends a receipt.
    pub fn send_receipt(&self, viewers: u32) {
        self.response_lines
            .send(Some(format!("{{\"viewers\":{viewers},\"seq\":1,\"more\":true}}\n")))
            .unwrap();
    }
}

fn plain(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Either::Left(Full::from(body)));
    *answer.status_mut() = status;
    answer
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let target = request.uri().to_string();
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/api/time") if let Some(ahead) = shared.behavior.clock_ahead => {
            let hub_time = SystemClock::new().now().as_secs_f64() + ahead;
            plain(StatusCode::OK, format!("{{\"hub_time\":{hub_time}}}"))
        }
        (&Method::POST, "/api/camera/frame") => {
            let (head, body) = request.into_parts();
            let jpeg = body.collect().await.unwrap().to_bytes();
            shared.received.send(Received::Single { target, headers: head.headers, jpeg }).unwrap();
            plain(StatusCode::OK, r#"{"viewers":3,"seq":1}"#.to_owned())
        }
        (&Method::POST, "/api/camera/stream") if !shared.behavior.is_old => push(&shared, request).await,
        (&Method::POST, "/api/camera/stream") => plain(StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => plain(StatusCode::NOT_FOUND, String::new()),
    })
}

async fn push(shared: &Arc<Shared>, request: Request<Incoming>) -> Answer {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (authorization, content_type) = (text(AUTHORIZATION), text(CONTENT_TYPE).unwrap());
    shared.received.send(Received::Push { authorization, content_type }).unwrap();
    let mut parts = Parts { body: request.into_body(), buffer: BytesMut::new() };
    let first = parts.next().await;
    if shared.behavior.refuses {
        let problem =
            serde_json::to_string(&crate::problem(iotpi_core::model::error::ErrorKind::Unauthenticated))
                .unwrap();
        return plain(StatusCode::UNAUTHORIZED, problem);
    }
    let (mut response, body) = Channel::new(16);
    let shared = shared.clone();
    tokio::spawn(async move {
        let reading = async {
            let mut part = first;
            while let Ok(Some((head, jpeg))) = part {
                shared.received.send(Received::Part { head, jpeg }).unwrap();
                if shared.behavior.is_slow {
                    shared.permits.acquire().await.unwrap().forget();
                }
                part = parts.next().await;
            }
            let _ = shared.received.send(Received::End { is_complete: matches!(part, Ok(None)) });
        };
        let responding = async {
            let mut lines = shared.lines.lock().await;
            while let Some(Some(line)) = lines.recv().await {
                response.send(Chunk::data(line.into())).await.unwrap();
            }
        };
        tokio::select! {
            () = reading => {}
            () = responding => {}
        }
    });
    Response::new(Either::Right(body))
}

/// The parts of a stream: the line of the boundary, a head, and a body of the length in the head.
struct Parts {
    body: Incoming,
    buffer: BytesMut,
}

impl Parts {
    /// The next part; `None` after the closing boundary; an error if the body ends before it.
    async fn next(&mut self) -> Result<Option<(String, Bytes)>, ()> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap().to_ascii_lowercase();
                assert!(head.trim_start().starts_with("--iotpi-picture\r\n"), "{head}");
                let body_bytes = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                let length = end + 4 + body_bytes.parse::<usize>().unwrap();
                if self.buffer.len() >= length {
                    let part = self.buffer.split_to(length).freeze();
                    return Ok(Some((head, part.slice(end + 4..))));
                }
            } else if self.buffer.starts_with(b"\r\n--iotpi-picture--\r\n") {
                return Ok(None);
            }
            match self.body.frame().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(chunk.data_ref().unwrap()),
                _ => return Err(()),
            }
        }
    }
}
