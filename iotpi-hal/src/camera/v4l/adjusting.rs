//! Adjusts a V4L2 camera while it is streaming: an actuator for the same device file as the camera.
//!
//! Each action opens the device and closes it again, so the camera may be unplugged and plugged in at any
//! time, and other programs can keep it open. Adjustments are lost when the camera is opened again: permanent
//! values belong in the settings of the camera.

use std::path::PathBuf;

use iotpi_core::{Action, ActionName, ActionSpec, Actuator, DeviceError, DeviceErrorKind, async_trait};
use serde_json::{Map, Value, json};

use super::{
    camera_error,
    controls::{self, Controls},
};

const SET: &str = "set";

/// An actuator for the controls of a camera. Its state contains their values, read from the camera after each
/// action.
///
/// ```
/// use iotpi_core::ActuatorModule;
/// use iotpi_hal::camera::v4l::ControlActuator;
///
/// let module = ActuatorModule::new(ControlActuator::new("/dev/video0"));
/// ```
#[derive(Debug)]
pub struct ControlActuator {
    device: PathBuf,
    state: Controls,
}

impl ControlActuator {
    /// The controls of a camera, `/dev/video0`. The device need not exist yet.
    #[must_use]
    pub fn new(device: impl Into<PathBuf>) -> Self {
        let device = device.into();
        let state = adjust(&device, &Controls::new()).unwrap_or_default();
        Self { device, state }
    }
}

/// Sets controls and reads all of them.
fn adjust(device: &std::path::Path, wanted: &Controls) -> Result<Controls, DeviceError> {
    let opened = v4l::Device::with_path(device).map_err(|e| camera_error(device, e))?;
    controls::set(&opened, device, wanted)?;
    controls::read(&opened, device)
}

#[async_trait]
impl Actuator for ControlActuator {
    fn actions(&self) -> Vec<ActionSpec> {
        let params = json!({
            "type": "object",
            "properties": {
                "control": {"type": "string", "title": "Control, such as brightness", "minLength": 1, "maxLength": 64},
                "value": {"type": ["integer", "boolean"], "title": "Value"},
            },
            "required": ["control", "value"],
            "additionalProperties": false,
        });
        let name = ActionName::new(SET).ok();
        name.map(|name| ActionSpec::new(name, "Sets a control of the camera", params)).into_iter().collect()
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        let refused = |why: &str| DeviceError::new(DeviceErrorKind::Refused, why);
        let (Some(control), Some(value), 2) =
            (action.params.get("control"), action.params.get("value"), action.params.len())
        else {
            return Err(refused("`set` needs `control` and `value`, and nothing else"));
        };
        let (Some(control), Ok(value)) = (control.as_str(), serde_json::from_value(value.clone())) else {
            return Err(refused("`control` is a name, `value` a whole number, true or false"));
        };
        if action.name.as_str() != SET {
            return Err(refused("a camera's controls know `set` only"));
        }
        let (device, wanted) = (self.device.clone(), Controls::from([(control.to_owned(), value)]));
        // A USB camera sets a control in some milliseconds, or blocks for seconds.
        let adjusted = tokio::task::spawn_blocking(move || adjust(&device, &wanted)).await;
        self.state = adjusted.map_err(|e| {
            DeviceError::new(DeviceErrorKind::Other, "setting the control panicked").with_source(e)
        })??;
        Ok(json!({ control: self.state.get(control).copied() }))
    }

    /// The controls of a camera cause no hazard.
    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }

    fn state(&self) -> Map<String, Value> {
        self.state.iter().map(|(name, setting)| (name.clone(), (*setting).into())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(params: Value) -> Action {
        Action::new(ActionName::new(SET).unwrap(), params.as_object().unwrap().clone())
    }

    #[tokio::test]
    async fn adjusting_a_missing_camera_is_an_error() {
        let mut adjusting = ControlActuator::new("/dev/video250");

        let error =
            adjusting.perform(&action(json!({"control": "brightness", "value": 1}))).await.unwrap_err();

        assert_eq!(error.kind(), DeviceErrorKind::NotFound);
        assert!(adjusting.state().is_empty());
    }

    #[tokio::test]
    async fn invalid_commands_are_refused() {
        let mut adjusting = ControlActuator::new("/dev/video250");

        for params in [
            json!({}),
            json!({"control": "brightness"}),
            json!({"control": "brightness", "value": "high"}),
            json!({"control": 7, "value": 1}),
            json!({"control": "brightness", "value": 1, "more": 2}),
        ] {
            let error = adjusting.perform(&action(params)).await.unwrap_err();

            assert_eq!(error.kind(), DeviceErrorKind::Refused);
        }
    }
}
