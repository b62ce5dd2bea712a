//! Processes crash or hang; the others keep working.

use iotpi_core::{
    HubClient, Reading, ReadingFilter, Timestamp,
    client::LiveStream,
    model::{
        command::CommandState,
        event::{Event, LiveMessage},
        manifest::Health,
    },
};
use rustix::process::Signal;
use serde_json::json;

use crate::support::{
    demo::{Demo, id},
    live::{event, receive, receive_reading, set, subscribe},
    wait::bounded,
};

/// Receives messages until a module has this health.
async fn receive_health(live: &mut LiveStream, module: &str, health: Health) {
    receive(live, |message| {
        let modules = match message {
            LiveMessage::Recent { modules, .. } => modules.clone(),
            other => match event(other)? {
                Event::Module { module } => vec![module.clone()],
                _ => Vec::new(),
            },
        };
        modules.iter().any(|m| m.id == id(module) && m.health == health).then_some(())
    })
    .await;
}

async fn assert_the_lamp_runs_a_command(hub: &HubClient) {
    let mut live = subscribe(hub).await;

    let command = set(hub, &mut live, "led", &json!({"on": true})).await;

    assert_eq!(command.state, CommandState::Succeeded);
}

#[tokio::test]
async fn only_the_module_that_hangs_goes_offline() {
    let mut demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut live = subscribe(&hub).await;
    receive_reading(&mut live, "temperature").await;
    let stopped = demo.process("temperature").await;

    stopped.signal(Signal::STOP);
    receive_health(&mut live, "temperature", Health::Late).await;
    receive_health(&mut live, "temperature", Health::Offline).await;

    for module in hub.modules().await.unwrap() {
        let expected = if module.id == id("temperature") { Health::Offline } else { Health::Online };
        assert_eq!(module.health, expected, "{}", module.id);
    }
    assert_the_lamp_runs_a_command(&hub).await;

    stopped.signal(Signal::CONT);
    receive_health(&mut live, "temperature", Health::Online).await;

    demo.stop().await;
}

#[tokio::test]
async fn a_killed_module_is_restarted_and_the_other_processes_keep_running() {
    let mut demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut live = subscribe(&hub).await;
    receive_reading(&mut live, "temperature").await;
    let killed = demo.process("temperature").await;
    let others = [demo.process("hub").await, demo.process("led").await, demo.process("camera").await];

    killed.signal(Signal::KILL);
    killed.wait_for_exit().await;
    demo.process_after("temperature", Some(&killed)).await;
    receive_reading(&mut live, "temperature").await;

    // The processes are the same as before: a signal to their ids succeeds.
    for other in &others {
        other.signal(Signal::CONT);
    }
    assert_the_lamp_runs_a_command(&hub).await;

    demo.stop().await;
}

#[tokio::test]
async fn a_killed_hub_is_restarted_with_every_reading_it_acknowledged() {
    let mut demo = Demo::start().await;
    let hub = demo.admin().await;
    let mut before = subscribe(&hub).await;
    receive_reading(&mut before, "temperature").await;
    let sent: Vec<Reading> = (0..100_u32)
        .map(|n| {
            let at = Timestamp::parse("2026-01-01T00:00:00Z")
                .unwrap()
                .plus(std::time::Duration::from_secs(n.into()));
            let sample = iotpi_core::Sample::new(iotpi_core::Quantity::Humidity, f64::from(n));
            Reading::new(id("attic"), sample, at)
        })
        .collect();
    for reading in &sent {
        hub.record(std::slice::from_ref(reading)).await.unwrap();
    }

    let killed = demo.process("hub").await;
    killed.signal(Signal::KILL);
    killed.wait_for_exit().await;
    demo.process_after("hub", Some(&killed)).await;

    let mut after = subscribe(&hub).await;
    receive_reading(&mut after, "temperature").await;
    receive_reading(&mut after, "system").await;
    let filter = ReadingFilter::of(id("attic")).limit(1000).ascending();
    let stored = hub.readings(&"humidity".parse().unwrap(), &filter).await.unwrap().items;
    let values = |readings: &[Reading]| readings.iter().map(|r| r.outcome.value()).collect::<Vec<_>>();
    assert_eq!(values(&stored), values(&sent));
    for module in ["system", "temperature", "led", "camera"] {
        receive_health(&mut subscribe(&hub).await, module, Health::Online).await;
    }
    assert_the_lamp_runs_a_command(&hub).await;
    let mut frames = hub.frames(Some(&id("camera"))).await.unwrap();
    assert!(bounded("a frame", frames.next()).await.unwrap().is_some());

    demo.stop().await;
}
