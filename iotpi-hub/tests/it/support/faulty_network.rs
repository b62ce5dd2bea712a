//! A bad network between a module and a hub: a TCP proxy that breaks each connection in the way a test says.

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

/// What happens to a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// It ends in the middle of a request, in order (FIN).
    Cut,
    /// It ends in the middle of a request with a reset (RST).
    Reset,
    /// It is taken, and nothing is passed on.
    HalfOpen,
    /// A few bytes at a time.
    Trickle,
    /// The request arrives, and the answer is lost.
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
    /// How many bytes of a request pass before it is broken.
    after: usize,
    /// How many connections met the fault since it was set.
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

    /// From now on requests meet this, after so many of their bytes.
    pub fn set(&self, fault: Fault, after: usize) {
        let mut shared = self.shared.lock().unwrap();
        (shared.fault, shared.after, shared.met) = (fault, after, 0);
    }

    /// The hub is somewhere else now.
    pub fn move_to(&self, hub: SocketAddr) {
        self.shared.lock().unwrap().hub = hub;
    }

    /// How many requests met the present fault.
    pub fn met(&self) -> usize {
        self.shared.lock().unwrap().met
    }
}

/// Passes one connection on. A request is looked at as a whole burst of bytes: clients here send no two at once.
async fn pass(client: TcpStream, shared: Arc<Mutex<Shared>>) {
    let hub = shared.lock().unwrap().hub;
    let Ok(upstream) = TcpStream::connect(hub).await else { return };
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_hub, mut to_hub) = upstream.into_split();
    let (mut buffer, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    // What was sent on this connection since the last answer.
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

/// Closes with a reset: what is unsent and unread is thrown away.
fn reset(reading: OwnedReadHalf, writing: OwnedWriteHalf) {
    if let Ok(stream) = reading.reunite(writing) {
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    }
}

/// Sends a request once more, on a connection of its own, and waits for the answer to begin.
async fn again(hub: SocketAddr, request: &[u8]) {
    let Ok(mut stream) = TcpStream::connect(hub).await else { return };
    if stream.write_all(request).await.is_ok() {
        let _ = stream.read(&mut [0; 1024]).await;
    }
}
