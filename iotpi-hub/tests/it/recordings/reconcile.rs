//! The hub reconciles the files of the recordings with the index when it starts.

use std::{fs, time::Duration};

use rusqlite::Connection;
use serde_json::json;

use super::{DataFolder, numbered_frame, until};
use crate::support::api::{Api, id};

const SECOND: Duration = Duration::from_secs(1);

/// The size of the header of a record, which precedes the JPEG.
const RECORD_HEADER: usize = 40;

/// Runs a hub that records `frames` frames and stops.
async fn record_frames(data: &DataFolder, frames: usize) {
    let api = data.start().await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.wait_for_recorder("porch").await;
    api.publish_all("porch", 0..frames, SECOND).await;
    until("all frames are indexed", async || api.recorded_count("porch").await == frames as u64 + 1).await;
    // Otherwise the hub would resume recording after its next start.
    api.record("porch", json!({"mode": "off"})).await;
    api.stop().await;
}

/// The frames that [`record_frames`] records.
fn expected(frames: usize) -> Vec<Vec<u8>> {
    std::iter::once(999).chain(0..frames).map(numbered_frame).collect()
}

/// Removes all but the first frames from the index, as if the process had been killed before it indexed them.
fn truncate_index(data: &DataFolder, keep: usize) {
    let db = Connection::open(data.path().join("hub.db")).unwrap();
    db.pragma_update(None, "foreign_keys", true).unwrap();
    db.execute("DELETE FROM segments", []).unwrap();
    if keep == 0 {
        return;
    }
    drop(db);
    let file = data.segments("porch").remove(0);
    let bytes = fs::read(&file).unwrap();
    let head = usize::try_from(u32::from_le_bytes(bytes[8..12].try_into().unwrap())).unwrap() + 16;
    let mut end = head;
    for _ in 0..keep {
        let length = u32::from_le_bytes(bytes[end + 4..end + 8].try_into().unwrap());
        end += RECORD_HEADER + length as usize;
    }
    // The file is reconciled with these frames only, and restored afterwards.
    fs::write(&file, &bytes[..end]).unwrap();
    fs::write(data.path().join("complete"), &bytes).unwrap();
}

async fn wait_for_frames(api: &Api, frames: u64) {
    until("the reconciliation is complete", async || api.recorded_count("porch").await == frames).await;
}

#[tokio::test]
async fn a_file_that_is_not_indexed_is_indexed_with_its_own_metadata() {
    let data = DataFolder::new();
    record_frames(&data, 5).await;
    let api = data.start().await;
    let before = api.clips("porch").await;
    api.stop().await;
    truncate_index(&data, 0);

    let api = data.start().await;
    wait_for_frames(&api, 6).await;

    assert_eq!(api.recorded_frames("porch").await, expected(5));
    assert_eq!(api.clips("porch").await, before);
    api.stop().await;
}

#[tokio::test]
async fn frames_after_the_last_indexed_one_are_indexed() {
    let data = DataFolder::new();
    record_frames(&data, 5).await;
    truncate_index(&data, 2);
    let api = data.start().await;
    wait_for_frames(&api, 2).await;
    api.stop().await;
    let file = data.segments("porch").remove(0);
    fs::copy(data.path().join("complete"), file).unwrap();

    let api = data.start().await;
    wait_for_frames(&api, 6).await;

    assert_eq!(api.recorded_frames("porch").await, expected(5));
    assert_eq!(api.metric("iotpi_recording_errors_total").await, 0.0);
    api.stop().await;
}

#[tokio::test]
async fn an_incomplete_record_at_the_end_is_truncated() {
    let data = DataFolder::new();
    record_frames(&data, 3).await;
    truncate_index(&data, 0);
    let file = data.segments("porch").remove(0);
    let complete = fs::read(&file).unwrap();
    let last = numbered_frame(2).len() + RECORD_HEADER;

    for cut in [1, 100, last - 1, last - RECORD_HEADER, last - 3] {
        fs::write(&file, &complete[..complete.len() - cut]).unwrap();
        truncate_index(&data, 0);
        let api = data.start().await;
        wait_for_frames(&api, 3).await;
        assert_eq!(api.recorded_frames("porch").await, expected(2), "{cut}");
        api.stop().await;
        assert_eq!(fs::metadata(&file).unwrap().len(), (complete.len() - last) as u64, "{cut}");
    }
}

