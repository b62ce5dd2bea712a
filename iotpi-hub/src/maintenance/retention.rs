//! The rules of retention, and the conditions under which nothing is deleted.
//!
//! A Pi's clock may show any year. A run is therefore refused when the clock moved against the monotonic one,
//! when it is earlier than the newest arrival, and when it would delete more than a tenth of any kind, until
//! an admin confirms it.

use std::time::Duration;

use iotpi_core::Timestamp;

use crate::{
    config::RetentionConfig,
    store::{ExpiryPlan, ExpiryReport, SeriesExpiry},
};

/// A clock may be adjusted by this much and still be trusted.
const MAY_MOVE: Duration = Duration::from_secs(3_600);
/// After a larger adjustment nothing is deleted for this time.
const PAUSE: Duration = Duration::from_secs(86_400);
/// The newest arrival may be later than now by this much: daylight saving time, a small correction.
const MAY_BE_EARLIER: Duration = Duration::from_secs(86_400);
/// A run may delete one in this many.
const ONE_IN: u64 = 10;
const DAY: Duration = Duration::from_secs(86_400);

/// The limits of retention at this time.
pub(crate) fn plan(config: &RetentionConfig, wall: Timestamp) -> ExpiryPlan {
    let before = |days: u32| (days > 0).then(|| wall.minus(DAY * days));
    ExpiryPlan {
        raw_before: before(config.raw_days),
        minutes_before: before(config.minute_days),
        hours_before: before(config.hour_days),
        days_before: before(config.day_days),
        series: config
            .series
            .iter()
            .map(|rule| SeriesExpiry {
                module_id: rule.module_id.clone(),
                sensor: rule.sensor.clone(),
                raw_before: before(rule.raw_days),
            })
            .collect(),
    }
}

/// Compares the wall clock with the monotonic one.
#[derive(Debug, Clone)]
pub(crate) struct ClockWatch {
    /// The time at which the clock was last accepted as right.
    anchor: (Timestamp, Duration),
    /// The uptime until which nothing is deleted, and the reason.
    pause: Option<(Duration, String)>,
}

impl ClockWatch {
    pub(crate) fn new(wall: Timestamp, uptime: Duration) -> Self {
        Self { anchor: (wall, uptime), pause: None }
    }

    /// The reason why the clock is not trusted now, if it is not.
    pub(crate) fn doubt(&mut self, wall: Timestamp, uptime: Duration) -> Option<String> {
        let expected = self.anchor.0.plus(uptime.saturating_sub(self.anchor.1));
        let moved = wall.since(expected).max(expected.since(wall));
        if moved > MAY_MOVE {
            let way = if wall > expected { "forward" } else { "back" };
            let why = format!("the clock was set {way} by {} s; deletion waits for one day", moved.as_secs());
            self.pause = Some((uptime + PAUSE, why));
            self.anchor = (wall, uptime);
        }
        self.pause.take_if(|(until, _)| *until <= uptime);
        self.pause.as_ref().map(|(_, why)| why.clone())
    }

    /// Accepts the clock as it is: many small adjustments over weeks do not add up.
    pub(crate) fn accept(&mut self, wall: Timestamp, uptime: Duration) {
        self.anchor = (wall, uptime);
    }
}

/// The reason why such a run is refused, if it is.
pub(crate) fn refusal(would: &ExpiryReport, wall: Timestamp) -> Option<String> {
    if let Some(newest) = would.newest_at.filter(|newest| newest.since(wall) > MAY_BE_EARLIER) {
        return Some(format!("the clock says {wall}, but a reading was received at {newest}"));
    }
    let kinds = [
        ("readings", would.raw),
        ("minute averages", would.minutes),
        ("hourly averages", would.hours),
        ("daily averages", would.days),
    ];
    let (what, too_many) =
        kinds.into_iter().find(|(_, expired)| expired.deleted.saturating_mul(ONE_IN) > expired.total)?;
    Some(format!(
        "{} of {} {what} would be deleted at once, more than 10 %; an administrator has to confirm it",
        too_many.deleted, too_many.total
    ))
}

#[cfg(test)]
mod tests {
    use iotpi_core::{ModuleId, SensorType};

    use super::*;
    use crate::{SeriesRetention, store::Expired};

    const NOW: Timestamp = Timestamp::from_micros(1_795_473_000_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn would(deleted: u64, total: u64) -> ExpiryReport {
        ExpiryReport { raw: Expired { deleted, total }, newest_at: Some(NOW), ..ExpiryReport::default() }
    }

    #[test]
    fn days_become_moments_and_none_is_never() {
        let attic = ModuleId::new("attic").unwrap();
        let rule = SeriesRetention { module_id: Some(attic.clone()), sensor: None, raw_days: 0 };
        let config = RetentionConfig { series: vec![rule], ..RetentionConfig::default() };

        let plan = plan(&config, NOW);

        let temperature = SensorType::new("temperature").unwrap();
        assert_eq!(plan.raw_before(&attic, &temperature), None);
        let other = plan.raw_before(&ModuleId::new("shed").unwrap(), &temperature);
        assert_eq!(other, Some(NOW.minus(DAY * 365)));
        assert_eq!((plan.minutes_before, plan.hours_before), (Some(NOW.minus(DAY * 730)), None));
    }

    #[test]
    fn more_than_a_tenth_at_once_is_refused() {
        assert_eq!(refusal(&would(10, 100), NOW), None);
        assert!(refusal(&would(11, 100), NOW).unwrap().contains("11 of 100 readings"));
        assert_eq!(refusal(&would(0, 0), NOW), None);
        let summaries = ExpiryReport { hours: Expired { deleted: 2, total: 3 }, ..would(0, 100) };
        assert!(refusal(&summaries, NOW).unwrap().contains("2 of 3 hourly averages"));
    }

    #[test]
    fn a_clock_earlier_than_the_newest_arrival_is_refused() {
        assert_eq!(refusal(&would(0, 9), NOW.minus(HOUR * 23)), None);
        assert!(refusal(&would(0, 9), NOW.minus(HOUR * 25)).is_some());
    }

    #[test]
    fn a_clock_that_was_set_is_doubted_for_a_day() {
        for step in [HOUR * 2, HOUR * 24 * 3_650] {
            for set in [NOW.plus(step), NOW.minus(step)] {
                let mut watch = ClockWatch::new(NOW, Duration::ZERO);

                let at = |hours: u32| (set.plus(HOUR * hours), HOUR * hours);

                assert!(watch.doubt(at(1).0, at(1).1).is_some());
                watch.accept(at(1).0, at(1).1);
                assert!(watch.doubt(at(24).0, at(24).1).is_some(), "a day is not over");
                assert_eq!(watch.doubt(at(25).0, at(25).1), None);
            }
        }
    }

    #[test]
    fn a_clock_that_is_corrected_a_little_is_trusted() {
        let mut watch = ClockWatch::new(NOW, Duration::ZERO);

        assert_eq!(watch.doubt(NOW.plus(HOUR * 2), HOUR + Duration::from_secs(60)), None);
        assert_eq!(watch.doubt(NOW.plus(HOUR * 9), HOUR * 10), None);
    }
}
