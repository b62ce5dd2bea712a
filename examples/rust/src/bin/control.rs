//! Sends a command to a module and waits for its outcome. Start `actuator` first.

use iotpi_core::{AnyError, HubClient, NewCommand};
use serde_json::json;

#[tokio::main]
async fn main() -> Result<(), AnyError> {
    iotpi_core::log::init();
    let hub = HubClient::from_env()?;
    let on = NewCommand::new("switch".parse()?).with_params(json!({"on": true}))?;
    let command = hub.control(&"hall-lamp".parse()?, &on).wait().await?;

    println!("{} {:?}", command.state.as_str(), command.result);
    Ok(())
}
