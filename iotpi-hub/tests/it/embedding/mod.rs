//! Hubs inside programs with routes, stores and callers of their own.

mod authentication;
mod own_routes;
mod own_store;
mod stop;
#[path = "../../../examples/own_store/tapped_store.rs"]
mod tapped_store;
mod two_hubs;

use std::net::SocketAddr;

use axum::Router;
use iotpi_core::SystemClock;
use iotpi_hub::{Config, Hub, store, testing::TestHub};
use tokio::net::TcpListener;

use crate::support::api::Api;

/// The HTTP servers that a program may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Server {
    /// `axum::serve`, with the addresses of clients.
    Axum,
    /// The accept loop of the hub.
    Hub,
}

impl Server {
    const ALL: [Self; 2] = [Self::Axum, Self::Hub];

    async fn serve(self, hub: Hub, listener: TcpListener, app: Router) {
        match self {
            Self::Hub => hub.serve_router(listener, app).await,
            Self::Axum => {
                let stopped = hub.stopping().clone().cancelled_owned();
                let app = app.into_make_service_with_connect_info::<SocketAddr>();
                axum::serve(listener, app).with_graceful_shutdown(stopped).await.unwrap();
            }
        }
    }
}

/// A hub in a program whose router contains the hub's.
async fn embedded(config: Config, server: Server, app: impl FnOnce(&Hub) -> Router) -> Api {
    let store = store::open("sqlite::memory:").await.unwrap();
    let hub = Hub::start(config, store, SystemClock::shared()).await.unwrap();
    let app = app(&hub);
    Api::of(TestHub::served_by(hub, |hub, listener| server.serve(hub, listener, app)).await.unwrap()).await
}
