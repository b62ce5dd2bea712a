//! Actions that last only while their issuer is present, with paused time.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use iotpi_core::{
    Action, ActionName, ActionSpec, Actuator, ActuatorModule, DeviceError, DeviceErrorKind, Runner,
    async_trait, model::command::CommandOutcome, module::RunError, testing::RecordingUplink,
};
use serde_json::{Map, Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::hub;

const LIMIT: Duration = Duration::from_secs(12);

/// A heater that records when it was made safe.
#[derive(Clone, Default)]
struct Heater {
    on: Arc<Mutex<bool>>,
    made_safe: Arc<Mutex<Vec<Instant>>>,
    /// How many of the next calls of `make_safe` fail.
    failures: Arc<Mutex<u32>>,
}

impl Heater {
    fn made_safe(&self) -> Vec<Instant> {
        self.made_safe.lock().unwrap().clone()
    }
}

#[async_trait]
impl Actuator for Heater {
    fn actions(&self) -> Vec<ActionSpec> {
        let spec =
            |name: &str| ActionSpec::new(ActionName::new(name).unwrap(), "", json!({"type": "object"}));
        vec![spec("heat").while_alive(LIMIT), spec("beep")]
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        *self.on.lock().unwrap() |= action.name.as_str() == "heat";
        match action.params.get("jam") {
            Some(_) => Err(DeviceErrorKind::Bus.into()),
            None => Ok(Value::Null),
        }
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        self.made_safe.lock().unwrap().push(Instant::now());
        let mut failures = self.failures.lock().unwrap();
        if *failures > 0 {
            *failures -= 1;
            return Err(DeviceError::new(DeviceErrorKind::Bus, "the relay does not answer"));
        }
        *self.on.lock().unwrap() = false;
        Ok(())
    }

    fn state(&self) -> Map<String, Value> {
        Map::from_iter([("on".to_owned(), json!(*self.on.lock().unwrap()))])
    }
}

struct Running {
    hub: RecordingUplink,
    heater: Heater,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
    /// When the heater was switched on.
    since: Instant,
}

/// Runs an action whose issuer counts as present for `alive_secs` after each request.
async fn run_action(action: &str, alive_secs: Option<f64>) -> Running {
    let (hub, heater, stop) = (hub(), Heater::default(), CancellationToken::new());
    hub.set_alive_secs(alive_secs);
    let running = Runner::new(hub.clone()).run_until(ActuatorModule::new(heater.clone()), stop.clone());
    let task = tokio::spawn(running);
    hub.command(action, Map::new());
    hub.until(|hub| hub.reports().iter().any(|report| report.command.is_some())).await;
    // Once at the start, because a previous process may have left it on.
    assert_eq!(std::mem::take(&mut *heater.made_safe.lock().unwrap()).len(), 1);
    Running { hub, heater, stop, task, since: Instant::now() }
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// The times at which it was made safe, in seconds after the start of the action.
    fn made_safe(&self) -> Vec<u64> {
        self.heater.made_safe().iter().map(|at| (*at - self.since).as_secs()).collect()
    }
}

async fn advance(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

#[tokio::test(start_paused = true)]
async fn an_action_lasts_while_its_issuer_is_present() {
    let running = run_action("heat", Some(LIMIT.as_secs_f64())).await;

    advance(3600).await;

    assert_eq!(running.made_safe(), [0; 0]);
    assert!(*running.heater.on.lock().unwrap());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_its_issuer_the_device_is_made_safe_once_and_reports_it() {
    let running = run_action("heat", Some(LIMIT.as_secs_f64())).await;
    advance(100).await;
    let hub = running.hub.clone();

    hub.set_alive_secs(Some(0.0));
    let before = hub.reports().len();
    hub.until(|hub| hub.reports()[before..].iter().any(|report| report.state.is_some())).await;
    advance(3600).await;

    let made_safe = running.made_safe();
    assert!(matches!(made_safe[..], [108..=112]), "{made_safe:?}");
    let states: Vec<_> = hub.reports()[before..].iter().filter_map(|report| report.state.clone()).collect();
    assert_eq!(states, [Map::from_iter([("on".to_owned(), json!(false))])]);
    // The issuer is not requested any more.
    assert!(hub.reports()[hub.reports().len() - 3..].iter().all(|report| report.watch.is_none()));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn without_the_hub_the_device_is_made_safe_once() {
    let running = run_action("heat", Some(LIMIT.as_secs_f64())).await;
    advance(100).await;

    running.hub.set_away(true);
    advance(3600).await;

    let made_safe = running.made_safe();
    assert!(matches!(made_safe[..], [108..=112]), "{made_safe:?}");
    running.hub.set_away(false);
    running.hub.until(|hub| hub.reports().last().unwrap().state.is_some()).await;
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn if_the_hub_does_not_know_the_issuer_the_action_lasts_for_the_limit() {
    let running = run_action("heat", None).await;

    advance(3600).await;

    let made_safe = running.made_safe();
    assert!(matches!(made_safe[..], [11 | 12]), "{made_safe:?}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_absence_within_the_limit_does_not_end_the_action() {
    let running = run_action("heat", Some(LIMIT.as_secs_f64())).await;

    for _ in 0..20 {
        running.hub.set_away(true);
        advance(5).await;
        running.hub.set_away(false);
        running.hub.set_alive_secs(Some(0.0));
        advance(2).await;
        running.hub.set_alive_secs(Some(LIMIT.as_secs_f64()));
        advance(5).await;
    }

    assert_eq!(running.made_safe(), [0; 0]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_without_a_limit_does_not_depend_on_its_issuer() {
    let running = run_action("beep", Some(0.0)).await;

    advance(3600).await;

    assert_eq!(running.made_safe(), [0; 0]);
    assert!(running.hub.reports().iter().all(|report| report.watch.is_none()));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_command_of_the_same_action_replaces_the_watched_issuer() {
    let running = run_action("heat", Some(LIMIT.as_secs_f64())).await;

    let second = running.hub.command("heat", Map::new());
    running
        .hub
        .until(|hub| hub.reports().iter().any(|r| r.command.as_ref().is_some_and(|c| c.id == second)))
        .await;
    let before = running.hub.reports().len();
    advance(60).await;

    let reports = running.hub.reports();
    let watched: Vec<_> = reports[before..].iter().filter_map(|report| report.watch.clone()).collect();
    assert!(watched.len() > 5 && watched.iter().all(|id| *id == second), "{watched:?}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn making_a_device_safe_is_repeated_after_an_error() {
    let running = run_action("heat", Some(0.0)).await;
    *running.heater.failures.lock().unwrap() = 3;

    advance(60).await;

    assert_eq!(running.made_safe().len(), 4);
    assert!(!*running.heater.on.lock().unwrap());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_that_failed_depends_on_its_issuer_too() {
    let running = run_action("beep", Some(0.0)).await;

    let params = json!({"jam": true}).as_object().unwrap().clone();
    running.hub.command("heat", params);
    advance(60).await;

    assert_eq!(running.made_safe().len(), 1);
    assert!(!*running.heater.on.lock().unwrap());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn once_rejects_an_action_that_depends_on_its_issuer() {
    let (hub, heater) = (hub(), Heater::default());
    hub.command("heat", Map::new());

    Runner::new(hub.clone()).once(ActuatorModule::new(heater.clone())).await.unwrap();

    let outcome = hub.reports().into_iter().find_map(|report| report.command).unwrap().outcome;
    assert!(matches!(outcome, CommandOutcome::Rejected { .. }), "{outcome:?}");
    assert!(!*heater.on.lock().unwrap());
}
