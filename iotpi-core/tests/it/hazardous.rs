//! Hazardous actions: they begin only after the hub accepted `started`, never run twice, and report an
//! unknown outcome.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use iotpi_core::{
    Action, ActionName, ActionSpec, Actuator, ActuatorModule, DeviceError, DeviceErrorKind, Frame, Manifest,
    Module, ModuleId, Reading, Uplink, UplinkError, async_trait,
    model::{
        camera::FrameReceipt,
        command::{CommandOutcome, LeasedCommand, StatusReceipt, StatusReport},
        error::ErrorKind,
        gap::NewGap,
        manifest::ModuleInfo,
        reading::{NewReading, Stored},
    },
    testing::RecordingUplink,
};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{hub, problem};

/// A door that logs its actions. `open` is hazardous, `ring` is not. `secs` sets the duration of an action.
#[derive(Clone, Default)]
struct Door {
    log: Arc<Mutex<Vec<String>>>,
}

impl Door {
    fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

#[async_trait]
impl Actuator for Door {
    fn actions(&self) -> Vec<ActionSpec> {
        let spec =
            |name: &str| ActionSpec::new(ActionName::new(name).unwrap(), "", json!({"type": "object"}));
        vec![spec("open").hazardous(), spec("ring")]
    }

    async fn perform(&mut self, action: &Action) -> Result<Value, DeviceError> {
        self.log.lock().unwrap().push(action.name.to_string());
        let secs = action.params.get("secs").and_then(Value::as_f64).unwrap_or(0.0);
        tokio::time::sleep(Duration::from_secs_f64(secs)).await;
        match action.params.get("jam") {
            Some(_) => Err(DeviceError::new(DeviceErrorKind::Other, "jammed")),
            None => Ok(json!("done")),
        }
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        Ok(())
    }
}

/// The response of the hub to `started`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum StartedResponse {
    Accepted,
    Refused(ErrorKind),
    Unreachable,
    Delayed(Duration),
}

/// An uplink that returns the commands of a test in one claim, and responds to `started` as the test sets.
struct TestUplink {
    hub: RecordingUplink,
    door: Door,
    response: StartedResponse,
    commands: Mutex<Vec<LeasedCommand>>,
}

#[async_trait]
impl Uplink for TestUplink {
    fn module_id(&self) -> &ModuleId {
        self.hub.module_id()
    }

    async fn register(&self, manifest: &Manifest) -> Result<ModuleInfo, UplinkError> {
        self.hub.register(manifest).await
    }

    async fn record(&self, readings: Vec<Reading>) -> Result<(), UplinkError> {
        self.hub.record(readings).await
    }

    async fn deliver(&self, readings: Vec<NewReading>) -> Result<Stored, UplinkError> {
        self.hub.deliver(readings).await
    }

    async fn report_gap(&self, gap: NewGap) -> Result<(), UplinkError> {
        self.hub.report_gap(gap).await
    }

    async fn publish(&self, frame: Frame) -> Result<FrameReceipt, UplinkError> {
        self.hub.publish(frame).await
    }

    async fn claim(&self, wait: Duration) -> Result<Vec<LeasedCommand>, UplinkError> {
        let commands = std::mem::take(&mut *self.commands.lock().unwrap());
        if commands.is_empty() { self.hub.claim(wait).await } else { Ok(commands) }
    }

    async fn report(&self, report: StatusReport) -> Result<StatusReceipt, UplinkError> {
        if report.command.as_ref().is_some_and(|command| command.outcome == CommandOutcome::Started) {
            // Before the response of the hub, no action has run.
            let opened = self.door.log().iter().filter(|line| *line == "open").count();
            self.door.log.lock().unwrap().push(format!("started after {opened}"));
            match self.response {
                StartedResponse::Accepted => {}
                StartedResponse::Refused(kind) => return Err(UplinkError::Problem(Box::new(problem(kind)))),
                StartedResponse::Unreachable => {
                    return Err(UplinkError::Unreachable { url: "test".to_owned(), source: "away".into() });
                }
                StartedResponse::Delayed(time) => tokio::time::sleep(time).await,
            }
        }
        self.hub.report(report).await
    }
}

