//! A module process without a `tracing` subscriber: it prints that its hub is absent.
//!
//! The process is this test program, started again to run only [`waiting_process`].

use std::{process::Stdio, time::Duration};

use iotpi_core::{HubClient, Quantity, Runner, SensorModule, measure};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::Command,
};

use crate::bounded;

const URL: &str = "IOTPI_TEST_URL";

#[test]
#[ignore = "a process that the test of this file starts"]
fn waiting_process() {
    let url = std::env::var(URL).expect("the address of the hub");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hub = HubClient::new(&url).unwrap();
    let sensor = measure(Quantity::Temperature, async || Ok(21.5));
    let runner = Runner::new(hub.uplink("attic".parse().unwrap()));
    runtime.block_on(runner.run(SensorModule::new(sensor, Duration::from_secs(1)))).unwrap();
}

#[tokio::test]
async fn a_module_without_a_subscriber_prints_that_its_hub_is_absent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "reports::waiting_process", "--ignored", "--nocapture"])
        .env(URL, &url)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();

    let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
    let report = bounded("the report", async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the process reports before it ends");
            if line.contains("attic") {
                return line;
            }
        }
    });

    let report = report.await;
    assert!(report.contains(&url) && report.contains("cannot be reached"), "{report}");
    process.kill().await.unwrap();
}
