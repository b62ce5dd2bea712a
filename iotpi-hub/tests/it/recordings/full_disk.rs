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

use super::{DataFolder, numbered_frame, until};
use crate::support::{
    api::{Api, NOW, jpeg},
    tmpfs::Tmpfs,
};

/// A machine with a short interval between checks.
fn machine_with_short_interval() -> Machine {
    Machine::default().with_check_interval(Duration::from_millis(20))
}

async fn is_paused(api: &Api) -> bool {
    let recording = api.recording("porch").await;
    assert_eq!(recording["recording"], recording["paused"].is_null(), "{recording}");
    !recording["paused"].is_null()
}

/// The number of reported problems that concern the recording.
async fn problems(api: &Api) -> usize {
    let storage = api.get("/api/storage").ok().await;
    storage["problems"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|problem| problem.to_string().contains("`porch`"))
        .count()
}

#[tokio::test]
async fn recording_pauses_before_readings_run_out_of_free_space() {
    let data = DataFolder::new();
    let free = Arc::new(AtomicU64::new(1_300_000));
    let reported = Arc::clone(&free);
    let machine = machine_with_short_interval().with_free_bytes(move |_| Ok(reported.load(Ordering::SeqCst)));
    let storage = StorageConfig { low_water_bytes: 1_000_000, ..StorageConfig::default() };
    let api = data.start_on(Config { storage, ..Config::default() }, machine, NOW).await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.wait_for_recorder("porch").await;
    until("the frame is recorded", async || api.recorded_count("porch").await == 1).await;

    // The reserve for readings is a quarter more than the low-water mark.
    free.store(1_249_000, Ordering::SeqCst);
    api.publish_all("porch", 0..1, Duration::from_secs(1)).await;
    until("recording pauses", async || is_paused(&api).await).await;
    api.publish_all("porch", 1..3, Duration::from_secs(1)).await;

    assert_eq!((api.recorded_count("porch").await, problems(&api).await), (1, 1));
    assert_eq!(api.recording("porch").await["skipped"], 3);
    assert_eq!(api.metric("iotpi_recording_skipped_frames_total").await, 3.0);
    api.post("/api/sensors/temperature", json!({"module_id": "attic", "value": 1})).ok().await;

    free.store(2_000_000, Ordering::SeqCst);
    until("recording resumes", async || !is_paused(&api).await).await;
    api.publish_all("porch", 3..5, Duration::from_secs(1)).await;
    until("both frames are recorded", async || api.recorded_count("porch").await == 3).await;

    assert_eq!(api.recorded_frames("porch").await, [999, 3, 4].map(numbered_frame));
    assert_eq!(problems(&api).await, 0);
    api.stop().await;
}

/// The disk blocks while the test sets the flag.
#[tokio::test]
async fn a_slow_disk_loses_the_oldest_frames_of_the_recording_and_does_not_delay_viewers() {
    const MIB: usize = 1 << 20;
    let data = DataFolder::new();
    let blocked = Arc::new((Mutex::new(false), Condvar::new()));
    let gate = Arc::clone(&blocked);
    // Free space is checked before each write, on the writing thread.
    let machine = machine_with_short_interval().with_free_bytes(move |file| {
        if file.to_string_lossy().contains("recordings") {
            let (blocked, changed) = &*gate;
            drop(changed.wait_while(blocked.lock().unwrap(), |blocked| *blocked));
        }
        Ok(1 << 40)
    });
    let api = data.start_on(Config::default(), machine, NOW).await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.wait_for_recorder("porch").await;
    until("the frame is recorded", async || api.recorded_count("porch").await == 1).await;

    *blocked.0.lock().unwrap() = true;
    // One frame is being written, four fit into 32 MiB, and newer ones replace older ones.
    for n in 0..12 {
        let before = api.frames_to_recorder("porch").await;
        api.publish("porch", jpeg(64, 48, 7 * MIB + n)).await;
        until("the recorder received the frame", async || api.frames_to_recorder("porch").await > before)
            .await;
        // Viewers still get the newest frame.
        assert_eq!(api.get("/api/camera/snapshot").send().await.body.len(), jpeg(64, 48, 7 * MIB + n).len());
        api.hub.advance(Duration::from_millis(100));
    }
    let skipped = api.recording("porch").await["skipped"].as_u64().unwrap();
    assert!((7..=8).contains(&skipped), "{skipped}");
    *blocked.0.lock().unwrap() = false;
    blocked.1.notify_all();

    until("recording resumes", async || api.recorded_count("porch").await == 1 + 12 - skipped).await;
    let newest: Vec<_> = (8..12).map(|n| jpeg(64, 48, 7 * MIB + n)).collect();
    assert!(api.recorded_frames("porch").await.ends_with(&newest));
    assert_eq!(api.metric("iotpi_recording_skipped_frames_total").await, skipped as f64);
    assert_eq!(api.recording("porch").await["paused"], json!(null));
    api.stop().await;
}

/// On a real file system, which only root can mount.
#[tokio::test]
async fn a_full_disk_costs_no_recorded_frame() {
    let Some(folder) = Tmpfs::mount(4) else { return };
    let ballast = folder.path().join("ballast");
    std::fs::write(&ballast, vec![0; 2 << 20]).unwrap();
    let data = DataFolder::new();
    // Without a low-water mark the hub writes until the disk is full.
    let storage = StorageConfig { low_water_bytes: 0, ..StorageConfig::default() };
    let mut config = Config { storage, ..Config::default() };
    config.cameras.recordings = Some(folder.path().join("recordings"));
    let api = data.start_on(config.clone(), machine_with_short_interval(), NOW).await;
    api.record("porch", json!({"mode": "continuous"})).await;

    let mut sent = 0;
    while !is_paused(&api).await {
        api.publish("porch", jpeg(64, 48, 100_000 + sent)).await;
        api.hub.advance(Duration::from_millis(100));
        sent += 1;
        assert!(sent < 10_000, "the disk did not fill");
    }
    let before = api.recorded_frames("porch").await;
    assert!(!before.is_empty() && before.iter().all(|jpeg| jpeg.ends_with(&[0xFF, 0xD9])));
    assert!(api.metric("iotpi_recording_errors_total").await > 0.0);

    std::fs::remove_file(&ballast).unwrap();
    until("recording resumes", async || {
        api.publish("porch", jpeg(64, 48, 50)).await;
        api.hub.advance(Duration::from_millis(100));
        api.recorded_count("porch").await > before.len() as u64
    })
    .await;

    let after = api.recorded_frames("porch").await;
    assert_eq!(after[..before.len()], before);
    api.record("porch", json!({"mode": "off"})).await;
    api.stop().await;

    // No torn record is left on disk.
    let api = data.start_on(config, machine_with_short_interval(), NOW).await;
    let after_restart = api.recorded_frames("porch").await;
    assert!(after_restart.starts_with(&after), "{} of {}", after_restart.len(), after.len());
    assert_eq!(api.metric("iotpi_recording_errors_total").await, 0.0);
    api.stop().await;
}
