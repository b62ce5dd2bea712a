//! Simulated pins: an output with an observable level and duty, and an input that reads the simulated world.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use embedded_hal::{
    digital::{self, InputPin, OutputPin},
    pwm::{self, SetDutyCycle},
};

use iotpi_core::{DeviceError, async_trait};
use tokio::time::Instant;

use super::{Fault, FaultSwitch, lock};
use crate::bus::{Edge, EdgeInput, EdgeQueue};

/// The time from one look at the source of an input to the next, while a driver waits for an edge.
const SOURCE_INTERVAL: Duration = Duration::from_millis(50);

/// A simulated pin: an input, an output or a PWM output. Clones are handles of the same pin: one for the
/// driver, one for the test that observes it.
///
/// An input records its edges, as the kernel does ([`EdgeInput`]): at each [`drive`](Self::drive), and when a
/// driver waits on an input with a source. Their times are those of tokio's clock.
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
    edges: EdgeQueue,
    debounce: Duration,
    source: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    faults: FaultSwitch,
}

#[derive(Debug)]
struct State {
    powered_at: Instant,
    /// The duty, 0 to [`MAX_DUTY`].
    duty: u16,
    /// The last [`HISTORY`] duties that were set, oldest first.
    history: Vec<u8>,
    /// The level the input last returned, for [`Fault::Stuck`].
    level: bool,
    /// The level after the last edge.
    debounced: bool,
    /// A level that may not last for the debounce time, and its beginning.
    unsettled: Option<(bool, Instant)>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            powered_at: Instant::now(),
            duty: 0,
            history: Vec::new(),
            level: false,
            debounced: false,
            unsettled: None,
        }
    }
}

/// The duty of a pin that is always high. A servo needs steps of a thousandth of its range.
const MAX_DUTY: u16 = 20_000;
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
        let pin = Self { source: Some(Arc::new(source)), ..Self::default() };
        let level = pin.source.as_ref().is_some_and(|source| source());
        lock(&pin.state).debounced = level;
        pin
    }

    /// The same pin, whose level must last for this time before it counts. Set it before the pin is cloned.
    #[must_use]
    pub fn with_debounce(mut self, debounce: Duration) -> Self {
        self.debounce = debounce;
        self
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
        lock(&self.state).duty = if high { MAX_DUTY } else { 0 };
        self.sample(high);
    }

    /// A pulse of the input that begins after a delay: both edges have its times already now.
    pub(super) fn pulse(&self, delay: Duration, width: Duration) {
        let begin = lock(&self.state).powered_at.elapsed() + delay;
        self.edges.push(true, begin, 0);
        self.edges.push(false, begin + width, 0);
    }

    /// Takes a level of the input now, and records the edges that have lasted for the debounce time.
    fn sample(&self, level: bool) {
        let mut state = lock(&self.state);
        let now = Instant::now();
        self.settle(&mut state, now);
        if level == state.unsettled.map_or(state.debounced, |(level, _)| level) {
            return;
        }
        state.unsettled = Some((level, now));
        self.settle(&mut state, now);
        drop(state);
        self.edges.wake();
    }

    fn settle(&self, state: &mut State, now: Instant) {
        let Some((level, since)) = state.unsettled.filter(|(_, since)| *since + self.debounce <= now) else {
            return;
        };
        state.unsettled = None;
        if level != state.debounced {
            state.debounced = level;
            self.edges.push(level, since - state.powered_at, 0);
        }
    }

    /// Looks at the source of the input, unless it has a fault.
    fn look(&self) {
        if let (Some(source), None) = (&self.source, self.faults.fault()) {
            self.sample(source());
        }
        self.settle(&mut lock(&self.state), Instant::now());
    }

    /// The share of the time the pin is high, in per cent: 0 or 100 for a pin that is not a PWM output.
    #[must_use]
    pub fn duty(&self) -> u8 {
        percent(lock(&self.state).duty)
    }

    /// The share of the time the pin is high, 0 to 1, in steps of 0.00005.
    #[must_use]
    pub fn duty_ratio(&self) -> f64 {
        f64::from(lock(&self.state).duty) / f64::from(MAX_DUTY)
    }

    /// The last 256 duties that the driver set, oldest first, in per cent.
    #[must_use]
    pub fn history(&self) -> Vec<u8> {
        lock(&self.state).history.clone()
    }

    fn write(&mut self, duty: u16) -> Result<(), SimPinError> {
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
                state.history.push(percent(duty));
                Ok(())
            }
        }
    }
}

fn percent(duty: u16) -> u8 {
    u8::try_from((duty + MAX_DUTY / 200) / (MAX_DUTY / 100)).unwrap_or(100)
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
        self.write(MAX_DUTY)
    }
}

impl SetDutyCycle for SimPin {
    fn max_duty_cycle(&self) -> u16 {
        MAX_DUTY
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), SimPinError> {
        self.write(duty.min(MAX_DUTY))
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
            (_, None) if !self.debounce.is_zero() => {
                self.settle(&mut state, Instant::now());
                state.debounced
            }
            (_, None) => state.duty > 0,
        };
        Ok(state.level)
    }

    fn is_low(&mut self) -> Result<bool, SimPinError> {
        Ok(!InputPin::is_high(self)?)
    }
}

#[async_trait]
impl EdgeInput for SimPin {
    fn is_high(&mut self) -> Result<bool, DeviceError> {
        InputPin::is_high(self).map_err(|e| DeviceError::pin(&e))
    }

    fn next_edge(&mut self) -> Result<Option<Edge>, DeviceError> {
        self.look();
        Ok(self.edges.pop())
    }

    async fn wait_for_edge(&mut self) {
        loop {
            self.look();
            if !self.edges.is_empty() {
                return;
            }
            let unsettled = lock(&self.state).unsettled.map(|(_, since)| since + self.debounce);
            let source_at = self.source.as_ref().map(|_| Instant::now() + SOURCE_INTERVAL);
            match [unsettled, source_at].into_iter().flatten().min() {
                Some(at) => drop(tokio::time::timeout_at(at, self.edges.pushed()).await),
                None => self.edges.pushed().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(pin: &mut SimPin) -> Vec<bool> {
        std::iter::from_fn(|| pin.next_edge().unwrap()).map(|edge| edge.is_high).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn edges_wait_with_their_times() {
        let mut pin = SimPin::new();

        for high in [true, true, false] {
            pin.drive(high);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let edges = [pin.next_edge().unwrap().unwrap(), pin.next_edge().unwrap().unwrap()];

        assert_eq!(edges.map(|edge| edge.is_high), [true, false]);
        assert_eq!(edges[1].at - edges[0].at, Duration::from_millis(20));
        assert_eq!(pin.next_edge().unwrap(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_level_counts_after_the_debounce_time() {
        let mut pin = SimPin::new().with_debounce(Duration::from_millis(5));

        for high in [true, false, true] {
            pin.drive(high);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let early = levels(&mut pin);
        let begin = Instant::now();
        pin.wait_for_edge().await;

        assert_eq!(early, [false; 0]);
        assert_eq!(begin.elapsed(), Duration::from_millis(4));
        assert_eq!(levels(&mut pin), [true]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_makes_edges_while_a_driver_waits() {
        let begin = Instant::now();
        let mut pin = SimPin::input(move || begin.elapsed() >= Duration::from_secs(3));

        pin.wait_for_edge().await;

        assert_eq!(begin.elapsed(), Duration::from_secs(3));
        assert_eq!(levels(&mut pin), [true]);
    }
}
