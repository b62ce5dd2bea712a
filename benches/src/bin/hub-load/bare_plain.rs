//! A control: sockets with nothing around them. A request is read into one buffer, which then is the frame; viewers are
//! written the newest one, as it is. No check, no limit, no tuning of sockets but `TCP_NODELAY`.

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

/// A request as it came: its head, then the frame.
#[derive(Debug, Default)]
struct Request {
    bytes: Vec<u8>,
    body_at: usize,
}

type Newest = watch::Sender<Arc<Request>>;
type Cameras = Arc<Mutex<HashMap<String, Newest>>>;

/// Takes frames by POST and shows the newest to who GETs; a path's query is the camera.
///
/// # Errors
/// The listener's.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let cameras = Cameras::default();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let cameras = Arc::clone(&cameras);
        tokio::spawn(async move {
            // Whoever leaves ends its own connection.
            let _ = connection(stream, &cameras).await;
        });
    }
}

fn camera(cameras: &Cameras, query: &str) -> Newest {
    let mut cameras = cameras.lock().unwrap_or_else(PoisonError::into_inner);
    cameras.entry(query.to_owned()).or_insert_with(|| watch::Sender::new(Arc::default())).clone()
}

async fn connection(mut stream: TcpStream, cameras: &Cameras) -> io::Result<()> {
    let mut known: Option<(String, Newest)> = None;
    let mut spare = Vec::with_capacity(64 * 1024);
    loop {
        let (request, watches) = read(&mut stream, std::mem::take(&mut spare)).await?;
        let line = request.bytes.split(|&b| b == b'\r').next().unwrap_or_default();
        let target = line.split(|&b| b == b' ').nth(1).unwrap_or_default();
        let query = target.split(|&b| b == b'?').nth(1).unwrap_or_default();
        let newest = match &known {
            Some((name, newest)) if name.as_bytes() == query => newest,
            _ => {
                let name = String::from_utf8_lossy(query).into_owned();
                let newest = camera(cameras, &name);
                &known.insert((name, newest)).1
            }
        };
        if watches {
            return show(stream, newest.subscribe()).await;
        }
        let last = newest.send_replace(Arc::new(request));
        stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
        // The frame before has been seen by all: its memory is good for the next.
        spare = Arc::try_unwrap(last).map(|request| request.bytes).unwrap_or_default();
        spare.clear();
    }
}

/// The next request, whole, and whether it is a GET.
async fn read(stream: &mut TcpStream, mut bytes: Vec<u8>) -> io::Result<(Request, bool)> {
    bytes.reserve(4096);
    let body_at = loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // Only in the head: a frame is never looked through.
        let head = &bytes[..bytes.len().min(4096)];
        if let Some(at) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let head = String::from_utf8_lossy(&bytes[..body_at]);
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
    let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
    let watches = head.starts_with("GET ");
    let whole = body_at + length;
    bytes.reserve(whole.saturating_sub(bytes.len()));
    while bytes.len() < whole {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((Request { bytes, body_at }, watches))
}

async fn show(mut stream: TcpStream, mut newest: watch::Receiver<Arc<Request>>) -> io::Result<()> {
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
