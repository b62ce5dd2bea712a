//! A module is killed while its hub is down: the readings on disk arrive, and the hub counts the lost ones by
//! their sequence numbers.

use iotpi_core::{HubClient, Reading, ReadingFilter};
use rustix::process::Signal;

use crate::support::{
    demo::{Demo, Process, id, module_command},
    wait::{bounded, until},
};

const ATTIC: &str =
    "id = \"attic\"\nheartbeat_secs = 1\n[[device]]\ndriver = \"ds18b20\"\nbus = \"sim\"\nevery_secs = 0.1\n";

async fn readings(hub: &HubClient) -> Vec<Reading> {
    let filter = ReadingFilter::of(id("attic")).limit(1000);
    hub.readings(&"temperature".parse().unwrap(), &filter)
        .await
        .map_or_else(|_| Vec::new(), |page| page.items)
}

#[tokio::test]
async fn a_module_killed_while_the_hub_is_down_delivers_its_outbox_and_the_delivery_account_adds_up() {
    let demo = Demo::start().await;
    let hub = demo.admin().await;
    let token = demo.token(&["--role", "module", "--module", "attic"]).await;
    let settings = demo.data.path().join("attic.toml");
    let outbox = demo.data.path().join("attic.outbox");
    std::fs::write(&settings, ATTIC).unwrap();
    let start =
        |url: &str| module_command(&settings, url, &token).arg("--outbox").arg(&outbox).spawn().unwrap();
    let segment = || {
        let files = std::fs::read_dir(&outbox).into_iter().flatten().flatten();
        files.map(|file| file.path()).find(|path| path.extension().is_some_and(|e| e == "seg"))
    };

    // No server listens on this port.
    let mut module = start("http://127.0.0.1:1");
    until("readings are on disk", async || segment().is_some()).await;
    module.kill().await.unwrap();
    assert!(readings(&hub).await.is_empty());
    let mut module = start(&demo.url);
    let account = async || hub.delivery(&id("attic")).await.ok().and_then(|account| account.total);
    // How many readings were only in memory when the module was killed varies, and may be zero. The delivery
    // account has each of them.
    until("every reading is in the delivery account", async || {
        let adds_up = |total: iotpi_core::model::gap::Delivery| {
            total.expected > 40 && total.missing == 0 && total.expected == total.received + total.lost
        };
        segment().is_none() && account().await.is_some_and(adds_up)
    })
    .await;
    Process::of(&module).signal(Signal::TERM);
    assert!(bounded("the exit of the module", module.wait()).await.unwrap().success());

    let total = account().await.unwrap();
    assert_eq!(total.received, readings(&hub).await.len() as u64);
    assert_eq!((total.expected, total.missing), (total.received + total.lost, 0));

    demo.stop().await;
}
