//! A hub on a store of the program: it keeps everything in SQLite and prints each reading that was recorded.
//!
//! A store of another kind implements the same traits; `iotpi_hub::store_contract!` (feature `testing`)
//! generates the tests that each has to pass.
#![allow(missing_docs)]

mod tapped_store;

use std::sync::Arc;

use iotpi_hub::{Config, Hub, iotpi_core::SystemClock, store};
use tokio::{net::TcpListener, sync::broadcast};

use self::tapped_store::TappedStore;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (recorded, mut readings) = broadcast::channel(1024);
    let config = Config { store: "sqlite://iotpi-data/hub.db".into(), ..Config::default() };
    let store = TappedStore::new(store::open(&config.store).await?, recorded);
    let hub = Hub::start(config.clone(), Arc::new(store), SystemClock::shared()).await?;
    if let Some(code) = hub.first_admin_code().await? {
        println!("create the first admin with the code {code}");
    }
    let serving = tokio::spawn(hub.clone().serve(TcpListener::bind(config.listen).await?));
    println!("http://{}", config.listen);

    loop {
        tokio::select! {
            Ok(reading) = readings.recv() => println!("{} {:?}", reading.module_id, reading.outcome),
            _ = tokio::signal::ctrl_c() => break,
        }
    }

    hub.shutdown().await?;
    Ok(serving.await?)
}
