//! Calibration: corrects the values of a sensor.

use async_trait::async_trait;

use crate::{
    device::{DeviceError, Sensor},
    model::reading::{Outcome, Quantity, Sample, SeriesSpec},
};

/// The maximum number of points of a [`Calibration`].
pub const MAX_CALIBRATION_POINTS: usize = 1000;

/// A correction of the values of one quantity, in its unit.
///
/// ```
/// use iotpi_core::processing::Calibration;
///
/// // A hygrometer that shows 31 % over a salt of 33 %, and 77 % over one of 75 %.
/// let calibration = Calibration::points([(31.0, 33.0), (77.0, 75.0)])?;
/// assert_eq!(calibration.apply(54.0), 54.0);
/// assert_eq!(Calibration::linear(1.0, -0.5)?.apply(21.5), 21.0);
/// # Ok::<(), iotpi_core::processing::CalibrationError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Calibration(Curve);

#[derive(Debug, Clone, PartialEq)]
enum Curve {
    Linear {
        scale: f64,
        offset: f64,
    },
    /// Two or more, with increasing measured values.
    Points(Vec<(f64, f64)>),
}

/// The reasons why a calibration is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CalibrationError {
    /// A number is infinite or not a number, or the scale is 0.
    #[error("the numbers of a calibration are finite, and its scale is not 0")]
    Number,
    /// Fewer than 2 points, or more than [`MAX_CALIBRATION_POINTS`].
    #[error("a calibration has 2 to {MAX_CALIBRATION_POINTS} points")]
    Count,
    /// The measured values of the points do not increase.
    #[error("the measured values of the points increase from point to point")]
    Order,
}

impl Calibration {
    /// The corrected value is `value * scale + offset`.
    ///
    /// # Errors
    /// [`CalibrationError::Number`].
    pub fn linear(scale: f64, offset: f64) -> Result<Self, CalibrationError> {
        if scale == 0.0 || !scale.is_finite() || !offset.is_finite() {
            return Err(CalibrationError::Number);
        }
        Ok(Self(Curve::Linear { scale, offset }))
    }

    /// Points of a measured and a true value, in increasing order of the measured values. Between two points
    /// the correction is linear; outside of them the first and the last segment continue.
    ///
    /// # Errors
    /// [`CalibrationError`].
    pub fn points(points: impl IntoIterator<Item = (f64, f64)>) -> Result<Self, CalibrationError> {
        let points: Vec<_> = points.into_iter().collect();
        if !(2..=MAX_CALIBRATION_POINTS).contains(&points.len()) {
            return Err(CalibrationError::Count);
        }
        if !points.iter().all(|(measured, is)| measured.is_finite() && is.is_finite()) {
            return Err(CalibrationError::Number);
        }
        if !points.is_sorted_by(|a, b| a.0 < b.0) {
            return Err(CalibrationError::Order);
        }
        Ok(Self(Curve::Points(points)))
    }

    /// The corrected value.
    #[must_use]
    pub fn apply(&self, value: f64) -> f64 {
        match &self.0 {
            Curve::Linear { scale, offset } => value * scale + offset,
            Curve::Points(points) => interpolate(points, value),
        }
    }
}

fn interpolate(points: &[(f64, f64)], value: f64) -> f64 {
    // The segment ends at the first inner point above the value, or else at the last point.
    let end = points[1..points.len() - 1].iter().position(|(measured, _)| value < *measured);
    let end = end.map_or(points.len() - 1, |inner| inner + 1);
    let ((x0, y0), (x1, y1)) = (points[end - 1], points[end]);
    y0 + (value - x0) / (x1 - x0) * (y1 - y0)
}

/// A sensor whose values are corrected.
///
/// ```
/// use iotpi_core::{Quantity, Sensor, measure, processing::{Calibrated, Calibration}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let sensor = measure(Quantity::Temperature, async || Ok(21.5));
/// let mut sensor = Calibrated::new(sensor).with(Quantity::Temperature, Calibration::linear(1.0, -0.5)?);
/// assert_eq!(sensor.read().await?[0].outcome.value(), Some(21.0));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Calibrated<S> {
    sensor: S,
    calibrations: Vec<(Quantity, Calibration)>,
}

impl<S: Sensor> Calibrated<S> {
    /// A sensor without corrections.
    #[must_use]
    pub fn new(sensor: S) -> Self {
        Self { sensor, calibrations: Vec::new() }
    }

