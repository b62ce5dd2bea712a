//! Readings, frames and commands pass from process to process.

use iotpi_core::{
    CommandState, ErrorKind, Event, HubClient, LiveMessage, NewCommand, NewReading, ReadingFilter,
    SensorType, UplinkError,
};

use crate::demo::{Demo, NAMES, event, id, live, until};

#[tokio::test]
async fn a_reading_a_frame_and_a_command_travel_end_to_end() {
    let mut demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut live = live(&hub).await;

    // Each is a process of its own.
    let mut processes: Vec<_> = demo.processes().await.iter().map(|process| process.pid).collect();
    processes.sort_unstable();
    processes.dedup();
    assert_eq!(processes.len(), NAMES.len());

    // A reading.
    for module in ["temperature", "system"] {
        until(&mut live, |message| match event(message)? {
            Event::Reading { reading } if reading.module_id.as_str() == module => reading.outcome.value(),
            _ => None,
        })
        .await;
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
    let first = frames.next().await.unwrap().unwrap();
    let second = frames.next().await.unwrap().unwrap();
    assert!(first.starts_with(&[0xFF, 0xD8]) && second.starts_with(&[0xFF, 0xD8]));
    assert_ne!(first, second);

    // A command.
    let params = serde_json::from_str(r#"{"on": true, "brightness": 40}"#).unwrap();
    let command = hub.control(&id("led"), &NewCommand::new("set".parse().unwrap(), params)).await.unwrap();
    let done = until(&mut live, |message| match event(message)? {
        Event::Command { command: known } if known.id == command.id && known.state.is_final() => {
            Some(known.clone())
        }
        _ => None,
    })
    .await;
    assert_eq!((done.state, done.error), (CommandState::Succeeded, None));
    let lamp = hub.module(&id("led")).await.unwrap();
    let state = serde_json::Value::from(lamp.state.unwrap());
    assert_eq!(state, serde_json::json!({"on": true, "brightness": 40}));

    demo.end().await;
}

#[tokio::test]
async fn anybody_on_this_machine_may_deliver_and_nothing_else() {
    let demo = Demo::start().await;
    let anybody = HubClient::new(&demo.url).unwrap();
    let temperature = SensorType::new("temperature").unwrap();

    let reading: NewReading = serde_json::from_str(
        r#"{"module_id": "temp-sensor-01", "value": 21.4, "unit": "celsius", "timestamp": 1795472000.25}"#,
    )
    .unwrap();
    let stored = anybody.record_new(&temperature, &[reading]).await.unwrap();
    let read = anybody.newest(None).await;

    assert_eq!(stored.stored, 1);
    assert_eq!(read.map_err(|error| error.kind()), Err(ErrorKind::Unauthenticated));
    let kept = demo.admin().await.newest(Some(&id("temp-sensor-01"))).await.unwrap();
    assert_eq!(kept[0].outcome.value(), Some(21.4));

    demo.end().await;
}

#[tokio::test]
async fn who_comes_later_is_shown_the_present_first() {
    let demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut early = live(&hub).await;
    until(&mut early, |message| match event(message)? {
        Event::Reading { reading } if reading.module_id == id("temperature") => Some(()),
        _ => None,
    })
    .await;

    let mut late = live(&hub).await;
    let (readings, modules) = until(&mut late, |message| match message {
        LiveMessage::Recent { readings, modules, .. } => Some((readings.clone(), modules.clone())),
        _ => None,
    })
    .await;

    assert!(readings.iter().any(|reading| reading.module_id == id("temperature")));
    let known: Vec<_> = modules.iter().map(|module| module.id.as_str()).collect();
    assert_eq!(known, ["camera", "led", "system", "temperature"]);

    demo.end().await;
}

#[tokio::test]
async fn a_command_the_lamp_does_not_offer_is_refused() {
    let demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut live = live(&hub).await;
    until(&mut live, |message| match message {
        LiveMessage::Recent { modules, .. } => {
            modules.iter().any(|m| m.id == id("led") && m.manifest.is_some()).then_some(())
        }
        other => match event(other)? {
            Event::Module { module } => (module.id == id("led") && module.manifest.is_some()).then_some(()),
            _ => None,
        },
    })
    .await;

    let params = serde_json::from_str(r#"{"brightness": 400}"#).unwrap();
    let refused = hub.control(&id("led"), &NewCommand::new("set".parse().unwrap(), params)).await;

    assert!(
        matches!(&refused, Err(UplinkError::Problem(problem)) if problem.kind == ErrorKind::Unprocessable),
        "{refused:?}"
    );

    demo.end().await;
}
