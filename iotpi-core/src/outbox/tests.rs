//! The outbox on disk: restarts, kills, power cuts, full and damaged files. `tests/it/outbox.rs` tests it
//! with a runner.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tempfile::TempDir;

use super::{Outbox, OutboxError, OutboxLimits, checkpoint::Checkpoint};
use crate::{
    model::{
        gap::{GapReason, NewGap},
        id::ModuleId,
        reading::{Quantity, Reading, Sample},
    },
    time::{Clock, ManualClock, Timestamp},
};

const NOW: Timestamp = Timestamp::FIRST_POSSIBLE;

fn attic() -> ModuleId {
    ModuleId::new("attic").unwrap()
}

/// A folder, and the clock of its machine.
struct TestDir {
    folder: TempDir,
    clock: Arc<ManualClock>,
    limits: OutboxLimits,
}

impl TestDir {
    fn new() -> Self {
        Self { folder: TempDir::new().unwrap(), clock: ManualClock::at(NOW), limits: OutboxLimits::default() }
    }

    fn open(&self) -> Arc<Outbox> {
        self.try_open().unwrap()
    }

    fn try_open(&self) -> Result<Arc<Outbox>, OutboxError> {
        Outbox::on_disk(self.folder.path(), &attic(), self.limits, self.clock.clone())
    }

    fn readings(&self, values: std::ops::Range<u32>) -> Vec<Reading> {
        let quantity = |n| if n % 2 == 0 { Quantity::Temperature } else { Quantity::Humidity };
        values.map(|n| Reading::new(attic(), Sample::new(quantity(n), n.into()), self.clock.now())).collect()
    }

    /// Runs an outbox and closes it with this many readings on disk, numbered from 1. Returns its epoch.
    async fn stopped_with(&self, count: u32) -> u64 {
        let outbox = self.open();
        for n in (0..count).step_by(100) {
            outbox.push(self.readings(n..count.min(n + 100))).await;
        }
        outbox.close().await;
        outbox.epoch
    }

