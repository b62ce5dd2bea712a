//! Simulated pins: an output with an observable level and duty, and an input that reads the simulated world.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use embedded_hal::{
    digital::{self, InputPin, OutputPin},
    pwm::{self, SetDutyCycle},
};

use super::{Fault, FaultSwitch, lock};

/// A simulated pin. Clones are handles of the same pin: one for the driver, one for the test that observes
/// it.
#[derive(Clone)]
pub struct SimPin {
    state: Arc<Mutex<State>>,
    source: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    faults: FaultSwitch,
}

#[derive(Debug, Default)]
struct State {
    /// The duty in per cent, 0 to 100.
    duty: u8,
    /// The last [`HISTORY`] duties that were set, oldest first.
    history: Vec<u8>,
    /// The level the input last returned, for [`Fault::Stuck`].
    level: bool,
}

/// The number of changes a pin remembers.
const HISTORY: usize = 256;

/// The simulated pin has a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PinError;

impl digital::Error for PinError {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other
    }
}

impl pwm::Error for PinError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

impl SimPin {
    /// A pin that reads back the level last written to it.
    #[must_use]
    pub fn new(faults: FaultSwitch) -> Self {
        Self { state: Arc::default(), source: None, faults }
    }

    /// A pin that reads its level from `source`.
    #[must_use]
    pub fn input(faults: FaultSwitch, source: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { state: Arc::default(), source: Some(Arc::new(source)), faults }
    }

    /// The share of the time the pin is high, in per cent.
    #[must_use]
    pub fn duty(&self) -> u8 {
        lock(&self.state).duty
    }

    /// The last 256 duties that were set, oldest first, in per cent.
    #[must_use]
    pub fn history(&self) -> Vec<u8> {
        lock(&self.state).history.clone()
    }

    fn write(&mut self, duty: u8) -> Result<(), PinError> {
        match self.faults.fault() {
            Some(Fault::Nack) => Err(PinError),
            // A lamp that is unplugged or stuck cannot be distinguished from one that works.
            Some(Fault::Stuck | Fault::Unplugged) => Ok(()),
            Some(Fault::Corrupt | Fault::Hung) | None => {
                let mut state = lock(&self.state);
                state.duty = duty;
                if state.history.len() == HISTORY {
                    state.history.remove(0);
                }
                state.history.push(duty);
                Ok(())
            }
        }
    }
}

impl fmt::Debug for SimPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimPin").field("duty", &self.duty()).finish_non_exhaustive()
    }
}

impl digital::ErrorType for SimPin {
    type Error = PinError;
}

impl pwm::ErrorType for SimPin {
    type Error = PinError;
}

impl OutputPin for SimPin {
    fn set_low(&mut self) -> Result<(), PinError> {
        self.write(0)
    }

    fn set_high(&mut self) -> Result<(), PinError> {
        self.write(100)
    }
}

impl SetDutyCycle for SimPin {
    fn max_duty_cycle(&self) -> u16 {
        100
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), PinError> {
        self.write(u8::try_from(duty.min(100)).unwrap_or(100))
    }
}

impl InputPin for SimPin {
    fn is_high(&mut self) -> Result<bool, PinError> {
        let mut state = lock(&self.state);
        match (self.faults.fault(), &self.source) {
            (Some(Fault::Nack), _) => return Err(PinError),
            (Some(Fault::Stuck), _) => {}
            (Some(Fault::Unplugged), _) => return Ok(false),
            (_, Some(source)) => state.level = source(),
            (_, None) => state.level = state.duty > 0,
        }
        Ok(state.level)
    }

    fn is_low(&mut self) -> Result<bool, PinError> {
        Ok(!self.is_high()?)
    }
}
