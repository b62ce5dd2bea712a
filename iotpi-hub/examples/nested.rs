//! A program with pages of its own, which has the hub and its dashboard below `/iotpi/`.
//!
//! ```sh
//! cargo run --package iotpi-hub --example nested -- 127.0.0.1:8000 iotpi-data
//! ```
#![allow(missing_docs)]

use std::{env, net::SocketAddr};

use axum::{Router, response::Html, routing::get};
use iotpi_hub::{Config, Hub};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = env::args().skip(1);
    let listen = arguments.next().unwrap_or_else(|| "127.0.0.1:8000".into());
    let data = arguments.next().unwrap_or_else(|| "iotpi-data".into());

    let hub = Hub::open(Config { store: format!("sqlite://{data}/hub.db"), ..Config::default() }).await?;
    let app = Router::new()
        .route("/", get(async || Html("<title>The house</title><a href='iotpi/'>Sensors and cameras</a>")))
        .nest_service("/iotpi", hub.router());

    let listener = TcpListener::bind(listen).await?;
    println!("hub: http://{}/iotpi/", listener.local_addr()?);
    if let Some(code) = hub.first_admin_code().await? {
        println!("first admin code: {code}");
    }
    let stopping = hub.stopping().clone().cancelled_owned();
    let server = axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(stopping);
    let interrupted = async {
        tokio::signal::ctrl_c().await?;
        Ok(hub.shutdown().await?)
    };
    let (served, stopped): (_, Result<(), Box<dyn std::error::Error>>) = tokio::join!(server, interrupted);
    served?;
    stopped
}
