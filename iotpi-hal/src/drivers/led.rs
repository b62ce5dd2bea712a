//! A lamp on a pin: on, off and brightness.
//!
//! # Wiring
//! Pin (any BCM number) - resistor - long leg of the LED; short leg - ground. 330 ohm suits any 3 mm or 5 mm
//! LED at 3.3 V. A pin supplies 16 mA at most: a lamp, a strip or a relay needs a transistor in between.
//!
//! Hardware PWM needs `dtoverlay=pwm,pin=18,func=2` (BCM 12, 13, 18 or 19) in `/boot/firmware/config.txt`.
//! Every other pin uses software PWM at 200 Hz, which a camera may show as flicker and the eye does not see.
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `permission denied` | the user must be in group `gpio` |
//! | `bus: ... is in use` | another program uses it: `gpioinfo` shows which one |
//! | `refused` | parameters outside the schema |
//!
//! # Deliberately absent
//! Gamma correction: brightness is the duty cycle of the pin. Colours and patterns.

use std::{fmt::Debug, time::Duration};

use embedded_hal::pwm::SetDutyCycle;
#[cfg(doc)]
use iotpi_core::DeviceErrorKind;
use iotpi_core::{Action, ActionSpec, Actuator, DeviceError, async_trait};
use serde_json::{Map, Value, json};

use super::params::{Params, action, refused, unknown};

const SET: &str = "set";
const BLINK: &str = "blink";
const DEFAULT_TIMES: u32 = 3;
const DEFAULT_PERIOD_MS: u64 = 500;
/// The hub counts a command without an outcome after 30 s as lost and delivers it again.
const LONGEST_BLINK: Duration = Duration::from_secs(25);

/// The actuator. It does not access the pin before the first action.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{drivers::led::Led, sim::SimPin};
///
/// let pin = SimPin::new();
/// let mut lamp = Led::new(pin.clone());
/// lamp.set(Some(true), Some(40))?;
/// assert_eq!(pin.duty(), 40);
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct Led<P> {
    pin: P,
    on: bool,
    /// Per cent, 1 to 100; kept while the lamp is off.
    brightness: u8,
}

impl<P> Led<P>
where
    P: SetDutyCycle,
    P::Error: Debug,
{
    /// A lamp on a pin, off. Its brightness when switched on is 100 %.
    pub fn new(pin: P) -> Self {
        Self { pin, on: false, brightness: 100 }
    }

    /// Returns the pin without changing its level.
    pub fn release(self) -> P {
        self.pin
    }

    /// Sets the given values: brightness in per cent, 0 to 100. A brightness without `on` switches the lamp
    /// on; 0 switches it off.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Bus`] when the pin could not be set; the reported state then does not change.
    pub fn set(&mut self, on: Option<bool>, brightness: Option<u8>) -> Result<(), DeviceError> {
        let lit = brightness != Some(0) && on.unwrap_or(brightness.is_some() || self.on);
        let level = brightness.filter(|&b| b > 0).map_or(self.brightness, |b| b.min(100));
        self.light(if lit { level } else { 0 })?;
        (self.on, self.brightness) = (lit, level);
        Ok(())
    }

    fn light(&mut self, percent: u8) -> Result<(), DeviceError> {
        self.pin.set_duty_cycle_percent(percent).map_err(|e| DeviceError::pin(&e))
    }

    async fn blink(&mut self, times: u32, period: Duration) -> Result<(), DeviceError> {
        let before = if self.on { self.brightness } else { 0 };
        for _ in 0..times {
            // Starts with the opposite of the present state, so that a lamp that is on blinks too.
            for percent in if self.on { [0, before] } else { [self.brightness, 0] } {
                self.light(percent)?;
                tokio::time::sleep(period / 2).await;
            }
        }
        self.light(before)
    }

    fn shown(&self) -> Map<String, Value> {
        Map::from_iter([("on".to_owned(), self.on.into()), ("brightness".to_owned(), self.brightness.into())])
    }
}