#[tokio::test]
async fn a_wrong_byte_loses_only_its_frame_and_is_reported() {
    let data = DataFolder::new();
    record_frames(&data, 4).await;
    let file = data.segments("porch").remove(0);
    let complete = fs::read(&file).unwrap();
    let second = complete.len() - 3 * RECORD_HEADER - (1..4).map(|n| numbered_frame(n).len()).sum::<usize>();

    // The second byte is in the record header, so that the hub has to search for the next header.
    for at in [second + RECORD_HEADER + 500, second + 5] {
        let mut bytes = complete.clone();
        bytes[at] ^= 0x20;
        fs::write(&file, &bytes).unwrap();

        // The frame was indexed before the damage, which is found when the frame is read.
        let api = data.start().await;
        let times = api.times("porch").await;
        let answer = api.get(&format!("/api/cameras/porch/recordings/frame?at={}", times[2])).problem().await;
        assert_eq!(answer.0, 500);
        assert_eq!(api.metric("iotpi_recording_errors_total").await, 1.0);
        assert_eq!(api.frame_at("porch", times[3]).await, numbered_frame(2));
        api.stop().await;

        // The frame is damaged before it is indexed: the other frames are indexed.
        truncate_index(&data, 0);
        let api = data.start().await;
        wait_for_frames(&api, 4).await;
        assert_eq!(api.recorded_frames("porch").await, [999, 0, 2, 3].map(numbered_frame));
        assert_eq!(api.metric("iotpi_recording_errors_total").await, 1.0);
        api.stop().await;

        fs::write(&file, &complete).unwrap();
        truncate_index(&data, 0);
        let api = data.start().await;
        wait_for_frames(&api, 5).await;
        api.stop().await;
    }
}

#[tokio::test]
async fn files_without_a_frame_are_deleted_and_other_files_stay() {
    let data = DataFolder::new();
    record_frames(&data, 1).await;
    let folder = data.path().join("recordings/porch");
    fs::write(folder.join("empty.rec"), b"").unwrap();
    fs::write(folder.join("torn.rec"), b"IOTPIREC\x05\0\0").unwrap();
    fs::write(folder.join("notes.txt"), b"mine").unwrap();
    fs::write(data.path().join("recordings/README"), b"mine").unwrap();

    let api = data.start().await;
    until("the files without a frame are deleted", async || data.segments("porch").len() == 2).await;

    assert_eq!(api.recorded_frames("porch").await, expected(1));
    assert!(folder.join("notes.txt").exists() && data.path().join("recordings/README").exists());
    api.delete("/api/modules/porch").ok().await;
    assert_eq!(data.segments("porch"), [folder.join("notes.txt")]);
    api.stop().await;
}

#[tokio::test]
async fn index_entries_without_a_file_are_deleted_and_reported() {
    let data = DataFolder::new();
    record_frames(&data, 1).await;
    fs::remove_file(data.segments("porch").remove(0)).unwrap();

    let api = data.start().await;
    wait_for_frames(&api, 0).await;

    assert_eq!(api.clips("porch").await.len(), 0);
    assert_eq!(api.metric("iotpi_recording_errors_total").await, 1.0);
    api.stop().await;
}

#[tokio::test]
async fn a_missing_folder_of_recordings_leaves_the_index_unchanged() {
    let data = DataFolder::new();
    record_frames(&data, 1).await;
    let (recordings, moved) = (data.path().join("recordings"), data.path().join("moved"));
    fs::rename(&recordings, &moved).unwrap();

    let api = data.start().await;
    let times = api.times("porch").await;
    assert_eq!(
        api.get(&format!("/api/cameras/porch/recordings/frame?at={}", times[0])).problem().await.0,
        404
    );
    api.stop().await;
    fs::rename(&moved, &recordings).unwrap();
    let api = data.start().await;

    assert_eq!(api.recorded_frames("porch").await, expected(1));
    api.stop().await;
}

#[tokio::test]
async fn a_file_that_was_to_be_deleted_when_the_hub_was_killed_is_deleted_at_the_next_start() {
    let data = DataFolder::new();
    record_frames(&data, 1).await;
    let file = data.segments("porch").remove(0);
    let bytes = fs::read(&file).unwrap();
    let api = data.start().await;
    api.hub.store().remove_module(&id("porch")).await.unwrap();
    api.stop().await;
    assert!(file.exists() && !bytes.is_empty());

    let api = data.start().await;
    until("the file is deleted", async || !file.exists()).await;

    assert_eq!(api.get("/api/cameras/porch/recording").problem().await.0, 404);
    api.stop().await;
}

#[tokio::test]
async fn a_new_database_gets_the_recordings_in_the_folder() {
    let data = DataFolder::new();
    record_frames(&data, 3).await;
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(data.path().join(format!("hub.db{suffix}")));
    }

    let api = data.start().await;
    until("the module is registered", async || {
        api.get("/api/cameras/porch/recording").send().await.status == 200
    })
    .await;
    wait_for_frames(&api, 4).await;

    assert_eq!(api.recorded_frames("porch").await, expected(3));
    // No limits were set, so nothing expires.
    api.hub.advance(Duration::from_secs(3_000));
    assert_eq!(api.recorded_count("porch").await, 4);
    api.stop().await;
}
