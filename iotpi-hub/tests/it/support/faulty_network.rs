//! A TCP proxy that simulates a faulty network between a module and a hub.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp::OwnedReadHalf, tcp::OwnedWriteHalf},
    task::JoinSet,
};

/// A fault of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection works.
    None,
    /// The connection is closed in the middle of a request (FIN).
    Cut,
    /// The connection is reset in the middle of a request (RST).
    Reset,
    /// The connection is accepted, but no data is forwarded.
    HalfOpen,
    /// The data is forwarded a few bytes at a time.
    Trickle,
    /// The request arrives, but the response is lost.
    AnswerLost,
    /// The request arrives twice, on two connections.
    Twice,
}

impl Fault {
    pub const ALL: [Self; 6] =
        [Self::Cut, Self::Reset, Self::HalfOpen, Self::Trickle, Self::AnswerLost, Self::Twice];
}

/// The proxy. It ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Mutex<Shared>>,
    _serving: JoinSet<()>,
}

struct Shared {
    hub: SocketAddr,
    fault: Fault,
    /// How many bytes of a request are forwarded before the fault.
    after: usize,
    /// How many connections had the fault since it was set.
    met: usize,
}

impl Proxy {
    pub async fn to(hub: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Mutex::new(Shared { hub, fault: Fault::None, after: 0, met: 0 }));
        let mut serving = JoinSet::new();
        serving.spawn({
            let shared = shared.clone();
            async move {
                let mut connections = JoinSet::new();
                while let Ok((client, _)) = listener.accept().await {
                    connections.spawn(pass(client, shared.clone()));
                    while connections.try_join_next().is_some() {}
                }
            }
        });
        Self { address, shared, _serving: serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the fault of later requests, after the given number of bytes.
    pub fn set(&self, fault: Fault, after: usize) {
        let mut shared = self.shared.lock().unwrap();
        (shared.fault, shared.after, shared.met) = (fault, after, 0);
    }

    /// Sets the new address of the hub.
    pub fn move_to(&self, hub: SocketAddr) {
        self.shared.lock().unwrap().hub = hub;
    }

    /// How many requests had the current fault.
    pub fn met(&self) -> usize {
        self.shared.lock().unwrap().met
    }
}

/// Forwards one connection. A request is one burst of bytes, because the clients here do not pipeline.
async fn pass(client: TcpStream, shared: Arc<Mutex<Shared>>) {
    let hub = shared.lock().unwrap().hub;
    let Ok(upstream) = TcpStream::connect(hub).await else { return };
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_hub, mut to_hub) = upstream.into_split();
    let (mut buffer, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    // The data sent on this connection since the last response.
    let mut request = Vec::new();
    loop {
        tokio::select! {
            read = from_client.read(&mut buffer) => {
                let Ok(1..) = read else { return };
                let bytes = &buffer[..read.unwrap()];
                let (fault, after) = {
                    let mut shared = shared.lock().unwrap();
                    shared.met += usize::from(request.is_empty() && shared.fault != Fault::None);
                    (shared.fault, shared.after)
                };
                request.extend_from_slice(bytes);
                match fault {
                    Fault::Cut | Fault::Reset if request.len() > after => {
                        let passed = request.len() - bytes.len();
                        let _ = to_hub.write_all(&bytes[..after.saturating_sub(passed).min(bytes.len())]).await;
                        if fault == Fault::Reset {
                            reset(from_client, to_client);
                            reset(from_hub, to_hub);
                        }
                        return;
                    }
                    Fault::HalfOpen => continue,
                    Fault::Trickle => {
                        for few in bytes.chunks(1 + after % 97) {
                            if to_hub.write_all(few).await.is_err() {
                                return;
                            }
                            tokio::task::yield_now().await;
                        }
                    }
                    _ => if to_hub.write_all(bytes).await.is_err() {
                        return;
                    }
                }
            }
            read = from_hub.read(&mut answer) => {
                let Ok(1..) = read else { return };
                let fault = shared.lock().unwrap().fault;
                let request = std::mem::take(&mut request);
                match fault {
                    Fault::AnswerLost => return,
                    Fault::Twice if !request.is_empty() => again(hub, &request).await,
                    _ => {}
                }
                if to_client.write_all(&answer[..read.unwrap()]).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Closes with a reset, which discards unsent and unread data.
fn reset(reading: OwnedReadHalf, writing: OwnedWriteHalf) {
    if let Ok(stream) = reading.reunite(writing) {
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

/// Repeats a request on a new connection, and waits until the response begins.
async fn again(hub: SocketAddr, request: &[u8]) {
    let Ok(mut stream) = TcpStream::connect(hub).await else { return };
    if stream.write_all(request).await.is_ok() {
        let _ = stream.read(&mut [0; 1024]).await;
    }
}
