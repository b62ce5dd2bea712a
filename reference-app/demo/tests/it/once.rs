//! A module with `--once`, as cron starts it.

use std::process::Output;

use tokio::process::Command;

use crate::demo::{Demo, id, program};

const ATTIC: &str = "id = \"attic\"\n[[device]]\ndriver = \"bme280\"\nbus = \"sim\"\n";

async fn once(demo: &Demo, hub: &str, token: &str) -> Output {
    let settings = demo.data.path().join("attic.toml");
    std::fs::write(&settings, ATTIC).unwrap();
    Command::new(program("iotpi-module"))
        .arg("run")
        .arg(settings)
        .args(["--once", "--hub", hub])
        .env("IOTPI_TOKEN", token)
        .kill_on_drop(true)
        .output()
        .await
        .unwrap()
}

#[tokio::test]
async fn once_takes_one_reading_and_ends() {
    let demo = Demo::start().await;
    let token = demo.token(&["--role", "module", "--module", "attic"]).await;

    let ran = once(&demo, &demo.url, &token).await;

    assert!(ran.status.success(), "{ran:?}");
    let kept = demo.admin().await.newest(Some(&id("attic"))).await.unwrap();
    let measured: Vec<_> = kept.iter().map(|reading| reading.quantity.name().to_string()).collect();
    assert_eq!(measured, ["humidity", "pressure", "temperature"]);

    demo.end().await;
}

#[tokio::test]
async fn once_fails_when_the_hub_refuses_or_is_not_there() {
    let demo = Demo::start().await;
    let others = demo.token(&["--role", "module", "--module", "cellar"]).await;

    let refused = once(&demo, &demo.url, &others).await;
    let nobody = once(&demo, "http://127.0.0.1:1", &others).await;

    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("cellar"), "{refused:?}");
    assert_eq!(nobody.status.code(), Some(1), "{nobody:?}");

    demo.end().await;
}
