//! A minimal server for comparison, on plain sockets. It reads a request into one buffer and writes the
//! newest frame from that buffer to the viewers. It has no checks, no limits, and no socket options except
//! `TCP_NODELAY`.

use std::{
    collections::HashMap,
    io::{self, IoSlice},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// The bytes of a request: its head, then the frame.
#[derive(Debug, Default)]
struct Request {
    bytes: Vec<u8>,
    body_at: usize,
}

type Newest = watch::Sender<Arc<Request>>;
type Cameras = Arc<Mutex<HashMap<String, Newest>>>;

/// Accepts frames by POST and streams the newest to GET requests; the query is the camera.
///
/// # Errors
/// Those of the listener.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let cameras = Cameras::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let cameras = Arc::clone(&cameras);
        tokio::spawn(async move {
            // An error ends only this connection.
            let _ = connection(stream, &cameras).await;
        });
    }
}

fn camera(cameras: &Cameras, query: &str) -> Newest {
    let mut cameras = cameras.lock().unwrap_or_else(PoisonError::into_inner);
    cameras.entry(query.to_owned()).or_insert_with(|| watch::Sender::new(Arc::default())).clone()
}

async fn connection(mut stream: TcpStream, cameras: &Cameras) -> io::Result<()> {
    let mut last_camera: Option<(String, Newest)> = None;
    let mut spare = Vec::with_capacity(64 * 1024);
    loop {
        let (request, is_get) = read(&mut stream, std::mem::take(&mut spare)).await?;
        let line = request.bytes.split(|&b| b == b'\r').next().unwrap_or_default();
        let target = line.split(|&b| b == b' ').nth(1).unwrap_or_default();
        let query = target.split(|&b| b == b'?').nth(1).unwrap_or_default();
        let newest = match &last_camera {
            Some((name, newest)) if name.as_bytes() == query => newest,
            _ => {
                let name = String::from_utf8_lossy(query).into_owned();
                let newest = camera(cameras, &name);
                &last_camera.insert((name, newest)).1
            }
        };
        if is_get {
            return stream_frames(stream, newest.subscribe()).await;
        }
        let last = newest.send_replace(Arc::new(request));
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
        // If all viewers have sent the previous frame, its memory is reused.
        spare = Arc::try_unwrap(last).map(|request| request.bytes).unwrap_or_default();
        spare.clear();
    }
}

/// The next complete request, and whether it is a GET.
async fn read(stream: &mut TcpStream, mut bytes: Vec<u8>) -> io::Result<(Request, bool)> {
    bytes.reserve(4096);
    let body_at = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The search is limited to the head.
        let head = &bytes[..bytes.len().min(4096)];
        if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..body_at]);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let is_get = head.starts_with("GET ");
    let total = body_at + length;
    bytes.reserve(total.saturating_sub(bytes.len()));
    while bytes.len() < total {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((Request { bytes, body_at }, is_get))
}

async fn stream_frames(mut stream: TcpStream, mut newest: watch::Receiver<Arc<Request>>) -> io::Result<()> {
    let head =
        "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n--frame\r\n";
    stream.write_all(head.as_bytes()).await?;
    newest.mark_changed();
    while newest.changed().await.is_ok() {
        let request = Arc::clone(&newest.borrow_and_update());
        let jpeg = &request.bytes[request.body_at..];
        if jpeg.is_empty() {
            continue;
        }
        let head = format!("Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
        let mut parts = [IoSlice::new(head.as_bytes()), IoSlice::new(jpeg), IoSlice::new(b"\r\n--frame\r\n")];
        let mut left: &mut [IoSlice<'_>] = &mut parts;
        while !left.is_empty() {
            let written = stream.write_vectored(left).await?;
            IoSlice::advance_slices(&mut left, written);
        }
    }
    Ok(())
}
