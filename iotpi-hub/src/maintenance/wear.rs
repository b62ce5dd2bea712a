//! The bytes that the hub writes to its device, and the forecast of its life.
//!
//! The kernel counts what this process writes, including WAL, checkpoints and backups. The write
//! amplification of the card's controller is unknown; a vendor's figure of terabytes written includes it.

use std::{collections::VecDeque, time::Duration};

use iotpi_core::Timestamp;
use serde::{Deserialize, Serialize};

/// The number of days in the average.
const DAYS: usize = 30;
/// The time that must be measured before a forecast.
const ENOUGH: Duration = Duration::from_secs(3_600);
const DAY_US: i64 = 86_400_000_000;
const DAY_SECS: f64 = 86_400.0;

/// The bytes written so far.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wear {
    kept: StoredWear,
    /// The process's count and the steady time at the last update.
    last: (u64, Duration),
}

/// The data kept across restarts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
struct StoredWear {
    /// All bytes counted so far.
    total_bytes: u64,
    /// The last days the hub ran, oldest first.
    days: VecDeque<Day>,
}

/// A day by the wall clock. A clock that jumps produces odd days; bytes and seconds remain right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Day {
    /// Days since 1970-01-01.
    day: i64,
    bytes: u64,
    /// The running time on this day in seconds.
    secs: f64,
}

impl Wear {
    /// Continues with a saved note; an unreadable one is ignored. `uptime` is the current one.
    pub(crate) fn remembered(note: Option<&str>, uptime: Duration) -> Self {
        let kept = note.and_then(|note| serde_json::from_str(note).ok()).unwrap_or_default();
        Self { kept, last: (0, uptime) }
    }

    /// The note to save.
    pub(crate) fn note(&self) -> String {
        serde_json::to_string(&self.kept).unwrap_or_default()
    }

    /// Updates the count with the bytes that the process has written since it started.
    pub(crate) fn count(&mut self, written: u64, uptime: Duration, wall: Timestamp) {
        let (bytes, ran) = (written.saturating_sub(self.last.0), uptime.saturating_sub(self.last.1));
        self.last = (written, uptime);
        self.kept.total_bytes = self.kept.total_bytes.saturating_add(bytes);
        let day = day_of(wall);
        if self.kept.days.back().is_none_or(|last| last.day != day) {
            self.kept.days.push_back(Day { day, bytes: 0, secs: 0.0 });
        }
        while self.kept.days.len() > DAYS {
            self.kept.days.pop_front();
        }
        if let Some(today) = self.kept.days.back_mut() {
            today.bytes = today.bytes.saturating_add(bytes);
            today.secs += ran.as_secs_f64();
        }
    }

    /// All bytes counted so far.
    pub(crate) fn total(&self) -> u64 {
        self.kept.total_bytes
    }

    /// The bytes of this day so far.
    pub(crate) fn today(&self, wall: Timestamp) -> u64 {
        self.kept.days.back().filter(|day| day.day == day_of(wall)).map_or(0, |day| day.bytes)
    }

    /// Bytes per day of running time, over the last 30 days the hub ran; `None` before an hour was measured.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(crate) fn per_day(&self) -> Option<u64> {
        let secs: f64 = self.kept.days.iter().map(|day| day.secs).sum();
        let bytes: u64 = self.kept.days.iter().map(|day| day.bytes).sum();
        (secs >= ENOUGH.as_secs_f64()).then(|| (bytes as f64 / secs * DAY_SECS).round() as u64)
    }

    /// Years until this many bytes are written at the current rate; `None` if the rate is unknown.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn years_left(&self, endurance: u64) -> Option<f64> {
        let per_day = self.per_day().filter(|bytes| *bytes > 0)?;
        Some(endurance.saturating_sub(self.total()) as f64 / per_day as f64 / 365.25)
    }
}

fn day_of(wall: Timestamp) -> i64 {
    wall.as_micros().div_euclid(DAY_US)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);
    const GB: u64 = 1_000_000_000;

    fn wall(hours: u32) -> Timestamp {
        // 2026-11-24 00:00 UTC.
        Timestamp::from_micros(1_795_478_400_000_000).plus(HOUR * hours)
    }

    #[test]
    fn the_daily_rate_is_computed_from_the_measured_hours() {
        let mut wear = Wear::remembered(None, Duration::ZERO);

        wear.count(GB / 100, HOUR / 2, wall(0));
        let too_early = wear.per_day();
        wear.count(GB / 2, HOUR * 6, wall(6));

        assert_eq!((too_early, wear.per_day()), (None, Some(2 * GB)));
        assert_eq!((wear.today(wall(7)), wear.today(wall(30))), (GB / 2, 0));
    }

    #[test]
    fn the_forecast_is_the_remaining_endurance() {
        let mut wear = Wear::remembered(None, Duration::ZERO);
        wear.count(2 * GB, HOUR * 24, wall(23));

        let years = wear.years_left(10_000 * GB).unwrap();

        assert!((years - 9_998.0 / 2.0 / 365.25).abs() < 1e-9, "{years}");
        assert_eq!(wear.years_left(GB), Some(0.0), "more is written than it endures");
        assert_eq!(Wear::remembered(None, Duration::ZERO).years_left(GB), None);
    }

    #[test]
    fn totals_continue_after_a_restart() {
        let mut before = Wear::remembered(None, Duration::ZERO);
        before.count(3 * GB, HOUR * 12, wall(12));

        let mut after = Wear::remembered(Some(&before.note()), Duration::ZERO);
        after.count(GB, HOUR * 4, wall(16));

        assert_eq!((after.total(), after.today(wall(16)), after.per_day()), (4 * GB, 4 * GB, Some(6 * GB)));
        assert_eq!(Wear::remembered(Some("not JSON"), Duration::ZERO).total(), 0);
    }

    #[test]
    fn a_clock_that_jumps_changes_no_average() {
        let mut wear = Wear::remembered(None, Duration::ZERO);

        for hour in 1..=100_u32 {
            let jumped = if hour % 2 == 0 { wall(hour) } else { wall(87_600) };
            wear.count(u64::from(hour) * GB / 24, HOUR * hour, jumped);
        }

        let per_day = wear.per_day().unwrap();
        assert!(per_day.abs_diff(GB) < 1000, "{per_day}");
        assert!(wear.kept.days.len() <= DAYS);
    }
}
