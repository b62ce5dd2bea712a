//! The accept loop.

use std::{io, sync::Arc, time::Duration};

use axum::Router;
use http::{Response, header};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

use super::connection::{App, serve_connection};
use crate::{
    Hub,
    admission::{Connections, busy},
    http::{problem, proxy::Client, router},
};

/// Size of the token bucket that limits how fast connections are accepted, and its refill rate. A thundering herd is accepted
/// gradually.
const MAX_ACCEPT_BURST: u32 = 256;
const MAX_ACCEPTS_PER_SEC: u32 = 1000;
/// Pause after `accept` failed, for example without free file descriptors, in which connections may close.
const ACCEPT_ERROR_PAUSE: Duration = Duration::from_millis(100);
/// Connections that are being refused at a time; further ones are closed without a response.
const MAX_REFUSALS: usize = 64;
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

impl Hub {
    /// Serves the hub on all connections of the listener until it [stops](Hub::shutdown), and returns when
    /// the last request has been answered. The number of connections, and the time and memory that each may
    /// take, are limited.
    ///
    /// # Cancel safety
    /// When cancelled, no more connections are accepted. Those that are open are served until the hub stops.
    pub async fn serve(self, listener: TcpListener) {
        let router = router(self.clone());
        self.accept(listener, App::Hub(router)).await;
    }

    /// Like [`Self::serve`], for a router of the program that contains [`Self::router`]. The limits on
    /// connections apply to all routes; the budgets for bodies and queries, and the checks of the host name
    /// and the origin, to those of the hub only. Camera frames are received like every other request, which
    /// costs more CPU time than the fast path of [`Self::serve`].
    ///
    /// # Cancel safety
    /// As [`Self::serve`].
    pub async fn serve_router(self, listener: TcpListener, router: Router) {
        self.accept(listener, App::Program(router)).await;
    }

    async fn accept(self, listener: TcpListener, app: App) {
        let connections = Connections::new(self.config().http.max_connections as usize);
        let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
        let mut rate = AcceptRate::new();
        loop {
            rate.acquire().await;
            let accepted = tokio::select! {
                () = self.stopping().cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_ERROR_PAUSE).await;
                    continue;
                }
            };
            let is_proxy = Client::is_trusted(&self.config().http.trusted_proxies, peer.ip());
            if let Some(permit) = connections.enter(peer.ip(), is_proxy) {
                let connections = Arc::clone(&connections);
                let serving = serve_connection(self.clone(), app.clone(), connections, stream, permit);
                self.inner.tasks.spawn(serving);
            } else {
                self.inner.metrics.connections_refused.inc();
                if let Ok(permit) = Arc::clone(&refusals).try_acquire_owned() {
                    self.inner.tasks.spawn(refuse(stream, permit, connections.limit()));
                }
            }
        }
        drop(listener);
        // All of them close within the time to drain.
        connections.closed().await;
    }
}

/// The token bucket of the accept loop.
struct AcceptRate {
    tokens: f64,
    refilled_at: Instant,
}

impl AcceptRate {
    fn new() -> Self {
        Self { tokens: f64::from(MAX_ACCEPT_BURST), refilled_at: Instant::now() }
    }

    /// Waits for a token and takes it.
    async fn acquire(&mut self) {
        let elapsed = self.refilled_at.elapsed().as_secs_f64();
        self.refilled_at = Instant::now();
        let refilled = self.tokens + elapsed * f64::from(MAX_ACCEPTS_PER_SEC);
        self.tokens = refilled.min(f64::from(MAX_ACCEPT_BURST));
        if self.tokens < 1.0 {
            tokio::time::sleep(Duration::from_secs(1) / MAX_ACCEPTS_PER_SEC).await;
        }
        self.tokens -= 1.0;
    }
}

/// Responds that all connections are taken, and closes this one.
async fn refuse(mut stream: TcpStream, _permit: OwnedSemaphorePermit, limit: usize) {
    let error = busy(format!("{limit} connections are open already; try again later"));
    let response: Response<String> = problem::into_response(&error);
    let header =
        |name| response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let response = format!(
        "HTTP/1.1 {}\r\ncontent-type: {}\r\ncontent-length: {}\r\nretry-after: {}\r\nconnection: close\r\n\r\n{}",
        response.status(),
        header(header::CONTENT_TYPE),
        response.body().len(),
        header(header::RETRY_AFTER),
        response.body(),
    );
    let send = async {
        stream.write_all(response.as_bytes()).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would send a reset, which may overtake the response.
        let mut discarded = [0; 1024];
        while stream.read(&mut discarded).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(REFUSAL_TIMEOUT, send).await;
}
