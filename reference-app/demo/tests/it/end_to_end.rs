//! Readings, frames and commands pass from process to process.

use std::os::unix::fs::PermissionsExt as _;

use iotpi_core::{
    HubClient, NewCommand, ReadingFilter, SensorType, UplinkError,
    model::{
        command::CommandState,
        error::ErrorKind,
        event::{Event, LiveMessage},
        reading::NewReading,
    },
};
use serde_json::{Value, json};

use crate::support::{
    demo::{Demo, NAMES, id},
    live::{event, receive, receive_reading, set, subscribe},
    wait::bounded,
};

#[tokio::test]
async fn a_reading_a_frame_and_a_command_travel_end_to_end() {
    let mut demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut live = subscribe(&hub).await;

    // Each runs as a separate process.
    let mut processes: Vec<_> = demo.processes().await.iter().map(|process| process.pid).collect();
    processes.sort_unstable();
    processes.dedup();
    assert_eq!(processes.len(), NAMES.len());

    // A reading.
    for module in ["temperature", "system"] {
        receive_reading(&mut live, module).await;
    }
    let stored = hub
        .readings(&SensorType::new("temperature").unwrap(), &ReadingFilter::default())
        .await
        .unwrap()
        .items;
    let value = stored[0].outcome.value().unwrap();
    assert!((10.0..35.0).contains(&value), "{value} degrees in a simulated room");

    // A frame, and a later one with different content.
    let mut frames = hub.frames(Some(&id("camera"))).await.unwrap();
    let first = bounded("a frame", frames.next()).await.unwrap().unwrap();
    let second = bounded("a frame", frames.next()).await.unwrap().unwrap();
    assert!(first.starts_with(&[0xFF, 0xD8]) && second.starts_with(&[0xFF, 0xD8]));
    assert_ne!(first, second);

    // A command.
    let command = set(&hub, &mut live, "led", &json!({"on": true, "brightness": 40})).await;
    assert_eq!((command.state, command.error), (CommandState::Succeeded, None));
    let lamp = hub.module(&id("led")).await.unwrap();
    let state = Value::from(lamp.state.unwrap());
    assert_eq!(state, json!({"on": true, "brightness": 40}));

    demo.stop().await;
}

#[tokio::test]
async fn a_new_data_folder_is_open_to_its_user_alone() {
    let demo = Demo::start().await;

    let mode = std::fs::metadata(demo.folder()).unwrap().permissions().mode();

    // The hub would warn of any other on the dashboard.
    assert_eq!(mode & 0o077, 0, "{mode:o}");
    demo.stop().await;
}

#[tokio::test]
async fn anonymous_clients_on_this_machine_can_deliver_readings_and_read_nothing() {
    let demo = Demo::start().await;
    let anonymous = HubClient::new(&demo.url).unwrap();
    let temperature = SensorType::new("temperature").unwrap();

    let reading: NewReading = serde_json::from_str(
        r#"{"module_id": "temp-sensor-01", "value": 21.4, "unit": "celsius", "timestamp": 1795472000.25}"#,
    )
    .unwrap();
    let stored = anonymous.record_new(&temperature, &[reading]).await.unwrap();
    let read = anonymous.newest(None).await;

    assert_eq!(stored.stored, 1);
    assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::Unauthenticated));
    let newest = demo.admin().await.newest(Some(&id("temp-sensor-01"))).await.unwrap();
    assert_eq!(newest[0].outcome.value(), Some(21.4));

    demo.stop().await;
}

#[tokio::test]
async fn a_new_live_client_first_receives_the_current_readings_and_modules() {
    let demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut early = subscribe(&hub).await;
    receive_reading(&mut early, "temperature").await;

    let mut late = subscribe(&hub).await;
    let (readings, modules) = receive(&mut late, |message| match message {
        LiveMessage::Recent { readings, modules, .. } => Some((readings.clone(), modules.clone())),
        _ => None,
    })
    .await;

    assert!(readings.iter().any(|reading| reading.module_id == id("temperature")));
    let ids: Vec<_> = modules.iter().map(|module| module.id.as_str()).collect();
    assert_eq!(ids, ["camera", "led", "system", "temperature"]);

    demo.stop().await;
}

#[tokio::test]
async fn a_command_with_invalid_parameters_is_refused() {
    let demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut live = subscribe(&hub).await;
    receive(&mut live, |message| match message {
        LiveMessage::Recent { modules, .. } => {
            modules.iter().any(|m| m.id == id("led") && m.manifest.is_some()).then_some(())
        }
        other => match event(other)? {
            Event::Module { module } => (module.id == id("led") && module.manifest.is_some()).then_some(()),
            _ => None,
        },
    })
    .await;

    let too_bright = NewCommand::new("set".parse().unwrap()).with_params(json!({"brightness": 400})).unwrap();
    let refused = hub.control(&id("led"), &too_bright).await;

    assert!(
        matches!(&refused, Err(UplinkError::Problem(problem)) if problem.kind == ErrorKind::Unprocessable),
        "{refused:?}"
    );

    demo.stop().await;
}
