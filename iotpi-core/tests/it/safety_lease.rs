//! What lasts only while somebody watches, on a paused clock: time passes only while everybody waits.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use iotpi_core::{
    Action, ActionName, ActionSpec, Actuator, ActuatorModule, CommandOutcome, DeviceError, DeviceErrorKind,
    RunError, Runner, async_trait, testing::RecordingUplink,
};
use serde_json::{Map, Value, json};
use tokio::{task::JoinHandle, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::hub;

const LIMIT: Duration = Duration::from_secs(12);

/// A heater that remembers when it was made safe.
#[derive(Clone, Default)]
struct Heater {
    on: Arc<Mutex<bool>>,
    made_safe: Arc<Mutex<Vec<Instant>>>,
    /// So many times it cannot be made safe.
    stuck: Arc<Mutex<u32>>,
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
        let mut stuck = self.stuck.lock().unwrap();
        if *stuck > 0 {
            *stuck -= 1;
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

/// A heater that was just told to do that, by somebody who counts as there for so long at each question.
async fn told_to(action: &str, alive_secs: Option<f64>) -> Running {
    let (hub, heater, stop) = (hub(), Heater::default(), CancellationToken::new());
    hub.set_alive_secs(alive_secs);
    let running = Runner::new(hub.clone()).run_until(ActuatorModule::new(heater.clone()), stop.clone());
    let task = tokio::spawn(running);
    hub.command(action, Map::new());
    hub.until(|hub| hub.reports().iter().any(|report| report.command.is_some())).await;
    // Once at the start, for the process before.
    assert_eq!(std::mem::take(&mut *heater.made_safe.lock().unwrap()).len(), 1);
    Running { hub, heater, stop, task, since: Instant::now() }
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap().unwrap();
    }

    /// Seconds from switching on to each time it was made safe.
    fn made_safe(&self) -> Vec<u64> {
        self.heater.made_safe().iter().map(|at| (*at - self.since).as_secs()).collect()
    }
}

async fn let_pass(secs: u64) {
    tokio::time::sleep(Duration::from_secs(secs)).await;
}

#[tokio::test(start_paused = true)]
async fn it_lasts_as_long_as_its_issuer_is_there() {
    let running = told_to("heat", Some(LIMIT.as_secs_f64())).await;

    let_pass(3600).await;

    assert_eq!(running.made_safe(), [0; 0]);
    assert!(*running.heater.on.lock().unwrap());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_issuer_is_gone_it_is_made_safe_once_and_said() {
    let running = told_to("heat", Some(LIMIT.as_secs_f64())).await;
    let_pass(100).await;
    let hub = running.hub.clone();

    hub.set_alive_secs(Some(0.0));
    let before = hub.reports().len();
    hub.until(|hub| hub.reports()[before..].iter().any(|report| report.state.is_some())).await;
    let_pass(3600).await;

    let made_safe = running.made_safe();
    assert!(matches!(made_safe[..], [108..=112]), "{made_safe:?}");
    let states: Vec<_> = hub.reports()[before..].iter().filter_map(|report| report.state.clone()).collect();
    assert_eq!(states, [Map::from_iter([("on".to_owned(), json!(false))])]);
    // And nothing is asked any more.
    assert!(hub.reports()[hub.reports().len() - 3..].iter().all(|report| report.watch.is_none()));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_hub_is_gone_it_is_made_safe_once() {
    let running = told_to("heat", Some(LIMIT.as_secs_f64())).await;
    let_pass(100).await;

    running.hub.set_away(true);
    let_pass(3600).await;

    let made_safe = running.made_safe();
    assert!(matches!(made_safe[..], [108..=112]), "{made_safe:?}");
    running.hub.set_away(false);
    running.hub.until(|hub| hub.reports().last().unwrap().state.is_some()).await;
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_hub_that_knows_nothing_of_the_issuer_gives_no_more_than_the_limit() {
    let running = told_to("heat", None).await;

    let_pass(3600).await;

    let made_safe = running.made_safe();
    assert!(matches!(made_safe[..], [11 | 12]), "{made_safe:?}");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn an_issuer_or_a_hub_that_comes_back_within_the_limit_was_never_gone() {
    let running = told_to("heat", Some(LIMIT.as_secs_f64())).await;

    for _ in 0..20 {
        running.hub.set_away(true);
        let_pass(5).await;
        running.hub.set_away(false);
        running.hub.set_alive_secs(Some(0.0));
        let_pass(2).await;
        running.hub.set_alive_secs(Some(LIMIT.as_secs_f64()));
        let_pass(5).await;
    }

    assert_eq!(running.made_safe(), [0; 0]);
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_may_last_is_not_watched() {
    let running = told_to("beep", Some(0.0)).await;

    let_pass(3600).await;

    assert_eq!(running.made_safe(), [0; 0]);
    assert!(running.hub.reports().iter().all(|report| report.watch.is_none()));
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_newer_command_of_the_action_is_watched_in_place_of_the_older() {
    let running = told_to("heat", Some(LIMIT.as_secs_f64())).await;

    let second = running.hub.command("heat", Map::new());
    running
        .hub
        .until(|hub| hub.reports().iter().any(|r| r.command.as_ref().is_some_and(|c| c.id == second)))
        .await;
    let before = running.hub.reports().len();
    let_pass(60).await;

    let reports = running.hub.reports();
    let watched: Vec<_> = reports[before..].iter().filter_map(|report| report.watch.clone()).collect();
    assert!(watched.len() > 5 && watched.iter().all(|id| *id == second), "{watched:?}");
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_cannot_be_made_safe_is_tried_again() {
    let running = told_to("heat", Some(0.0)).await;
    *running.heater.stuck.lock().unwrap() = 3;

    let_pass(60).await;

    assert_eq!(running.made_safe().len(), 4);
    assert!(!*running.heater.on.lock().unwrap());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_failed_half_way_is_watched_like_what_was_done() {
    let running = told_to("beep", Some(0.0)).await;

    let params = json!({"jam": true}).as_object().unwrap().clone();
    running.hub.command("heat", params);
    let_pass(60).await;

    assert_eq!(running.made_safe().len(), 1);
    assert!(!*running.heater.on.lock().unwrap());
    running.end().await;
}

#[tokio::test(start_paused = true)]
async fn a_module_that_runs_once_does_not_begin_what_it_cannot_watch() {
    let (hub, heater) = (hub(), Heater::default());
    hub.command("heat", Map::new());

    Runner::new(hub.clone()).once(ActuatorModule::new(heater.clone())).await.unwrap();

    let outcome = hub.reports().into_iter().find_map(|report| report.command).unwrap().outcome;
    assert!(matches!(outcome, CommandOutcome::Rejected { .. }), "{outcome:?}");
    assert!(!*heater.on.lock().unwrap());
}
