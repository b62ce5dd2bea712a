//! A module that fills the disk makes the hub delete the readings of that module only.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use iotpi_hub::{Config, StorageConfig, maintenance::Machine, testing::TestHub};
use serde_json::{Value, json};

use crate::support::{
    api::{Api, NOW, NOW_SECS},
    seeded_random::noise,
};

const MIB: u64 = 1 << 20;
const DAY: f64 = 86_400.0;

/// Readings of random values, `interval_secs` apart; the last one is taken now.
fn readings(module: &str, count: u32, interval_secs: f64) -> Vec<Value> {
    (0..count)
        .map(
            |n| json!({"module_id": module, "value": noise(n.into()), "timestamp": NOW_SECS - f64::from(n) * interval_secs}),
        )
        .collect()
}

async fn deliver(api: &Api, token: &str, readings: &[Value]) {
    for batch in readings.chunks(1000) {
        api.post("/api/sensors/temperature", json!(batch)).token(token).ok().await;
    }
    api.hub.store().compact().await.unwrap();
}

async fn stored(api: &Api, module: &str) -> usize {
    let path = format!("/api/sensors/temperature?format=ndjson&module_id={module}");
    api.get(&path).send().await.body.iter().filter(|byte| **byte == b'\n').count()
}

#[tokio::test]
async fn a_full_disk_costs_the_module_that_filled_it_its_readings_and_no_other_module() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/hub.db", folder.path().display());
    // How many of the next checks report little free space.
    let checks_with_little_space = Arc::new(AtomicU64::new(0));
    let checks = Arc::clone(&checks_with_little_space);
    let free = move |_: &Path| {
        let is_little = checks.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        Ok(if is_little.is_ok() { MIB / 2 } else { 1024 * MIB })
    };
    let machine = Machine::default().with_check_interval(Duration::from_secs(86_400)).with_free_bytes(free);
    // The free space that growth by more than 16 KiB takes.
    let storage = StorageConfig { low_water_bytes: MIB, ..StorageConfig::default() };
    let config = Config { storage, ..Config::default() };
    let api = Api::of(TestHub::on_machine(config, &url, machine, NOW).await.unwrap()).await;
    let (honest, flooder) = (api.module("honest").await, api.module("flooder").await);
    // The honest module delivers the readings of a year, which would be deleted first if only their age
    // counted. The flooder delivers five times as many within a day.
    deliver(&api, &honest, &readings("honest", 4_000, DAY / 11.0)).await;
    api.hub.advance(Duration::from_secs(40 * 86_400));
    deliver(&api, &flooder, &readings("flooder", 20_000, 1.0)).await;

    checks_with_little_space.store(1, Ordering::Relaxed);
    api.hub.check_free_space().await.unwrap();

    assert_eq!(stored(&api, "honest").await, 4_000);
    let left = stored(&api, "flooder").await;
    assert!(left < 10_000, "{left}");
    deliver(&api, &honest, &readings("honest", 1, 1.0)).await;
    api.stop().await;
}
