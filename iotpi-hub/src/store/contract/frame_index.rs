//! Recordings: settings and the frame index.

use std::{sync::Arc, time::Duration};

use iotpi_core::{
    ModuleId, Timestamp,
    model::recording::{FrameSelection, RecordingMode, RecordingSettings},
};

use super::{add_module, after, all_pages, module, page};
use crate::store::{ClipQuery, FrameLocation, IndexedFrames, RecordingTotals, Store, StoreError};

/// The time `millis` milliseconds after `after(1)`.
fn at(millis: u64) -> Timestamp {
    after(1).wall.plus(Duration::from_millis(millis))
}

/// Frames of 100 bytes captured at the given times, stored one after the other from `begin` on.
fn frames(of: &ModuleId, segment: &str, begin: u64, millis: &[u64]) -> IndexedFrames {
    let location =
        |(n, millis): (u64, &u64)| FrameLocation { at: at(*millis), offset: begin + n * 140, length: 100 };
    let frames: Vec<_> = (0..).zip(millis).map(location).collect();
    let end = begin + frames.len() as u64 * 140;
    let (segment, clip) = (segment.to_owned(), segment[..1].to_owned());
    IndexedFrames { module_id: of.clone(), segment, clip, reason: "continuous".to_owned(), frames, end }
}

fn of(module_id: &ModuleId, since: Option<u64>, until: Option<u64>) -> ClipQuery {
    ClipQuery { module_id: module_id.clone(), since: since.map(at), until: until.map(at) }
}

async fn times(store: &Arc<dyn Store>, query: &ClipQuery, limit: u32) -> Vec<u64> {
    let (found, _) = all_pages(limit, async |page| store.recorded_frames(query, &page).await.unwrap()).await;
    let millis = |at: Timestamp| u64::try_from(at.since(self::at(0)).as_millis()).unwrap();
    found.into_iter().map(|frame| millis(frame.location.at)).collect()
}

pub async fn recording_settings_are_stored_and_replaced(store: Arc<dyn Store>) {
    let porch = add_module(&store, "porch").await;
    assert_eq!(store.recording(&porch).await.unwrap(), None);

    for mode in [RecordingMode::Continuous, RecordingMode::OnEvent] {
        let mut settings = RecordingSettings::new(mode);
        settings.keep_days = 3;
        store.set_recording(&porch, &settings).await.unwrap();

        assert_eq!(store.recording(&porch).await.unwrap().as_ref(), Some(&settings));
        assert_eq!(store.all_recording().await.unwrap(), [(porch.clone(), settings)]);
    }
    let unknown = store.set_recording(&module("unknown"), &RecordingSettings::default()).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
}

pub async fn indexed_frames_are_listed_by_time_for_every_page_size(store: Arc<dyn Store>) {
    let (porch, attic) = (add_module(&store, "porch").await, add_module(&store, "attic").await);
    store.index_frames(&frames(&porch, "a1", 64, &[0, 100, 200])).await.unwrap();
    store.index_frames(&frames(&porch, "a1", 484, &[300, 400])).await.unwrap();
    store.index_frames(&frames(&attic, "a1", 64, &[150])).await.unwrap();
    // Frames that are days apart in one batch, as when a time lapse is indexed again.
    store.index_frames(&frames(&porch, "b1", 64, &[90_000_000, 180_000_000])).await.unwrap();

    let everything = [0, 100, 200, 300, 400, 90_000_000, 180_000_000];
    for limit in [1, 2, 3, 7, 100] {
        assert_eq!(times(&store, &of(&porch, None, None), limit).await, everything, "limit {limit}");
    }
    assert_eq!(times(&store, &of(&porch, Some(100), Some(400)), 2).await, [100, 200, 300]);
    assert_eq!(times(&store, &of(&porch, Some(401), Some(90_000_000)), 2).await, [0; 0]);
    let found = store.recorded_frames(&of(&porch, Some(300), None), &page(1)).await.unwrap().items.remove(0);
    assert_eq!((&*found.segment, found.location.offset, found.location.length), ("a1", 484, 100));
}

pub async fn frames_of_a_clock_that_was_set_back_are_ordered_by_time(store: Arc<dyn Store>) {
    let porch = add_module(&store, "porch").await;
    store.index_frames(&frames(&porch, "a1", 64, &[1000, 2000, 3000])).await.unwrap();
    store.index_frames(&frames(&porch, "b1", 64, &[500, 1500, 2500, 3500])).await.unwrap();

    for limit in [1, 3, 100] {
        let found = times(&store, &of(&porch, None, None), limit).await;
        assert_eq!(found, [500, 1000, 1500, 2000, 2500, 3000, 3500], "limit {limit}");
    }
}

pub async fn frames_indexed_twice_are_stored_once(store: Arc<dyn Store>) {
    let porch = add_module(&store, "porch").await;
    let batch = frames(&porch, "a1", 64, &[0, 100]);
    store.index_frames(&batch).await.unwrap();

    store.index_frames(&batch).await.unwrap();
    store.index_frames(&frames(&porch, "a1", 64, &[0, 100, 200])).await.unwrap();

    let expected =
        RecordingTotals { frames: 3, bytes: 484, oldest_at: Some(at(0)), newest_at: Some(at(200)) };
    assert_eq!(store.recording_totals(&porch).await.unwrap(), expected);
    assert_eq!(times(&store, &of(&porch, None, None), 10).await, [0, 100, 200]);
    assert_eq!(store.recording_totals(&module("unknown")).await.unwrap(), RecordingTotals::default());
    let unknown = store.index_frames(&frames(&module("unknown"), "a1", 64, &[0])).await;
    assert!(matches!(unknown, Err(StoreError::NotFound(_))), "{unknown:?}");
}

