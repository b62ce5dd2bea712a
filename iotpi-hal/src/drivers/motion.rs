//! Passive infrared motion sensors (HC-SR501, AM312 and similar): one pin that is high during motion.
//!
//! # Wiring
//! VCC to 5 V (HC-SR501) or 3.3 V (AM312), GND to ground, OUT to any BCM pin: the output is 3.3 V in both
//! cases. Set the jumper of the HC-SR501 to *repeat* and its time to the minimum; `hold_secs` extends it in
//! software.
//!
//! # Troubleshooting
//! | symptom | possible cause |
//! |---|---|
//! | always 1 | a heater or the sun in view; the warm-up of one minute after power-on; an unconnected pin that floats |
//! | always 0 | no power; sensitivity at its minimum |
//! | `permission denied` | the user must be in group `gpio` |
//!
//! # Deliberately absent
//! Interrupts: the output stays high for seconds, so a reading every second misses nothing. An unplugged
//! sensor reads as no motion: a single wire cannot report more.

use std::{fmt::Debug, sync::Arc, time::Duration};

use embedded_hal::digital::InputPin;
use iotpi_core::{Clock, DeviceError, Quantity, Sample, Sensor, async_trait};

/// Debounce and hold times of a motion sensor, and the polarity of its pin.
///
/// ```
/// use std::time::Duration;
/// use iotpi_hal::drivers::motion::MotionConfig;
///
/// let mut config = MotionConfig::default();
/// config.hold = Duration::from_secs(10);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct MotionConfig {
    /// The minimum time the pin must be active: 50 ms. A shorter pulse is a disturbance.
    pub debounce: Duration,
    /// The time motion lasts after the pin was last active: 2 s.
    pub hold: Duration,
    /// Whether the pin is low during motion.
    pub active_low: bool,
}

impl Default for MotionConfig {
    fn default() -> Self {
        Self { debounce: Duration::from_millis(50), hold: Duration::from_secs(2), active_low: false }
    }
}

/// The motion sensor on a pin.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_core::SystemClock;
/// use iotpi_hal::{drivers::motion::{Motion, MotionConfig}, sim::SimPin};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let pin = SimPin::new();
/// let mut motion = Motion::new(pin.clone(), SystemClock::shared(), MotionConfig::default());
/// assert!(!motion.look().await?);
///
/// pin.drive(true);
/// assert!(motion.look().await?);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Motion<P> {
    pin: P,
    clock: Arc<dyn Clock>,
    config: MotionConfig,
    /// Monotonic time.
    last_active_at: Option<Duration>,
}

impl<P> Motion<P>
where
    P: InputPin,
    P::Error: Debug,
{
    /// A sensor on a pin.
    pub fn new(pin: P, clock: Arc<dyn Clock>, config: MotionConfig) -> Self {
        Self { pin, clock, config, last_active_at: None }
    }

    /// Whether there is motion now, or was within the hold time. Takes the debounce time when motion begins.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Bus`](iotpi_core::DeviceErrorKind::Bus) when the pin cannot be read.
    ///
    /// # Cancel safety
    /// A cancelled call does not change the state of the sensor.
    pub async fn look(&mut self) -> Result<bool, DeviceError> {
        let mut active = self.is_active()?;
        if active && !self.held() {
            tokio::time::sleep(self.config.debounce).await;
            active = self.is_active()?;
        }
        if active {
            self.last_active_at = Some(self.clock.monotonic());
        }
        Ok(self.held())
    }

    /// Waits until motion begins or ends. Polls the pin once per `every`. Returns whether there is motion
    /// now.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Bus`](iotpi_core::DeviceErrorKind::Bus) when the pin cannot be read.
    ///
    /// # Cancel safety
    /// A cancelled wait loses no change: the next call compares with the last state that was read.
    pub async fn changed(&mut self, every: Duration) -> Result<bool, DeviceError> {
        let before = self.held();
        loop {
            let now = self.look().await?;
            if now != before {
                return Ok(now);
            }
            tokio::time::sleep(every).await;
        }
    }

    fn held(&self) -> bool {
        self.last_active_at.is_some_and(|at| {
            self.clock.monotonic().saturating_sub(at) < self.config.hold.max(Duration::from_nanos(1))
        })
    }

    fn is_active(&mut self) -> Result<bool, DeviceError> {
        let level = if self.config.active_low { self.pin.is_low() } else { self.pin.is_high() };
        level.map_err(|e| DeviceError::pin(&e))
    }
}

#[async_trait]
impl<P> Sensor for Motion<P>
where
    P: InputPin + Send,
    P::Error: Debug,
{
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Motion]
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let moving = self.look().await?;
        Ok(vec![Sample::new(Quantity::Motion, f64::from(u8::from(moving)))])
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use iotpi_core::{ManualClock, Timestamp};

    use super::*;
    use crate::sim::{SimPin, Weather, World};

    fn sensor(world: &Arc<World>, config: MotionConfig) -> (Arc<ManualClock>, Motion<SimPin>) {
        let (clock, source) = (ManualClock::at(Timestamp::MIN), Arc::clone(world));
        let pin = SimPin::input(move || source.weather().motion);
        (clock.clone(), Motion::new(pin, clock, config))
    }

    fn weather(motion: bool) -> Weather {
        Weather { motion, ..Weather::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn motion_lasts_for_its_hold_time() {
        let world = World::still(weather(true));
        let (clock, mut motion) = sensor(&world, MotionConfig::default());

        let begun = motion.look().await.unwrap();
        world.set(weather(false));
        clock.advance(Duration::from_millis(1900));
        let held = motion.look().await.unwrap();
        clock.advance(Duration::from_millis(200));
        let over = motion.look().await.unwrap();

        assert_eq!([begun, held, over], [true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pulse_shorter_than_the_debounce_time_is_no_motion() {
        let looks = AtomicU32::new(0);
        // High at the first read, low at the second.
        let pin = SimPin::input(move || looks.fetch_add(1, Ordering::Relaxed) == 0);
        let mut motion = Motion::new(pin, ManualClock::at(Timestamp::MIN), MotionConfig::default());

        assert!(!motion.look().await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_read_waits_for_a_change() {
        let world = World::still(weather(false));
        let (_clock, mut motion) = sensor(&world, MotionConfig::default());

        let wait = motion.changed(Duration::from_millis(100));
        let begin = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            world.set(weather(true));
        };
        let (changed, ()) = tokio::join!(wait, begin);

        assert!(changed.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn an_active_low_sensor_is_inverted() {
        let world = World::still(weather(false));
        let (_clock, mut motion) =
            sensor(&world, MotionConfig { active_low: true, ..MotionConfig::default() });

        assert!(motion.look().await.unwrap());
    }
}
