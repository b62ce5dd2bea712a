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

/// A simulated pin: an input, an output or a PWM output. Clones are handles of the same pin: one for the
/// driver, one for the test that observes it.
///
/// ```
/// use embedded_hal::digital::{InputPin, OutputPin};
/// use iotpi_hal::sim::{Fault, SimPin};
///
/// let relay = SimPin::new();
/// relay.clone().set_high()?;
/// assert_eq!(relay.duty(), 100);
///
/// let button = SimPin::new();
/// button.drive(true);
/// assert!(button.clone().is_high()?);
///
/// button.faults().begin(Fault::Nack);
/// assert!(button.clone().is_high().is_err());
/// # Ok::<(), iotpi_hal::sim::SimPinError>(())
/// ```
#[derive(Clone, Default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the simulated pin has a fault")]
#[non_exhaustive]
pub struct SimPinError;

impl digital::Error for SimPinError {
    fn kind(&self) -> digital::ErrorKind {
        digital::ErrorKind::Other
    }
}

impl pwm::Error for SimPinError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

impl SimPin {
    /// A pin, low, that reads back its level.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A pin that reads its level from `source`.
    #[must_use]
    pub fn input(source: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { source: Some(Arc::new(source)), ..Self::default() }
    }

    /// The same pin with the faults of this switch.
    #[must_use]
    pub fn with_faults(mut self, faults: FaultSwitch) -> Self {
        self.faults = faults;
        self
    }

    /// The switch of the faults of the pin.
    #[must_use]
    pub fn faults(&self) -> &FaultSwitch {
        &self.faults
    }

    /// Sets the level that an input without a source reads, as a button would.
    pub fn drive(&self, high: bool) {
        lock(&self.state).duty = if high { 100 } else { 0 };
    }

    /// The share of the time the pin is high, in per cent: 0 or 100 for a pin that is not a PWM output.
    #[must_use]
    pub fn duty(&self) -> u8 {
        lock(&self.state).duty
    }

    /// The last 256 duties that the driver set, oldest first, in per cent.
    #[must_use]
    pub fn history(&self) -> Vec<u8> {
        lock(&self.state).history.clone()
    }

    fn write(&mut self, duty: u8) -> Result<(), SimPinError> {
        match self.faults.next_transfer() {
            Some(Fault::Nack | Fault::BusLow) => Err(SimPinError),
            // A lamp that is unplugged or stuck cannot be distinguished from one that works.
            Some(Fault::Stuck | Fault::Unplugged) => Ok(()),
            _ => {
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
    type Error = SimPinError;
}

impl pwm::ErrorType for SimPin {
    type Error = SimPinError;
}

impl OutputPin for SimPin {
    fn set_low(&mut self) -> Result<(), SimPinError> {
        self.write(0)
    }

    fn set_high(&mut self) -> Result<(), SimPinError> {
        self.write(100)
    }
}

impl SetDutyCycle for SimPin {
    fn max_duty_cycle(&self) -> u16 {
        100
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), SimPinError> {
        self.write(u8::try_from(duty.min(100)).unwrap_or(100))
    }
}

impl InputPin for SimPin {
    fn is_high(&mut self) -> Result<bool, SimPinError> {
        let fault = self.faults.next_transfer();
        let mut state = lock(&self.state);
        state.level = match (fault, &self.source) {
            (Some(Fault::Nack | Fault::BusLow), _) => return Err(SimPinError),
            (Some(Fault::Stuck), _) => return Ok(state.level),
            (Some(Fault::Unplugged), _) => return Ok(false),
            (Some(Fault::AllOnes), _) => return Ok(true),
            (Some(Fault::Noise), _) => return Ok(self.faults.random_byte() & 1 == 1),
            (_, Some(source)) => source(),
            (_, None) => state.duty > 0,
        };
        Ok(state.level)
    }

    fn is_low(&mut self) -> Result<bool, SimPinError> {
        Ok(!self.is_high()?)
    }
}