/// A leased command.
fn leased(id: &str, action: &str, params: Value) -> LeasedCommand {
    let command = json!({"id": id, "module_id": "attic", "action": action, "params": params, "state": "leased",
        "issued_by": "anna", "created_at": 1_795_473_000, "expires_at": 1_795_473_060, "attempts": 1,
        "lease": format!("lease-{id}"), "lease_secs": 30.0, "expires_in": 60.0});
    serde_json::from_value(command).unwrap()
}

struct Running {
    hub: RecordingUplink,
    door: Door,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Runs a door on these commands.
fn start(response: StartedResponse, command_log: Option<&Path>, commands: Vec<LeasedCommand>) -> Running {
    let (hub, door, stop) = (hub(), Door::default(), CancellationToken::new());
    let uplink =
        TestUplink { hub: hub.clone(), door: door.clone(), response, commands: Mutex::new(commands) };
    let mut module = ActuatorModule::new(door.clone());
    if let Some(path) = command_log {
        module = module.with_command_log(path);
    }
    let running = Box::new(module).run(Arc::new(uplink), stop.clone());
    let task = tokio::spawn(async move { running.await.unwrap() });
    Running { hub, door, stop, task }
}

impl Running {
    /// Waits for this many outcomes, then stops. Returns the outcome of each command, and the log of the
    /// door.
    async fn outcomes(self, count: usize) -> (Vec<(String, CommandOutcome)>, Vec<String>) {
        self.hub.until(|hub| outcomes(hub).len() >= count).await;
        self.stop.cancel();
        self.task.await.unwrap();
        (outcomes(&self.hub), self.door.log())
    }

