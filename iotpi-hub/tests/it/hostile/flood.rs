//! A module that fills the disk makes the hub delete its own readings, and nobody else's.

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

use crate::support::api::{Api, NOW, NOW_SECS};

const MIB: u64 = 1 << 20;
const DAY: f64 = 86_400.0;

fn noise(n: u64) -> f64 {
    // SplitMix64 (Steele et al. 2014): not compressed to nothing.
    let mut z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    f64::from_bits(0x3FF0_0000_0000_0000 | ((z ^ (z >> 31)) >> 12))
}

/// Readings that are not compressed to nothing: so many, `every` so many seconds, the last taken now.
fn readings(module: &str, count: u32, every: f64) -> Vec<Value> {
    (0..count)
        .map(
            |n| json!({"module_id": module, "value": noise(n.into()), "timestamp": NOW_SECS - f64::from(n) * every}),
        )
        .collect()
}

async fn deliver(api: &Api, token: &str, readings: &[Value]) {
    for batch in readings.chunks(1000) {
        api.post("/api/sensors/temperature", json!(batch)).token(token).ok().await;
    }
    api.hub.store().settle().await.unwrap();
}

async fn kept(api: &Api, module: &str) -> usize {
    let path = format!("/api/sensors/temperature?format=ndjson&module_id={module}");
    api.get(&path).send().await.body.iter().filter(|byte| **byte == b'\n').count()
}

#[tokio::test]
async fn a_flooder_loses_its_own_readings_and_an_honest_module_none() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/hub.db", folder.path().display());
    // So many answers say that there is little room; what is deleted then makes some.
    let little = Arc::new(AtomicU64::new(0));
    let of = Arc::clone(&little);
    let free = move |_: &Path| {
        let is_little = of.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        Ok(if is_little.is_ok() { MIB / 2 } else { 1024 * MIB })
    };
    let machine = Machine::default().with_look_every(Duration::from_secs(86_400)).with_free_bytes(free);
    // What more than 16 KiB of growth takes.
    let storage = StorageConfig { low_water_bytes: MIB, ..StorageConfig::default() };
    let config = Config { storage, ..Config::default() };
    let api = Api::of(TestHub::on_machine(config, &url, machine, NOW).await.unwrap()).await;
    let (honest, flooder) = (api.module("honest").await, api.module("flooder").await);
    // A year, old enough to be deleted if age decided; the other delivers as much again and again within a
    // day.
    deliver(&api, &honest, &readings("honest", 4_000, DAY / 11.0)).await;
    api.hub.advance(Duration::from_secs(40 * 86_400));
    deliver(&api, &flooder, &readings("flooder", 20_000, 1.0)).await;

    little.store(1, Ordering::Relaxed);
    api.hub.look_for_room().await.unwrap();

    assert_eq!(kept(&api, "honest").await, 4_000);
    let left = kept(&api, "flooder").await;
    assert!(left < 10_000, "{left}");
    deliver(&api, &honest, &readings("honest", 1, 1.0)).await;
    api.stop().await;
}
