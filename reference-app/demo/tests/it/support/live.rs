//! The live connection of a client, and the messages a test waits for.

use iotpi_core::{
    HubClient, NewCommand, Reading,
    client::LiveStream,
    model::{
        command::Command,
        event::{Event, LiveMessage, NumberedEvent, Subscription},
    },
};
use serde_json::Value;

use super::{demo::id, wait::bounded};

/// A live connection that receives all messages.
pub async fn subscribe(hub: &HubClient) -> LiveStream {
    hub.live(&Subscription::default()).await.unwrap()
}

/// Receives messages until one matches.
pub async fn receive<T>(live: &mut LiveStream, mut matches: impl FnMut(&LiveMessage) -> Option<T>) -> T {
    bounded("a live message that matches", async {
        loop {
            let message = live.next().await.unwrap().expect("the hub closed the live connection");
            if let Some(found) = matches(&message) {
                return found;
            }
        }
    })
    .await
}

/// The event of a message, if it has one.
pub fn event(message: &LiveMessage) -> Option<&Event> {
    match message {
        LiveMessage::Event(NumberedEvent { event, .. }) => Some(event),
        _ => None,
    }
}

/// Receives the next reading of a module.
pub async fn receive_reading(live: &mut LiveStream, module: &str) -> Reading {
    receive(live, |message| match event(message)? {
        Event::Reading { reading } if reading.module_id.as_str() == module => Some(reading.clone()),
        _ => None,
    })
    .await
}

/// Sends the command `set` to a module and waits for its end.
pub async fn set(hub: &HubClient, live: &mut LiveStream, module: &str, params: &Value) -> Command {
    let set = NewCommand::new("set".parse().unwrap()).with_params(params).unwrap();
    let command = hub.control(&id(module), &set).await.unwrap();
    receive(live, |message| match event(message)? {
        Event::Command { command: current } if current.id == command.id && current.state.is_final() => {
            Some(current.clone())
        }
        _ => None,
    })
    .await
}
