//! Sensors defined by functions.
//!
//! An `async` closure that borrows what it owns has a future of its own type, and no bound on stable Rust says
//! that this future may move between threads. The closure is therefore called by a stream, an opaque type:
//! whether that is `Send` follows from the closure where [`measure`] is called.

use std::{fmt, pin::Pin};

use async_trait::async_trait;
use futures_util::stream::{self, Stream, StreamExt};

use crate::{
    any_error::AnyError,
    device::{DeviceError, DeviceErrorKind, Sensor},
    model::reading::{Quantity, Sample, SeriesSpec},
};

/// A [`Sensor`] defined by a function: see [`measure`].
pub struct Measuring<S> {
    series: Vec<SeriesSpec>,
    samples: Pin<Box<S>>,
}

impl<S> fmt::Debug for Measuring<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measuring").field("series", &self.series).finish_non_exhaustive()
    }
}

/// Creates a [`Sensor`] from an `async` closure that measures once, in the canonical units of its quantities.
/// The closure may own its device.
///
/// One quantity: the closure returns an `f64`, or an `Option<f64>` if there may be no value.
///
/// ```
/// use iotpi_core::{AnyError, Quantity, measure};
///
/// # struct Thermometer;
/// # impl Thermometer { async fn celsius(&mut self) -> Result<f64, std::io::Error> { Ok(21.5) } }
/// # let mut thermometer = Thermometer;
/// let sensor = measure(Quantity::Temperature, async move || Ok(thermometer.celsius().await?));
/// ```
///
/// Several quantities in one read: the closure returns an array of the same length, or a `Vec` of
/// [`Sample`]s. A quantity without a value (`None`, a number that is not finite, or no sample) is recorded as
/// a failed measurement; the others are not affected.
///
/// ```
/// # use iotpi_core::{Quantity, Sample, measure};
/// let weather = [Quantity::Temperature, Quantity::Humidity];
/// let sensor = measure(weather, async || Ok([21.5, 48.0]));
///
/// let weather = [Quantity::Temperature, Quantity::Humidity];
/// let sensor = measure(weather, async || {
///     Ok(vec![
///         Sample::new(Quantity::Temperature, 21.5),
///         Sample::no_data(Quantity::Humidity, "the probe is not connected"),
///     ])
/// });
/// ```
///
/// Several sensors of one quantity: a [`SeriesSpec`] has a channel besides its quantity.
///
/// ```
/// # use iotpi_core::{Quantity, measure, model::reading::SeriesSpec};
/// # fn example() -> Result<(), iotpi_core::AnyError> {
/// let supply = SeriesSpec::new(Quantity::Temperature).with_channel("supply".parse()?);
/// let back = SeriesSpec::new(Quantity::Temperature).with_channel("return".parse()?);
/// let sensor = measure([supply, back], async || Ok([61.0, 48.5]));
/// # Ok(()) }
/// # example().unwrap();
/// ```
///
/// An error is recorded as a failed measurement of each quantity. `?` converts any error;
/// [`AnyError::from_debug`] converts those of embedded-hal.
///
/// # Cancel safety
/// A cancelled read is continued by the next one.
pub fn measure<Q, V, F>(
    series: Q,
    function: F,
) -> Measuring<impl Stream<Item = Result<Vec<Sample>, DeviceError>>>
where
    V: IntoSamples<Q>,
    F: AsyncFnMut() -> Result<V, AnyError>,
{
    let series = V::series(series);
    let state = (function, series.clone());
    let samples = stream::unfold(state, |(mut function, series)| async move {
        let samples = match function().await {
            Ok(values) => Ok(values.into_samples(&series)),
            Err(error) => Err(error.into()),
        };
        Some((samples, (function, series)))
    });
    Measuring { series, samples: Box::pin(samples) }
}

/// Creates a [`Sensor`] from a device and an async function that borrows it, such as a method of its driver.
/// Otherwise as [`measure`].
///
/// ```
/// use iotpi_core::{AnyError, Quantity, module::measure_with};
///
/// struct Scale;
///
/// impl Scale {
///     async fn grams(&mut self) -> Result<f64, AnyError> {
///         Ok(740.0)
///     }
/// }
///
/// # fn example() -> Result<(), AnyError> {
/// let weight = Quantity::new("weight".parse()?, "g".parse()?);
/// let sensor = measure_with(Scale, weight, Scale::grams);
/// # Ok(()) }
/// # example().unwrap();
/// ```
pub fn measure_with<D, Q, V, F>(
    mut device: D,
    series: Q,
    mut function: F,
) -> Measuring<impl Stream<Item = Result<Vec<Sample>, DeviceError>>>
where
    V: IntoSamples<Q>,
    F: AsyncFnMut(&mut D) -> Result<V, AnyError>,
{
    measure(series, async move || function(&mut device).await)
}

