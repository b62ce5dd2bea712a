//! Pulse width modulation in software, for a pin that has only two levels.
//!
//! A thread toggles the pin 200 times a second while the duty is between 0 % and 100 %. At 0 % and 100 % the
//! thread waits and uses no processor time. Suitable for lamps; a servo at 50 Hz jitters with the scheduler.

use std::{
    fmt::Debug,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread,
    time::Duration,
};

use embedded_hal::{
    digital::{Error as _, OutputPin},
    pwm::{self, SetDutyCycle},
};

/// The PWM period; 200 Hz is above the flicker the eye sees, even in peripheral vision.
const PERIOD: Duration = Duration::from_millis(5);
/// The duty at which the pin is always high.
const MAX_DUTY: u16 = 10_000;

/// A pin with a duty cycle. Dropping it switches the pin off.
///
#[cfg_attr(feature = "sim", doc = "```")]
#[cfg_attr(not(feature = "sim"), doc = "```ignore")]
/// use iotpi_hal::{bus::SoftPwm, embedded_hal::pwm::SetDutyCycle, sim::SimPin};
///
/// let pin = SimPin::new();
/// let mut lamp = SoftPwm::new(pin.clone());
/// lamp.set_duty_cycle_percent(100)?;
/// assert_eq!(pin.duty(), 100);
/// # Ok::<(), iotpi_hal::bus::SoftPwmError>(())
/// ```
#[derive(Debug)]
pub struct SoftPwm {
    duties: Sender<(u16, Sender<Result<(), SoftPwmError>>)>,
    /// The error of the thread, when it could not set the pin.
    failure: Arc<Mutex<Option<SoftPwmError>>>,
}

/// The pin could not be set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SoftPwmError(String);

impl pwm::Error for SoftPwmError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

impl SoftPwm {
    /// Starts the PWM thread with the pin off.
    pub fn new<P>(pin: P) -> Self
    where
        P: OutputPin + Send + 'static,
    {
        Self::with_period(pin, PERIOD)
    }

    /// Starts the PWM thread with another period than 5 ms: 20 ms for a servo.
    pub fn with_period<P>(pin: P, period: Duration) -> Self
    where
        P: OutputPin + Send + 'static,
    {
        let (duties, asked) = mpsc::channel();
        let failure = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&failure);
        // The thread ends when `duties` is dropped.
        thread::spawn(move || run(pin, period, &asked, &noted));
        Self { duties, failure }
    }
}

impl pwm::ErrorType for SoftPwm {
    type Error = SoftPwmError;
}

impl SetDutyCycle for SoftPwm {
    fn max_duty_cycle(&self) -> u16 {
        MAX_DUTY
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), SoftPwmError> {
        if let Some(failure) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(failure);
        }
        let gone = || SoftPwmError("the thread that switches the pin is gone".to_owned());
        let (answer, answered) = mpsc::channel();
        self.duties.send((duty.min(MAX_DUTY), answer)).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

fn run<P: OutputPin>(
    mut pin: P,
    period: Duration,
    asked: &Receiver<(u16, Sender<Result<(), SoftPwmError>>)>,
    failure: &Mutex<Option<SoftPwmError>>,
) {
    let mut duty = 0;
    let mut on = false;
    loop {
        let request = match duty {
            0 | MAX_DUTY => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
            _ => {
                let share = u32::from(if on { duty } else { MAX_DUTY - duty });
                asked.recv_timeout(period * share / u32::from(MAX_DUTY))
            }
        };
        let switched = match request {
            Ok((wanted, answer)) => {
                duty = wanted;
                on = wanted > 0;
                let switched = switch(&mut pin, on);
                // `set_duty_cycle` waits for this answer.
                let _ = answer.send(switched.clone());
                switched
            }
            Err(RecvTimeoutError::Timeout) => {
                on = !on;
                switch(&mut pin, on).inspect_err(|error| {
                    *failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.clone());
                })
            }
            Err(RecvTimeoutError::Disconnected) => {
                // The handle is dropped: there is no caller to report an error to.
                let _ = switch(&mut pin, false);
                return;
            }
        };
        if switched.is_err() {
            duty = 0;
        }
    }
}

fn switch<P: OutputPin>(pin: &mut P, on: bool) -> Result<(), SoftPwmError> {
    let switched = if on { pin.set_high() } else { pin.set_low() };
    switched.map_err(|e| SoftPwmError(format!("{:?} ({e:?})", e.kind())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends every level it is set to into the channel. Fails when the receiver is dropped.
    struct SwitchLog(Sender<bool>);

    impl embedded_hal::digital::ErrorType for SwitchLog {
        type Error = embedded_hal::digital::ErrorKind;
    }

    impl OutputPin for SwitchLog {
        fn set_low(&mut self) -> Result<(), Self::Error> {
            self.0.send(false).map_err(|_| embedded_hal::digital::ErrorKind::Other)
        }

        fn set_high(&mut self) -> Result<(), Self::Error> {
            self.0.send(true).map_err(|_| embedded_hal::digital::ErrorKind::Other)
        }
    }

    #[test]
    fn between_0_and_100_percent_the_pin_toggles() {
        let (log, levels) = mpsc::channel();
        let mut pwm = SoftPwm::new(SwitchLog(log));

        pwm.set_duty_cycle_percent(50).unwrap();

        let levels: Vec<bool> = levels.iter().take(6).collect();
        assert_eq!(levels, [true, false, true, false, true, false]);
    }

    #[test]
    fn at_0_and_100_percent_it_is_set_once_and_drop_switches_it_off() {
        let (log, levels) = mpsc::channel();
        let mut pwm = SoftPwm::new(SwitchLog(log));

        pwm.set_duty_cycle_fully_on().unwrap();
        pwm.set_duty_cycle_fully_off().unwrap();
        pwm.set_duty_cycle_percent(100).unwrap();
        drop(pwm);

        assert_eq!(levels.iter().collect::<Vec<_>>(), [true, false, true, false]);
    }

    #[test]
    fn a_pin_that_cannot_be_switched_is_an_error() {
        let (log, levels) = mpsc::channel();
        let mut pwm = SoftPwm::new(SwitchLog(log));

        drop(levels);

        assert!(pwm.set_duty_cycle_fully_on().is_err());
    }
}
