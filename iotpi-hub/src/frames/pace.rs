//! When a camera's frames came, and how long they took.

use std::{collections::VecDeque, time::Duration};

use iotpi_core::{Latency, Timestamp};

/// Frame rates are counted over so long.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// So many arrivals are kept at most: 200 a second over the window. Of a faster camera the rate is taken over less time.
const MOST_ARRIVALS: usize = 1000;
/// A rate is taken over at least this time: the first frames after a pause may come close together.
const MIN_RATE_SPAN: Duration = Duration::from_millis(500);
/// Latencies are those of the last seconds, so that a freeze is forgotten soon, and of this many frames at most.
const LATENCY_WINDOW: Duration = Duration::from_secs(10);
const MAX_LATENCIES: usize = 1000;
/// A camera that is slow by itself is not lost before it missed three frames.
const MISSED_FRAMES: u32 = 3;

/// Times are monotonic.
#[derive(Debug, Default)]
pub(super) struct Pace {
    arrivals: VecDeque<Duration>,
    newest: Option<Duration>,
    /// Between the newest frame and the one before.
    interval: Duration,
    /// When a frame came, and how long it took; the newest is always kept.
    latencies: VecDeque<(Duration, Duration)>,
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
        if self.latencies.len() == MAX_LATENCIES {
            self.latencies.pop_front();
        }
        self.latencies.push_back((now, received_at.since(captured_at)));
        self.forget_latencies_before(now);
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
        let span = now.saturating_sub(*first);
        if span.is_zero() {
            return 0.0;
        }
        let span = span.max(MIN_RATE_SPAN).as_secs_f64();
        let intervals = self.arrivals.len() - 1;
        (intervals as f64 / span * 10.0).round() / 10.0
    }

    pub(super) fn latency(&mut self, now: Duration) -> Latency {
        self.forget_latencies_before(now);
        let mut sorted: Vec<_> = self.latencies.iter().map(|(_, latency)| *latency).collect();
        sorted.sort_unstable();
        let at = |hundredths: usize| {
            let rank = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
            sorted.get(rank).copied().unwrap_or_default().as_secs_f64()
        };
        Latency { p50: at(50), p99: at(99) }
    }

    fn forget_latencies_before(&mut self, now: Duration) {
        while self.latencies.len() > 1
            && self.latencies.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= LATENCY_WINDOW)
        {
            self.latencies.pop_front();
        }
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

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn half_of_the_frames_took_no_longer_than_p50_and_all_but_one_of_a_hundred_than_p99() {
        let mut pace = Pace::default();
        for i in 1..=100_u64 {
            pace.came(ms(10 * i), Timestamp::MIN, Timestamp::MIN.plus(ms(i)));
        }

        assert_eq!(pace.latency(ms(1000)), Latency { p50: 0.05, p99: 0.099 });
        assert_eq!(Pace::default().latency(ms(0)), Latency { p50: 0.0, p99: 0.0 });
    }

    #[test]
    fn a_freeze_is_forgotten_after_ten_seconds_however_few_frames_came_since() {
        let mut pace = Pace::default();
        pace.came(ms(0), Timestamp::MIN, Timestamp::MIN.plus(ms(12_400)));
        pace.came(ms(5_000), Timestamp::MIN, Timestamp::MIN.plus(ms(40)));

        assert_eq!(pace.latency(ms(9_999)).p99, 12.4);
        assert_eq!(pace.latency(ms(10_000)).p99, 0.04);
        // The newest is kept, however old.
        assert_eq!(pace.latency(ms(60_000)), Latency { p50: 0.04, p99: 0.04 });
    }

    #[test]
    fn latencies_of_a_fast_camera_are_bounded() {
        let mut pace = Pace::default();
        for i in 0..3_000 {
            pace.came(ms(i), Timestamp::MIN, Timestamp::MIN.plus(ms(if i < 2_000 { 7_000 } else { 1 })));
        }

        assert_eq!(pace.latencies.len(), MAX_LATENCIES);
        assert_eq!(pace.latency(ms(3_000)), Latency { p50: 0.001, p99: 0.001 });
    }

    #[test]
    fn two_frames_close_together_after_a_pause_are_no_high_rate() {
        let mut pace = Pace::default();
        for i in 0..60 {
            pace.came(ms(83 * i), Timestamp::MIN, Timestamp::MIN);
        }
        assert_eq!(pace.per_second(ms(83 * 59)), 12.0);

        // Twenty seconds later two come 40 ms apart, then one every 83 ms.
        pace.came(ms(25_000), Timestamp::MIN, Timestamp::MIN);
        pace.came(ms(25_040), Timestamp::MIN, Timestamp::MIN);

        assert!(pace.per_second(ms(25_040)) <= 2.0);
        for i in 1..=12 {
            pace.came(ms(25_040 + 83 * i), Timestamp::MIN, Timestamp::MIN);
            assert!(pace.per_second(ms(25_040 + 83 * i)) <= 14.0);
        }
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
