//! A contact or button on a pin: a push button, a reed contact on a door or window, a float switch.
//!
//! # Wiring
//! Between any BCM pin and ground, with the pull-up resistor of the pin; no other part is needed. A wire of
//! more than a metre picks up disturbances: add 10 kΩ to 3.3 V, and 100 nF to ground at the pin.
//!
//! # Troubleshooting
//! | symptom | possible cause |
//! |---|---|
//! | always the same level | a wire is loose; the other of the two contacts of a changeover switch is connected |
//! | inverted | `active_low` |
//! | several changes for one press | a longer `debounce_ms` |
//! | `permission denied` | the user must be in group `gpio` |
//!
//! # Deliberately absent
//! Polling: the kernel records the edges. A contact that is not connected reads as not pressed, or open: one
//! wire cannot report more.

use iotpi_core::{DeviceError, Quantity, Sample, Sensor, async_trait};

use crate::bus::EdgeInput;

/// A contact with two states, reported as 1 (active) and 0.
///
/// Each change is reported before the interval ends. A change back and forth between two reads is reported as
/// two readings, so a short press is seen; further ones in the same time are not.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_core::{Quantity, Unit};
/// use iotpi_hal::{drivers::contact::Contact, sim::SimPin};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let pin = SimPin::new();
/// let pressed = Quantity::new("pressed".parse()?, Unit::BOOLEAN);
/// let mut button = Contact::new(pin.clone(), pressed);
/// assert!(!button.observe()?);
///
/// pin.drive(true);
/// pin.drive(false);
/// assert!(button.observe()?);
/// assert!(!button.observe()?);
/// # Ok::<(), iotpi_core::AnyError>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Contact<P> {
    pin: P,
    quantity: Quantity,
    active_low: bool,
    /// The state that the last read reported.
    reported: Option<bool>,
    /// The states after the edges since then.
    seen: Seen,
    /// The present state differs from the reported one.
    is_pending: bool,
}

#[derive(Debug, Default)]
struct Seen {
    active: bool,
    inactive: bool,
}

impl<P: EdgeInput> Contact<P> {
    /// A contact that is active while the pin is high, reported as this quantity.
    pub fn new(pin: P, quantity: Quantity) -> Self {
        Self { pin, quantity, active_low: false, reported: None, seen: Seen::default(), is_pending: false }
    }

    /// The same contact, active while the pin is low.
    #[must_use]
    pub fn active_low(mut self) -> Self {
        self.active_low = true;
        self
    }

    /// The state to report: the present one, or the opposite of the last one if the contact had it since.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Bus`](iotpi_core::DeviceErrorKind::Bus) when the pin cannot be read.
    pub fn observe(&mut self) -> Result<bool, DeviceError> {
        while let Some(edge) = self.pin.next_edge()? {
            let active = edge.is_high != self.active_low;
            self.seen.active |= active || edge.lost > 0;
            self.seen.inactive |= !active || edge.lost > 0;
        }
        let now = self.pin.is_high()? != self.active_low;
        let last = self.reported.unwrap_or(now);
        let seen = std::mem::take(&mut self.seen);
        let was_opposite = if last { seen.inactive } else { seen.active };
        let state = if was_opposite { !last } else { now };
        self.reported = Some(state);
        self.is_pending = state != now;
        Ok(state)
    }
}

#[async_trait]
impl<P: EdgeInput> Sensor for Contact<P> {
    fn quantities(&self) -> Vec<Quantity> {
        vec![self.quantity.clone()]
    }

    async fn read(&mut self) -> Result<Vec<Sample>, DeviceError> {
        let active = self.observe()?;
        Ok(vec![Sample::new(&self.quantity, f64::from(u8::from(active)))])
    }

    async fn changed(&mut self) {
        if !self.is_pending {
            self.pin.wait_for_edge().await;
        }
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use std::time::Duration;

    use iotpi_core::{Runner, SensorModule, Unit, testing::RecordingUplink};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::sim::{Fault, SimPin};

    fn contact(pin: &SimPin) -> Contact<SimPin> {
        Contact::new(pin.clone(), Quantity::new("pressed".parse().unwrap(), Unit::BOOLEAN))
    }

    #[test]
    fn a_change_back_and_forth_between_two_reads_is_reported_in_both_directions() {
        let pin = SimPin::new();
        pin.drive(true);
        let mut contact = contact(&pin).active_low();

        let closed = contact.observe().unwrap();
        pin.drive(false);
        pin.drive(true);
        let opened = [contact.observe().unwrap(), contact.observe().unwrap(), contact.observe().unwrap()];

        assert!(!closed);
        assert_eq!(opened, [true, false, false]);
    }

    #[test]
    fn a_failed_read_loses_no_change() {
        let pin = SimPin::new();
        let mut contact = contact(&pin);
        contact.observe().unwrap();

        pin.drive(true);
        pin.drive(false);
        pin.faults().begin(Fault::Nack);
        let failed = contact.observe();
        pin.faults().end();

        assert!(failed.is_err());
        assert_eq!([contact.observe().unwrap(), contact.observe().unwrap()], [true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_module_records_a_press_of_ten_milliseconds() {
        let (pin, hub) = (SimPin::new(), RecordingUplink::new("bell".parse().unwrap()));
        let stop = CancellationToken::new();
        let module = SensorModule::new(contact(&pin), Duration::from_secs(3600));
        let running = tokio::spawn(Runner::new(hub.clone()).run_until(module, stop.clone()));
        hub.until(|hub| hub.readings().len() == 1).await;

        pin.drive(true);
        tokio::time::sleep(Duration::from_millis(10)).await;
        pin.drive(false);
        hub.until(|hub| hub.readings().len() == 3).await;
        stop.cancel();
        running.await.unwrap().unwrap();

        let values: Vec<_> = hub.readings().iter().filter_map(|reading| reading.outcome.value()).collect();
        assert_eq!(values, [0.0, 1.0, 0.0]);
    }
}
