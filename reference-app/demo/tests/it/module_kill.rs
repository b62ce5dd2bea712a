//! A module is killed while its hub is away: the readings on disk arrive, and the missing ones are identified
//! by their sequence numbers.

use std::process::Stdio;

use iotpi_core::{HubClient, Reading, ReadingFilter};
use rustix::process::{Pid, Signal};
use tokio::process::Command;

use crate::demo::{DEADLINE, Demo, id, program};

const ATTIC: &str =
    "id = \"attic\"\nheartbeat_secs = 1\n[[device]]\ndriver = \"ds18b20\"\nbus = \"sim\"\nevery_secs = 0.1\n";

/// Polls until the condition is true.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let asking = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, asking).await.is_ok(), "not in time: {what}");
}

async fn readings(hub: &HubClient) -> Vec<Reading> {
    let filter =
        ReadingFilter { module_id: Some(id("attic")), limit: Some(1000), ..ReadingFilter::default() };
    hub.readings(&"temperature".parse().unwrap(), &filter)
        .await
        .map_or_else(|_| Vec::new(), |page| page.items)
}

#[tokio::test]
async fn a_module_killed_in_an_outage_brings_what_it_wrote_down_and_its_account_adds_up() {
    let demo = Demo::start().await;
    let hub = demo.admin().await;
    let token = demo.token(&["--role", "module", "--module", "attic"]).await;
    let settings = demo.data.path().join("attic.toml");
    let outbox = demo.data.path().join("attic.outbox");
    std::fs::write(&settings, ATTIC).unwrap();
    let start = |url: &str| {
        Command::new(program("iotpi-module"))
            .arg("run")
            .arg(&settings)
            .arg("--outbox")
            .arg(&outbox)
            .args(["--hub", url])
            .env("IOTPI_TOKEN", &token)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    };
    let segment = || {
        let files = std::fs::read_dir(&outbox).into_iter().flatten().flatten();
        files.map(|file| file.path()).find(|path| path.extension().is_some_and(|e| e == "seg"))
    };

    // No server listens on this port.
    let mut module = start("http://127.0.0.1:1");
    until("readings are on disk", || async { segment().is_some() }).await;
    let pid = module.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
    rustix::process::kill_process(pid, Signal::KILL).unwrap();
    module.wait().await.unwrap();
    assert!(readings(&hub).await.is_empty());
    let mut module = start(&demo.url);
    let account = || async { hub.delivery(&id("attic")).await.ok().and_then(|account| account.total) };
    // The number of readings in memory at that moment varies and may be zero; each is in the delivery
    // account.
    until("all are accounted for", || async {
        let adds_up = |total: iotpi_core::Delivery| {
            total.expected > 40 && total.missing == 0 && total.expected == total.received + total.lost
        };
        segment().is_none() && account().await.is_some_and(adds_up)
    })
    .await;
    let pid = module.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
    rustix::process::kill_process(pid, Signal::TERM).unwrap();
    assert!(module.wait().await.unwrap().success());

    let total = account().await.unwrap();
    assert_eq!(total.received, readings(&hub).await.len() as u64);
    assert_eq!((total.expected, total.missing), (total.received + total.lost, 0));

    demo.end().await;
}
