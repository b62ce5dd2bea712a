use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use iotpi_core::{
    Action, ActionName, ActionSpec, Actuator, ActuatorModule, DeviceError, DeviceErrorKind, Runner,
    async_trait,
    model::{
        command::{CommandOutcome, LeasedCommand},
        error::ErrorKind,
    },
    module::RunError,
    testing::RecordingUplink,
};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{hub, problem};

/// A lamp that logs its actions.
#[derive(Clone, Default)]
struct Lamp {
    log: Arc<Mutex<Vec<String>>>,
    on: Arc<Mutex<bool>>,
}

impl Lamp {
    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

#[async_trait]
impl Actuator for Lamp {
    fn actions(&self) -> Vec<ActionSpec> {
        vec![ActionSpec::new(ActionName::new("set").unwrap(), "Switch it", json!({"type": "object"}))]
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        self.log.lock().unwrap().push(format!("{} {}", action.name, Value::Object(action.params.clone())));
        match action.params.get("on").and_then(Value::as_bool) {
            Some(on) => {
                *self.on.lock().unwrap() = on;
                Ok(json!({"on": on}))
            }
            None if action.params.contains_key("hang") => std::future::pending().await,
            None if action.params.contains_key("break") => Err(DeviceErrorKind::Bus.into()),
            None => Err(DeviceError::new(DeviceErrorKind::Refused, "say on or off")),
        }
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        *self.on.lock().unwrap() = false;
        self.log.lock().unwrap().push("made safe".to_owned());
        Ok(())
    }

