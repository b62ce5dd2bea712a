//! A hub that takes films and nothing else: it does what a test tells it and says what it heard.

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

/// How the hub of a test is.
#[derive(Clone, Copy, Default)]
pub struct Manners {
    /// How far its clock is ahead, in seconds; without it there is no route to ask.
    pub clock_ahead: Option<f64>,
    /// It has no persistent push.
    pub old: bool,
    /// It refuses every push with 401.
    pub strict: bool,
    /// It takes parts only when told to.
    pub slow: bool,
}

/// What the hub heard.
#[derive(Debug)]
pub enum Heard {
    /// A push began.
    Push { authorization: Option<String>, content_type: String },
    /// A part of a push: its head's lines in lower case, its body.
    Part { head: String, jpeg: Bytes },
    /// A single picture: its target, its headers, its body.
    Single { target: String, headers: HeaderMap, jpeg: Bytes },
    /// A push ended, in order or not.
    End { in_order: bool },
}

pub struct FrameHub {
    pub url: String,
    pub heard: mpsc::UnboundedReceiver<Heard>,
    /// Lines of the answer to come; `None` ends it.
    pub say: mpsc::UnboundedSender<Option<String>>,
    /// With `slow`: how many parts it may take.
    pub take: Arc<Semaphore>,
    pub connections: Arc<AtomicUsize>,
    _serving: JoinSet<()>,
}

struct Inside {
    manners: Manners,
    heard: mpsc::UnboundedSender<Heard>,
    lines: tokio::sync::Mutex<mpsc::UnboundedReceiver<Option<String>>>,
    take: Arc<Semaphore>,
}

type Answer = Response<Either<Full<Bytes>, Channel<Bytes, Infallible>>>;

pub async fn frame_hub(manners: Manners) -> FrameHub {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (told, heard) = mpsc::unbounded_channel();
    let (say, lines) = mpsc::unbounded_channel();
    let (take, connections) = (Arc::new(Semaphore::new(0)), Arc::<AtomicUsize>::default());
    let inside = Arc::new(Inside { manners, heard: told, lines: lines.into(), take: take.clone() });
    let mut serving = JoinSet::new();
    let count = connections.clone();
    serving.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((socket, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let inside = inside.clone();
            open.spawn(async move {
                let service = service_fn(move |request| answer(inside.clone(), request));
                let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    FrameHub { url, heard, say, take, connections, _serving: serving }
}

impl FrameHub {
    /// The next thing it heard, other than that a push began.
    pub async fn next(&mut self) -> Heard {
        loop {
            match self.heard.recv().await.unwrap() {
                Heard::Push { .. } => {}
                heard => return heard,
            }
        }
    }

    /// The next part of a push.
    pub async fn part(&mut self) -> (String, Bytes) {
        match self.next().await {
            Heard::Part { head, jpeg } => (head, jpeg),
            other => panic!("not a part: {other:?}"),
        }
    }

    pub fn receipt(&self, viewers: u32) {
        self.say.send(Some(format!("{{\"viewers\":{viewers},\"seq\":1,\"more\":true}}\n"))).unwrap();
    }
}

fn plain(status: StatusCode, body: String) -> Answer {
    let mut answer = Response::new(Either::Left(Full::from(body)));
    *answer.status_mut() = status;
    answer
}

async fn answer(inside: Arc<Inside>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let target = request.uri().to_string();
    Ok(match (request.method(), request.uri().path()) {
        (&Method::GET, "/api/time") if let Some(ahead) = inside.manners.clock_ahead => {
            let hub_time = SystemClock::new().now().as_secs_f64() + ahead;
            plain(StatusCode::OK, format!("{{\"hub_time\":{hub_time}}}"))
        }
        (&Method::POST, "/api/camera/frame") => {
            let (head, body) = request.into_parts();
            let jpeg = body.collect().await.unwrap().to_bytes();
            inside.heard.send(Heard::Single { target, headers: head.headers, jpeg }).unwrap();
            plain(StatusCode::OK, r#"{"viewers":3,"seq":1}"#.to_owned())
        }
        (&Method::POST, "/api/camera/stream") if !inside.manners.old => push(&inside, request).await,
        (&Method::POST, "/api/camera/stream") => plain(StatusCode::METHOD_NOT_ALLOWED, String::new()),
        _ => plain(StatusCode::NOT_FOUND, String::new()),
    })
}

async fn push(inside: &Arc<Inside>, request: Request<Incoming>) -> Answer {
    let text = |name| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let (authorization, content_type) = (text(AUTHORIZATION), text(CONTENT_TYPE).unwrap());
    inside.heard.send(Heard::Push { authorization, content_type }).unwrap();
    let mut parts = Parts { body: request.into_body(), buffer: BytesMut::new() };
    let first = parts.next().await;
    if inside.manners.strict {
        let problem = serde_json::to_string(&crate::problem(iotpi_core::ErrorKind::Unauthenticated)).unwrap();
        return plain(StatusCode::UNAUTHORIZED, problem);
    }
    let (mut say, body) = Channel::new(16);
    let inside = inside.clone();
    tokio::spawn(async move {
        let reading = async {
            let mut part = first;
            while let Ok(Some((head, jpeg))) = part {
                inside.heard.send(Heard::Part { head, jpeg }).unwrap();
                if inside.manners.slow {
                    inside.take.acquire().await.unwrap().forget();
                }
                part = parts.next().await;
            }
            let _ = inside.heard.send(Heard::End { in_order: matches!(part, Ok(None)) });
        };
        let saying = async {
            let mut lines = inside.lines.lock().await;
            while let Some(Some(line)) = lines.recv().await {
                say.send(Chunk::data(line.into())).await.unwrap();
            }
        };
        tokio::select! {
            () = reading => {}
            () = saying => {}
        }
    });
    Response::new(Either::Right(body))
}

/// The parts of a push, read as any hub would: a boundary's line, a head, as many bytes as it says.
struct Parts {
    body: Incoming,
    buffer: BytesMut,
}

impl Parts {
    /// Nothing after the closing boundary; an error when the body ended before it.
    async fn next(&mut self) -> Result<Option<(String, Bytes)>, ()> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap().to_ascii_lowercase();
                assert!(head.trim_start().starts_with("--iotpi-picture\r\n"), "{head}");
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                let whole = end + 4 + length.parse::<usize>().unwrap();
                if self.buffer.len() >= whole {
                    let part = self.buffer.split_to(whole).freeze();
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
