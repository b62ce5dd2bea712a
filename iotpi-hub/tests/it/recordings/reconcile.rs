//! At the start of the hub, the files and the index are reconciled.

use std::{fs, time::Duration};

use rusqlite::Connection;
use serde_json::json;

use super::{Home, picture, until};
use crate::support::api::{Api, id};

const SECOND: Duration = Duration::from_secs(1);

/// Bytes of a record's header, which precedes the JPEG.
const HEAD: usize = 40;

/// Runs a hub that records `frames` frames and stops.
async fn recorded(home: &Home, frames: usize) {
    let api = home.start().await;
    api.record("porch", json!({"mode": "continuous"})).await;
    api.watched("porch").await;
    api.film_all("porch", 0..frames, SECOND).await;
    until("all are indexed", async || api.recorded("porch").await == frames as u64 + 1).await;
    // Otherwise the hub would continue to record after its next start.
    api.record("porch", json!({"mode": "off"})).await;
    api.stop().await;
}

/// The frames that [`recorded`] records.
fn expected(frames: usize) -> Vec<Vec<u8>> {
    std::iter::once(999).chain(0..frames).map(picture).collect()
}

/// Removes frames from the index, as if the process had been killed between writing the file and the index.
fn forget_from(home: &Home, keep: usize) {
    let db = Connection::open(home.folder.path().join("hub.db")).unwrap();
    db.pragma_update(None, "foreign_keys", true).unwrap();
    db.execute("DELETE FROM segments", []).unwrap();
    if keep == 0 {
        return;
    }
    drop(db);
    let file = home.segments("porch").remove(0);
    let bytes = fs::read(&file).unwrap();
    let head = usize::try_from(u32::from_le_bytes(bytes[8..12].try_into().unwrap())).unwrap() + 16;
    let mut end = head;
    for _ in 0..keep {
        let length = u32::from_le_bytes(bytes[end + 4..end + 8].try_into().unwrap());
        end += HEAD + length as usize;
    }
    // The file is reconciled with these frames only, and restored afterwards.
    fs::write(&file, &bytes[..end]).unwrap();
    fs::write(home.folder.path().join("whole"), &bytes).unwrap();
}

async fn recovered(api: &Api, frames: u64) {
    until("the sweep is over", async || api.recorded("porch").await == frames).await;
}

#[tokio::test]
async fn a_file_that_is_not_indexed_is_taken_in_with_what_it_says_of_itself() {
    let home = Home::new();
    recorded(&home, 5).await;
    let api = home.start().await;
    let before = api.clips("porch").await;
    api.stop().await;
    forget_from(&home, 0);

    let api = home.start().await;
    recovered(&api, 6).await;

    assert_eq!(api.pictures("porch").await, expected(5));
    assert_eq!(api.clips("porch").await, before);
    api.stop().await;
}

#[tokio::test]
async fn frames_behind_the_index_are_taken_in() {
    let home = Home::new();
    recorded(&home, 5).await;
    forget_from(&home, 2);
    let api = home.start().await;
    recovered(&api, 2).await;
    api.stop().await;
    let file = home.segments("porch").remove(0);
    fs::copy(home.folder.path().join("whole"), file).unwrap();

    let api = home.start().await;
    recovered(&api, 6).await;

    assert_eq!(api.pictures("porch").await, expected(5));
    assert_eq!(api.metric("iotpi_recording_errors_total").await, 0.0);
    api.stop().await;
}

#[tokio::test]
async fn a_torn_end_is_cut_off() {
    let home = Home::new();
    recorded(&home, 3).await;
    forget_from(&home, 0);
    let file = home.segments("porch").remove(0);
    let whole = fs::read(&file).unwrap();
    let last = picture(2).len() + HEAD;

    for cut in [1, 100, last - 1, last - HEAD, last - 3] {
        fs::write(&file, &whole[..whole.len() - cut]).unwrap();
        forget_from(&home, 0);
        let api = home.start().await;
        recovered(&api, 3).await;
        assert_eq!(api.pictures("porch").await, expected(2), "{cut}");
        api.stop().await;
        assert_eq!(fs::metadata(&file).unwrap().len(), (whole.len() - last) as u64, "{cut}");
    }
}