/// Creates a [`Sensor`] from a closure that blocks its thread while it measures, such as a driver with
/// embedded-hal's blocking traits. It runs on tokio's threads for blocking work, one read at a time. Otherwise
/// as [`measure`].
///
/// ```
/// use iotpi_core::{Quantity, module::measure_blocking};
///
/// let sensor = measure_blocking(Quantity::Temperature, || {
///     let text = std::fs::read_to_string("/sys/class/thermal/thermal_zone0/temp")?;
///     Ok(text.trim().parse::<f64>()? / 1000.0)
/// });
/// ```
pub fn measure_blocking<Q, V, F>(
    series: Q,
    function: F,
) -> Measuring<impl Stream<Item = Result<Vec<Sample>, DeviceError>>>
where
    V: IntoSamples<Q> + Send + 'static,
    F: FnMut() -> Result<V, AnyError> + Send + 'static,
{
    let mut function = Some(function);
    measure(series, async move || {
        // It is missing after a panic.
        let mut taken = function.take().ok_or_else(|| {
            DeviceError::new(DeviceErrorKind::Other, "the function panicked: restart the module")
        })?;
        let measured = tokio::task::spawn_blocking(move || {
            let values = taken();
            (taken, values)
        });
        let (taken, values) = measured.await?;
        function = Some(taken);
        values
    })
}

#[async_trait]
impl<S> Sensor for Measuring<S>
where
    S: Stream<Item = Result<Vec<Sample>, DeviceError>> + Send,
{
    fn quantities(&self) -> Vec<Quantity> {
        self.series.iter().map(|one| one.quantity.clone()).collect()
    }

    fn series(&self) -> Vec<SeriesSpec> {
        self.series.clone()
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        // The stream never ends.
        self.samples.next().await.unwrap_or_else(|| Ok(Vec::new()))
    }
}

/// The values of one read, as a function given to [`measure`] returns them: an `f64` or an `Option<f64>` for
/// one [`Quantity`], an array of them for an array of quantities, or a `Vec` of [`Sample`]s.
///
/// This trait is sealed: it cannot be implemented outside of this crate.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the values of `{Q}`",
    note = "for one quantity return an `f64` or `Option<f64>`, for `[Quantity; N]` return `[f64; N]`, `[Option<f64>; N]` or `Vec<Sample>`"
)]
pub trait IntoSamples<Q>: sealed::Sealed {
    /// The series of the values.
    fn series(of: Q) -> Vec<SeriesSpec>;

    /// Creates one sample of each series.
    fn into_samples(self, of: &[SeriesSpec]) -> Vec<Sample>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f64 {}
    impl Sealed for Option<f64> {}
    impl<V, const N: usize> Sealed for [V; N] {}
    impl Sealed for Vec<super::Sample> {}
}

fn sample(series: &SeriesSpec, value: Option<f64>) -> Sample {
    match value {
        Some(value) => Sample::new(series.clone(), value),
        None => Sample::no_data(series.clone(), "the sensor returned no value"),
    }
}

impl<Q: Into<SeriesSpec>> IntoSamples<Q> for f64 {
    fn series(of: Q) -> Vec<SeriesSpec> {
        vec![of.into()]
    }

    fn into_samples(self, of: &[SeriesSpec]) -> Vec<Sample> {
        of.iter().map(|one| sample(one, Some(self))).collect()
    }
}

impl<Q: Into<SeriesSpec>> IntoSamples<Q> for Option<f64> {
    fn series(of: Q) -> Vec<SeriesSpec> {
        vec![of.into()]
    }

    fn into_samples(self, of: &[SeriesSpec]) -> Vec<Sample> {
        of.iter().map(|one| sample(one, self)).collect()
    }
}

impl<Q: Into<SeriesSpec>, V: Into<Option<f64>>, const N: usize> IntoSamples<[Q; N]> for [V; N] {
    fn series(of: [Q; N]) -> Vec<SeriesSpec> {
        of.map(Into::into).into()
    }

    fn into_samples(self, of: &[SeriesSpec]) -> Vec<Sample> {
        of.iter().zip(self).map(|(one, value)| sample(one, value.into())).collect()
    }
}

impl<Q: Into<SeriesSpec>, const N: usize> IntoSamples<[Q; N]> for Vec<Sample> {
    fn series(of: [Q; N]) -> Vec<SeriesSpec> {
        of.map(Into::into).into()
    }

    fn into_samples(self, _: &[SeriesSpec]) -> Vec<Sample> {
        self
    }
}

impl<Q: Into<SeriesSpec>> IntoSamples<Vec<Q>> for Vec<Sample> {
    fn series(of: Vec<Q>) -> Vec<SeriesSpec> {
        of.into_iter().map(Into::into).collect()
    }

