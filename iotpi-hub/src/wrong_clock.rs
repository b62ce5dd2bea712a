//! The times at which the hub's wall clock was wrong: detected by comparing it with the monotonic clock, kept
//! across restarts.
//!
//! A Pi without a battery clock boots with an old time, and NTP sets it later. The hub cannot know in
//! advance; once the clock is adjusted by more than [`MIN_STEP`], the time before was wrong. Deliberately
//! absent: correcting stored readings. The step may itself be a mistake, and readings are never rewritten.

use std::{sync::Mutex, time::Duration};

use iotpi_core::{Clock, Reading, Timestamp, model::reading::TimeSource};
use serde::{Deserialize, Serialize};

use crate::lock::lock;

/// A smaller adjustment is not reported.
pub(crate) const MIN_STEP: Duration = Duration::from_secs(300);
/// The maximum number of spans that are kept; the oldest are dropped first.
const MAX_SPANS: usize = 100;

/// A span of wall time during which the clock was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Span {
    from_us: i64,
    until_us: i64,
    /// The clock was ahead and was set back: it shows these times a second time, correctly.
    ahead: bool,
}

/// The data kept across restarts.
#[derive(Debug, Default, Serialize, Deserialize)]
struct StoredSpans {
    /// The boot to which the next two fields belong, in hexadecimal digits.
    boot: Option<String>,
    /// The wall time since which the clock was not adjusted.
    since_us: i64,
    /// The wall clock minus the monotonic one.
    offset_us: i64,
    spans: Vec<Span>,
}

/// Watches the hub's wall clock.
#[derive(Debug)]
pub(crate) struct WrongClock(Mutex<State>);

#[derive(Debug)]
struct State {
    kept: StoredSpans,
    suspended: Duration,
    unsaved: bool,
}

impl WrongClock {
    /// Continues with saved [data](Self::unsaved): an adjustment while no hub was running is detected, too,
    /// if the machine has not rebooted since.
    pub(crate) fn new(kept: Option<&str>, clock: &dyn Clock) -> Self {
        let mut kept: StoredSpans = kept.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let boot = clock.boot().map(|boot| format!("{boot:032x}"));
        let same = boot.is_some() && kept.boot == boot;
        if !same {
            kept = StoredSpans {
                boot,
                since_us: clock.now().as_micros(),
                offset_us: offset(clock),
                spans: kept.spans,
            };
        }
        let watch = Self(Mutex::new(State { kept, suspended: clock.suspended(), unsaved: !same }));
        watch.look(clock);
        watch
    }

    /// Detects whether the wall clock was adjusted since the last call. Returns by how many seconds, if that
    /// is reported.
    pub(crate) fn look(&self, clock: &dyn Clock) -> Option<f64> {
        let mut state = lock(&self.0);
        let offset = offset(clock);
        let is_small = |step: i64| Duration::from_micros(step.unsigned_abs()) <= MIN_STEP;
        let mut step = offset.saturating_sub(state.kept.offset_us);
        state.kept.offset_us = offset;
        if is_small(step) {
            return None;
        }
        // While a machine is suspended its wall clock continues and its monotonic clock stands still.
        let suspended = clock.suspended();
        let slept = suspended.saturating_sub(state.suspended);
        state.suspended = suspended;
        step = step.saturating_sub(i64::try_from(slept.as_micros()).unwrap_or(i64::MAX));
        if is_small(step) {
            return None;
        }
        let now = clock.now().as_micros();
        let span = Span { from_us: state.kept.since_us, until_us: now.saturating_sub(step), ahead: step < 0 };
        if span.from_us <= span.until_us {
            state.kept.spans.push(span);
        }
        let over = state.kept.spans.len().saturating_sub(MAX_SPANS);
        state.kept.spans.drain(..over);
        state.kept.since_us = now;
        state.unsaved = true;
        #[allow(clippy::cast_precision_loss)]
        Some(step as f64 / 1e6)
    }

    /// The data to save, if it has changed since the last call.
    pub(crate) fn unsaved(&self) -> Option<String> {
        let mut state = lock(&self.0);
        std::mem::take(&mut state.unsaved).then(|| serde_json::to_string(&state.kept).unwrap_or_default())
    }

    /// Records that the data could not be saved.
    pub(crate) fn not_saved(&self) {
        lock(&self.0).unsaved = true;
    }

    /// Marks readings whose time was taken from the wall clock while it was wrong. If the clock was ahead,
    /// only those still ahead of `now` are marked: it shows the other times a second time, so they are
    /// ambiguous.
    pub(crate) fn mark(&self, readings: &mut [Reading], now: Timestamp) {
        let state = lock(&self.0);
        if state.kept.spans.is_empty() {
            return;
        }
        for reading in readings {
            let by_hub =
                matches!(reading.time_source, TimeSource::Estimated | TimeSource::Hub | TimeSource::Arrival);
            let Some(received) = reading.received_at.filter(|_| by_hub) else { continue };
            let is_in = |span: &Span| {
                (span.from_us..=span.until_us).contains(&received.as_micros())
                    && (!span.ahead || received > now)
            };
            if state.kept.spans.iter().any(is_in) {
                reading.time_source = TimeSource::HubUnsynced;
            }
        }
    }
}

