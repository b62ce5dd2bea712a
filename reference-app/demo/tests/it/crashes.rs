//! Processes crash and hang in any order; the others keep working.

use iotpi_core::{
    CommandState, Event, Health, HubClient, LiveMessage, LiveStream, NewCommand, Reading, ReadingFilter,
    Timestamp,
};
use rustix::process::Signal;

use crate::demo::{Demo, event, id, live, until};

/// The next reading of a module.
async fn reading_of(live: &mut LiveStream, module: &str) -> Reading {
    until(live, |message| match event(message)? {
        Event::Reading { reading } if reading.module_id == id(module) => Some(reading.clone()),
        _ => None,
    })
    .await
}

/// Waits until a module has this health.
async fn health_of(live: &mut LiveStream, module: &str, health: Health) {
    until(live, |message| {
        let known = match message {
            LiveMessage::Recent { modules, .. } => modules.clone(),
            other => match event(other)? {
                Event::Module { module } => vec![module.clone()],
                _ => Vec::new(),
            },
        };
        known.iter().any(|m| m.id == id(module) && m.health == health).then_some(())
    })
    .await;
}

async fn lamp_obeys(hub: &HubClient) {
    let mut live = live(hub).await;
    let params = serde_json::from_str(r#"{"on": true}"#).unwrap();
    let command = hub.control(&id("led"), &NewCommand::new("set".parse().unwrap(), params)).await.unwrap();
    let ended = until(&mut live, |message| match event(message)? {
        Event::Command { command: known } if known.id == command.id && known.state.is_final() => {
            Some(known.state)
        }
        _ => None,
    })
    .await;
    assert_eq!(ended, CommandState::Succeeded);
}

#[tokio::test]
async fn a_module_that_hangs_is_late_and_no_other_is() {
    let mut demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut live = live(&hub).await;
    reading_of(&mut live, "temperature").await;
    let hanging = demo.process("temperature").await;

    hanging.signal(Signal::STOP);
    health_of(&mut live, "temperature", Health::Late).await;
    health_of(&mut live, "temperature", Health::Offline).await;

    for module in hub.modules().await.unwrap() {
        let expected = if module.id == id("temperature") { Health::Offline } else { Health::Online };
        assert_eq!(module.health, expected, "{}", module.id);
    }
    lamp_obeys(&hub).await;

    hanging.signal(Signal::CONT);
    health_of(&mut live, "temperature", Health::Online).await;

    demo.end().await;
}

#[tokio::test]
async fn a_killed_module_comes_back_as_another_process() {
    let mut demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut live = live(&hub).await;
    reading_of(&mut live, "temperature").await;
    let killed = demo.process("temperature").await;
    let others = [demo.process("hub").await, demo.process("led").await, demo.process("camera").await];

    killed.signal(Signal::KILL);
    killed.ended().await;
    demo.process_after("temperature", Some(&killed)).await;
    reading_of(&mut live, "temperature").await;

    // The processes are the same as before: a signal to their ids succeeds.
    for other in &others {
        other.signal(Signal::CONT);
    }
    lamp_obeys(&hub).await;

    demo.end().await;
}

#[tokio::test]
async fn a_killed_hub_comes_back_with_everything_it_acknowledged() {
    let mut demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut before = live(&hub).await;
    reading_of(&mut before, "temperature").await;
    let mine: Vec<Reading> = (0..100_u32)
        .map(|n| {
            let at = Timestamp::parse("2026-01-01T00:00:00Z")
                .unwrap()
                .plus(std::time::Duration::from_secs(n.into()));
            let sample = iotpi_core::Sample::new(iotpi_core::Quantity::Humidity, f64::from(n));
            Reading::new(id("mine"), sample, at)
        })
        .collect();
    for reading in &mine {
        hub.record(std::slice::from_ref(reading)).await.unwrap();
    }

    let killed = demo.process("hub").await;
    killed.signal(Signal::KILL);
    killed.ended().await;
    demo.process_after("hub", Some(&killed)).await;

    let mut after = live(&hub).await;
    reading_of(&mut after, "temperature").await;
    reading_of(&mut after, "system").await;
    let filter = ReadingFilter {
        module_id: Some(id("mine")),
        limit: Some(1000),
        ascending: true,
        ..ReadingFilter::default()
    };
    let kept = hub.readings(&"humidity".parse().unwrap(), &filter).await.unwrap().items;
    let values = |readings: &[Reading]| readings.iter().map(|r| r.outcome.value()).collect::<Vec<_>>();
    assert_eq!(values(&kept), values(&mine));
    for module in ["system", "temperature", "led", "camera"] {
        health_of(&mut live(&hub).await, module, Health::Online).await;
    }
    lamp_obeys(&hub).await;
    let mut frames = hub.frames(Some(&id("camera"))).await.unwrap();
    assert!(frames.next().await.unwrap().is_some());

    demo.end().await;
}
