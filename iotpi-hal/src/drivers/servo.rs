//! A model servo on a PWM output: it turns to an angle that the width of a pulse sets, 50 times a second.
//!
//! # Wiring
//! Red to 5 V of a supply of its own (a servo takes up to 1 A when it starts), brown or black to the ground of that
//! supply *and* of the Pi, orange to the pin. The 3.3 V of the pin are sufficient for the signal.
//!
//! Hardware PWM (`dtoverlay=pwm,pin=18,func=2`; BCM 12, 13, 18 or 19) holds the angle without jitter. Software PWM
//! jitters with the load of the processor by some degrees.
//!
//! # Troubleshooting
//! | symptom | possible cause |
//! |---|---|
//! | hums at an end | the range of pulses is too large: 1000 to 2000 µs suits every servo |
//! | jitters | software PWM; a weak supply |
//! | the Pi restarts | the servo is supplied by the Pi |

use std::fmt::Debug;

use embedded_hal::pwm::SetDutyCycle;
#[cfg(doc)]
use iotpi_core::DeviceErrorKind;
use iotpi_core::{Action, ActionSpec, Actuator, DeviceError, async_trait};
use serde_json::{Map, Value, json};

use super::params::{Params, action, refused, unknown};

const MOVE: &str = "move";
const RELEASE: &str = "release";
/// The frequency of the PWM output that a servo needs, in hertz.
pub const FREQUENCY_HZ: u32 = 50;
const PERIOD_MICROS: f64 = 20_000.0;

/// The range of a servo, and its safe state.
///
/// ```
/// use iotpi_hal::drivers::servo::ServoConfig;
///
/// let mut config = ServoConfig::default();
/// config.safe_angle = Some(0.0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct ServoConfig {
    /// The lowest and the highest angle in degrees: 0 and 180.
    pub angles: (f64, f64),
    /// The widths of the pulses at these angles in microseconds: 1000 and 2000.
    pub pulses_us: (f64, f64),
    /// The angle of the safe state. Without one the safe state is without pulses: the servo gives way.
    pub safe_angle: Option<f64>,
}

impl Default for ServoConfig {
    fn default() -> Self {
        Self { angles: (0.0, 180.0), pulses_us: (1000.0, 2000.0), safe_angle: None }
    }
}

impl ServoConfig {
    fn check(&self) -> Result<(), DeviceError> {
        let Self { angles: (first, last), pulses_us: (shortest, longest), safe_angle } = *self;
        if !(first < last && first >= -360.0 && last <= 360.0) {
            return Err(refused("the angles of a servo rise, from -360 to 360"));
        }
        let is_pulse = |width: f64| (400.0..=2600.0).contains(&width);
        if !(is_pulse(shortest) && is_pulse(longest) && (shortest - longest).abs() >= 1.0) {
            return Err(refused("the pulses of a servo are 400 to 2600 µs, and two different widths"));
        }
        if safe_angle.is_some_and(|angle| !(first..=last).contains(&angle)) {
            return Err(refused("the safe angle of a servo is one of its angles"));
        }
        Ok(())
    }
}

/// The servo on a PWM output of 50 Hz. It does not access the output before the first action.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::servo::{Servo, ServoConfig}, sim::SimPin};
///
/// let pin = SimPin::new();
/// let mut servo = Servo::new(pin.clone(), ServoConfig::default())?;
/// servo.turn_to(90.0)?;
/// assert_eq!(pin.duty_ratio(), 0.075); // 1.5 of 20 ms
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Servo<P> {
    output: P,
    config: ServoConfig,
    angle: Option<f64>,
}

impl<P> Servo<P>
where
    P: SetDutyCycle,
    P::Error: Debug,
{
    /// A servo without pulses.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Refused`] when a range is wrong.
    pub fn new(output: P, config: ServoConfig) -> Result<Self, DeviceError> {
        config.check()?;
        Ok(Self { output, config, angle: None })
    }

    /// Turns to an angle in degrees, and holds it.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Refused`] when the angle is outside the range, [`DeviceErrorKind::Bus`] when the output
    /// could not be set.
    pub fn turn_to(&mut self, angle: f64) -> Result<(), DeviceError> {
        let ServoConfig { angles: (first, last), pulses_us: (shortest, longest), .. } = self.config;
        if !(first..=last).contains(&angle) {
            return Err(refused(format!("the angle is {first} to {last}")));
        }
        let width = shortest + (longest - shortest) * (angle - first) / (last - first);
        let steps = f64::from(self.output.max_duty_cycle());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let duty = (width / PERIOD_MICROS * steps).round() as u16;
        self.output.set_duty_cycle(duty).map_err(|e| DeviceError::pin(&e))?;
        self.angle = Some(angle);
        Ok(())
    }

    /// Ends the pulses: the servo gives way.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Bus`] when the output could not be set.
    pub fn release(&mut self) -> Result<(), DeviceError> {
        self.output.set_duty_cycle_fully_off().map_err(|e| DeviceError::pin(&e))?;
        self.angle = None;
        Ok(())
    }

    fn shown(&self) -> Map<String, Value> {
        Map::from_iter([("angle".to_owned(), self.angle.map_or(Value::Null, Value::from))])
    }
}

