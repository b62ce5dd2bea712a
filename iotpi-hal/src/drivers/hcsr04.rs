//! HC-SR04 (and JSN-SR04T, RCWL-1601): distance by ultrasound, from the times of the edges of its echo.
//!
//! # Wiring
//! VCC to 5 V, GND to ground, TRIG to any BCM pin. ECHO has 5 V and would damage the pin: a divider of 1 kΩ from ECHO
//! to the pin and 2 kΩ from the pin to ground. An RCWL-1601 works with 3.3 V, without the divider.
//!
//! # Datasheet
//! A pulse of 10 µs at TRIG starts a measurement; ECHO is then high for the time of flight there and back, or for
//! 38 ms without an object. 2 cm to 4 m, ±3 mm; 60 ms from one measurement to the next. Sound travels at 331.3 m/s +
//! 0.606 m/s per °C.
//!
//! # Measurement
//! The kernel records the times of both edges of the echo: the delay of the program does not matter, that of the
//! interrupt (some 10 µs, 2 mm) does. The result is the median of several echoes.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `timeout: no echo` | wiring, or no 5 V; TRIG and ECHO are swapped |
//! | `out of range` | no object within 4 m; soft or slanted surfaces return no echo |
//! | jumps | echoes from the side: mount it away from walls |

use std::{fmt::Debug, time::Duration};

use embedded_hal::digital::OutputPin;
use iotpi_core::{DeviceError, DeviceErrorKind, Quantity, Sample, Sensor, async_trait};

use crate::{bus::EdgeInput, drivers::in_range};

/// The number of echoes of a measurement.
const ECHOES: usize = 5;
/// The time from one echo to the next: the previous sound has faded away.
const PAUSE: Duration = Duration::from_millis(60);
const TRIGGER: Duration = Duration::from_micros(10);
/// The limit for the end of an echo: 38 ms without an object.
const LONGEST_ECHO: Duration = Duration::from_millis(100);
/// The speed of sound in metres per second at 20 °C.
const SPEED_OF_SOUND: f64 = 343.4;

/// The driver on two pins.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_core::Sensor;
/// use iotpi_hal::{drivers::hcsr04::Hcsr04, sim::{self, Weather, World}};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
/// let world = World::still(Weather { distance: 0.85, ..Weather::default() });
/// let (trigger, echo) = sim::hcsr04(world);
/// let mut sensor = Hcsr04::new(trigger, echo);
/// assert!((sensor.read().await?[0].outcome.value().unwrap() - 0.85).abs() < 0.001);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Hcsr04<T, E> {
    trigger: T,
    echo: E,
}

impl<T, E> Hcsr04<T, E>
where
    T: OutputPin,
    T::Error: Debug,
    E: EdgeInput,
{
    /// A sensor on two pins.
    pub fn new(trigger: T, echo: E) -> Self {
        Self { trigger, echo }
    }

    /// One echo: its duration.
    async fn ping(&mut self) -> Result<Duration, DeviceError> {
        while self.echo.next_edge()?.is_some() {}
        // Only to report a pin that cannot be read, and an echo that does not end.
        if self.echo.is_high()? {
            let text =
                "the echo is high before the measurement: TRIG and ECHO are swapped, or a wire is loose";
            return Err(DeviceError::new(DeviceErrorKind::Timeout, text));
        }
        self.trigger.set_high().map_err(|e| DeviceError::pin(&e))?;
        // At least 10 µs; a longer pulse does no harm.
        tokio::time::sleep(TRIGGER).await;
        self.trigger.set_low().map_err(|e| DeviceError::pin(&e))?;
        tokio::time::timeout(LONGEST_ECHO, self.echo_time()).await.unwrap_or_else(|_| {
            Err(DeviceError::new(DeviceErrorKind::Timeout, "no echo: check the supply and the wiring"))
        })
    }

    async fn echo_time(&mut self) -> Result<Duration, DeviceError> {
        let mut begin = None;
        loop {
            self.echo.wait_for_edge().await;
            while let Some(edge) = self.echo.next_edge()? {
                match (edge.is_high, begin) {
                    (true, _) => begin = Some(edge.at),
                    (false, Some(begin)) => return Ok(edge.at.saturating_sub(begin)),
                    (false, None) => {}
                }
            }
        }
    }
}

fn metres(echo: Duration) -> f64 {
    echo.as_secs_f64() * SPEED_OF_SOUND / 2.0
}

#[async_trait]
impl<T, E> Sensor for Hcsr04<T, E>
where
    T: OutputPin + Send,
    T::Error: Debug,
    E: EdgeInput,
{
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Distance]
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let mut echoes = [Duration::ZERO; ECHOES];
        for echo in &mut echoes {
            *echo = self.ping().await?;
            tokio::time::sleep(PAUSE).await;
        }
        echoes.sort_unstable();
        Ok(vec![in_range(Quantity::Distance, metres(echoes[ECHOES / 2]), 0.02..=4.0)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_is_half_the_way_of_the_sound() {
        // The datasheet: the distance in centimetres is the time in microseconds divided by 58.
        let centimetres = metres(Duration::from_micros(5800)) * 100.0;

        assert!((centimetres - 100.0).abs() < 0.5, "{centimetres}");
    }

    #[cfg(feature = "sim")]
    mod on_a_simulated_sensor {
        use super::*;
        use crate::sim::{self, Weather, World};

        async fn read(distance: f64) -> Sample {
            let world = World::still(Weather { distance, ..Weather::default() });
            let (trigger, echo) = sim::hcsr04(world);
            Hcsr04::new(trigger, echo).read().await.unwrap().remove(0)
        }

        #[tokio::test(start_paused = true)]
        async fn without_an_object_there_is_no_data() {
            let reason = read(7.0).await.outcome.reason().map(str::to_owned);

            assert!(reason.clone().unwrap().starts_with("out of range: 6.5"), "{reason:?}");
        }

        #[tokio::test(start_paused = true)]
        async fn one_disturbed_echo_of_five_does_not_change_the_median() {
            let world = World::still(Weather::default());
            let (trigger, echo) = sim::hcsr04(world.clone());
            let mut sensor = Hcsr04::new(trigger, echo);

            let disturb = async {
                tokio::time::sleep(Duration::from_millis(100)).await;
                world.set(Weather { distance: 0.1, ..Weather::default() });
                tokio::time::sleep(PAUSE).await;
                world.set(Weather::default());
            };
            let (samples, ()) = tokio::join!(sensor.read(), disturb);

            let distance = samples.unwrap()[0].outcome.value().unwrap();
            assert!((distance - 1.25).abs() < 0.001, "{distance}");
        }
    }
}
