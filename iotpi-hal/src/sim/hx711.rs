//! A simulated HX711.

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use embedded_hal::{
    delay::DelayNs,
    digital::{ErrorType, InputPin, OutputPin},
};

use super::{Fault, FaultSwitch, SimPinError, World, lock};

/// An HX711 with a load cell in a world. It is the pin DT as an input and the pin SCK as an output; clones are handles
/// of the same chip. It always has a measurement.
///
/// ```
/// use embedded_hal::digital::InputPin;
/// use iotpi_hal::sim::{SimHx711, Weather, World};
///
/// let chip = SimHx711::new(World::still(Weather::default()), 0, 430_000.0);
/// assert!(chip.clone().is_low()?); // ready
/// # Ok::<(), iotpi_hal::sim::SimPinError>(())
/// ```
#[derive(Clone)]
pub struct SimHx711 {
    world: Arc<World>,
    zero: i32,
    counts_per_kilogram: f64,
    state: Arc<Mutex<State>>,
    faults: FaultSwitch,
}

#[derive(Default)]
struct State {
    is_clock_high: bool,
    /// The pulses of this reading.
    pulses: u8,
    counts: u32,
}

impl fmt::Debug for SimHx711 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimHx711").field("pulses", &lock(&self.state).pulses).finish_non_exhaustive()
    }
}

impl SimHx711 {
    /// A chip with the counts of the empty scale and those of one kilogram.
    #[must_use]
    pub fn new(world: Arc<World>, zero: i32, counts_per_kilogram: f64) -> Self {
        Self { world, zero, counts_per_kilogram, state: Arc::default(), faults: FaultSwitch::default() }
    }

    /// The same chip with the faults of this switch.
    #[must_use]
    pub fn with_faults(mut self, faults: FaultSwitch) -> Self {
        self.faults = faults;
        self
    }

    /// The switch of the faults of the chip.
    #[must_use]
    pub fn faults(&self) -> &FaultSwitch {
        &self.faults
    }

    /// The delay for the driver: no thread sleeps. The chip is switched off when SCK is high for 60 µs.
    #[must_use]
    pub fn delay(&self) -> impl DelayNs + Send + Clone + 'static {
        Hx711Delay(self.clone())
    }

    #[allow(clippy::cast_possible_truncation)]
    fn measured(&self) -> u32 {
        let counts = f64::from(self.zero) + self.world.weather().mass * self.counts_per_kilogram;
        (counts.round().clamp(-8_388_608.0, 8_388_607.0) as i32).cast_unsigned() & 0xFF_FFFF
    }
}

#[derive(Debug, Clone)]
struct Hx711Delay(SimHx711);

impl DelayNs for Hx711Delay {
    fn delay_ns(&mut self, ns: u32) {
        let mut state = lock(&self.0.state);
        if state.is_clock_high && ns >= 60_000 {
            state.pulses = 0;
        }
    }
}

impl ErrorType for SimHx711 {
    type Error = SimPinError;
}

impl OutputPin for SimHx711 {
    fn set_high(&mut self) -> Result<(), SimPinError> {
        let fault = self.faults.next_transfer();
        if matches!(fault, Some(Fault::Nack | Fault::BusLow)) {
            return Err(SimPinError);
        }
        let counts = self.measured();
        let mut state = lock(&self.state);
        if !std::mem::replace(&mut state.is_clock_high, true) {
            if state.pulses == 0 && fault != Some(Fault::Stuck) {
                state.counts = counts;
            }
            state.pulses += 1;
        }
        Ok(())
    }

    fn set_low(&mut self) -> Result<(), SimPinError> {
        if matches!(self.faults.next_transfer(), Some(Fault::Nack | Fault::BusLow)) {
            return Err(SimPinError);
        }
        let mut state = lock(&self.state);
        state.is_clock_high = false;
        if state.pulses >= 25 {
            state.pulses = 0;
        }
        Ok(())
    }
}

impl InputPin for SimHx711 {
    fn is_high(&mut self) -> Result<bool, SimPinError> {
        let fault = self.faults.next_transfer();
        let state = lock(&self.state);
        match fault {
            Some(Fault::Nack | Fault::BusLow) => Err(SimPinError),
            // Not ready, or the pin floats.
            Some(Fault::Hung | Fault::Unplugged | Fault::AllOnes) => Ok(true),
            Some(Fault::Noise) => Ok(self.faults.random_byte() & 1 == 1),
            _ if state.pulses == 0 => Ok(false),
            _ => Ok(state.counts >> 24_u8.saturating_sub(state.pulses) & 1 == 1),
        }
    }

    fn is_low(&mut self) -> Result<bool, SimPinError> {
        Ok(!self.is_high()?)
    }
}
