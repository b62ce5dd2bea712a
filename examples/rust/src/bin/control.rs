//! Sends a command to a module and waits for its outcome. Start `actuator` first.

use std::{env, error::Error, time::Duration};

use iotpi_core::{HubClient, NewCommand};
use serde_json::{Map, json};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let hub = HubClient::new(&env::var("IOTPI_URL")?)?.with_token(env::var("IOTPI_TOKEN")?);
    let params = Map::from_iter([("on".to_owned(), json!(true))]);
    let mut command = hub.control(&"hall-lamp".parse()?, &NewCommand::new("switch".parse()?, params)).await?;

    while !command.is_finished() {
        tokio::time::sleep(Duration::from_millis(100)).await;
        command = hub.command(&command.id).await?;
    }
    println!("{} {:?}", command.state.as_str(), command.result);
    Ok(())
}