#[tokio::test]
async fn a_wrong_byte_costs_its_frame_and_is_told() {
    let home = Home::new();
    recorded(&home, 4).await;
    let file = home.segments("porch").remove(0);
    let whole = fs::read(&file).unwrap();
    let second = whole.len() - 3 * HEAD - (1..4).map(|n| picture(n).len()).sum::<usize>();

    // In the JPEG; in the record header, so that the next header has to be searched.
    for at in [second + HEAD + 500, second + 5] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        fs::write(&file, &bytes).unwrap();

        // Indexed before the damage: found when the frame is read.
        let api = home.start().await;
        let times = api.times("porch").await;
        let answer = api.get(&format!("/api/cameras/porch/recordings/frame?at={}", times[2])).problem().await;
        assert_eq!(answer.0, 500);
        assert_eq!(api.metric("iotpi_recording_errors_total").await, 1.0);
        assert_eq!(api.frame_at("porch", times[3]).await, picture(2));
        api.stop().await;

        // Damaged before it was indexed: the frame is left out, the others are indexed.
        forget_from(&home, 0);
        let api = home.start().await;
        recovered(&api, 4).await;
        assert_eq!(api.pictures("porch").await, [999, 0, 2, 3].map(picture));
        assert_eq!(api.metric("iotpi_recording_errors_total").await, 1.0);
        api.stop().await;

        fs::write(&file, &whole).unwrap();
        forget_from(&home, 0);
        let api = home.start().await;
        recovered(&api, 5).await;
        api.stop().await;
    }
}

#[tokio::test]
async fn files_without_a_frame_are_removed_and_what_is_not_ours_stays() {
    let home = Home::new();
    recorded(&home, 1).await;
    let folder = home.folder.path().join("recordings/porch");
    fs::write(folder.join("empty.rec"), b"").unwrap();
    fs::write(folder.join("torn.rec"), b"IOTPIREC\x05\0\0").unwrap();
    fs::write(folder.join("notes.txt"), b"mine").unwrap();
    fs::write(home.folder.path().join("recordings/README"), b"mine").unwrap();

    let api = home.start().await;
    until("they are removed", async || home.segments("porch").len() == 2).await;

    assert_eq!(api.pictures("porch").await, expected(1));
    assert!(folder.join("notes.txt").exists() && home.folder.path().join("recordings/README").exists());
    api.delete("/api/modules/porch").ok().await;
    assert_eq!(home.segments("porch"), [folder.join("notes.txt")]);
    api.stop().await;
}

#[tokio::test]
async fn an_index_without_its_file_is_dropped_and_told() {
    let home = Home::new();
    recorded(&home, 1).await;
    fs::remove_file(home.segments("porch").remove(0)).unwrap();

    let api = home.start().await;
    recovered(&api, 0).await;

    assert_eq!(api.clips("porch").await.len(), 0);
    assert_eq!(api.metric("iotpi_recording_errors_total").await, 1.0);
    api.stop().await;
}

#[tokio::test]
async fn a_disk_of_recordings_that_is_not_there_leaves_the_index_as_it_is() {
    let home = Home::new();
    recorded(&home, 1).await;
    let (there, away) = (home.folder.path().join("recordings"), home.folder.path().join("away"));
    fs::rename(&there, &away).unwrap();

    let api = home.start().await;
    let times = api.times("porch").await;
    assert_eq!(
        api.get(&format!("/api/cameras/porch/recordings/frame?at={}", times[0])).problem().await.0,
        404
    );
    api.stop().await;
    fs::rename(&away, &there).unwrap();
    let api = home.start().await;

    assert_eq!(api.pictures("porch").await, expected(1));
    api.stop().await;
}

#[tokio::test]
async fn what_was_to_go_when_the_hub_was_killed_goes_at_the_next_start() {
    let home = Home::new();
    recorded(&home, 1).await;
    let file = home.segments("porch").remove(0);
    let bytes = fs::read(&file).unwrap();
    let api = home.start().await;
    api.hub.store().remove_module(&id("porch")).await.unwrap();
    api.stop().await;
    assert!(file.exists() && !bytes.is_empty());

    let api = home.start().await;
    until("it goes", async || !file.exists()).await;

    assert_eq!(api.get("/api/cameras/porch/recording").problem().await.0, 404);
    api.stop().await;
}

#[tokio::test]
async fn with_a_new_database_the_recordings_are_still_there() {
    let home = Home::new();
    recorded(&home, 3).await;
    for beside in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(home.folder.path().join(format!("hub.db{beside}")));
    }

    let api = home.start().await;
    until("its module is known", async || api.get("/api/cameras/porch/recording").send().await.status == 200)
        .await;
    recovered(&api, 4).await;

    assert_eq!(api.pictures("porch").await, expected(3));
    // No limits were set, so nothing expires.
    api.hub.advance(Duration::from_secs(3_000));
    assert_eq!(api.recorded("porch").await, 4);
    api.stop().await;
}