pub async fn the_nearest_next_and_previous_frame_of_a_moment_are_found(store: Arc<dyn Store>) {
    let porch = add_module(&store, "porch").await;
    store.index_frames(&frames(&porch, "a1", 64, &[1000, 1100, 1200])).await.unwrap();
    store.index_frames(&frames(&porch, "b1", 64, &[500_000, 500_100])).await.unwrap();

    for (moment, nearest, next, previous) in [
        (0, Some(1000), Some(1000), None),
        (1000, Some(1000), Some(1100), None),
        (1160, Some(1200), Some(1200), Some(1100)),
        (1200, Some(1200), Some(500_000), Some(1100)),
        (100_000, Some(1200), Some(500_000), Some(1200)),
        (400_000, Some(500_000), Some(500_000), Some(1200)),
        (500_100, Some(500_100), None, Some(500_000)),
        (9_000_000, Some(500_100), None, Some(500_100)),
    ] {
        for (pick, expected) in [
            (FrameSelection::Nearest, nearest),
            (FrameSelection::Next, next),
            (FrameSelection::Previous, previous),
        ] {
            let found = store.recorded_frame(&porch, at(moment), pick).await.unwrap();
            assert_eq!(found.map(|frame| frame.location.at), expected.map(at), "{pick:?} of {moment}");
        }
    }
    assert_eq!(store.recorded_frame(&module("unknown"), at(0), FrameSelection::Nearest).await.unwrap(), None);
}

pub async fn the_segments_of_a_clip_are_listed_as_one_clip(store: Arc<dyn Store>) {
    let porch = add_module(&store, "porch").await;
    store.index_frames(&frames(&porch, "a1", 64, &[1000, 1100])).await.unwrap();
    store.index_frames(&frames(&porch, "a2", 64, &[1200])).await.unwrap();
    store.index_frames(&frames(&porch, "b1", 64, &[9000])).await.unwrap();
    store.index_frames(&frames(&porch, "c1", 64, &[20_000])).await.unwrap();

    for limit in [1, 2, 10] {
        let query = of(&porch, None, None);
        let (found, _) = all_pages(limit, async |page| store.clips(&query, &page).await.unwrap()).await;
        let ids: Vec<_> = found.iter().map(|clip| (clip.id.as_str(), clip.frames)).collect();
        assert_eq!(ids, [("a", 3), ("b", 1), ("c", 1)]);
        assert_eq!((found[0].begun_at, found[0].ended_at, found[0].bytes), (at(1000), at(1200), 344 + 204));
        assert_eq!(found[0].reason, "continuous");
    }
    let overlapping = store.clips(&of(&porch, Some(1150), Some(9001)), &page(10)).await.unwrap().items;
    assert_eq!(overlapping.len(), 2);
}

pub async fn a_tombstone_deletes_its_segment_from_the_index_and_stays_until_removed(store: Arc<dyn Store>) {
    let porch = add_module(&store, "porch").await;
    for (name, millis) in [("a1", 1000), ("a2", 2000), ("b1", 3000)] {
        store.index_frames(&frames(&porch, name, 64, &[millis])).await.unwrap();
    }

    store.add_tombstones(&porch, &["a1".to_owned(), "unknown".to_owned()]).await.unwrap();

    let (remaining, _) = all_pages(1, async |page| store.segments(&porch, &page).await.unwrap()).await;
    assert_eq!(remaining.iter().map(|segment| segment.name.as_str()).collect::<Vec<_>>(), ["a2", "b1"]);
    assert_eq!(
        (remaining[0].first_at, remaining[0].last_at, remaining[0].frames, remaining[0].bytes),
        (at(2000), at(2000), 1, 204)
    );
    assert_eq!(times(&store, &of(&porch, None, None), 10).await, [2000, 3000]);
    let result = store.index_frames(&frames(&porch, "a1", 204, &[1001])).await;
    assert!(matches!(result, Err(StoreError::NotFound(_))), "{result:?}");
    let tombstones = store.tombstones().await.unwrap();
    assert_eq!(tombstones, [(porch.clone(), "a1".to_owned()), (porch.clone(), "unknown".to_owned())]);

    store.remove_tombstones(&tombstones).await.unwrap();

    assert_eq!(store.tombstones().await.unwrap(), []);
}

pub async fn removing_a_module_adds_tombstones_for_its_segments(store: Arc<dyn Store>) {
    let (porch, attic) = (add_module(&store, "porch").await, add_module(&store, "attic").await);
    for of in [&porch, &attic] {
        store.set_recording(of, &RecordingSettings::default()).await.unwrap();
        store.index_frames(&frames(of, "a1", 64, &[1000])).await.unwrap();
    }

    store.remove_module(&porch).await.unwrap();
    add_module(&store, "porch").await;

    assert_eq!(store.tombstones().await.unwrap(), [(porch.clone(), "a1".to_owned())]);
    assert_eq!(store.recording_totals(&porch).await.unwrap(), RecordingTotals::default());
    assert_eq!(store.recording(&porch).await.unwrap(), None);
    assert_eq!(store.recording_totals(&attic).await.unwrap().frames, 1);
}
