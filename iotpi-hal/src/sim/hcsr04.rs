//! A simulated HC-SR04.

use std::{sync::Arc, time::Duration};

use embedded_hal::digital::{ErrorType, OutputPin};

use super::{SimPin, SimPinError, World};

/// The duration of the echo without an object.
const NO_OBJECT: f64 = 0.038;
/// The time from the trigger to the echo: eight cycles of ultrasound.
const BURST: Duration = Duration::from_micros(450);

/// The trigger pin of a simulated HC-SR04: after a pulse it makes an echo.
#[derive(Debug, Clone)]
pub struct SimTrigger {
    pin: SimPin,
    echo: SimPin,
    world: Arc<World>,
    is_high: bool,
}

/// The trigger and the echo pin of a HC-SR04 in a world. The faults are those of the echo pin.
#[must_use]
pub fn hcsr04(world: Arc<World>) -> (SimTrigger, SimPin) {
    let echo = SimPin::new();
    (SimTrigger { pin: SimPin::new(), echo: echo.clone(), world, is_high: false }, echo)
}

impl SimTrigger {
    /// The same pair of pins with the faults of this switch.
    #[must_use]
    pub fn with_faults(self, faults: &super::FaultSwitch) -> (Self, SimPin) {
        let echo = self.echo.with_faults(faults.clone());
        let pin = self.pin.with_faults(faults.clone());
        (Self { pin, echo: echo.clone(), ..self }, echo)
    }
}

impl ErrorType for SimTrigger {
    type Error = SimPinError;
}

impl OutputPin for SimTrigger {
    fn set_high(&mut self) -> Result<(), SimPinError> {
        self.is_high = true;
        self.pin.set_high()
    }

    fn set_low(&mut self) -> Result<(), SimPinError> {
        self.pin.set_low()?;
        let is_end_of_pulse = std::mem::take(&mut self.is_high);
        if is_end_of_pulse && self.pin.faults().fault().is_none() {
            let flight = (2.0 * self.world.weather().distance / 343.4).min(NO_OBJECT);
            self.echo.pulse(BURST, Duration::from_secs_f64(flight));
        }
        Ok(())
    }
}