    fn state(&self) -> Map<String, Value> {
        Map::from_iter([("on".to_owned(), json!(*self.on.lock().unwrap()))])
    }
}

fn params(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn start(hub: &RecordingUplink, lamp: &Lamp) -> (JoinHandle<Result<(), RunError>>, CancellationToken) {
    let stop = CancellationToken::new();
    (tokio::spawn(Runner::new(hub.clone()).run_until(ActuatorModule::new(lamp.clone()), stop.clone())), stop)
}

/// The reported outcomes, by command.
fn outcomes(hub: &RecordingUplink) -> Vec<(String, CommandOutcome)> {
    hub.reports().into_iter().filter_map(|r| r.command).map(|c| (c.id.into(), c.outcome)).collect()
}

#[tokio::test(start_paused = true)]
async fn a_command_runs_and_its_outcome_is_reported_with_the_new_state() {
    let (hub, lamp) = (hub(), Lamp::default());
    let (running, stop) = start(&hub, &lamp);

    let id = hub.command("set", params(json!({"on": true})));
    hub.until(|hub| outcomes(hub).len() == 1).await;
    let report = hub.reports().into_iter().find(|r| r.command.is_some()).unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();

    assert_eq!(report.state, Some(params(json!({"on": true}))));
    let command = report.command.unwrap();
    assert_eq!((command.id, command.lease.as_str()), (id, "lease-1"));
    assert_eq!(command.outcome, CommandOutcome::Succeeded { result: Some(json!({"on": true})) });
}

#[tokio::test(start_paused = true)]
async fn a_refused_action_is_rejected_and_a_device_error_is_a_failure() {
    let (hub, lamp) = (hub(), Lamp::default());
    let (running, stop) = start(&hub, &lamp);

    hub.command("set", Map::new());
    hub.command("set", params(json!({"break": true})));
    hub.until(|hub| outcomes(hub).len() == 2).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    let outcomes = outcomes(&hub);
    assert_eq!(outcomes[0].1, CommandOutcome::Rejected { error: "refused: say on or off".to_owned() });
    assert!(matches!(&outcomes[1].1, CommandOutcome::Failed { error } if error.starts_with("bus")));
}

#[tokio::test(start_paused = true)]
async fn a_module_that_stops_makes_its_device_safe_and_reports_it() {
    let (hub, lamp) = (hub(), Lamp::default());
    let (running, stop) = start(&hub, &lamp);
    hub.command("set", params(json!({"on": true})));
    hub.until(|hub| outcomes(hub).len() == 1).await;

    stop.cancel();
    running.await.unwrap().unwrap();

    assert_eq!(lamp.log().last().unwrap(), "made safe");
    assert_eq!(hub.reports().last().unwrap().state, Some(params(json!({"on": false}))));
}

#[tokio::test(start_paused = true)]
async fn an_action_that_hangs_is_aborted_at_the_stop_and_the_device_is_made_safe() {
    let (hub, lamp) = (hub(), Lamp::default());
    let (running, stop) = start(&hub, &lamp);
    hub.command("set", params(json!({"hang": true})));
    while lamp.log().is_empty() {
        tokio::task::yield_now().await;
    }

    stop.cancel();
    running.await.unwrap().unwrap();

    assert_eq!(lamp.log().last().unwrap(), "made safe");
    let [(_, CommandOutcome::Failed { error })] = &outcomes(&hub)[..] else { panic!("{:?}", outcomes(&hub)) };
    assert!(error.contains("stopped meanwhile"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_did_not_arrive_is_reported_again_without_running_the_action_again() {
    let (hub, lamp) = (hub(), Lamp::default());
    let (running, stop) = start(&hub, &lamp);
    hub.until(|hub| hub.reports().len() == 1).await;

    hub.command("set", params(json!({"on": true})));
    hub.until(|hub| hub.readings().is_empty()).await;
    hub.fail_next(problem(ErrorKind::Unavailable));
    hub.until(|hub| outcomes(hub).len() == 1).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    assert_eq!(lamp.log().iter().filter(|line| line.starts_with("set")).count(), 1);
}

fn leased(id: &str, lease: &str, expires_in: f64) -> LeasedCommand {
    let hub = hub();
    hub.command("set", params(json!({"on": true})));
    let mut command = serde_json::to_value(
        now_or_panic(async { iotpi_core::Uplink::claim(&hub, Duration::ZERO).await.unwrap() }).remove(0),
    )
    .unwrap();
    command["id"] = id.into();
    command["lease"] = lease.into();
    command["expires_in"] = expires_in.into();
    serde_json::from_value(command).unwrap()
}

/// Runs a future that never waits.
fn now_or_panic<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let waker = std::task::Waker::noop();
    match future.as_mut().poll(&mut std::task::Context::from_waker(waker)) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("the future is pending"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_leased_twice_runs_once() {
    let (hub, lamp) = (hub(), Lamp::default());
    let (running, stop) = start(&hub, &lamp);

    hub.lease(leased("c", "first", 60.0));
    hub.lease(leased("c", "second", 60.0));
    hub.until(|hub| outcomes(hub).len() == 2).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    assert_eq!(lamp.log().iter().filter(|line| line.starts_with("set")).count(), 1);
    let leases: Vec<_> = hub.reports().into_iter().filter_map(|r| r.command).map(|c| c.lease).collect();
    assert_eq!(leases, ["first", "second"]);
}

#[tokio::test(start_paused = true)]
async fn an_expired_command_does_not_run() {
    let (hub, lamp) = (hub(), Lamp::default());
    let (running, stop) = start(&hub, &lamp);

    hub.lease(leased("late", "lease", 0.0));
    hub.lease(leased("in-time", "lease", 60.0));
    hub.until(|hub| !outcomes(hub).is_empty()).await;
    stop.cancel();
    running.await.unwrap().unwrap();

    assert_eq!(outcomes(&hub)[0].0, "in-time");
    assert_eq!(lamp.log().iter().filter(|line| line.starts_with("set")).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn once_runs_the_queued_commands_and_returns() {
    let (hub, lamp) = (hub(), Lamp::default());
    hub.command("set", params(json!({"on": true})));

    Runner::new(hub.clone()).once(ActuatorModule::new(lamp.clone())).await.unwrap();

    assert_eq!(lamp.log(), ["set {\"on\":true}"]);
    assert_eq!(outcomes(&hub).len(), 1);
}
