//! A heater that may do harm. The action runs at most once, and the heater goes off 60 s after its issuer is gone.

use std::{env, error::Error, time::Duration};

use iotpi_core::{Action, ActionSpec, Actuator, ActuatorModule, DeviceError, HubClient, Runner, async_trait};
use serde_json::{Map, Value, json};

#[derive(Default)]
struct Heater {
    watts: u64,
}

#[async_trait]
impl Actuator for Heater {
    fn actions(&self) -> Vec<ActionSpec> {
        let params = json!({
            "type": "object",
            "properties": {"watts": {"type": "integer", "minimum": 0, "maximum": 2000}},
            "required": ["watts"],
        });
        let name = "heat".parse().expect("an id");
        let heat = ActionSpec::new(name, "Heats until the issuer is gone", params);
        vec![heat.hazardous().while_alive(Duration::from_secs(60))]
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        self.watts = action.params.get("watts").and_then(Value::as_u64).unwrap_or(0);
        Ok(json!({"watts": self.watts}))
    }

    // Called at the start, at the end, and when the issuer or the hub is gone.
    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.watts = 0;
        Ok(())
    }

    fn state(&self) -> Map<String, Value> {
        Map::from_iter([("watts".to_owned(), json!(self.watts))])
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = HubClient::new(&env::var("IOTPI_URL")?)?.with_token(env::var("IOTPI_TOKEN")?);
    // The command log is a file, so that a crash does not repeat a command.
    let module = ActuatorModule::new(Heater::default()).with_command_log("heater-commands.json");

    Runner::new(hub.uplink("heater".parse()?)).run(module).await?;
    Ok(())
}