#[async_trait]
impl<P> Actuator for Servo<P>
where
    P: SetDutyCycle + Send,
    P::Error: Debug,
{
    fn actions(&self) -> Vec<ActionSpec> {
        let (first, last) = self.config.angles;
        let params = json!({
            "type": "object",
            "properties": {
                "angle": {"type": "number", "title": "Angle (°)", "minimum": first, "maximum": last},
            },
            "required": ["angle"],
            "additionalProperties": false,
        });
        let none = json!({"type": "object", "additionalProperties": false});
        vec![
            action(MOVE, "Turns to an angle and holds it", params).absolute(),
            action(RELEASE, "Stops holding the angle", none),
        ]
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        let params = Params(&action.params);
        match action.name.as_str() {
            MOVE => {
                params.only(&["angle"])?;
                let (first, last) = self.config.angles;
                self.turn_to(Params::required(params.number("angle", first, last)?, "angle")?)?;
            }
            RELEASE => {
                params.only(&[])?;
                self.release()?;
            }
            _ => return Err(unknown(&action.name, "the actions are `move` and `release`")),
        }
        Ok(Value::Object(self.shown()))
    }

    /// Turns to the safe angle, or ends the pulses.
    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        match self.config.safe_angle {
            Some(angle) => self.turn_to(angle),
            None => self.release(),
        }
    }

    fn state(&self) -> Map<String, Value> {
        self.shown()
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use iotpi_core::DeviceErrorKind;

    use super::*;
    use crate::{sim::SimPin, testing::check_actuator};

    #[tokio::test(start_paused = true)]
    async fn a_servo_fulfils_the_contract_of_actuators() {
        let pin = SimPin::new();
        let mut servo = Servo::new(pin.clone(), ServoConfig::default()).unwrap();

        let is_safe = || pin.duty_ratio() == 0.0;
        check_actuator(&mut servo, pin.faults(), "move", json!({"angle": 45}), is_safe).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_servo_with_a_safe_angle_fulfils_the_contract_of_actuators() {
        let pin = SimPin::new();
        let config = ServoConfig { safe_angle: Some(0.0), ..ServoConfig::default() };
        let mut servo = Servo::new(pin.clone(), config).unwrap();

        let is_safe = || pin.duty_ratio() == 0.05;
        check_actuator(&mut servo, pin.faults(), "move", json!({"angle": 45}), is_safe).await;
    }

    #[test]
    fn the_width_of_a_pulse_follows_from_the_angle() {
        let pin = SimPin::new();
        let config =
            ServoConfig { angles: (-90.0, 90.0), pulses_us: (2500.0, 500.0), ..ServoConfig::default() };
        let mut servo = Servo::new(pin.clone(), config).unwrap();

        for (angle, micros) in [(-90.0, 2500.0), (0.0, 1500.0), (90.0, 500.0)] {
            servo.turn_to(angle).unwrap();
            assert!((pin.duty_ratio() * 20_000.0 - micros).abs() < 2.0, "{angle}: {}", pin.duty_ratio());
        }
        assert_eq!(servo.turn_to(91.0).unwrap_err().kind(), DeviceErrorKind::Refused);
    }

    #[test]
    fn a_wrong_range_is_refused() {
        for config in [
            ServoConfig { angles: (180.0, 0.0), ..ServoConfig::default() },
            ServoConfig { pulses_us: (0.0, 2000.0), ..ServoConfig::default() },
            ServoConfig { safe_angle: Some(200.0), ..ServoConfig::default() },
            ServoConfig { angles: (0.0, f64::NAN), ..ServoConfig::default() },
        ] {
            assert!(Servo::new(SimPin::new(), config).is_err(), "{config:?}");
        }
    }
}
