//! Reporting only changes: which samples of a sensor are recorded.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::reading::{Outcome, Quantity, Sample, SeriesSpec};

/// Which samples a [`SensorModule`](crate::SensorModule) records: those that differ from the last recorded one of
/// their series, and one after a maximum interval. The sensor is read at its own interval all the same.
///
/// A quantity without a minimum change is recorded at each read. The begin and the end of a gap are changes.
///
/// ```
/// use std::time::Duration;
/// use iotpi_core::{Quantity, SensorModule, measure, module::ReportOnChange};
///
/// let sensor = measure(Quantity::Temperature, async || Ok(21.5));
/// let changes = ReportOnChange::new(Duration::from_secs(600)).with_min_change(Quantity::Temperature, 0.2);
/// let module = SensorModule::new(sensor, Duration::from_secs(10)).reporting(changes);
/// # let _ = module;
/// ```
#[derive(Debug, Clone)]
pub struct ReportOnChange {
    max_interval: Duration,
    min_changes: Vec<(Quantity, f64)>,
    recorded: Vec<(SeriesSpec, Outcome, Instant)>,
}

impl ReportOnChange {
    /// Records a sample of each series at least every `max_interval`, counted at the reads.
    #[must_use]
    pub fn new(max_interval: Duration) -> Self {
        Self { max_interval, min_changes: Vec::new(), recorded: Vec::new() }
    }

    /// Records values of a quantity that differ from the last recorded one by at least `min_change`, in the
    /// quantity's unit. With 0, any other value.
    #[must_use]
    pub fn with_min_change(mut self, quantity: Quantity, min_change: f64) -> Self {
        self.min_changes.push((quantity, min_change));
        self
    }

    /// The longest time between two recorded samples of a quantity whose sensor is read every `every`.
    pub(crate) fn interval(&self, quantity: &Quantity, every: Duration) -> Duration {
        if self.min_change(quantity).is_some() { self.max_interval.max(every) } else { every }
    }

    fn min_change(&self, quantity: &Quantity) -> Option<f64> {
        self.min_changes.iter().find(|(of, _)| of == quantity).map(|(_, min_change)| *min_change)
    }

    /// Keeps the samples to record.
    pub(crate) fn filter(&mut self, mut samples: Vec<Sample>) -> Vec<Sample> {
        let now = Instant::now();
        samples.retain(|sample| self.is_due(sample, now));
        samples
    }

    fn is_due(&mut self, sample: &Sample, now: Instant) -> bool {
        let Some(min_change) = self.min_change(&sample.quantity) else { return true };
        let series = SeriesSpec { quantity: sample.quantity.clone(), channel: sample.channel.clone() };
        let last = self.recorded.iter_mut().find(|(of, ..)| *of == series);
        match last {
            Some((_, outcome, at)) => {
                let due = now - *at >= self.max_interval || differs(outcome, &sample.outcome, min_change);
                if due {
                    (*outcome, *at) = (sample.outcome.clone(), now);
                }
                due
            }
            None => {
                self.recorded.push((series, sample.outcome.clone(), now));
                true
            }
        }
    }
}

fn differs(last: &Outcome, new: &Outcome, min_change: f64) -> bool {
    match (last, new) {
        (Outcome::Value(last), Outcome::Value(new)) => new != last && (new - last).abs() >= min_change,
        (last, new) => last != new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(filter: &mut ReportOnChange, outcome: Outcome) -> bool {
        !filter.filter(vec![Sample::of(Quantity::Temperature, outcome)]).is_empty()
    }

    fn filter(min_change: f64) -> ReportOnChange {
        ReportOnChange::new(Duration::from_secs(60)).with_min_change(Quantity::Temperature, min_change)
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_drift_is_recorded_when_it_adds_up() {
        let mut filter = filter(0.25);

        let recorded = [20.0, 20.125, 20.25, 20.375, 20.125, 20.0].map(Outcome::Value);

        assert_eq!(
            recorded.map(|outcome| filtered(&mut filter, outcome)),
            [true, false, true, false, false, true]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_unchanged_value_is_recorded_again_after_the_maximum_interval() {
        let mut filter = filter(0.0);

        let mut recorded = Vec::new();
        for _ in 0..5 {
            recorded.push(filtered(&mut filter, Outcome::Value(20.0)));
            tokio::time::advance(Duration::from_secs(30)).await;
        }

        assert_eq!(recorded, [true, false, true, false, true]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_begin_and_the_end_of_a_gap_are_changes() {
        let mut filter = filter(10.0);
        let gap = || Outcome::no_data("no device answers");

        let outcomes = [Outcome::Value(20.0), gap(), gap(), Outcome::Value(20.0), Outcome::Value(20.0)];

        assert_eq!(outcomes.map(|outcome| filtered(&mut filter, outcome)), [true, true, false, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn channels_are_series_of_their_own() {
        let mut filter = filter(1.0);
        let on = |channel: &str| {
            vec![Sample::new(Quantity::Temperature, 20.0).with_channel(channel.parse().unwrap())]
        };

        assert_eq!(filter.filter(on("in")).len(), 1);
        assert_eq!(filter.filter(on("out")).len(), 1);
        assert_eq!(filter.filter(on("in")).len(), 0);
    }
}
