//! What an outbox on disk promises, and what it survives. What a runner makes of it is tested from outside.

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

/// A folder, and the clock of the machine it is on.
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

    /// An outbox that was stopped in order with so many readings on disk, numbered from 1 on.
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

/// The numbers and values of everything that waits, as the backlog lane would send it; all of it is settled.
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

/// Random numbers that a seed gives again: splitmix64.
struct Random(u64);

impl Random {
    /// From `IOTPI_SEED`, else a new one, which is printed.
    fn new() -> Self {
        let seed = std::env::var("IOTPI_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(super::random);
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

/// How often a random test tries.
fn rounds(few: usize, many: usize) -> usize {
    if std::env::var_os("IOTPI_TORTURE").is_some() { many } else { few }
}

#[tokio::test]
async fn what_waits_at_a_stop_waits_at_the_next_start_and_the_count_goes_on() {
    let place = TestDir::new();
    let epoch = place.stopped_with(1200).await;

    let outbox = place.open();
    outbox.push(place.readings(1200..1201)).await;

    assert_eq!(outbox.epoch, epoch);
    assert_eq!(drain(&outbox).await, expected(0..1200));
    assert_eq!(outbox.checkout_live()[0].1.number.seq, 1201);
    assert!(gaps(&outbox).await.is_empty());
    assert!(place.segments().is_empty(), "what the hub has needs no file");
    outbox.close().await;
}

#[tokio::test]
async fn nothing_is_written_while_the_hub_takes_what_comes() {
    let place = TestDir::new();
    let outbox = place.open();
    let before = fs::metadata(place.folder.path().join("state")).unwrap().modified().unwrap();

    for n in 0..1000 {
        outbox.push(place.readings(n..n + 1)).await;
        outbox.checkout_live();
        outbox.nack_live(Vec::new());
        outbox.maintain().await;
    }

    let after = fs::metadata(place.folder.path().join("state")).unwrap().modified().unwrap();
    assert!(place.segments().is_empty());
    assert_eq!(before, after);
    outbox.close().await;
}

#[tokio::test]
async fn a_killed_process_leaves_a_gap_of_what_was_in_memory_and_no_number_is_given_twice() {
    let place = TestDir::new();
    let outbox = place.open();
    outbox.push(place.readings(0..10)).await;
    outbox.blocking(|outbox| outbox.spill()).await;
    outbox.push(place.readings(10..13)).await;
    let under_way = outbox.checkout_live();
    outbox.push(place.readings(13..15)).await;
    assert_eq!(under_way.len(), 3);
    let epoch = outbox.epoch;

    drop(outbox);
    let outbox = place.open();
    outbox.push(place.readings(15..16)).await;

    assert_eq!((outbox.epoch, outbox.checkout_live()[0].1.number.seq), (epoch, 16));
    assert_eq!(drain(&outbox).await, expected(0..10));
    let gap = NewGap { epoch, first_seq: 11, last_seq: 15, reason: GapReason::Killed, series: vec![] };
    assert_eq!(gaps(&outbox).await, [gap]);
    outbox.close().await;
}

#[tokio::test]
async fn after_a_power_cut_the_readings_on_disk_keep_their_numbers_and_a_new_count_begins() {
    let place = TestDir::new();
    let outbox = place.open();
    outbox.push(place.readings(0..10)).await;
    outbox.blocking(|outbox| outbox.spill()).await;
    let epoch = outbox.epoch;

    drop(outbox);
    Checkpoint::forget(epoch);
    let outbox = place.open();

    assert_ne!(outbox.epoch, epoch);
    let batch = outbox.checkout().await;
    assert!(batch.iter().all(|kept| kept.number.epoch == epoch));
    assert_eq!(drain(&outbox).await, expected(0..10));
    assert!(gaps(&outbox).await.is_empty());
    outbox.close().await;
}

#[tokio::test]
async fn a_state_that_cannot_be_read_costs_the_count_and_no_reading() {
    let place = TestDir::new();
    let epoch = place.stopped_with(10).await;
    fs::write(place.folder.path().join("state"), b"rubbish").unwrap();

    let outbox = place.open();

    assert_ne!(outbox.epoch, epoch);
    assert_eq!(drain(&outbox).await, expected(0..10));
    outbox.close().await;
}

#[tokio::test]
async fn a_full_outbox_lets_the_oldest_go_and_tells_one_gap_with_what_was_lost_of_each_series() {
    let place =
        TestDir { limits: OutboxLimits { readings: 160, ..OutboxLimits::default() }, ..TestDir::new() };
    let outbox = place.open();
    for n in 0..100 {
        outbox.push(place.readings(n * 10..n * 10 + 10)).await;
        outbox.blocking(|outbox| outbox.spill()).await;
        place.clock.advance(Duration::from_secs(1));
    }

    let kept = drain(&outbox).await;
    let told = gaps(&outbox).await;

    let lost = 1000 - u32::try_from(kept.len()).unwrap();
    assert!((840..=860).contains(&lost), "{lost}");
    assert_eq!(kept, expected(lost..1000));
    let [gap] = &told[..] else { panic!("{told:?}") };
    assert_eq!((gap.first_seq, gap.last_seq, gap.reason), (1, lost.into(), GapReason::Full));
    assert_eq!(gap.series.iter().map(|series| series.lost).collect::<Vec<_>>(), [u64::from(lost) / 2; 2]);
    assert_eq!(gap.series[0].since, NOW);
    assert_eq!(gap.series[0].until, NOW.plus(Duration::from_secs(u64::from(lost) / 10 - 1)));
    outbox.close().await;
}

#[tokio::test]
async fn the_bytes_on_disk_stay_below_their_limit() {
    let place =
        TestDir { limits: OutboxLimits { bytes: 64 * 1024, ..OutboxLimits::default() }, ..TestDir::new() };
    let outbox = place.open();
    for n in 0..20 {
        outbox.push(place.readings(n * 1000..n * 1000 + 1000)).await;
        let bytes: u64 = place.segments().iter().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert!(bytes <= 64 * 1024, "{bytes}");
    }

    let (kept, told) = (drain(&outbox).await, gaps(&outbox).await);

    let came: BTreeSet<_> = kept.iter().map(|(seq, _)| *seq).collect();
    assert!(kept.len() > 1000, "{}", kept.len());
    assert_eq!(came.union(&numbers(&told)).count(), 20_000);
    assert!(came.is_disjoint(&numbers(&told)));
    outbox.close().await;
}

#[tokio::test]
async fn a_gap_is_told_after_a_restart_too_until_the_hub_knows_it() {
    let place =
        TestDir { limits: OutboxLimits { readings: 16, ..OutboxLimits::default() }, ..TestDir::new() };
    place.stopped_with(20).await;

    let outbox = place.open();
    let before = outbox.next_gap().await;
    outbox.close().await;
    drop(outbox);
    let outbox = place.open();
    let after = outbox.next_gap().await;
    outbox.gap_reported(after.clone().unwrap()).await;
    outbox.close().await;
    drop(outbox);
    let outbox = place.open();

    assert!(before.is_some());
    assert_eq!(before, after);
    assert_eq!(outbox.next_gap().await, None);
    outbox.close().await;
}

#[tokio::test]
async fn a_batch_whose_segment_goes_while_it_is_sent_is_lost_only_if_it_does_not_arrive() {
    for arrives in [true, false] {
        let place =
            TestDir { limits: OutboxLimits { readings: 16, ..OutboxLimits::default() }, ..TestDir::new() };
        let outbox = place.open();
        for n in 0..16 {
            outbox.push(place.readings(n..n + 1)).await;
            outbox.blocking(|outbox| outbox.spill()).await;
        }

        let batch = outbox.checkout().await;
        for n in 16..40 {
            outbox.push(place.readings(n..n + 1)).await;
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
async fn a_file_cut_anywhere_gives_back_what_is_whole_and_tells_of_the_rest() {
    let place = TestDir::new();
    place.stopped_with(40).await;
    let [segment] = &place.segments()[..] else { panic!("one segment") };
    let whole = fs::read(segment).unwrap();
    let state = fs::read(place.folder.path().join("state")).unwrap();

    let mut untold = 0;
    for cut in 0..whole.len() {
        fs::write(segment, &whole[..cut]).unwrap();
        fs::write(place.folder.path().join("state"), &state).unwrap();
        let outbox = place.open();

        let kept = drain(&outbox).await;
        let lost = numbers(&gaps(&outbox).await);

        let count = u32::try_from(kept.len()).unwrap();
        assert_eq!(kept, expected(0..count), "cut at {cut}");
        // Cut between two readings, nothing says that there were more: the hub sees them as missing.
        untold += usize::from(lost.is_empty());
        assert!(lost.is_empty() || lost == (u64::from(count) + 1..=40).collect(), "cut at {cut}: {lost:?}");
        outbox.close().await;
    }
    assert_eq!(untold, 40);
}

#[tokio::test]
async fn rotten_bytes_anywhere_cost_what_they_hit_and_that_is_told() {
    let mut random = Random::new();
    let place =
        TestDir { limits: OutboxLimits { readings: 800, ..OutboxLimits::default() }, ..TestDir::new() };
    place.stopped_with(400).await;
    let files: Vec<_> = place.segments().into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    let state = fs::read(place.folder.path().join("state")).unwrap();
    assert!(files.len() > 4, "{}", files.len());

    for _ in 0..rounds(50, 2000) {
        for path in place.segments() {
            fs::remove_file(path).unwrap();
        }
        for (bytes, path) in &files {
            fs::write(path, bytes).unwrap();
        }
        fs::write(place.folder.path().join("state"), &state).unwrap();
        let mut hit = String::new();
        for _ in 0..=random.below(3) {
            let (bytes, path) = &files[random.below(files.len())];
            let (from, length) = (random.below(bytes.len()), 1 + random.below(200));
            let mut rotten = fs::read(path).unwrap();
            rotten.iter_mut().skip(from).take(length).for_each(|byte| *byte = !*byte);
            fs::write(path, rotten).unwrap();
            hit += &format!("{length} bytes at {from} of {}; ", path.display());
        }
        let outbox = place.open();

        let kept = drain(&outbox).await;
        let lost = numbers(&gaps(&outbox).await);

        for (seq, value) in &kept {
            assert_eq!(seq - 1, *value as u64, "{hit}");
        }
        let came: BTreeSet<_> = kept.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(came.union(&lost).copied().collect::<Vec<_>>(), (1..=400).collect::<Vec<_>>(), "{hit}");
        assert!(came.is_disjoint(&lost), "{hit}");
        assert!(lost.len() < 60, "{} lost: {hit}", lost.len());
        outbox.close().await;
    }
}

#[tokio::test]
async fn a_folder_belongs_to_one_module_and_one_process_at_a_time() {
    let place = TestDir::new();
    let outbox = place.open();

    let second = place.try_open().unwrap_err();
    outbox.close().await;
    drop(outbox);
    let cellar = ModuleId::new("cellar").unwrap();
    let other = Outbox::on_disk(place.folder.path(), &cellar, place.limits, place.clock.clone()).unwrap_err();

    assert!(matches!(second, OutboxError::InUse { .. }), "{second:?}");
    assert!(matches!(&other, OutboxError::OtherModule { owner, .. } if *owner == attic()), "{other:?}");
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_said() {
    let place = TestDir::new();
    let file = place.folder.path().join("file");
    fs::write(&file, b"").unwrap();

    let error =
        Outbox::on_disk(&file.join("outbox"), &attic(), place.limits, place.clock.clone()).unwrap_err();

    assert!(matches!(error, OutboxError::Io { .. }), "{error:?}");
}

#[tokio::test]
async fn what_waited_too_long_goes_by_the_monotonic_clock_alone() {
    let place = TestDir::new();
    place.stopped_with(10).await;
    let outbox = place.open();

    place.clock.step_to(NOW.plus(Duration::from_secs(10 * 365 * 86_400)));
    outbox.maintain().await;
    place.clock.step_to(Timestamp::from_micros(0));
    outbox.maintain().await;
    place.clock.advance(Duration::from_secs(6 * 86_400));
    outbox.maintain().await;
    let before = outbox.pending().await;
    place.clock.advance(Duration::from_secs(2 * 86_400));
    outbox.maintain().await;

    assert_eq!(before, (true, false));
    let told = gaps(&outbox).await;
    assert_eq!(
        told.iter().map(|gap| (gap.lost(), gap.reason)).collect::<Vec<_>>(),
        [(10, GapReason::TooOld)]
    );
    assert!(drain(&outbox).await.is_empty());
    outbox.close().await;
}

/// What would be sent of the oldest reading that waits.
async fn sent(outbox: &Arc<Outbox>, clock: &ManualClock) -> (Option<Timestamp>, Option<f64>) {
    let kept = outbox.checkout().await.remove(0);
    let reading = kept.to_send(&attic(), clock);
    (reading.timestamp, reading.age)
}

#[tokio::test]
async fn a_reading_of_an_unset_clock_keeps_its_age_through_a_restart_but_not_through_a_reboot() {
    let place = TestDir { clock: ManualClock::at(Timestamp::from_micros(0)), ..TestDir::new() };
    place.clock.advance(Duration::from_secs(30));
    place.stopped_with(1).await;

    place.clock.advance(Duration::from_secs(60));
    let outbox = place.open();
    let restarted = sent(&outbox, &place.clock).await;
    place.clock.step_to(NOW);
    let after_ntp = sent(&outbox, &place.clock).await;
    outbox.close().await;
    drop(outbox);
    place.clock.reboot(NOW.plus(Duration::from_secs(3600)));
    let outbox = place.open();
    let rebooted = sent(&outbox, &place.clock).await;
    outbox.close().await;

    assert_eq!(restarted, (None, Some(60.0)));
    assert_eq!(after_ntp, (None, Some(60.0)));
    assert_eq!(rebooted, (None, None));
}

#[tokio::test]
async fn a_reading_of_a_set_clock_keeps_its_time_through_a_reboot_into_1970() {
    let place = TestDir::new();
    place.stopped_with(1).await;

    place.clock.reboot(Timestamp::from_micros(0));
    let outbox = place.open();

    assert_eq!(sent(&outbox, &place.clock).await, (Some(NOW), None));
    outbox.close().await;
}

#[tokio::test]
async fn a_disk_that_takes_nothing_leaves_the_readings_in_memory() {
    let place = TestDir::new();
    let outbox = place.open();
    // A folder in its place: a file cannot be made there.
    let path: &Path = place.folder.path();
    let next = path.join(format!("0000000001-{:014x}-1.seg", outbox.epoch));
    fs::create_dir(&next).unwrap();

    outbox.push(place.readings(0..10)).await;
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
