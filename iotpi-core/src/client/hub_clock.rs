//! An estimate of the hub's clock.
//!
//! Each sample says what the hub's clock showed between two of our times; the middle is assumed, so the error
//! is at most half the round trip. The sample with the shortest round trip of the last eight counts (D.
//! Mills, RFC 5905 section 10, "clock filter algorithm").
//!
//! Our times are monotonic, so setting our wall clock changes nothing here. Deliberately absent: an estimate
//! of the drift between the clocks. The oldest sample is 80 s old; at 50 ppm that is 4 ms.

use std::{collections::VecDeque, time::Duration};

use crate::time::Timestamp;

/// The number of samples that are compared.
pub(crate) const SAMPLES: usize = 8;
/// The maximum drift between two clocks: NTP slews at 500 ppm, crystals are ten times better.
const MAX_DRIFT_PPM: i64 = 500;
/// The allowance for steps and rounding of the clocks.
const TOLERANCE_MICROS: i64 = 1000;

/// The samples of the estimate.
#[derive(Debug, Default)]
pub(crate) struct HubClock {
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    /// The middle of the round trip by our monotonic clock.
    at_micros: i64,
    /// The hub's clock minus our monotonic one.
    ahead_micros: i64,
    round_trip_micros: i64,
}

impl HubClock {
    /// Adds a sample: the hub's clock at some time from `sent` to `received` by our monotonic clock.
    pub fn heard(&mut self, sent: Duration, received: Duration, hub_time: Timestamp) {
        let round_trip_micros = micros(received.saturating_sub(sent));
        let at_micros = micros(sent) + round_trip_micros / 2;
        let ahead_micros = hub_time.as_micros().saturating_sub(at_micros);
        let sample = Sample { at_micros, ahead_micros, round_trip_micros };
        // A sample that contradicts this one is from before the hub's clock was set.
        self.samples.retain(|other| other.agrees_with(&sample));
        self.samples.push_back(sample);
        while self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    /// The offset of the hub's clock ahead of our wall clock, in seconds, when ours show `now` and
    /// `monotonic`; `None` before the first sample.
    #[allow(clippy::cast_precision_loss)]
    pub fn offset_secs(&self, now: Timestamp, monotonic: Duration) -> Option<f64> {
        // Of equally short round trips the last one: it is the newest.
        let best = self.samples.iter().rev().min_by_key(|sample| sample.round_trip_micros)?;
        let hub_time = best.ahead_micros.saturating_add(micros(monotonic));
        Some(hub_time.saturating_sub(now.as_micros()) as f64 / 1e6)
    }
}

impl Sample {
    /// Whether one clock could have produced both samples.
    fn agrees_with(&self, other: &Self) -> bool {
        let apart = self.ahead_micros.abs_diff(other.ahead_micros);
        let elapsed = self.at_micros.abs_diff(other.at_micros);
        let drift = elapsed / 1_000_000 * MAX_DRIFT_PPM.unsigned_abs() + MAX_DRIFT_PPM.unsigned_abs();
        let trips = (self.round_trip_micros + other.round_trip_micros) / 2;
        apart <= trips.unsigned_abs() + drift + TOLERANCE_MICROS.unsigned_abs()
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::FIRST_POSSIBLE;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A sample sent at a time, with this round trip, of a hub whose clock shows `START + ahead` at zero.
    fn sample(clock: &mut HubClock, sent: Duration, there: Duration, back: Duration, ahead: Duration) {
        clock.heard(sent, sent + there + back, START.plus(ahead + sent + there));
    }

    /// The error of the estimate when our wall clock shows `START` at zero and the hub is `ahead`.
    fn error_secs(clock: &HubClock, at: Duration, ahead: Duration) -> f64 {
        clock.offset_secs(START.plus(at), at).unwrap() - ahead.as_secs_f64()
    }

    #[test]
    fn there_is_no_estimate_before_the_first_sample() {
        assert_eq!(HubClock::default().offset_secs(START, ms(0)), None);
    }

    #[test]
    fn the_estimate_is_exact_with_equal_delays_in_both_directions() {
        let mut clock = HubClock::default();

        sample(&mut clock, ms(1000), ms(40), ms(40), ms(2500));

        assert!(error_secs(&clock, ms(5000), ms(2500)).abs() < 1e-6);
    }

    #[test]
    fn the_shortest_round_trip_of_the_last_eight_is_used() {
        let mut clock = HubClock::default();

        for i in 0..7 {
            sample(&mut clock, ms(1000 * i), ms(400), ms(2), ms(100));
        }
        assert!(error_secs(&clock, ms(7000), ms(100)) > 0.19);
        sample(&mut clock, ms(7000), ms(1), ms(3), ms(100));
        assert!(error_secs(&clock, ms(8000), ms(100)).abs() < 0.0011);

        // After eight more samples another one counts.
        for i in 8..16 {
            sample(&mut clock, ms(1000 * i), ms(20), ms(0), ms(100));
        }
        assert!((error_secs(&clock, ms(17000), ms(100)) - 0.01).abs() < 1e-6);
    }

    #[test]
    fn the_estimate_follows_drift_as_old_samples_expire() {
        let mut clock = HubClock::default();
        // The hub's clock gains 100 us a second.
        let gained = |at: Duration| at / 10_000;

        for i in 0..1000 {
            let at = Duration::from_secs(10 * i);
            sample(&mut clock, at, ms(1), ms(1), gained(at));
            assert!(error_secs(&clock, at, gained(at)).abs() < 0.001 + 0.008, "after {i}");
        }
    }

    #[test]
    fn a_step_of_the_clock_of_the_hub_is_followed_at_once() {
        let mut clock = HubClock::default();
        for i in 0..8 {
            sample(&mut clock, ms(1000 * i), ms(1), ms(1), ms(60_000));
        }

        sample(&mut clock, ms(20_000), ms(30), ms(30), ms(0));

        assert!(error_secs(&clock, ms(20_000), ms(0)).abs() <= 0.03);
    }

    #[test]
    fn a_step_of_the_own_clock_needs_no_new_sample() {
        let mut clock = HubClock::default();
        clock.heard(ms(1000), ms(1002), START.plus(ms(1001)));

        // The wall clock showed 1970 and now agrees with the hub.
        let before = clock.offset_secs(Timestamp::from_micros(0), ms(2000)).unwrap();
        let after = clock.offset_secs(START.plus(ms(3000)), ms(3000)).unwrap();

        assert!((before - START.as_secs_f64() - 2.0).abs() < 1e-3);
        assert!(after.abs() < 1e-6);
    }

    proptest! {
        #[test]
        fn the_error_is_at_most_half_of_the_shortest_round_trip(
            ways in proptest::collection::vec((0_u64..2000, 0_u64..2000), 1..9), ahead in 0_u64..1_000_000,
        ) {
            let mut clock = HubClock::default();
            for (i, &(there, back)) in ways.iter().enumerate() {
                sample(&mut clock, ms(10_000 * i as u64), ms(there), ms(back), ms(ahead));
            }

            let shortest = ways.iter().map(|(there, back)| there + back).min().unwrap();
            let bound = shortest as f64 / 2000.0 + 1e-5;
            prop_assert!(error_secs(&clock, ms(100_000), ms(ahead)).abs() <= bound);
        }
    }
}
