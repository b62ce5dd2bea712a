//! Relays, and other outputs that are on or off: valves, pumps, contactors, the motor of a blind.
//!
//! # Wiring
//! A pin supplies 16 mA: a relay needs a board with a transistor. Most boards with optocouplers switch on with a low
//! level (`active_low`); supply their coil with 5 V and the optocoupler (VCC) with 3.3 V. Mains voltage needs a
//! qualified person.
//!
//! # The state of the pin
//! The output has its off level from the moment it is requested. Before that, and while the Pi boots, the pin is an
//! input: with pins 9 to 27 it is pulled low, which switches an `active_low` board without its own pull-up
//! resistor on; use pins 0 to 8 there. The relays are off when the module ends; whether the pin then keeps its level
//! or becomes an input depends on the version of the kernel.
//!
//! # Troubleshooting
//! | error or symptom | possible cause |
//! |---|---|
//! | inverted | `active_low` |
//! | never off | the board has 5 V at VCC: 3.3 V do not switch its optocoupler off |
//! | `permission denied` | the user must be in group `gpio` |
//! | `bus: ... is in use` | another program uses the pin: `gpioinfo` shows which one |

use std::{fmt::Debug, time::Duration};

use embedded_hal::digital::OutputPin;
#[cfg(doc)]
use iotpi_core::DeviceErrorKind;
use iotpi_core::{Action, ActionSpec, Actuator, DeviceError, async_trait};
use serde_json::{Map, Value, json};

use super::params::{Params, action, unknown};

const SET: &str = "set";

/// One output: a pin, and the level at which the relay is on.
#[derive(Debug)]
struct Output<P> {
    name: String,
    pin: P,
    is_on: bool,
}

/// Relays that one module switches.
///
/// With an [interlock](Self::with_interlock) at most one of them is on: the others are switched off first, and a
/// pause follows before the relay is switched on.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use std::time::Duration;
/// use iotpi_hal::{drivers::relay::Relays, sim::SimPin};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let (up, down) = (SimPin::new(), SimPin::new());
/// let mut blind = Relays::new([("up", up.clone()), ("down", down.clone())])
///     .with_interlock(Duration::from_millis(500));
/// blind.set("up", true).await?;
/// blind.set("down", true).await?;
/// assert_eq!((up.duty(), down.duty()), (0, 100));
/// # Ok::<(), iotpi_core::DeviceError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Relays<P> {
    outputs: Vec<Output<P>>,
    active_low: bool,
    interlock: Option<Duration>,
    while_alive: Option<Duration>,
}

impl<P> Relays<P>
where
    P: OutputPin,
    P::Error: Debug,
{
    /// Relays with their names, which are on while their pin is high. They are off.
    pub fn new(outputs: impl IntoIterator<Item = (impl Into<String>, P)>) -> Self {
        let outputs = outputs.into_iter().map(|(name, pin)| Output { name: name.into(), pin, is_on: false });
        Self { outputs: outputs.collect(), active_low: false, interlock: None, while_alive: None }
    }

    /// Relays that are on while their pin is low.
    #[must_use]
    pub fn active_low(mut self) -> Self {
        self.active_low = true;
        self
    }

    /// At most one relay is on. The pause is the time between one that is switched off and the next that is switched
    /// on.
    #[must_use]
    pub fn with_interlock(mut self, pause: Duration) -> Self {
        self.interlock = Some(pause);
        self
    }

    /// Switches off when the issuer of the command, or the hub, has been absent for this time, 1 s to 1 h.
    #[must_use]
    pub fn while_alive(mut self, limit: Duration) -> Self {
        self.while_alive = Some(limit);
        self
    }

    /// Switches all relays on at once, as their state at the start. The safe state remains off.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Refused`] with an interlock or a limit of presence, [`DeviceErrorKind::Bus`] when a pin
    /// could not be set.
    pub fn started_on(mut self) -> Result<Self, DeviceError> {
        if self.interlock.is_some() || self.while_alive.is_some() {
            let text = "relays that are on at the start have neither an interlock nor `while_alive`";
            return Err(super::params::refused(text));
        }
        (0..self.outputs.len()).try_for_each(|index| self.switch(index, true))?;
        Ok(self)
    }

    /// Switches a relay.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Refused`] when there is no relay of this name, [`DeviceErrorKind::Bus`] when a pin could
    /// not be set. If another relay of the interlock could not be switched off, this one stays off.
    ///
    /// # Cancel safety
    /// After a cancelled call the relay may be off.
    pub async fn set(&mut self, name: &str, on: bool) -> Result<(), DeviceError> {
        let Some(index) = self.outputs.iter().position(|output| output.name == name) else {
            return Err(super::params::refused(format!("there is no relay `{name}`")));
        };
        if let (true, Some(pause)) = (on, self.interlock) {
            let others: Vec<_> = (0..self.outputs.len()).filter(|other| *other != index).collect();
            let was_on = others.iter().any(|other| self.outputs[*other].is_on);
            others.into_iter().try_for_each(|other| self.switch(other, false))?;
            if was_on {
                tokio::time::sleep(pause).await;
            }
        }
        self.switch(index, on)
    }

    fn switch(&mut self, index: usize, on: bool) -> Result<(), DeviceError> {
        let output = &mut self.outputs[index];
        // After an error the state is unknown: assume that the relay may be on.
        output.is_on |= on;
        let set = if on == self.active_low { output.pin.set_low() } else { output.pin.set_high() };
        set.map_err(|e| DeviceError::pin(&e))?;
        output.is_on = on;
        Ok(())
    }

    fn states(&self) -> Map<String, Value> {
        self.outputs.iter().map(|output| (output.name.clone(), output.is_on.into())).collect()
    }
}

