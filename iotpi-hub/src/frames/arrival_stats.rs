//! Statistics of a camera's frame arrivals: rate, latency, silence.

use std::{collections::VecDeque, time::Duration};

use iotpi_core::{Timestamp, model::camera::Latency};

/// Window over which the frame rate is counted.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// Maximum number of arrivals kept: 200 a second over the window. For a faster camera the window is shorter.
const MAX_ARRIVALS: usize = 1000;
/// Minimum time over which a rate is computed: the first frames after a pause may arrive close together.
const MIN_RATE_SPAN: Duration = Duration::from_millis(500);
/// Latencies cover the last seconds, so that a freeze soon stops counting, and at most this number of frames.
const LATENCY_WINDOW: Duration = Duration::from_secs(10);
const MAX_LATENCIES: usize = 1000;
/// Intervals a slow camera may miss before it counts as lost.
const MISSED_FRAMES: u32 = 3;

/// Times are monotonic.
#[derive(Debug, Default)]
pub(super) struct ArrivalStats {
    arrivals: VecDeque<Duration>,
    newest: Option<Duration>,
    /// Interval between the newest two frames.
    interval: Duration,
    /// Arrival and latency of recent frames; the newest is always kept.
    latencies: VecDeque<(Duration, Duration)>,
    announced: Option<Duration>,
}

impl ArrivalStats {
    /// Records a frame that was captured and received at the given times of the hub's wall clock.
    pub(super) fn record(&mut self, now: Duration, captured_at: Timestamp, received_at: Timestamp) {
        self.drop_before(now);
        if self.arrivals.len() == MAX_ARRIVALS {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
        self.interval = self.newest.map_or(Duration::ZERO, |newest| now.saturating_sub(newest));
        self.newest = Some(now);
        if self.latencies.len() == MAX_LATENCIES {
            self.latencies.pop_front();
        }
        self.latencies.push_back((now, received_at.since(captured_at)));
        self.drop_latencies_before(now);
    }

    /// Whether an announcement is due. If it is, the next one is due after `every`.
    pub(super) fn announce(&mut self, now: Duration, every: Duration) -> bool {
        let due = self.announced.is_none_or(|last| now.saturating_sub(last) >= every);
        if due {
            self.announced = Some(now);
        }
        due
    }

    /// Whether the camera has been silent for `lost_after`, and for longer than its usual interval explains.
    pub(super) fn is_silent(&self, now: Duration, since: Duration, lost_after: Duration) -> bool {
        let silence = lost_after.max(self.interval * MISSED_FRAMES);
        now.saturating_sub(self.newest.unwrap_or(since)) >= silence
    }

    /// Intervals per second: two frames make one interval.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn per_second(&mut self, now: Duration) -> f64 {
        self.drop_before(now);
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
        self.drop_latencies_before(now);
        let mut sorted: Vec<_> = self.latencies.iter().map(|(_, latency)| *latency).collect();
        sorted.sort_unstable();
        let at = |hundredths: usize| {
            let rank = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
            sorted.get(rank).copied().unwrap_or_default().as_secs_f64()
        };
        Latency::new(at(50), at(99))
    }

    fn drop_latencies_before(&mut self, now: Duration) {
        while self.latencies.len() > 1
            && self.latencies.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= LATENCY_WINDOW)
        {
            self.latencies.pop_front();
        }
    }

    fn drop_before(&mut self, now: Duration) {
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
        let mut arrival_stats = ArrivalStats::default();
        for i in 1..=100_u64 {
            arrival_stats.record(ms(10 * i), Timestamp::MIN, Timestamp::MIN.plus(ms(i)));
        }

        assert_eq!(arrival_stats.latency(ms(1000)), Latency::new(0.05, 0.099));
        assert_eq!(ArrivalStats::default().latency(ms(0)), Latency::new(0.0, 0.0));
    }

    #[test]
    fn a_freeze_is_forgotten_after_ten_seconds_however_few_frames_came_since() {
        let mut arrival_stats = ArrivalStats::default();
        arrival_stats.record(ms(0), Timestamp::MIN, Timestamp::MIN.plus(ms(12_400)));
        arrival_stats.record(ms(5_000), Timestamp::MIN, Timestamp::MIN.plus(ms(40)));

        assert_eq!(arrival_stats.latency(ms(9_999)).p99, 12.4);
        assert_eq!(arrival_stats.latency(ms(10_000)).p99, 0.04);
        // The newest latency is kept, whatever its age.
        assert_eq!(arrival_stats.latency(ms(60_000)), Latency::new(0.04, 0.04));
    }

    #[test]
    fn latencies_of_a_fast_camera_are_bounded() {
        let mut arrival_stats = ArrivalStats::default();
        for i in 0..3_000 {
            arrival_stats.record(
                ms(i),
                Timestamp::MIN,
                Timestamp::MIN.plus(ms(if i < 2_000 { 7_000 } else { 1 })),
            );
        }

        assert_eq!(arrival_stats.latencies.len(), MAX_LATENCIES);
        assert_eq!(arrival_stats.latency(ms(3_000)), Latency::new(0.001, 0.001));
    }

    #[test]
    fn two_frames_close_together_after_a_pause_are_no_high_rate() {
        let mut arrival_stats = ArrivalStats::default();
        for i in 0..60 {
            arrival_stats.record(ms(83 * i), Timestamp::MIN, Timestamp::MIN);
        }
        assert_eq!(arrival_stats.per_second(ms(83 * 59)), 12.0);

        // Twenty seconds later two frames arrive 40 ms apart, then one every 83 ms.
        arrival_stats.record(ms(25_000), Timestamp::MIN, Timestamp::MIN);
        arrival_stats.record(ms(25_040), Timestamp::MIN, Timestamp::MIN);

        assert!(arrival_stats.per_second(ms(25_040)) <= 2.0);
        for i in 1..=12 {
            arrival_stats.record(ms(25_040 + 83 * i), Timestamp::MIN, Timestamp::MIN);
            assert!(arrival_stats.per_second(ms(25_040 + 83 * i)) <= 14.0);
        }
    }

    #[test]
    fn a_camera_of_a_thousand_frames_a_second_is_counted_without_keeping_them_all() {
        let mut arrival_stats = ArrivalStats::default();
        for i in 0..20_000 {
            arrival_stats.record(Duration::from_millis(i), Timestamp::MIN, Timestamp::MIN);
        }

        assert_eq!(arrival_stats.per_second(Duration::from_millis(19_999)), 1000.0);
        assert_eq!(arrival_stats.arrivals.len(), MAX_ARRIVALS);
    }

    #[test]
    fn a_slow_camera_is_given_time_for_three_frames() {
        let mut arrival_stats = ArrivalStats::default();
        let secs = Duration::from_secs;
        assert!(!arrival_stats.is_silent(secs(104), secs(100), secs(5)));
        assert!(arrival_stats.is_silent(secs(105), secs(100), secs(5)));

        arrival_stats.record(secs(200), Timestamp::MIN, Timestamp::MIN);
        arrival_stats.record(secs(210), Timestamp::MIN, Timestamp::MIN);

        assert!(!arrival_stats.is_silent(secs(239), secs(100), secs(5)));
        assert!(arrival_stats.is_silent(secs(240), secs(100), secs(5)));
    }
}
