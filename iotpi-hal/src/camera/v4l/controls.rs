//! The controls of a camera: brightness, exposure, focus and others.
//!
//! Names are those of `v4l2-ctl --list-ctrls`: lower-case letters, `_` for each character that is neither a
//! letter nor a digit.
//!
//! Uses the crate `v4l`, on which nokhwa is based, and not nokhwa itself: nokhwa sets a format whenever it
//! opens a camera, which the kernel rejects while the camera is streaming, so a camera could not be adjusted
//! while in use (docs/design/0017).

use std::{collections::BTreeMap, path::Path};

use iotpi_core::{DeviceError, DeviceErrorKind};
use serde::{Deserialize, Serialize};
use v4l::{
    Device,
    control::{Control, Description, Flags, Type, Value},
};

use super::camera_error;

/// Controls by name. They are set in the order of names, which puts `auto_exposure` before
/// `exposure_time_absolute`.
///
/// ```
/// use iotpi_hal::camera::v4l::{Controls, Setting};
///
/// let controls: Controls = serde_json::from_str(r#"{"brightness": 128, "auto_exposure": false}"#)?;
/// assert_eq!(controls["brightness"], Setting::Number(128));
/// # Ok::<(), serde_json::Error>(())
/// ```
pub type Controls = BTreeMap<String, Setting>;

/// The value of a control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Setting {
    /// On or off.
    Switch(bool),
    /// A number, or the index of a menu entry.
    Number(i64),
}

impl From<Setting> for serde_json::Value {
    fn from(setting: Setting) -> Self {
        match setting {
            Setting::Switch(on) => on.into(),
            Setting::Number(number) => number.into(),
        }
    }
}

/// Sets controls one after the other.
///
/// # Errors
/// [`DeviceErrorKind::Refused`] when the camera does not have a control or does not accept its value; other
/// kinds when the ioctl failed.
pub(super) fn set(device: &Device, path: &Path, wanted: &Controls) -> Result<(), DeviceError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let offered = offered(device, path)?;
    for (name, setting) in wanted {
        let control = offered.iter().find(|control| plain(&control.name) == *name).ok_or_else(|| {
            let names = offered.iter().map(|control| plain(&control.name)).collect::<Vec<_>>().join(", ");
            refused(format!("the camera has no control `{name}`; it has {names}"))
        })?;
        let value = checked(name, control, *setting)?;
        device.set_control(Control { id: control.id, value }).map_err(|e| camera_error(path, e))?;
    }
    Ok(())
}

/// Reads the values of the controls.
///
/// # Errors
/// The camera does not return a value.
pub(super) fn read(device: &Device, path: &Path) -> Result<Controls, DeviceError> {
    let read = |control: &Description| match device.control(control.id).ok()?.value {
        Value::Boolean(on) => Some((plain(&control.name), Setting::Switch(on))),
        Value::Integer(number) => Some((plain(&control.name), Setting::Number(number))),
        _ => None,
    };
    Ok(offered(device, path)?.iter().filter_map(read).collect())
}

/// The controls with a number or a switch.
fn offered(device: &Device, path: &Path) -> Result<Vec<Description>, DeviceError> {
    let mut controls = device.query_controls().map_err(|e| camera_error(path, e))?;
    controls.retain(|control| {
        matches!(control.typ, Type::Integer | Type::Boolean | Type::Menu | Type::Integer64)
            && !control.flags.intersects(Flags::DISABLED | Flags::READ_ONLY | Flags::HAS_PAYLOAD)
    });
    Ok(controls)
}

fn checked(name: &str, control: &Description, setting: Setting) -> Result<Value, DeviceError> {
    match (control.typ, setting) {
        (Type::Boolean, Setting::Switch(on)) => Ok(Value::Boolean(on)),
        (Type::Boolean, Setting::Number(_)) => Err(refused(format!("`{name}` is true or false"))),
        (_, Setting::Number(number)) if (control.minimum..=control.maximum).contains(&number) => {
            Ok(Value::Integer(number))
        }
        _ => Err(refused(format!("`{name}` is {} to {}", control.minimum, control.maximum))),
    }
}

/// `White Balance, Automatic` becomes `white_balance_automatic`.
fn plain(name: &str) -> String {
    let words = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_ascii_lowercase).collect::<Vec<_>>().join("_")
}

fn refused(message: String) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Refused, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(typ: Type) -> Description {
        let (minimum, maximum, step, default) = (-64, 64, 1, 0);
        let (name, flags, items) = ("Brightness".to_owned(), Flags::empty(), None);
        Description { id: 1, typ, name, minimum, maximum, step, default, flags, items }
    }

    #[test]
    fn control_names_are_those_of_v4l2_ctl() {
        assert_eq!(plain("White Balance, Automatic"), "white_balance_automatic");
        assert_eq!(plain("Exposure Time, Absolute"), "exposure_time_absolute");
    }

    #[test]
    fn a_value_that_does_not_fit_a_control_is_refused_with_its_range() {
        let number = |n| checked("brightness", &control(Type::Integer), Setting::Number(n));
        let switch = |setting| checked("hdr", &control(Type::Boolean), setting);

        assert!(matches!(number(64), Ok(Value::Integer(64))));
        assert!(number(65).unwrap_err().to_string().contains("-64 to 64"));
        assert!(matches!(switch(Setting::Switch(true)), Ok(Value::Boolean(true))));
        assert_eq!(switch(Setting::Number(1)).unwrap_err().kind(), DeviceErrorKind::Refused);
    }

    #[test]
    fn settings_are_numbers_or_switches() {
        let controls: Controls = toml::from_str("brightness = 128\nauto_exposure = false").unwrap();

        assert_eq!(controls["brightness"], Setting::Number(128));
        assert_eq!(controls["auto_exposure"], Setting::Switch(false));
        assert!(toml::from_str::<Controls>("brightness = \"high\"").is_err());
    }
}
