//! A full disk: recording pauses, reports the reason, and resumes by itself.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use iotpi_hub::{Config, StorageConfig, maintenance::Machine};
use serde_json::json;

use super::{Home, picture, until};
use crate::support::{
    api::{Api, NOW, jpeg},
    tmpfs::Tmpfs,
};

/// A machine with a short interval between checks.
fn quick() -> Machine {
    Machine::default().with_look_every(Duration::from_millis(20))
}

async fn is_paused(api: &Api) -> bool {
    let recording = api.recording("porch").await;
    assert_eq!(recording["recording"], recording["paused"].is_null(), "{recording}");
    !recording["paused"].is_null()
}

/// Number of reported problems that concern recordings.
async fn problems(api: &Api) -> usize {
    let storage = api.get("/api/storage").ok().await;
    storage["problems"].as_array().unwrap().iter().filter(|said| said.to_string().contains("`porch`")).count()
}

#[tokio::test]
async fn recording_waits_before_readings_want_for_room() {
    let home = Home::new();
    let free = Arc::new(AtomicU64::new(1_300_000));
    let of = Arc::clone(&free);
    let machine = quick().with_free_bytes(move |_| Ok(of.load(Ordering::SeqCst)));
    let storage = StorageConfig { low_water_bytes: 1_000_000, ..StorageConfig::default() };
    let api = home.start_on(Config { storage, ..Config::default() }, machine, NOW).await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.watched("porch").await;
    until("it is recorded", async || api.recorded("porch").await == 1).await;

    // The reserve for readings is a quarter more than the low-water mark.
    free.store(1_249_000, Ordering::SeqCst);
    api.film_all("porch", 0..1, Duration::from_secs(1)).await;
    until("it waits", async || is_paused(&api).await).await;
    api.film_all("porch", 1..3, Duration::from_secs(1)).await;

    assert_eq!((api.recorded("porch").await, problems(&api).await), (1, 1));
    assert_eq!(api.recording("porch").await["skipped"], 3);
    assert_eq!(api.metric("iotpi_recording_skipped_frames_total").await, 3.0);
    api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": 1})).ok().await;

    free.store(2_000_000, Ordering::SeqCst);
    until("it goes on", async || !is_paused(&api).await).await;
    api.film_all("porch", 3..5, Duration::from_secs(1)).await;
    until("that is recorded", async || api.recorded("porch").await == 3).await;

    assert_eq!(api.pictures("porch").await, [999, 3, 4].map(picture));
    assert_eq!(problems(&api).await, 0);
    api.stop().await;
}

/// A slow disk: it blocks while the test holds the gate.
#[tokio::test]
async fn a_slow_disk_costs_the_oldest_frames_and_nobody_else_anything() {
    const MIB: usize = 1 << 20;
    let home = Home::new();
    let stands_still = Arc::new((Mutex::new(false), Condvar::new()));
    let of = Arc::clone(&stands_still);
    // Free space is checked before each write, on the writing thread.
    let machine = quick().with_free_bytes(move |file| {
        if file.to_string_lossy().contains("recordings") {
            let (still, moves) = &*of;
            drop(moves.wait_while(still.lock().unwrap(), |still| *still));
        }
        Ok(1 << 40)
    });
    let api = home.start_on(Config::default(), machine, NOW).await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.watched("porch").await;
    until("it is recorded", async || api.recorded("porch").await == 1).await;

    *stands_still.0.lock().unwrap() = true;
    // One frame is being written, four fit into 32 MiB, and newer ones replace older ones.
    for n in 0..12 {
        let before = api.taken("porch").await;
        api.film("porch", jpeg(64, 48, 7 * MIB + n)).await;
        until("the recorder sees it", async || api.taken("porch").await > before).await;
        // Viewers still get the newest frame.
        assert_eq!(api.get("/api/camera/snapshot").send().await.body.len(), jpeg(64, 48, 7 * MIB + n).len());
        api.hub.advance(Duration::from_millis(100));
    }
    let skipped = api.recording("porch").await["skipped"].as_u64().unwrap();
    assert!((7..=8).contains(&skipped), "{skipped}");
    *stands_still.0.lock().unwrap() = false;
    stands_still.1.notify_all();

    until("it goes on", async || api.recorded("porch").await == 1 + 12 - skipped).await;
    let newest: Vec<_> = (8..12).map(|n| jpeg(64, 48, 7 * MIB + n)).collect();
    assert!(api.pictures("porch").await.ends_with(&newest));
    assert_eq!(api.metric("iotpi_recording_skipped_frames_total").await, skipped as f64);
    assert_eq!(api.recording("porch").await["paused"], json!(null));
    api.stop().await;
}

/// A real file system that is full. Mounting one needs root.
#[tokio::test]
async fn a_full_disk_costs_no_frame_that_was_recorded() {
    let Some(folder) = Tmpfs::mount(4) else { return };
    let ballast = folder.path().join("ballast");
    std::fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    let home = Home::new();
    // The disk is fuller than the hub's low-water mark allows.
    let storage = StorageConfig { low_water_bytes: 0, ..StorageConfig::default() };
    let mut config = Config { storage, ..Config::default() };
    config.cameras.recordings = Some(folder.path().join("recordings"));
    let api = home.start_on(config.clone(), quick(), NOW).await;
    api.record("porch", json!({"mode": "continuous"})).await;

    let mut sent = 0;
    while !is_paused(&api).await {
        api.film("porch", jpeg(64, 48, 100_000 + sent)).await;
        api.hub.advance(Duration::from_millis(100));
        sent += 1;
        assert!(sent < 10_000, "the disk never fills");
    }
    let whole = api.pictures("porch").await;
    assert!(!whole.is_empty() && whole.iter().all(|jpeg| jpeg.ends_with(&[0xFF, 0xD9])));
    assert!(api.metric("iotpi_recording_errors_total").await > 0.0);

    std::fs::remove_file(&ballast).unwrap();
    until("it goes on", async || {
        api.film("porch", jpeg(64, 48, 50)).await;
        api.hub.advance(Duration::from_millis(100));
        api.recorded("porch").await > whole.len() as u64
    })
    .await;

    let after = api.pictures("porch").await;
    assert_eq!(after[..whole.len()], whole);
    api.record("porch", json!({"mode": "off"})).await;
    api.stop().await;

    // No torn record is left on disk.
    let api = home.start_on(config, quick(), NOW).await;
    let kept = api.pictures("porch").await;
    assert!(kept.starts_with(&after), "{} of {}", kept.len(), after.len());
    assert_eq!(api.metric("iotpi_recording_errors_total").await, 0.0);
    api.stop().await;
}