#[async_trait]
impl<P> Actuator for Relays<P>
where
    P: OutputPin + Send,
    P::Error: Debug,
{
    fn actions(&self) -> Vec<ActionSpec> {
        let names: Vec<_> = self.outputs.iter().map(|output| &output.name).collect();
        let set = json!({
            "type": "object",
            "properties": {
                "relay": {"type": "string", "title": "Relay", "enum": names, "default": names.first()},
                "on": {"type": "boolean", "title": "On"},
            },
            "required": ["on"],
            "additionalProperties": false,
        });
        let set = action(SET, "Switches a relay", set).absolute_for("relay");
        vec![match self.while_alive {
            Some(limit) => set.while_alive(limit),
            None => set,
        }]
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        let params = Params(&action.params);
        if action.name.as_str() != SET {
            return Err(unknown(&action.name, "the action is `set`"));
        }
        params.only(&["relay", "on"])?;
        let on = Params::required(params.boolean("on")?, "on")?;
        let first = self.outputs.first().map_or(String::new(), |output| output.name.clone());
        let name = params.text("relay")?.unwrap_or(&first);
        self.set(name, on).await?;
        Ok(Value::Object(self.states()))
    }

    /// Switches all relays off; also the ones after one that cannot be switched.
    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        let results: Vec<_> = (0..self.outputs.len()).map(|index| self.switch(index, false)).collect();
        results.into_iter().collect()
    }

    fn state(&self) -> Map<String, Value> {
        self.states()
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use iotpi_core::{ActionName, DeviceErrorKind};

    use super::*;
    use crate::{
        sim::{Fault, SimPin},
        testing::check_actuator,
    };

    fn blind() -> ([SimPin; 2], Relays<SimPin>) {
        let pins = [SimPin::new(), SimPin::new()];
        let relays = Relays::new([("up", pins[0].clone()), ("down", pins[1].clone())]);
        (pins, relays.with_interlock(Duration::from_millis(500)))
    }

    #[tokio::test(start_paused = true)]
    async fn relays_fulfil_the_contract_of_actuators() {
        let pin = SimPin::new();
        pin.drive(true);
        let mut pump = Relays::new([("pump", pin.clone())]).active_low();

        check_actuator(&mut pump, pin.faults(), "set", json!({"on": true}), || pin.duty() == 100).await;
    }

    #[tokio::test(start_paused = true)]
    async fn two_relays_with_an_interlock_are_never_on() {
        let ([up, down], mut blind) = blind();
        blind.set("up", true).await.unwrap();

        let begin = tokio::time::Instant::now();
        let switching = blind.set("down", true);
        let observe = async {
            tokio::time::sleep(Duration::from_millis(499)).await;
            [up.duty(), down.duty()]
        };
        let (switched, during) = tokio::join!(switching, observe);

        switched.unwrap();
        assert_eq!((during, [up.duty(), down.duty()]), ([0, 0], [0, 100]));
        assert_eq!(begin.elapsed(), Duration::from_millis(500));
    }

    #[tokio::test(start_paused = true)]
    async fn a_relay_stays_off_when_the_other_one_cannot_be_switched_off() {
        let ([up, down], mut blind) = blind();
        blind.set("up", true).await.unwrap();

        up.faults().begin(Fault::Nack);
        let refused = blind.set("down", true).await;

        assert_eq!(refused.unwrap_err().kind(), DeviceErrorKind::Bus);
        assert_eq!((down.duty(), blind.state()["up"].clone()), (0, json!(true)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_others_are_made_safe_when_one_relay_fails() {
        let (up, down) = (SimPin::new(), SimPin::new());
        let mut relays = Relays::new([("up", up.clone()), ("down", down.clone())]).started_on().unwrap();
        assert_eq!([up.duty(), down.duty()], [100, 100]);

        up.faults().begin(Fault::Nack);
        let failed = relays.make_safe().await;

        assert!(failed.is_err());
        assert_eq!(down.duty(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn unknown_relays_are_refused() {
        let (_, mut blind) = blind();
        let name = ActionName::new("set").unwrap();
        let params = json!({"relay": "left", "on": true}).as_object().unwrap().clone();

        let error = blind.perform(&Action::new(name, params)).await.unwrap_err();

        assert_eq!(error.to_string(), "refused: there is no relay `left`");
    }

    #[test]
    fn a_limit_of_presence_is_part_of_the_action() {
        let relays = Relays::new([("heater", SimPin::new())]).while_alive(Duration::from_secs(60));

        assert_eq!(relays.actions()[0].alive_limit(), Some(Duration::from_secs(60)));
        assert!(relays.started_on().is_err());
    }
}
