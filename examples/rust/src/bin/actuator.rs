//! A lamp with one action. Its parameters are a type, and the hub checks them before it accepts a command.

use iotpi_core::{ActionSpec, Actions, ActuatorModule, AnyError, HubClient, Runner};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// Switches the lamp.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Switch {
    on: bool,
}

#[derive(Default)]
struct Lamp {
    on: bool,
}

impl Lamp {
    async fn switch(&mut self, switch: Switch) -> Result<(), AnyError> {
        self.on = switch.on; // switch your pin here
        Ok(())
    }

    async fn off(&mut self) -> Result<(), AnyError> {
        self.switch(Switch { on: false }).await
    }
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    iotpi_core::log::init();
    let hub = HubClient::from_env()?;
    let lamp = Actions::new(Lamp::default())
        .action(ActionSpec::named("switch")?.absolute(), Lamp::switch)
        .make_safe(Lamp::off)
        .state(|lamp| json!({"on": lamp.on}));

    Runner::new(hub.uplink("hall-lamp".parse()?)).run(ActuatorModule::new(lamp)).await?;
    Ok(())
}
