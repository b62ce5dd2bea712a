//! Parameters of actions, validated here again: the hub may have an older version than the module.

use iotpi_core::{ActionName, ActionSpec, DeviceError, DeviceErrorKind};
use serde_json::{Map, Value};

/// The error for an action that the device does not run.
pub(crate) fn refused(message: impl Into<String>) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Refused, message)
}

/// The error for an action of another name.
pub(crate) fn unknown(action: &ActionName, known: &str) -> DeviceError {
    refused(format!("unknown action `{action}`: {known}"))
}

/// An action. Its name is a constant of a driver.
///
/// # Panics
/// If the name is not an id.
#[allow(clippy::expect_used)]
pub(crate) fn action(name: &str, text: &str, params: Value) -> ActionSpec {
    ActionSpec::new(ActionName::new(name).expect("the name of an action is an id"), text, params)
}

/// The parameters of one action.
pub(crate) struct Params<'a>(pub(crate) &'a Map<String, Value>);

impl<'a> Params<'a> {
    /// Refuses other parameters than these.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), DeviceError> {
        match self.0.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(refused(format!("there is no parameter `{key}`"))),
            None => Ok(()),
        }
    }

    pub(crate) fn boolean(&self, name: &str) -> Result<Option<bool>, DeviceError> {
        let wrong = || refused(format!("`{name}` must be true or false"));
        self.0.get(name).map(|value| value.as_bool().ok_or_else(wrong)).transpose()
    }

    pub(crate) fn text(&self, name: &str) -> Result<Option<&'a str>, DeviceError> {
        let wrong = || refused(format!("`{name}` must be a text"));
        self.0.get(name).map(|value| value.as_str().ok_or_else(wrong)).transpose()
    }

    pub(crate) fn integer(&self, name: &str, least: u64, most: u64) -> Result<Option<u64>, DeviceError> {
        let wrong = || refused(format!("`{name}` must be a whole number from {least} to {most}"));
        self.0
            .get(name)
            .map(|value| value.as_u64().filter(|n| (least..=most).contains(n)).ok_or_else(wrong))
            .transpose()
    }

    pub(crate) fn number(&self, name: &str, least: f64, most: f64) -> Result<Option<f64>, DeviceError> {
        let wrong = || refused(format!("`{name}` must be a number from {least} to {most}"));
        self.0
            .get(name)
            .map(|value| value.as_f64().filter(|n| (least..=most).contains(n)).ok_or_else(wrong))
            .transpose()
    }

    /// The value of a parameter without a default.
    pub(crate) fn required<T>(value: Option<T>, name: &str) -> Result<T, DeviceError> {
        value.ok_or_else(|| refused(format!("`{name}` is missing")))
    }
}