    /// Aborts the module, as in a crash.
    async fn crash(self) -> Vec<String> {
        self.task.abort();
        let _ = self.task.await;
        self.door.log()
    }
}

fn outcomes(hub: &RecordingUplink) -> Vec<(String, CommandOutcome)> {
    let reports = hub.reports().into_iter().filter_map(|report| report.command);
    reports
        .map(|c| (c.id.into(), c.outcome))
        .filter(|(_, outcome)| *outcome != CommandOutcome::Started)
        .collect()
}

fn done() -> CommandOutcome {
    CommandOutcome::Succeeded { result: Some(json!("done")) }
}

#[tokio::test(start_paused = true)]
async fn only_a_hazardous_action_waits_until_the_hub_accepted_its_start() {
    let commands = vec![leased("a", "open", json!({})), leased("b", "ring", json!({}))];

    let (outcomes, log) = start(StartedResponse::Accepted, None, commands).outcomes(2).await;

    assert_eq!(outcomes, [("a".to_owned(), done()), ("b".to_owned(), done())]);
    assert_eq!(log, ["started after 0", "open", "ring"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_that_the_hub_marks_hazardous_is_treated_as_hazardous() {
    let mut command = leased("a", "ring", json!({}));
    command.hazardous = true;

    let (_, log) = start(StartedResponse::Accepted, None, vec![command]).outcomes(1).await;

    assert_eq!(log, ["started after 0", "ring"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_without_a_valid_claim_does_not_run() {
    for kind in [ErrorKind::Conflict, ErrorKind::NotFound] {
        let commands = vec![leased("a", "open", json!({})), leased("b", "ring", json!({}))];

        let (outcomes, log) = start(StartedResponse::Refused(kind), None, commands).outcomes(1).await;

        assert_eq!(
            (outcomes, log),
            (vec![("b".to_owned(), done())], vec!["started after 0".to_owned(), "ring".to_owned()])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_hazardous_command_does_not_run_without_a_timely_response() {
    for response in [
        StartedResponse::Unreachable,
        StartedResponse::Refused(ErrorKind::Unavailable),
        StartedResponse::Refused(ErrorKind::InvalidArgument),
        StartedResponse::Delayed(Duration::from_secs(30)),
    ] {
        let (outcomes, log) = start(response, None, vec![leased("a", "open", json!({}))]).outcomes(1).await;

        let [(_, CommandOutcome::Failed { error })] = &outcomes[..] else {
            panic!("{response:?}: {outcomes:?}")
        };
        assert!(error.starts_with("not started: "), "{error}");
        assert_eq!(log, ["started after 0"], "{response:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hazardous_command_does_not_run_if_the_command_log_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let command_log = folder.path().join("file/commands.json");

    let (outcomes, log) =
        start(StartedResponse::Accepted, Some(&command_log), vec![leased("a", "open", json!({}))])
            .outcomes(1)
            .await;

    assert!(
        matches!(&outcomes[0].1, CommandOutcome::Failed { error } if error.contains("command log")),
        "{outcomes:?}"
    );
    assert_eq!(log, ["started after 0"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_during_a_command_its_outcome_is_unknown_and_it_does_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let command_log = folder.path().join("commands.json");
    let crashing =
        start(StartedResponse::Accepted, Some(&command_log), vec![leased("a", "open", json!({"secs": 20}))]);
    while !crashing.door.log().contains(&"open".to_owned()) {
        tokio::task::yield_now().await;
    }
    crashing.crash().await;

    // A hub with a restored database leases the command again.
    let again = start(StartedResponse::Accepted, Some(&command_log), vec![leased("a", "open", json!({}))]);
    let (outcomes, log) = again.outcomes(2).await;

    for (id, outcome) in outcomes {
        assert_eq!(id, "a");
        assert!(matches!(&outcome, CommandOutcome::UnknownOutcome { .. }), "{outcome:?}");
    }
    assert_eq!(log, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn an_outcome_that_a_crash_left_unreported_is_reported_after_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let command_log = folder.path().join("commands.json");
    // The hub becomes unreachable while the action runs.
    let crashing = start(
        StartedResponse::Accepted,
        Some(&command_log),
        vec![leased("a", "open", json!({"secs": 5, "jam": 1}))],
    );
    while !crashing.door.log().contains(&"open".to_owned()) {
        tokio::task::yield_now().await;
    }
    crashing.hub.set_away(true);
    tokio::time::sleep(Duration::from_secs(10)).await;
    crashing.crash().await;

    let (outcomes, log) = start(StartedResponse::Accepted, Some(&command_log), Vec::new()).outcomes(1).await;

    assert_eq!(outcomes, [("a".to_owned(), CommandOutcome::Failed { error: "device: jammed".to_owned() })]);
    assert_eq!(log, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_command_that_the_shutdown_aborts_has_an_unknown_outcome() {
    let running = start(StartedResponse::Accepted, None, vec![leased("a", "open", json!({"secs": 20}))]);
    while !running.door.log().contains(&"open".to_owned()) {
        tokio::task::yield_now().await;
    }

    running.stop.cancel();
    running.task.await.unwrap();

    let outcomes = outcomes(&running.hub);
    assert!(matches!(&outcomes[..], [(_, CommandOutcome::UnknownOutcome { .. })]), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn a_command_whose_lifetime_or_lease_has_ended_does_not_run() {
    // Three commands in one claim: the second one expires while the first one runs.
    let mut short = leased("b", "ring", json!({}));
    short.expires_in = 5.0;
    let commands = vec![leased("a", "ring", json!({"secs": 10})), short, leased("c", "ring", json!({}))];
    let (outcomes, _) = start(StartedResponse::Accepted, None, commands).outcomes(2).await;
    assert_eq!(outcomes.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "c"]);

    // The second one has not expired, but its lease has ended: the hub leases it again.
    let commands = vec![leased("a", "ring", json!({"secs": 30})), leased("b", "ring", json!({}))];
    let (outcomes, log) = start(StartedResponse::Accepted, None, commands).outcomes(1).await;
    assert_eq!((outcomes.len(), log), (1, vec!["ring".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn once_reports_the_start_of_a_hazardous_action() {
    let (hub, door) = (hub(), Door::default());
    hub.command("open", Map::new());

    Box::new(ActuatorModule::new(door.clone())).run_once(Arc::new(hub.clone())).await.unwrap();

    let reported: Vec<_> = hub.reports().into_iter().filter_map(|r| r.command).map(|c| c.outcome).collect();
    assert_eq!(reported, [CommandOutcome::Started, done()]);
}