#[async_trait]
impl<P> Actuator for Led<P>
where
    P: SetDutyCycle + Send,
    P::Error: Debug,
{
    fn actions(&self) -> Vec<ActionSpec> {
        let set = json!({
            "type": "object",
            "properties": {
                "on": {"type": "boolean", "title": "On"},
                "brightness": {"type": "integer", "title": "Brightness (%)", "minimum": 0, "maximum": 100},
            },
            "minProperties": 1,
            "additionalProperties": false,
        });
        let blink = json!({
            "type": "object",
            "properties": {
                "times": {"type": "integer", "title": "Number of blinks", "minimum": 1, "maximum": 20, "default": DEFAULT_TIMES},
                "period_ms": {"type": "integer", "title": "Interval (ms)", "minimum": 100, "maximum": 5000, "default": DEFAULT_PERIOD_MS},
            },
            "additionalProperties": false,
        });
        vec![
            action(SET, "Switches the lamp and sets its brightness", set),
            action(BLINK, "Blinks, then returns to its previous state (25 s at most)", blink),
        ]
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        let params = Params(&action.params);
        match action.name.as_str() {
            SET => {
                params.only(&["on", "brightness"])?;
                let brightness = params.integer("brightness", 0, 100)?.and_then(|b| u8::try_from(b).ok());
                let on = params.boolean("on")?;
                if on.is_none() && brightness.is_none() {
                    return Err(refused("`set` needs `on`, `brightness` or both"));
                }
                self.set(on, brightness)?;
            }
            BLINK => {
                params.only(&["times", "period_ms"])?;
                let times = params.integer("times", 1, 20)?.and_then(|n| u32::try_from(n).ok());
                let times = times.unwrap_or(DEFAULT_TIMES);
                let period = params.integer("period_ms", 100, 5000)?.unwrap_or(DEFAULT_PERIOD_MS);
                let period = Duration::from_millis(period);
                if period * times > LONGEST_BLINK {
                    return Err(refused("blinking may take 25 seconds in all"));
                }
                self.blink(times, period).await?;
            }
            _ => return Err(unknown(&action.name, "the actions are `set` and `blink`")),
        }
        Ok(Value::Object(self.shown()))
    }

    /// Switches the lamp off.
    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.set(Some(false), None)
    }

    fn state(&self) -> Map<String, Value> {
        self.shown()
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use iotpi_core::{ActionName, DeviceErrorKind};

    use super::*;
    use crate::sim::SimPin;

    fn lamp() -> (SimPin, Led<SimPin>) {
        let pin = SimPin::new();
        (pin.clone(), Led::new(pin))
    }

    async fn perform(led: &mut Led<SimPin>, name: &str, params: Value) -> Result<Value, DeviceErrorKind> {
        let action = Action::new(ActionName::new(name).unwrap(), params.as_object().unwrap().clone());
        led.perform(&action).await.map_err(|e| e.kind())
    }

    #[tokio::test]
    async fn on_and_brightness_can_be_combined() {
        let (pin, mut led) = lamp();
        for (params, on, brightness, duty) in [
            (json!({"on": true}), true, 100, 100),
            (json!({"brightness": 40}), true, 40, 40),
            (json!({"on": false}), false, 40, 0),
            (json!({"on": true}), true, 40, 40),
            (json!({"brightness": 0}), false, 40, 0),
            (json!({"on": false, "brightness": 70}), false, 70, 0),
            (json!({"on": true, "brightness": 0}), false, 70, 0),
            (json!({"on": true}), true, 70, 70),
        ] {
            let answer = perform(&mut led, "set", params.clone()).await.unwrap();

            assert_eq!(answer, json!({"on": on, "brightness": brightness}), "{params}");
            assert_eq!(Value::Object(led.state()), answer);
            assert_eq!(pin.duty(), duty, "{params}");
        }
    }

    #[tokio::test]
    async fn invalid_parameters_are_refused_and_change_nothing() {
        let (pin, mut led) = lamp();
        for (name, params) in [
            ("set", json!({})),
            ("set", json!({"on": 1})),
            ("set", json!({"brightness": 101})),
            ("set", json!({"brightness": 12.5})),
            ("set", json!({"on": true, "colour": "red"})),
            ("blink", json!({"times": 0})),
            ("blink", json!({"times": 21, "period_ms": 100})),
            ("blink", json!({"times": 6, "period_ms": 5000})),
            ("explode", json!({})),
        ] {
            let refused = perform(&mut led, name, params.clone()).await;

            assert_eq!(refused, Err(DeviceErrorKind::Refused), "{name} {params}");
        }
        assert_eq!(pin.history(), [0_u8; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn blinking_has_the_given_count_and_restores_the_state() {
        let (pin, mut led) = lamp();
        led.set(Some(true), Some(60)).unwrap();
        let begin = tokio::time::Instant::now();

        perform(&mut led, "blink", json!({"times": 2, "period_ms": 500})).await.unwrap();

        assert_eq!(pin.history(), [60, 0, 60, 0, 60, 60]);
        assert_eq!(begin.elapsed(), Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn blinking_without_parameters_uses_the_defaults_of_the_schema() {
        let (pin, mut led) = lamp();
        let begin = tokio::time::Instant::now();

        perform(&mut led, "blink", json!({})).await.unwrap();

        assert_eq!(pin.history(), [100, 0, 100, 0, 100, 0, 0]);
        assert_eq!(begin.elapsed(), Duration::from_millis(1500));
    }
}
