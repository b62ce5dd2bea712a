//! Smoothing: the mean or the median of the last values of a sensor.

use std::collections::VecDeque;

use async_trait::async_trait;

use crate::{
    device::{DeviceError, Sensor},
    model::reading::{Outcome, Quantity, Sample, SeriesSpec},
};

/// The maximum number of values of a [`Smoothing`].
pub const MAX_SMOOTHING_VALUES: usize = 1000;

/// What is made of the last values of a quantity. A count is at least 1 and at most [`MAX_SMOOTHING_VALUES`].
///
/// ```
/// use iotpi_core::processing::Smoothing;
///
/// assert_eq!(Smoothing::Median(3).of(&[21.0, 85.0, 21.2]), 21.2);
/// assert_eq!(Smoothing::Mean(3).of(&[1.0, 2.0, 6.0]), 3.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Smoothing {
    /// The mean of the last values: less noise.
    Mean(usize),
    /// The median of the last values: single outliers have no influence.
    Median(usize),
}

impl Smoothing {
    /// The number of values.
    #[must_use]
    pub fn count(self) -> usize {
        let (Self::Mean(count) | Self::Median(count)) = self;
        count.clamp(1, MAX_SMOOTHING_VALUES)
    }

    /// The mean or the median of all these values; not a number if there are none.
    #[must_use]
    pub fn of(self, values: &[f64]) -> f64 {
        match self {
            Self::Mean(_) => mean(values),
            Self::Median(_) => median(values),
        }
    }
}

#[allow(clippy::cast_precision_loss)] // At most MAX_SMOOTHING_VALUES values.
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.get(middle) {
        None => f64::NAN,
        Some(value) if sorted.len() % 2 == 1 => *value,
        Some(value) => mean(&[sorted[middle - 1], *value]),
    }
}

/// A sensor that returns the mean or the median of its last values. Until there are enough of them, it is that of
/// the values so far. A sample without data passes through, and the values before it are forgotten; so they are
/// after a failed read.
///
/// ```
/// use iotpi_core::{Quantity, measure, processing::{Smoothed, Smoothing}};
///
/// let sensor = measure(Quantity::Distance, async || Ok(0.42));
/// let sensor = Smoothed::new(sensor).with(Quantity::Distance, Smoothing::Median(5));
/// # let _ = sensor;
/// ```
#[derive(Debug, Clone)]
pub struct Smoothed<S> {
    sensor: S,
    smoothings: Vec<(Quantity, Smoothing)>,
    windows: Vec<(SeriesSpec, VecDeque<f64>)>,
}

impl<S: Sensor> Smoothed<S> {
    /// A sensor without smoothing.
    #[must_use]
    pub fn new(sensor: S) -> Self {
        Self { sensor, smoothings: Vec::new(), windows: Vec::new() }
    }

    /// Smooths the values of a quantity, on each channel by itself. With several smoothings of one quantity, the
    /// first applies.
    #[must_use]
    pub fn with(mut self, quantity: Quantity, smoothing: Smoothing) -> Self {
        self.smoothings.push((quantity, smoothing));
        self
    }

    fn smooth(&mut self, sample: Sample) -> Sample {
        let smoothing = self.smoothings.iter().find(|(quantity, _)| *quantity == sample.quantity);
        let Some((_, smoothing)) = smoothing.cloned() else { return sample };
        let series = SeriesSpec { quantity: sample.quantity.clone(), channel: sample.channel.clone() };
        let window = self.window(series);
        let Outcome::Value(value) = sample.outcome else {
            window.clear();
            return sample;
        };
        window.push_back(value);
        while window.len() > smoothing.count() {
            window.pop_front();
        }
        Sample { outcome: Outcome::of(smoothing.of(window.make_contiguous())), ..sample }
    }

    fn window(&mut self, series: SeriesSpec) -> &mut VecDeque<f64> {
        let index = match self.windows.iter().position(|(of, _)| *of == series) {
            Some(index) => index,
            None => {
                self.windows.push((series, VecDeque::new()));
                self.windows.len() - 1
            }
        };
        &mut self.windows[index].1
    }
}

#[async_trait]
impl<S: Sensor> Sensor for Smoothed<S> {
    fn quantities(&self) -> Vec<Quantity> {
        self.sensor.quantities()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.sensor.series()
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        match self.sensor.read().await {
            Ok(samples) => Ok(samples.into_iter().map(|sample| self.smooth(sample)).collect()),
            Err(error) => {
                self.windows.clear();
                Err(error)
            }
        }
    }

    async fn changed(&mut self) {
        self.sensor.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceErrorKind;

    /// Returns these outcomes in turn; an empty reason is a failed read.
    struct Script(VecDeque<Outcome>);

    #[async_trait]
    impl Sensor for Script {
        fn quantities(&self) -> Vec<Quantity> {
            vec![Quantity::Distance]
        }

        async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
            match self.0.pop_front() {
                Some(Outcome::NoData(reason)) if reason.is_empty() => Err(DeviceErrorKind::Bus.into()),
                Some(outcome) => Ok(vec![Sample::of(Quantity::Distance, outcome)]),
                None => Err(DeviceErrorKind::Other.into()),
            }
        }

        async fn changed(&mut self) {}
    }

    /// The values that are left of these outcomes.
    async fn smoothed(smoothing: Smoothing, outcomes: &[Outcome]) -> Vec<Option<f64>> {
        let script = Script(outcomes.iter().cloned().collect());
        let mut sensor = Smoothed::new(script).with(Quantity::Distance, smoothing);
        let mut values = Vec::new();
        for _ in outcomes {
            values.push(sensor.read().await.ok().and_then(|samples| samples[0].outcome.value()));
        }
        values
    }

    fn values(values: &[f64]) -> Vec<Outcome> {
        values.iter().copied().map(Outcome::Value).collect()
    }

    #[tokio::test]
    async fn an_outlier_does_not_show_in_the_median() {
        let median = smoothed(Smoothing::Median(3), &values(&[1.0, 2.0, 90.0, 3.0, 4.0])).await;

        assert_eq!(median, [Some(1.0), Some(1.5), Some(2.0), Some(3.0), Some(4.0)]);
    }

    #[tokio::test]
    async fn the_mean_is_that_of_the_last_values() {
        let mean = smoothed(Smoothing::Mean(2), &values(&[1.0, 2.0, 4.0])).await;

        assert_eq!(mean, [Some(1.0), Some(1.5), Some(3.0)]);
    }

    #[tokio::test]
    async fn no_value_from_before_a_gap_counts_after_it() {
        for reason in ["no echo", ""] {
            let outcomes = [Outcome::Value(1.0), Outcome::NoData(reason.to_owned()), Outcome::Value(9.0)];
            let mean = smoothed(Smoothing::Mean(5), &outcomes).await;

            assert_eq!(mean, [Some(1.0), None, Some(9.0)], "{reason}");
        }
    }

    #[tokio::test]
    async fn other_quantities_pass_through() {
        let mut sensor =
            Smoothed::new(Script(values(&[1.0, 5.0]).into())).with(Quantity::Co2, Smoothing::Mean(9));

        sensor.read().await.unwrap();

        assert_eq!(sensor.read().await.unwrap()[0].outcome.value(), Some(5.0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_the_sensor_is_forwarded() {
        let mut sensor = Smoothed::new(Script(VecDeque::new()));

        tokio::time::timeout(std::time::Duration::from_secs(1), sensor.changed()).await.unwrap();
    }
}