    fn segments(&self) -> Vec<PathBuf> {
        let files = fs::read_dir(self.folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut segments: Vec<_> =
            files.filter(|path| path.extension().is_some_and(|e| e == "seg")).collect();
        segments.sort();
        segments
    }
}

/// Sends and acknowledges the whole backlog. Returns the numbers and values.
async fn drain(outbox: &Arc<Outbox>) -> Vec<(u64, f64)> {
    let mut drained = Vec::new();
    loop {
        let batch = outbox.checkout().await;
        if batch.is_empty() {
            return drained;
        }
        drained.extend(batch.iter().map(|kept| (kept.number.seq, kept.outcome.value().unwrap())));
        outbox.ack(batch.len()).await;
    }
}

async fn gaps(outbox: &Arc<Outbox>) -> Vec<NewGap> {
    let mut gaps = Vec::new();
    while let Some(gap) = outbox.next_gap().await {
        outbox.gap_reported(gap.clone()).await;
        gaps.push(gap);
    }
    gaps
}

fn numbers(gaps: &[NewGap]) -> BTreeSet<u64> {
    gaps.iter().flat_map(|gap| gap.first_seq..=gap.last_seq).collect()
}

fn expected(range: std::ops::Range<u32>) -> Vec<(u64, f64)> {
    range.map(|n| (u64::from(n) + 1, f64::from(n))).collect()
}

/// A seeded random number generator: splitmix64.
struct Random(u64);

impl Random {
    /// Uses the seed `IOTPI_SEED`, or a new one, and prints it.
    fn new() -> Self {
        let seed = std::env::var("IOTPI_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(crate::random::bits);
        println!("IOTPI_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % end as u64).unwrap()
    }
}

/// The number of rounds of a random test.
fn rounds(few: usize, many: usize) -> usize {
    if std::env::var_os("IOTPI_TORTURE").is_some() { many } else { few }
}

#[tokio::test]
async fn unsent_readings_survive_a_restart_and_the_sequence_continues() {
    let dir = TestDir::new();
    let epoch = dir.stopped_with(1200).await;

    let outbox = dir.open();
    outbox.push(dir.readings(1200..1201)).await;

    assert_eq!(outbox.epoch, epoch);
    assert_eq!(drain(&outbox).await, expected(0..1200));
    assert_eq!(outbox.checkout_live()[0].1.number.seq, 1201);
    assert!(gaps(&outbox).await.is_empty());
    assert!(dir.segments().is_empty(), "what the hub has needs no file");
    outbox.close().await;
}

#[tokio::test]
async fn nothing_is_written_while_the_hub_accepts_readings() {
    let dir = TestDir::new();
    let outbox = dir.open();
    let before = fs::metadata(dir.folder.path().join("state")).unwrap().modified().unwrap();

    for n in 0..1000 {
        outbox.push(dir.readings(n..n + 1)).await;
        outbox.checkout_live();
        outbox.nack_live(Vec::new());
        outbox.maintain().await;
    }

    let after = fs::metadata(dir.folder.path().join("state")).unwrap().modified().unwrap();
    assert!(dir.segments().is_empty());
    assert_eq!(before, after);
    outbox.close().await;
}

#[tokio::test]
async fn a_kill_leaves_a_gap_for_readings_in_memory_and_no_number_is_used_twice() {
    let dir = TestDir::new();
    let outbox = dir.open();
    outbox.push(dir.readings(0..10)).await;
    outbox.blocking(|outbox| outbox.spill()).await;
    outbox.push(dir.readings(10..13)).await;
    let under_way = outbox.checkout_live();
    outbox.push(dir.readings(13..15)).await;
    assert_eq!(under_way.len(), 3);
    let epoch = outbox.epoch;

    drop(outbox);
    let outbox = dir.open();
    outbox.push(dir.readings(15..16)).await;

    assert_eq!((outbox.epoch, outbox.checkout_live()[0].1.number.seq), (epoch, 16));
    assert_eq!(drain(&outbox).await, expected(0..10));
    let gap = NewGap { epoch, first_seq: 11, last_seq: 15, reason: GapReason::Killed, series: vec![] };
    assert_eq!(gaps(&outbox).await, [gap]);
    outbox.close().await;
}

#[tokio::test]
async fn after_a_power_cut_the_readings_on_disk_keep_their_numbers_and_a_new_epoch_begins() {
    let dir = TestDir::new();
    let outbox = dir.open();
    outbox.push(dir.readings(0..10)).await;
    outbox.blocking(|outbox| outbox.spill()).await;
    let epoch = outbox.epoch;

    drop(outbox);
    Checkpoint::forget(epoch);
    let outbox = dir.open();

    assert_ne!(outbox.epoch, epoch);
    let batch = outbox.checkout().await;
    assert!(batch.iter().all(|kept| kept.number.epoch == epoch));
    assert_eq!(drain(&outbox).await, expected(0..10));
    assert!(gaps(&outbox).await.is_empty());
    outbox.close().await;
}

#[tokio::test]
async fn an_unreadable_state_file_starts_a_new_epoch_and_loses_no_reading() {
    let dir = TestDir::new();
    let epoch = dir.stopped_with(10).await;
    fs::write(dir.folder.path().join("state"), b"garbage").unwrap();

    let outbox = dir.open();

    assert_ne!(outbox.epoch, epoch);
    assert_eq!(drain(&outbox).await, expected(0..10));
    outbox.close().await;
}

#[tokio::test]
async fn a_full_outbox_drops_the_oldest_and_reports_one_gap_with_the_lost_readings_of_each_series() {
    let dir = TestDir { limits: OutboxLimits { readings: 160, ..OutboxLimits::default() }, ..TestDir::new() };
    let outbox = dir.open();
    for n in 0..100 {
        outbox.push(dir.readings(n * 10..n * 10 + 10)).await;
        outbox.blocking(|outbox| outbox.spill()).await;
        dir.clock.advance(Duration::from_secs(1));
    }

    let kept = drain(&outbox).await;
    let reported = gaps(&outbox).await;

    let lost = 1000 - u32::try_from(kept.len()).unwrap();
    assert!((840..=860).contains(&lost), "{lost}");
    assert_eq!(kept, expected(lost..1000));
    let [gap] = &reported[..] else { panic!("{reported:?}") };
    assert_eq!((gap.first_seq, gap.last_seq, gap.reason), (1, lost.into(), GapReason::Full));
    assert_eq!(gap.series.iter().map(|series| series.lost).collect::<Vec<_>>(), [u64::from(lost) / 2; 2]);
    assert_eq!(gap.series[0].since, NOW);
    assert_eq!(gap.series[0].until, NOW.plus(Duration::from_secs(u64::from(lost) / 10 - 1)));
    outbox.close().await;
}

#[tokio::test]
async fn the_bytes_on_disk_stay_below_their_limit() {
    let dir =
        TestDir { limits: OutboxLimits { bytes: 64 * 1024, ..OutboxLimits::default() }, ..TestDir::new() };
    let outbox = dir.open();
    for n in 0..20 {
        outbox.push(dir.readings(n * 1000..n * 1000 + 1000)).await;
        let bytes: u64 = dir.segments().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(bytes <= 64 * 1024, "{bytes}");
    }

    let (kept, reported) = (drain(&outbox).await, gaps(&outbox).await);

    let received: BTreeSet<_> = kept.iter().map(|(seq, _)| *seq).collect();
    assert!(kept.len() > 1000, "{}", kept.len());
    assert_eq!(received.union(&numbers(&reported)).count(), 20_000);
    assert!(received.is_disjoint(&numbers(&reported)));
    outbox.close().await;
}

#[tokio::test]
async fn a_gap_is_reported_after_a_restart_until_the_hub_accepts_it() {
    let dir = TestDir { limits: OutboxLimits { readings: 16, ..OutboxLimits::default() }, ..TestDir::new() };
    dir.stopped_with(20).await;

    let outbox = dir.open();
    let before = outbox.next_gap().await;
    outbox.close().await;
    drop(outbox);
    let outbox = dir.open();
    let after = outbox.next_gap().await;
    outbox.gap_reported(after.clone().unwrap()).await;
    outbox.close().await;
    drop(outbox);
    let outbox = dir.open();

    assert!(before.is_some());
    assert_eq!(before, after);
    assert_eq!(outbox.next_gap().await, None);
    outbox.close().await;
}

#[tokio::test]
async fn a_batch_whose_segment_is_dropped_while_it_is_sent_is_lost_only_if_it_does_not_arrive() {
    for arrives in [true, false] {
        let dir =
            TestDir { limits: OutboxLimits { readings: 16, ..OutboxLimits::default() }, ..TestDir::new() };
        let outbox = dir.open();
        for n in 0..16 {
            outbox.push(dir.readings(n..n + 1)).await;
            outbox.blocking(|outbox| outbox.spill()).await;
        }

        let batch = outbox.checkout().await;
        for n in 16..40 {
            outbox.push(dir.readings(n..n + 1)).await;
            outbox.blocking(|outbox| outbox.spill()).await;
        }
        outbox.ack(if arrives { batch.len() } else { 0 }).await;

        let mut accounted: BTreeSet<_> = drain(&outbox).await.into_iter().map(|(seq, _)| seq).collect();
        let lost = numbers(&gaps(&outbox).await);
        assert!(accounted.is_disjoint(&lost));
        accounted.extend(lost);
        let missing: Vec<_> = (1..=40).filter(|seq| !accounted.contains(seq)).collect();
        let under_way: Vec<_> = batch.iter().map(|kept| kept.number.seq).collect();
        assert_eq!(missing, if arrives { under_way } else { vec![] });
        outbox.close().await;
    }
}

#[tokio::test]
async fn a_truncated_file_returns_its_complete_readings_and_a_gap_for_the_others() {
    let dir = TestDir::new();
    dir.stopped_with(40).await;
    let [segment] = &dir.segments()[..] else { panic!("one segment") };
    let whole = fs::read(segment).unwrap();
    let state = fs::read(dir.folder.path().join("state")).unwrap();

    let mut untold = 0;
    for cut in 0..whole.len() {
        fs::write(segment, &whole[..cut]).unwrap();
        fs::write(dir.folder.path().join("state"), &state).unwrap();
        let outbox = dir.open();

        let kept = drain(&outbox).await;
        let lost = numbers(&gaps(&outbox).await);

        let count = u32::try_from(kept.len()).unwrap();
        assert_eq!(kept, expected(0..count), "cut at {cut}");
        // A file that ends between two records does not show that others followed: for the hub they are
        // missing.
        untold += usize::from(lost.is_empty());
        assert!(lost.is_empty() || lost == (u64::from(count) + 1..=40).collect(), "cut at {cut}: {lost:?}");
        outbox.close().await;
    }
    assert_eq!(untold, 40);
}

#[tokio::test]
async fn damaged_bytes_lose_only_the_records_they_are_in_and_leave_a_gap() {
    let mut random = Random::new();
    let dir = TestDir { limits: OutboxLimits { readings: 800, ..OutboxLimits::default() }, ..TestDir::new() };
    dir.stopped_with(400).await;
    let files: Vec<_> = dir.segments().into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    let state = fs::read(dir.folder.path().join("state")).unwrap();
    assert!(files.len() > 4, "{}", files.len());

    for _ in 0..rounds(50, 2000) {
        for path in dir.segments() {
            fs::remove_file(path).unwrap();
        }
        for (bytes, path) in &files {
            fs::write(path, bytes).unwrap();
        }
        fs::write(dir.folder.path().join("state"), &state).unwrap();
        let mut damage = String::new();
        for _ in 0..=random.below(3) {
            let (bytes, path) = &files[random.below(files.len())];
            let (from, length) = (random.below(bytes.len()), 1 + random.below(200));
            let mut damaged = fs::read(path).unwrap();
            damaged.iter_mut().skip(from).take(length).for_each(|byte| *byte = !*byte);
            fs::write(path, damaged).unwrap();
            damage += &format!("{length} bytes at {from} of {}; ", path.display());
        }
        let outbox = dir.open();

        let kept = drain(&outbox).await;
        let lost = numbers(&gaps(&outbox).await);

        for (seq, value) in &kept {
            assert_eq!(seq - 1, *value as u64, "{damage}");
        }
        let received: BTreeSet<_> = kept.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(
            received.union(&lost).copied().collect::<Vec<_>>(),
            (1..=400).collect::<Vec<_>>(),
            "{damage}"
        );
        assert!(received.is_disjoint(&lost), "{damage}");
        assert!(lost.len() < 60, "{} lost: {damage}", lost.len());
        outbox.close().await;
    }
}

#[tokio::test]
async fn a_folder_belongs_to_one_module_and_one_process_at_a_time() {
    let dir = TestDir::new();
    let outbox = dir.open();

    let second = dir.try_open().unwrap_err();
    outbox.close().await;
    drop(outbox);
    let cellar = ModuleId::new("cellar").unwrap();
    let other = Outbox::on_disk(dir.folder.path(), &cellar, dir.limits, dir.clock.clone()).unwrap_err();

    assert!(matches!(second, OutboxError::InUse { .. }), "{second:?}");
    assert!(matches!(&other, OutboxError::OtherModule { owner, .. } if *owner == attic()), "{other:?}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_created_is_an_error() {
    let dir = TestDir::new();
    let file = dir.folder.path().join("file");
    fs::write(&file, b"").unwrap();

    let error = Outbox::on_disk(&file.join("outbox"), &attic(), dir.limits, dir.clock.clone()).unwrap_err();

    assert!(matches!(error, OutboxError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn readings_expire_by_the_monotonic_clock_only() {
    let dir = TestDir::new();
    dir.stopped_with(10).await;
    let outbox = dir.open();

    dir.clock.step_to(NOW.plus(Duration::from_secs(10 * 365 * 86_400)));
    outbox.maintain().await;
    dir.clock.step_to(Timestamp::from_micros(0));
    outbox.maintain().await;
    dir.clock.advance(Duration::from_secs(6 * 86_400));
    outbox.maintain().await;
    let before = outbox.pending().await;
    dir.clock.advance(Duration::from_secs(2 * 86_400));
    outbox.maintain().await;

    assert_eq!(before, (true, false));
    let reported = gaps(&outbox).await;
    assert_eq!(
        reported.iter().map(|gap| (gap.lost(), gap.reason)).collect::<Vec<_>>(),
        [(10, GapReason::TooOld)]
    );
    assert!(drain(&outbox).await.is_empty());
    outbox.close().await;
}

/// The time and age that would be sent of the oldest reading.
async fn oldest_times(outbox: &Arc<Outbox>, clock: &ManualClock) -> (Option<Timestamp>, Option<f64>) {
    let kept = outbox.checkout().await.remove(0);
    let reading = kept.to_send(&attic(), clock);
    (reading.timestamp, reading.age)
}

#[tokio::test]
async fn a_reading_of_an_unset_clock_keeps_its_age_after_a_restart_but_not_after_a_reboot() {
    let dir = TestDir { clock: ManualClock::at(Timestamp::from_micros(0)), ..TestDir::new() };
    dir.clock.advance(Duration::from_secs(30));
    dir.stopped_with(1).await;

    dir.clock.advance(Duration::from_secs(60));
    let outbox = dir.open();
    let restarted = oldest_times(&outbox, &dir.clock).await;
    dir.clock.step_to(NOW);
    let after_ntp = oldest_times(&outbox, &dir.clock).await;
    outbox.close().await;
    drop(outbox);
    dir.clock.reboot(NOW.plus(Duration::from_secs(3600)));
    let outbox = dir.open();
    let rebooted = oldest_times(&outbox, &dir.clock).await;
    outbox.close().await;

    assert_eq!(restarted, (None, Some(60.0)));
    assert_eq!(after_ntp, (None, Some(60.0)));
    assert_eq!(rebooted, (None, None));
}

#[tokio::test]
async fn a_reading_of_a_set_clock_keeps_its_time_through_a_reboot_into_1970() {
    let dir = TestDir::new();
    dir.stopped_with(1).await;

    dir.clock.reboot(Timestamp::from_micros(0));
    let outbox = dir.open();

    assert_eq!(oldest_times(&outbox, &dir.clock).await, (Some(NOW), None));
    outbox.close().await;
}

#[tokio::test]
async fn readings_stay_in_memory_if_the_disk_fails() {
    let dir = TestDir::new();
    let outbox = dir.open();
    // A folder of the same name, so that the file cannot be created.
    let path: &Path = dir.folder.path();
    let next = path.join(format!("0000000001-{:014x}-1.seg", outbox.epoch));
    fs::create_dir(&next).unwrap();

    outbox.push(dir.readings(0..10)).await;
    outbox.blocking(|outbox| outbox.spill()).await;
    let in_memory = outbox.checkout_live();
    outbox.nack_live(in_memory.clone());
    fs::remove_dir(&next).unwrap();
    outbox.blocking(|outbox| outbox.spill()).await;

    assert_eq!(in_memory.len(), 10);
    assert_eq!(drain(&outbox).await, expected(0..10));
    assert!(gaps(&outbox).await.is_empty());
    outbox.close().await;
}