    /// Corrects the values of a quantity, on every channel. With several corrections of one quantity, the first
    /// applies.
    #[must_use]
    pub fn with(mut self, quantity: Quantity, calibration: Calibration) -> Self {
        self.calibrations.push((quantity, calibration));
        self
    }

    fn correct(&self, sample: Sample) -> Sample {
        let calibration = self.calibrations.iter().find(|(quantity, _)| *quantity == sample.quantity);
        match (&sample.outcome, calibration) {
            (Outcome::Value(value), Some((_, calibration))) => {
                Sample { outcome: Outcome::of(calibration.apply(*value)), ..sample }
            }
            _ => sample,
        }
    }
}

#[async_trait]
impl<S: Sensor> Sensor for Calibrated<S> {
    fn quantities(&self) -> Vec<Quantity> {
        self.sensor.quantities()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.sensor.series()
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let samples = self.sensor.read().await?;
        Ok(samples.into_iter().map(|sample| self.correct(sample)).collect())
    }

    async fn changed(&mut self) {
        self.sensor.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn points_are_met_exactly_and_joined_by_lines() {
        let calibration = Calibration::points([(0.0, 1.0), (50.0, 50.0), (100.0, 98.0)]).unwrap();

        for (measured, is) in [
            (0.0, 1.0),
            (25.0, 25.5),
            (50.0, 50.0),
            (75.0, 74.0),
            (100.0, 98.0),
            (-50.0, -48.0),
            (150.0, 146.0),
        ] {
            assert_eq!(calibration.apply(measured), is, "{measured}");
        }
    }

    #[test]
    fn a_calibration_that_is_no_function_is_refused() {
        let points = |points: &[(f64, f64)]| Calibration::points(points.iter().copied());

        assert_eq!(points(&[(0.0, 1.0)]), Err(CalibrationError::Count));
        assert_eq!(points(&[(0.0, 1.0), (0.0, 2.0)]), Err(CalibrationError::Order));
        assert_eq!(points(&[(1.0, 1.0), (0.0, 2.0)]), Err(CalibrationError::Order));
        assert_eq!(points(&[(0.0, f64::NAN), (1.0, 2.0)]), Err(CalibrationError::Number));
        assert_eq!(Calibration::linear(0.0, 1.0), Err(CalibrationError::Number));
        assert_eq!(Calibration::linear(1.0, f64::INFINITY), Err(CalibrationError::Number));
    }

    /// A hygrometer with a thermometer that failed.
    struct Weather;

    #[async_trait]
    impl Sensor for Weather {
        fn quantities(&self) -> Vec<Quantity> {
            vec![Quantity::Temperature, Quantity::Humidity, Quantity::Pressure]
        }

        async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
            Ok(vec![
                Sample::no_data(Quantity::Temperature, "checksum"),
                Sample::new(Quantity::Humidity, 50.0),
                Sample::new(Quantity::Pressure, 100_000.0),
            ])
        }

        async fn changed(&mut self) {}
    }

    #[tokio::test]
    async fn only_values_of_the_quantity_are_corrected() {
        let half = Calibration::linear(0.5, 0.0).unwrap();
        let mut sensor = Calibrated::new(Weather)
            .with(Quantity::Humidity, half.clone())
            .with(Quantity::Temperature, half.clone());

        let samples = sensor.read().await.unwrap();

        assert_eq!(samples[0], Sample::no_data(Quantity::Temperature, "checksum"));
        assert_eq!(samples[1], Sample::new(Quantity::Humidity, 25.0));
        assert_eq!(samples[2], Sample::new(Quantity::Pressure, 100_000.0));
        assert_eq!(sensor.series(), Weather.series());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_the_sensor_is_forwarded() {
        // The default never completes: the test would end with the timeout.
        let mut sensor = Calibrated::new(Weather);

        tokio::time::timeout(std::time::Duration::from_secs(1), sensor.changed()).await.unwrap();
    }

    proptest! {
        #[test]
        fn a_line_by_two_points_is_the_linear_calibration(
            scale in 0.1_f64..10.0, offset in -100.0_f64..100.0, value in -1000.0_f64..1000.0
        ) {
            let linear = Calibration::linear(scale, offset).unwrap();
            let points = Calibration::points([-10.0, 40.0].map(|x| (x, linear.apply(x)))).unwrap();

            prop_assert!((points.apply(value) - linear.apply(value)).abs() < 1e-8);
        }
    }
}