fn offset(clock: &dyn Clock) -> i64 {
    clock.now().as_micros() - i64::try_from(clock.monotonic().as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use iotpi_core::{ModuleId, Quantity, Sample, time::ManualClock};

    use super::*;

    const BOOTED: Timestamp = Timestamp::from_micros(1_795_473_000_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn received(at: Timestamp, source: TimeSource) -> Reading {
        let sample = Sample::new(Quantity::Temperature, 21.5);
        let reading = Reading::new(ModuleId::new("attic").unwrap(), sample, at);
        reading.with_received_at(at).with_time_source(source)
    }

    fn marked(watch: &WrongClock, at: Timestamp, now: Timestamp) -> bool {
        let mut readings = [received(at, TimeSource::Hub)];
        watch.mark(&mut readings, now);
        readings[0].time_source == TimeSource::HubUnsynced
    }

    #[test]
    fn readings_received_before_the_clock_was_set_are_marked() {
        let clock = ManualClock::at(BOOTED);
        let watch = WrongClock::new(None, &*clock);
        clock.advance(HOUR);
        let right = BOOTED.plus(10 * HOUR);

        clock.step_to(right);
        let step = watch.look(&*clock);

        assert_eq!(step, Some(9.0 * 3600.0));
        assert_eq!(watch.look(&*clock), None);
        assert!(marked(&watch, BOOTED, right) && marked(&watch, BOOTED.plus(HOUR), right));
        assert!(!marked(&watch, BOOTED.minus(HOUR), right) && !marked(&watch, right, right));
    }

    #[test]
    fn a_timestamp_of_the_module_is_not_marked() {
        let clock = ManualClock::at(BOOTED);
        let watch = WrongClock::new(None, &*clock);
        clock.step_to(BOOTED.plus(HOUR));
        watch.look(&*clock);
        let sources = [TimeSource::Module, TimeSource::Estimated, TimeSource::Hub, TimeSource::Arrival];

        let mut readings = sources.map(|source| received(BOOTED, source));
        watch.mark(&mut readings, clock.now());

        let unsynced = TimeSource::HubUnsynced;
        assert_eq!(readings.map(|r| r.time_source), [TimeSource::Module, unsynced, unsynced, unsynced]);
    }

    #[test]
    fn small_steps_and_slow_drift_are_no_wrong_clock() {
        let clock = ManualClock::at(BOOTED);
        let watch = WrongClock::new(None, &*clock);

        for _ in 0..100 {
            clock.step_to(clock.now().plus(MIN_STEP));
            assert_eq!(watch.look(&*clock), None);
        }
        assert!(!marked(&watch, BOOTED, clock.now()));
    }

    #[test]
    fn a_clock_that_was_ahead_marks_readings_that_are_still_ahead() {
        let clock = ManualClock::at(BOOTED.plus(2 * HOUR));
        let watch = WrongClock::new(None, &*clock);
        clock.advance(HOUR);
        let wrong = clock.now();

        clock.step_to(BOOTED.plus(HOUR));
        watch.look(&*clock);

        assert!(marked(&watch, wrong, clock.now()));
        assert!(!marked(&watch, clock.now(), clock.now()));
        assert!(!marked(&watch, wrong, wrong));
    }

    #[test]
    fn known_errors_survive_a_restart_and_a_step_meanwhile_is_detected() {
        let clock = ManualClock::at(BOOTED);
        let first = WrongClock::new(None, &*clock);
        let kept = first.unsaved();
        clock.advance(HOUR);
        clock.step_to(BOOTED.plus(10 * HOUR));

        let second = WrongClock::new(kept.as_deref(), &*clock);
        let kept = second.unsaved();
        clock.reboot(BOOTED.plus(20 * HOUR));
        let third = WrongClock::new(kept.as_deref(), &*clock);

        for watch in [&second, &third] {
            assert!(marked(watch, BOOTED.plus(HOUR), clock.now()));
            assert!(!marked(watch, BOOTED.plus(10 * HOUR), clock.now()));
        }
        assert_eq!(second.unsaved(), None);
    }

    #[test]
    fn a_machine_that_was_suspended_has_a_right_clock() {
        #[derive(Debug)]
        struct Suspended(Timestamp, Duration);
        impl Clock for Suspended {
            fn now(&self) -> Timestamp {
                self.0.plus(self.1)
            }
            fn monotonic(&self) -> Duration {
                Duration::ZERO
            }
            fn suspended(&self) -> Duration {
                self.1
            }
        }
        let watch = WrongClock::new(None, &Suspended(BOOTED, Duration::ZERO));

        assert_eq!(watch.look(&Suspended(BOOTED, 8 * HOUR)), None);
    }
}
