//! Lamps with a kernel driver: the LEDs of the board, and those of overlays (`gpio-led`, `pca963x`).
//!
//! # Settings of the kernel
//! A lamp has a brightness from 0 to `max_brightness`, and a trigger: what the kernel itself shows with it,
//! such as `mmc0` (access to the SD card). The driver sets the trigger to `none` with its first action, and
//! restores it when the lamp is made safe (Documentation/leds/leds-class.rst).
//!
//! # Troubleshooting
//! | error | possible cause |
//! |---|---|
//! | `not found: no lamp` | the name; `ls /sys/class/leds` shows all |
//! | `permission denied` | only root may write: add the udev rule of `docs/howto/kernel-sensors.md` |
//!
//! # Deliberately absent
//! Triggers as an action, colours of a multicolour LED.

use std::{fmt, path::PathBuf};

use embedded_hal::pwm::{self, SetDutyCycle};
use iotpi_core::{Action, ActionSpec, Actuator, DeviceError, DeviceErrorKind, async_trait};
use serde_json::{Map, Value};

use super::{LEDS_FOLDER, Sysfs, number_in, text_in};
use crate::drivers::led::Led;

const NO_TRIGGER: &str = "none";

/// The actuator, with the actions of [`Led`].
///
/// ```no_run
/// use iotpi_hal::kernel::{Sysfs, leds::KernelLed};
///
/// let lamp = KernelLed::open(Sysfs::new(), "ACT")?;
/// # Ok::<(), iotpi_core::DeviceError>(())
/// ```
#[derive(Debug)]
pub struct KernelLed {
    lamp: Led<LedFiles>,
    trigger: Trigger,
}

impl KernelLed {
    /// Opens the lamp with this name in `/sys/class/leds`. It does not change the lamp.
    ///
    /// # Errors
    /// - [`DeviceErrorKind::NotFound`]: there is no such lamp.
    /// - [`DeviceErrorKind::PermissionDenied`]: the user may not write its brightness.
    pub fn open(sysfs: Sysfs, name: &str) -> Result<Self, DeviceError> {
        let names = sysfs.names_with(LEDS_FOLDER, "brightness");
        if !names.iter().any(|known| known == name) {
            let message = format!("no lamp `{name}`: there is {}", names.join(", "));
            return Err(DeviceError::new(DeviceErrorKind::NotFound, message));
        }
        let folder = sysfs.path(LEDS_FOLDER).join(name);
        let brightness = folder.join("brightness");
        sysfs.check_writable(&brightness)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let max_brightness =
            number_in(&folder.join("max_brightness")).unwrap_or(255.0).clamp(1.0, 65_535.0) as u16;
        let trigger = Trigger { sysfs: sysfs.clone(), file: folder.join("trigger"), replaced: None };
        Ok(Self { lamp: Led::new(LedFiles { sysfs, brightness, max_brightness }), trigger })
    }
}

#[async_trait]
impl Actuator for KernelLed {
    fn actions(&self) -> Vec<ActionSpec> {
        self.lamp.actions()
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        self.trigger.replace()?;
        self.lamp.perform(action).await
    }

    /// Switches the lamp off and restores its trigger.
    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.lamp.make_safe().await?;
        self.trigger.restore()
    }

    fn state(&self) -> Map<String, Value> {
        self.lamp.state()
    }
}

/// The trigger of a lamp: `none mmc0 [timer]`.
#[derive(Debug)]
struct Trigger {
    sysfs: Sysfs,
    file: PathBuf,
    /// The trigger before the first action.
    replaced: Option<String>,
}

impl Trigger {
    fn replace(&mut self) -> Result<(), DeviceError> {
        let text = text_in(&self.file).unwrap_or_default();
        let current = text.split_whitespace().find_map(|word| word.strip_prefix('[')?.strip_suffix(']'));
        match current.filter(|current| *current != NO_TRIGGER) {
            Some(current) => {
                self.sysfs.write(&self.file, NO_TRIGGER)?;
                self.replaced.get_or_insert_with(|| current.to_owned());
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn restore(&mut self) -> Result<(), DeviceError> {
        let Some(trigger) = &self.replaced else { return Ok(()) };
        self.sysfs.write(&self.file, trigger)?;
        self.replaced = None;
        Ok(())
    }
}

/// The brightness of a lamp as the duty cycle of a pin.
#[derive(Debug)]
struct LedFiles {
    sysfs: Sysfs,
    brightness: PathBuf,
    max_brightness: u16,
}

/// The error of the file, as the error of a pin. Its debug format is the message.
struct LedFileError(DeviceError);

impl fmt::Debug for LedFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl pwm::Error for LedFileError {
    fn kind(&self) -> pwm::ErrorKind {
        pwm::ErrorKind::Other
    }
}

impl pwm::ErrorType for LedFiles {
    type Error = LedFileError;
}

impl SetDutyCycle for LedFiles {
    fn max_duty_cycle(&self) -> u16 {
        self.max_brightness
    }

    fn set_duty_cycle(&mut self, duty: u16) -> Result<(), LedFileError> {
        self.sysfs.write(&self.brightness, &duty.to_string()).map_err(LedFileError)
    }
}

#[cfg(test)]
#[cfg(feature = "sim")]
mod tests {
    use std::fs;

    use iotpi_core::ActionName;
    use serde_json::json;

    use super::*;
    use crate::sim::SimSysfs;

    fn board() -> SimSysfs {
        SimSysfs::new(
            "[sys/class/leds/ACT]\nmax_brightness = 255\nbrightness = 0\ntrigger = none [mmc0] timer",
        )
        .unwrap()
    }

    fn text(board: &SimSysfs, file: &str) -> String {
        fs::read_to_string(board.path("sys/class/leds/ACT").join(file)).unwrap()
    }

    #[tokio::test]
    async fn the_trigger_of_the_kernel_is_restored_when_the_lamp_is_made_safe() {
        let board = board();
        let mut lamp = KernelLed::open(board.sysfs(), "ACT").unwrap();
        let set = Action::new(
            ActionName::new("set").unwrap(),
            json!({"brightness": 40}).as_object().unwrap().clone(),
        );
        let untouched = text(&board, "trigger");

        lamp.perform(&set).await.unwrap();
        let lit = (text(&board, "trigger"), text(&board, "brightness"));
        // 40 % of 255.
        lamp.perform(&set).await.unwrap();
        lamp.make_safe().await.unwrap();

        assert_eq!(untouched, "none [mmc0] timer\n");
        assert_eq!(lit, ("none".to_owned(), "102".to_owned()));
        assert_eq!((text(&board, "trigger").as_str(), text(&board, "brightness").as_str()), ("mmc0", "0"));
    }

    #[test]
    fn an_unknown_lamp_is_an_error_with_the_names_of_the_others() {
        let error = KernelLed::open(board().sysfs(), "PWR").unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound);
        assert!(error.to_string().contains("ACT"), "{error}");
    }
}
