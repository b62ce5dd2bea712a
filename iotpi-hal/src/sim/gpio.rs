//! Pins: an output whose level and duty can be observed, and an input fed by the world.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use embedded_hal::{
    digital::{self, InputPin, OutputPin},
    pwm::{self, SetDutyCycle},
};

use super::{Fault, FaultSwitch, lock};

/// A pin. Cloning gives another hold of the same pin: one for the driver, one to look at it.
#[derive(Clone)]
pub struct PinTwin {
    state: Arc<Mutex<State>>,
    source: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    faults: FaultSwitch,
}

#[derive(Debug, Default)]
struct State {
    /// Per cent, 0 to 100.
    duty: u8,
    /// Every duty that was set, oldest first; the last [`HISTORY`].
    history: Vec<u8>,
    /// What the input last showed, for [`Fault::Stuck`].
    level: bool,
}

/// How many changes a pin remembers.
const HISTORY: usize = 256;

/// Why a pin did not obey.
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

impl PinTwin {
    /// A pin that reads as what was last written to it.
    #[must_use]
    pub fn new(faults: FaultSwitch) -> Self {
        Self { state: Arc::default(), source: None, faults }
    }

    /// A pin that reads what the world puts on it.
    #[must_use]
    pub fn input(faults: FaultSwitch, source: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { state: Arc::default(), source: Some(Arc::new(source)), faults }
    }

    /// How much of the time the pin is high, in per cent.
    #[must_use]
    pub fn duty(&self) -> u8 {
        lock(&self.state).duty
    }

    /// What was set, oldest first, in per cent; the last 256.
    #[must_use]
    pub fn history(&self) -> Vec<u8> {
        lock(&self.state).history.clone()
    }

    fn write(&mut self, duty: u8) -> Result<(), PinError> {
        match self.faults.fault() {
            Some(Fault::Nack) => Err(PinError),
            // A lamp that is unplugged or stuck cannot be told from one that obeys.
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

impl fmt::Debug for PinTwin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinTwin").field("duty", &self.duty()).finish_non_exhaustive()
    }
}

impl digital::ErrorType for PinTwin {
    type Error = PinError;
}

impl pwm::ErrorType for PinTwin {
    type Error = PinError;
}

impl OutputPin for PinTwin {
    fn set_low(&mut self) -> Result<(), PinError> {
        self.write(0)
    }

    fn set_high(&mut self) -> Result<(), PinError> {
        self.write(100)
    }
}

impl SetDutyCycle for PinTwin {
    fn max_duty_cycle(&self) -> u16 {
        100
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), PinError> {
        self.write(u8::try_from(duty.min(100)).unwrap_or(100))
    }
}

impl InputPin for PinTwin {
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
