//! A module with `--once`, as cron starts it.

use std::process::Output;

use crate::support::demo::{Demo, id, module_command};

const ATTIC: &str = "id = \"attic\"\n[[device]]\ndriver = \"bme280\"\nbus = \"sim\"\n";

async fn once(demo: &Demo, hub: &str, token: &str) -> Output {
    let settings = demo.data.path().join("attic.toml");
    std::fs::write(&settings, ATTIC).unwrap();
    module_command(&settings, hub, token).arg("--once").output().await.unwrap()
}

#[tokio::test]
async fn once_delivers_one_reading_of_each_quantity_and_exits() {
    let demo = Demo::start().await;
    let token = demo.token(&["--role", "module", "--module", "attic"]).await;

    let output = once(&demo, &demo.url, &token).await;

    assert!(output.status.success(), "{output:?}");
    let newest = demo.admin().await.newest(Some(&id("attic"))).await.unwrap();
    let measured: Vec<_> = newest.iter().map(|reading| reading.quantity.name().to_string()).collect();
    assert_eq!(measured, ["humidity", "pressure", "temperature"]);

    demo.stop().await;
}

#[tokio::test]
async fn once_fails_if_the_hub_refuses_the_reading_or_cannot_be_reached() {
    let demo = Demo::start().await;
    let other_module = demo.token(&["--role", "module", "--module", "cellar"]).await;

    let refused = once(&demo, &demo.url, &other_module).await;
    let unreachable = once(&demo, "http://127.0.0.1:1", &other_module).await;

    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cellar"), "{refused:?}");
    assert_eq!(unreachable.status.code(), Some(1), "{unreachable:?}");

    demo.stop().await;
}
