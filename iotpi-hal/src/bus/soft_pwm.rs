//! Pulse width modulation in software, for a pin that can only be switched.
//!
//! A thread switches the pin 200 times a second while the duty is between nothing and all; at both ends it
//! waits and costs nothing. Good for lamps. Deliberately absent: servos and motors, whose pulses must not
//! jitter with the scheduler.

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

/// One on and off; 200 Hz is above what an eye sees in the corner.
const PERIOD: Duration = Duration::from_millis(5);
/// The duty that is always on.
const MAX_DUTY: u16 = 1000;

/// A pin with a duty. When it is dropped the pin is switched off.
#[derive(Debug)]
pub struct SoftPwm {
    duties: Sender<(u16, Sender<Result<(), PwmError>>)>,
    /// Why the thread could not switch the pin, if it could not.
    failure: Arc<Mutex<Option<PwmError>>>,
}

/// The pin did not obey.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PwmError(String);

impl pwm::Error for PwmError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

impl SoftPwm {
    /// Begins with the pin off.
    pub fn new<P>(pin: P) -> Self
    where
        P: OutputPin + Send + 'static,
    {
        let (duties, asked) = mpsc::channel();
        let failure = Arc::new(Mutex::new(None));
        let noted = Arc::clone(&failure);
        // Ends when `duties` is dropped.
        thread::spawn(move || run(pin, &asked, &noted));
        Self { duties, failure }
    }
}

impl pwm::ErrorType for SoftPwm {
    type Error = PwmError;
}

impl SetDutyCycle for SoftPwm {
    fn max_duty_cycle(&self) -> u16 {
        MAX_DUTY
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), PwmError> {
        if let Some(failure) = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(failure);
        }
        let gone = || PwmError("the thread that switches the pin is gone".to_owned());
        let (answer, answered) = mpsc::channel();
        self.duties.send((duty.min(MAX_DUTY), answer)).map_err(|_| gone())?;
        answered.recv().map_err(|_| gone())?
    }
}

fn run<P: OutputPin>(
    mut pin: P,
    asked: &Receiver<(u16, Sender<Result<(), PwmError>>)>,
    failure: &Mutex<Option<PwmError>>,
) {
    let mut duty = 0;
    let mut on = false;
    loop {
        let request = match duty {
            0 | MAX_DUTY => asked.recv().map_err(|_| RecvTimeoutError::Disconnected),
            _ => {
                let share = u32::from(if on { duty } else { MAX_DUTY - duty });
                asked.recv_timeout(PERIOD * share / u32::from(MAX_DUTY))
            }
        };
        let switched = match request {
            Ok((wanted, answer)) => {
                duty = wanted;
                on = wanted > 0;
                let switched = switch(&mut pin, on);
                // The one who asked waits for the answer.
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
                // Nobody is left to be told.
                let _ = switch(&mut pin, false);
                return;
            }
        };
        if switched.is_err() {
            duty = 0;
        }
    }
}

fn switch<P: OutputPin>(pin: &mut P, on: bool) -> Result<(), PwmError> {
    let switched = if on { pin.set_high() } else { pin.set_low() };
    switched.map_err(|e| PwmError(format!("{:?} ({e:?})", e.kind())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells every level it is set to, and fails when nobody listens.
    struct Told(Sender<bool>);

    impl embedded_hal::digital::ErrorType for Told {
        type Error = embedded_hal::digital::ErrorKind;
    }

    impl OutputPin for Told {
        fn set_low(&mut self) -> Result<(), Self::Error> {
            self.0.send(false).map_err(|_| embedded_hal::digital::ErrorKind::Other)
        }

        fn set_high(&mut self) -> Result<(), Self::Error> {
            self.0.send(true).map_err(|_| embedded_hal::digital::ErrorKind::Other)
        }
    }

    #[test]
    fn between_nothing_and_all_the_pin_goes_on_and_off() {
        let (tell, levels) = mpsc::channel();
        let mut pwm = SoftPwm::new(Told(tell));

        pwm.set_duty_cycle_percent(50).unwrap();

        let seen: Vec<bool> = levels.iter().take(6).collect();
        assert_eq!(seen, [true, false, true, false, true, false]);
    }

    #[test]
    fn at_both_ends_it_is_set_once_and_dropping_switches_off() {
        let (tell, levels) = mpsc::channel();
        let mut pwm = SoftPwm::new(Told(tell));

        pwm.set_duty_cycle_fully_on().unwrap();
        pwm.set_duty_cycle_fully_off().unwrap();
        pwm.set_duty_cycle_percent(100).unwrap();
        drop(pwm);

        assert_eq!(levels.iter().collect::<Vec<_>>(), [true, false, true, false]);
    }

    #[test]
    fn a_pin_that_does_not_obey_is_an_error() {
        let (tell, levels) = mpsc::channel();
        let mut pwm = SoftPwm::new(Told(tell));

        drop(levels);

        assert!(pwm.set_duty_cycle_fully_on().is_err());
    }
}
