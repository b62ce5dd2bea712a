//! When a camera's frames came, and how long they took.

use std::{collections::VecDeque, time::Duration};

use iotpi_core::{Latency, Timestamp};

/// Frame rates are counted over so long.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// So many arrivals are kept at most: 200 a second over the window. Of a faster camera the rate is taken over less time.
const MOST_ARRIVALS: usize = 1000;
/// Latencies are told over so many frames.
const LATENCIES: usize = 256;
/// A camera that is slow by itself is not lost before it missed three frames.
const MISSED_FRAMES: u32 = 3;

/// Times are monotonic.
#[derive(Debug, Default)]
pub(super) struct Pace {
    arrivals: VecDeque<Duration>,
    newest: Option<Duration>,
    /// Between the newest frame and the one before.
    interval: Duration,
    latencies: VecDeque<Duration>,
    announced: Option<Duration>,
}

impl Pace {
    /// A frame came, captured and received at these moments of the hub's wall clock.
    pub(super) fn came(&mut self, now: Duration, captured_at: Timestamp, received_at: Timestamp) {
        self.forget_before(now);
        if self.arrivals.len() == MOST_ARRIVALS {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
        self.interval = self.newest.map_or(Duration::ZERO, |newest| now.saturating_sub(newest));
        self.newest = Some(now);
        if self.latencies.len() == LATENCIES {
            self.latencies.pop_front();
        }
        self.latencies.push_back(received_at.since(captured_at));
    }

    /// Whether the last announcement is so long ago; if it is, this is the next.
    pub(super) fn announce(&mut self, now: Duration, every: Duration) -> bool {
        let due = self.announced.is_none_or(|last| now.saturating_sub(last) >= every);
        if due {
            self.announced = Some(now);
        }
        due
    }

    /// Whether no frame came for so long, and for longer than it usually takes.
    pub(super) fn is_silent(&self, now: Duration, since: Duration, lost_after: Duration) -> bool {
        let patience = lost_after.max(self.interval * MISSED_FRAMES);
        now.saturating_sub(self.newest.unwrap_or(since)) >= patience
    }

    /// Intervals per second: two frames are one interval.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn per_second(&mut self, now: Duration) -> f64 {
        self.forget_before(now);
        let Some(first) = self.arrivals.front() else { return 0.0 };
        let span = now.saturating_sub(*first).as_secs_f64();
        let intervals = self.arrivals.len() - 1;
        if intervals == 0 || span <= 0.0 { 0.0 } else { (intervals as f64 / span * 10.0).round() / 10.0 }
    }

    pub(super) fn latency(&self) -> Latency {
        let mut sorted: Vec<_> = self.latencies.iter().copied().collect();
        sorted.sort_unstable();
        let at = |hundredths: usize| {
            let rank = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
            sorted.get(rank).copied().unwrap_or_default().as_secs_f64()
        };
        Latency { p50: at(50), p99: at(99) }
    }

    fn forget_before(&mut self, now: Duration) {
        while self.arrivals.front().is_some_and(|t| now.saturating_sub(*t) > RATE_WINDOW) {
            self.arrivals.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_frames_took_no_longer_than_p50_and_all_but_one_of_a_hundred_than_p99() {
        let mut pace = Pace::default();
        for i in 0..=1000_u64 {
            let late = Duration::from_millis(if i < 900 { 7_000 } else { i - 900 });
            pace.came(Duration::from_millis(i), Timestamp::MIN, Timestamp::MIN.plus(late));
        }

        // The last 256: 155 of 7 s, then 0 to 100 ms.
        assert_eq!(pace.latency(), Latency { p50: 7.0, p99: 7.0 });
        for _ in 0..155 {
            pace.came(Duration::from_secs(2), Timestamp::MIN, Timestamp::MIN);
        }
        assert_eq!(pace.latency(), Latency { p50: 0.0, p99: 0.098 });
        assert_eq!(Pace::default().latency(), Latency { p50: 0.0, p99: 0.0 });
    }

    #[test]
    fn a_camera_of_a_thousand_frames_a_second_is_counted_without_keeping_them_all() {
        let mut pace = Pace::default();
        for i in 0..20_000 {
            pace.came(Duration::from_millis(i), Timestamp::MIN, Timestamp::MIN);
        }

        assert_eq!(pace.per_second(Duration::from_millis(19_999)), 1000.0);
        assert_eq!(pace.arrivals.len(), MOST_ARRIVALS);
    }

    #[test]
    fn a_slow_camera_is_given_time_for_three_frames() {
        let mut pace = Pace::default();
        let secs = Duration::from_secs;
        assert!(!pace.is_silent(secs(104), secs(100), secs(5)));
        assert!(pace.is_silent(secs(105), secs(100), secs(5)));

        pace.came(secs(200), Timestamp::MIN, Timestamp::MIN);
        pace.came(secs(210), Timestamp::MIN, Timestamp::MIN);

        assert!(!pace.is_silent(secs(239), secs(100), secs(5)));
        assert!(pace.is_silent(secs(240), secs(100), secs(5)));
    }
}
