//! A lamp with one action. The hub checks the parameters against the JSON Schema before it accepts a command.

use std::{env, error::Error};

use iotpi_core::{
    Action, ActionSpec, Actuator, ActuatorModule, DeviceError, DeviceErrorKind, HubClient, Runner,
    async_trait,
};
use serde_json::{Map, Value, json};

#[derive(Default)]
struct Lamp {
    on: bool,
}

#[async_trait]
impl Actuator for Lamp {
    fn actions(&self) -> Vec<ActionSpec> {
        let params = json!({
            "type": "object",
            "properties": {"on": {"type": "boolean"}},
            "required": ["on"],
            "additionalProperties": false,
        });
        let name = "switch".parse().expect("an id");
        vec![ActionSpec::new(name, "Switches the lamp", params).absolute()]
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        let Some(on) = action.params.get("on").and_then(Value::as_bool) else {
            return Err(DeviceError::new(DeviceErrorKind::Refused, "`on` is missing"));
        };
        self.on = on; // switch your pin here
        Ok(json!({"on": on}))
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.on = false;
        Ok(())
    }

    fn state(&self) -> Map<String, Value> {
        Map::from_iter([("on".to_owned(), json!(self.on))])
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = HubClient::new(&env::var("IOTPI_URL")?)?.with_token(env::var("IOTPI_TOKEN")?);

    Runner::new(hub.uplink("hall-lamp".parse()?)).run(ActuatorModule::new(Lamp::default())).await?;
    Ok(())
}
