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
//! A check of the connection: an unplugged sensor reads as no motion. A single wire cannot report more.

use std::time::Duration;

use iotpi_core::{DeviceError, Quantity, Sample, Sensor, async_trait};
use tokio::time::Instant;

use crate::bus::EdgeInput;

/// The hold time of a motion sensor, and the polarity of its pin.
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
    /// The time motion lasts after the pin was last active: 2 s.
    pub hold: Duration,
    /// Whether the pin is low during motion.
    pub active_low: bool,
}

impl Default for MotionConfig {
    fn default() -> Self {
        Self { hold: Duration::from_secs(2), active_low: false }
    }
}

/// The motion sensor on a pin. Motion between two reads is reported by the next one; its beginning and its end
/// are reported before the interval ends.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::motion::{Motion, MotionConfig}, sim::SimPin};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let pin = SimPin::new();
/// let mut motion = Motion::new(pin.clone(), MotionConfig::default());
/// assert!(!motion.observe()?);
///
/// pin.drive(true);
/// pin.drive(false);
/// assert!(motion.observe()?);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Motion<P> {
    pin: P,
    config: MotionConfig,
    held_until: Option<Instant>,
    /// Motion since the last read.
    was_active: bool,
    /// The last read reported motion.
    is_reported: bool,
}

impl<P: EdgeInput> Motion<P> {
    /// A sensor on a pin.
    pub fn new(pin: P, config: MotionConfig) -> Self {
        Self { pin, config, held_until: None, was_active: false, is_reported: false }
    }

    /// Whether there is motion now, or was since the last call or within the hold time.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Bus`](iotpi_core::DeviceErrorKind::Bus) when the pin cannot be read.
    pub fn observe(&mut self) -> Result<bool, DeviceError> {
        let mut is_recent = false;
        while let Some(edge) = self.pin.next_edge()? {
            // Also at the end of motion the hold time begins.
            is_recent = true;
            self.was_active |= self.is_active_at(edge.is_high) || edge.lost > 0;
        }
        let active = self.is_active()?;
        if active || (is_recent && (self.was_active || self.is_reported)) {
            self.held_until = Some(Instant::now() + self.config.hold);
        }
        let was_active = std::mem::take(&mut self.was_active);
        self.is_reported = active || was_active || self.is_held();
        Ok(self.is_reported)
    }

    fn is_held(&self) -> bool {
        self.held_until.is_some_and(|until| Instant::now() < until)
    }

    fn is_active_at(&self, is_high: bool) -> bool {
        is_high != self.config.active_low
    }

    fn is_active(&mut self) -> Result<bool, DeviceError> {
        Ok(self.pin.is_high()? != self.config.active_low)
    }
}

#[async_trait]
impl<P: EdgeInput> Sensor for Motion<P> {
    fn quantities(&self) -> Vec<Quantity> {
        vec![Quantity::Motion]
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let moving = self.observe()?;
        Ok(vec![Sample::new(Quantity::Motion, f64::from(u8::from(moving)))])
    }

    async fn changed(&mut self) {
        let is_ending = self.is_reported && !self.is_active().unwrap_or(true);
        match self.held_until {
            Some(until) if is_ending => {
                let _ = tokio::time::timeout_at(until, self.pin.wait_for_edge()).await;
            }
            _ => self.pin.wait_for_edge().await,
        }
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use std::sync::Arc;

    use iotpi_core::{Runner, SensorModule, testing::RecordingUplink};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::sim::{SimPin, Weather, World};

    fn sensor(world: &Arc<World>, config: MotionConfig) -> Motion<SimPin> {
        let source = Arc::clone(world);
        Motion::new(SimPin::input(move || source.weather().motion), config)
    }

    fn weather(motion: bool) -> Weather {
        Weather { motion, ..Weather::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn motion_lasts_for_its_hold_time() {
        let world = World::still(weather(true));
        let mut motion = sensor(&world, MotionConfig::default());

        let begun = motion.observe().unwrap();
        world.set(weather(false));
        tokio::time::sleep(Duration::from_millis(1900)).await;
        let held = motion.observe().unwrap();
        tokio::time::sleep(Duration::from_millis(2001)).await;
        let over = motion.observe().unwrap();

        assert_eq!([begun, held, over], [true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn motion_between_two_reads_is_reported_without_a_hold_time() {
        let pin = SimPin::new();
        let config = MotionConfig { hold: Duration::ZERO, ..MotionConfig::default() };
        let mut motion = Motion::new(pin.clone(), config);

        let before = motion.observe().unwrap();
        pin.drive(true);
        pin.drive(false);
        let after = [motion.observe().unwrap(), motion.observe().unwrap()];

        assert_eq!((before, after), (false, [true, false]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_module_records_beginning_and_end_of_motion() {
        let (pin, hub) = (SimPin::new(), RecordingUplink::new("hall".parse().unwrap()));
        let stop = CancellationToken::new();
        let module =
            SensorModule::new(Motion::new(pin.clone(), MotionConfig::default()), Duration::from_secs(3600));
        let running = tokio::spawn(Runner::new(hub.clone()).run_until(module, stop.clone()));
        hub.until(|hub| hub.readings().len() == 1).await;
        let begin = Instant::now();

        pin.drive(true);
        tokio::time::sleep(Duration::from_millis(500)).await;
        pin.drive(false);
        hub.until(|hub| hub.readings().len() == 4).await;
        stop.cancel();
        running.await.unwrap().unwrap();

        let values: Vec<_> = hub.readings().iter().filter_map(|reading| reading.outcome.value()).collect();
        assert_eq!(values, [0.0, 1.0, 1.0, 0.0]);
        assert!((2500..2700).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn an_active_low_sensor_is_inverted() {
        let world = World::still(weather(false));
        let mut motion = sensor(&world, MotionConfig { active_low: true, ..MotionConfig::default() });

        assert!(motion.observe().unwrap());
    }
}