    fn into_samples(self, _: &[SeriesSpec]) -> Vec<Sample> {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reading::Outcome;

    /// A device whose methods borrow it across an await.
    struct Counter(f64);

    impl Counter {
        async fn next(&mut self) -> Result<f64, std::num::ParseFloatError> {
            tokio::task::yield_now().await;
            self.0 += 1.0;
            Ok(self.0)
        }

        async fn two(&mut self) -> Result<[f64; 2], AnyError> {
            Ok([self.next().await?, self.next().await?])
        }
    }

    fn outcomes(samples: &[Sample]) -> Vec<Option<f64>> {
        samples.iter().map(|sample| sample.outcome.value()).collect()
    }

    /// The second read, in a task of its own, as a module reads.
    async fn read(sensor: impl Sensor + 'static) -> Result<Vec<Sample>, DeviceError> {
        let mut sensor = sensor;
        tokio::spawn(async move {
            let _ = sensor.read().await;
            sensor.read().await
        })
        .await
        .unwrap()
    }

    #[tokio::test]
    async fn a_closure_owns_its_device_and_borrows_it() {
        let mut device = Counter(0.0);
        let sensor = measure(Quantity::Distance, async move || Ok(device.next().await?));

        assert_eq!(read(sensor).await.unwrap(), [Sample::new(Quantity::Distance, 2.0)]);
    }

    #[tokio::test]
    async fn a_device_is_borrowed_by_a_method_or_a_closure() {
        let both = || [Quantity::Distance, Quantity::Voltage];

        let method = measure_with(Counter(0.0), both(), Counter::two);
        let closure =
            measure_with(Counter(0.0), Quantity::Distance, async |device| Ok(device.next().await?));

        assert_eq!(outcomes(&read(method).await.unwrap()), [Some(3.0), Some(4.0)]);
        assert_eq!(outcomes(&read(closure).await.unwrap()), [Some(2.0)]);
    }

    #[tokio::test]
    async fn a_missing_value_concerns_its_quantity_only() {
        let both = || [Quantity::Distance, Quantity::Voltage];

        let absent = measure(both(), async || Ok([Some(1.0), None]));
        let not_finite = measure(both(), async || Ok([f64::NAN, 2.0]));

        assert_eq!(outcomes(&read(absent).await.unwrap()), [Some(1.0), None]);
        assert_eq!(outcomes(&read(not_finite).await.unwrap()), [None, Some(2.0)]);
    }

    #[tokio::test]
    async fn one_read_may_measure_a_quantity_on_several_channels() {
        let probe = |name: &str| SeriesSpec::new(Quantity::Temperature).with_channel(name.parse().unwrap());
        let sensor = measure([probe("supply"), probe("return")], async || Ok([61.0, 48.5]));

        assert_eq!(sensor.series(), [probe("supply"), probe("return")]);
        let samples = read(sensor).await.unwrap();
        assert_eq!(samples, [Sample::new(probe("supply"), 61.0), Sample::new(probe("return"), 48.5)]);
    }

    #[tokio::test]
    async fn any_error_ends_a_read() {
        let parsed = measure(Quantity::Distance, async || Ok("far".parse::<f64>()?));
        let debug = measure(Quantity::Distance, async || Err::<f64, _>(AnyError::from_debug(NoAcknowledge)));

        assert_eq!(read(parsed).await.unwrap_err().to_string(), "invalid data: invalid float literal");
        assert_eq!(read(debug).await.unwrap_err().to_string(), "device: NoAcknowledge");
    }

    #[derive(Debug)]
    struct NoAcknowledge;

    #[tokio::test]
    async fn a_cancelled_read_is_continued_by_the_next() {
        let mut device = Counter(0.0);
        let mut sensor = measure(Quantity::Distance, async move || Ok(device.next().await?));

        tokio::select! {
            biased;
            _ = sensor.read() => unreachable!("it yields first"),
            () = std::future::ready(()) => {}
        }

        assert_eq!(outcomes(&sensor.read().await.unwrap()), [Some(1.0)]);
    }

    #[tokio::test]
    async fn a_blocking_function_runs_outside_the_runtime() {
        let mut reads = 0.0;
        let this = std::thread::current().id();
        let sensor = measure_blocking(Quantity::Distance, move || {
            assert_ne!(std::thread::current().id(), this);
            reads += 1.0;
            Ok(reads)
        });

        assert_eq!(read(sensor).await.unwrap()[0].outcome, Outcome::Value(2.0));
    }

    #[tokio::test]
    async fn a_blocking_function_that_panicked_returns_errors_from_then_on() {
        let sensor = measure_blocking(Quantity::Distance, || -> Result<f64, AnyError> {
            panic!("expected by the test")
        });

        let error = read(sensor).await.unwrap_err();

        assert!(error.to_string().contains("restart the module"), "{error}");
    }
}
