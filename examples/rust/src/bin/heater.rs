//! A heater that may do harm. The action runs at most once, and the heater goes off 60 s after its issuer is gone.

use std::time::Duration;

use iotpi_core::{ActionSpec, Actions, ActuatorModule, AnyError, HubClient, Runner};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

/// Heats until the issuer is gone.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Heat {
    /// The power in watts.
    #[schemars(range(max = 2000))]
    watts: u32,
}

#[derive(Default)]
struct Heater {
    watts: u32,
}

impl Heater {
    async fn heat(&mut self, heat: Heat) -> Result<(), AnyError> {
        self.watts = heat.watts; // set your relay here
        Ok(())
    }

    // Called at the start, at the end, and when the issuer or the hub is gone.
    async fn off(&mut self) -> Result<(), AnyError> {
        self.watts = 0;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    iotpi_core::log::init();
    let hub = HubClient::from_env()?;
    let heat = ActionSpec::named("heat")?.hazardous().while_alive(Duration::from_secs(60));
    let heater = Actions::new(Heater::default())
        .action(heat, Heater::heat)
        .make_safe(Heater::off)
        .state(|heater| json!({"watts": heater.watts}));
    // The command log is a file, so that a crash does not repeat a command.
    let module = ActuatorModule::new(heater).with_command_log("heater-commands.json");

    Runner::new(hub.uplink("heater".parse()?)).run(module).await?;
    Ok(())
}
