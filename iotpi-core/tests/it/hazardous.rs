//! Hazardous actions: begun only when the hub took it, never twice, and honest about what is not known.

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use iotpi_core::{
    Action, ActionName, ActionSpec, Actuator, ActuatorModule, CommandOutcome, DeviceError, DeviceErrorKind,
    ErrorKind, Frame, FrameReceipt, LeasedCommand, Manifest, Module, ModuleId, ModuleInfo, NewGap,
    NewReading, Reading, StatusReceipt, StatusReport, Stored, Uplink, UplinkError, async_trait,
    testing::RecordingUplink,
};
use serde_json::{Map, Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{hub, problem};

/// A door that writes down what happens to it. `open` is hazardous, `ring` is not; either takes as long as it is told to.
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

/// What the hub does when it hears `started`.
#[derive(Debug, Clone, Copy, PartialEq)]
enum AtStart {
    Takes,
    Refuses(ErrorKind),
    IsAway,
    AnswersAfter(Duration),
}

/// A line to a hub that hands over what it is told to, all at once, and hears `started` as the test says.
struct Line {
    hub: RecordingUplink,
    door: Door,
    at_start: AtStart,
    handed_over: Mutex<Vec<LeasedCommand>>,
}

#[async_trait]
impl Uplink for Line {
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
        let commands = std::mem::take(&mut *self.handed_over.lock().unwrap());
        if commands.is_empty() { self.hub.claim(wait).await } else { Ok(commands) }
    }

    async fn report(&self, report: StatusReport) -> Result<StatusReceipt, UplinkError> {
        if report.command.as_ref().is_some_and(|command| command.outcome == CommandOutcome::Started) {
            // Whatever the hub will say: nothing has been done yet.
            let opened = self.door.log().iter().filter(|line| *line == "open").count();
            self.door.log.lock().unwrap().push(format!("started after {opened}"));
            match self.at_start {
                AtStart::Takes => {}
                AtStart::Refuses(kind) => return Err(UplinkError::Problem(Box::new(problem(kind)))),
                AtStart::IsAway => {
                    return Err(UplinkError::Unreachable { url: "test".to_owned(), source: "away".into() });
                }
                AtStart::AnswersAfter(time) => tokio::time::sleep(time).await,
            }
        }
        self.hub.report(report).await
    }
}

/// A command of that id as it is handed over.
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
fn start(at_start: AtStart, command_log: Option<&Path>, commands: Vec<LeasedCommand>) -> Running {
    let (hub, door, stop) = (hub(), Door::default(), CancellationToken::new());
    let line = Line { hub: hub.clone(), door: door.clone(), at_start, handed_over: Mutex::new(commands) };
    let mut module = ActuatorModule::new(door.clone());
    if let Some(path) = command_log {
        module = module.with_command_log(path);
    }
    let running = Box::new(module).run(Arc::new(line), stop.clone());
    let task = tokio::spawn(async move { running.await.unwrap() });
    Running { hub, door, stop, task }
}

impl Running {
    /// Waits for so many outcomes, then stops; returns all there were, by command.
    async fn outcomes(self, count: usize) -> (Vec<(String, CommandOutcome)>, Vec<String>) {
        self.hub.until(|hub| outcomes(hub).len() >= count).await;
        self.stop.cancel();
        self.task.await.unwrap();
        (outcomes(&self.hub), self.door.log())
    }

    /// Cuts the process off as a crash would: nothing more happens in it.
    async fn crash(self) -> Vec<String> {
        self.task.abort();
        let _ = self.task.await;
        self.door.log()
    }
}

fn outcomes(hub: &RecordingUplink) -> Vec<(String, CommandOutcome)> {
    let reports = hub.reports().into_iter().filter_map(|report| report.command);
    reports.map(|c| (c.id, c.outcome)).filter(|(_, outcome)| *outcome != CommandOutcome::Started).collect()
}

fn done() -> CommandOutcome {
    CommandOutcome::Succeeded { result: Some(json!("done")) }
}

#[tokio::test(start_paused = true)]
async fn a_hazardous_action_is_begun_after_the_hub_took_it_and_another_without_asking() {
    let commands = vec![leased("a", "open", json!({})), leased("b", "ring", json!({}))];

    let (outcomes, log) = start(AtStart::Takes, None, commands).outcomes(2).await;

    assert_eq!(outcomes, [("a".to_owned(), done()), ("b".to_owned(), done())]);
    assert_eq!(log, ["started after 0", "open", "ring"]);
}

#[tokio::test(start_paused = true)]
async fn a_command_its_hub_calls_hazardous_is_begun_like_one() {
    let command = LeasedCommand { hazardous: true, ..leased("a", "ring", json!({})) };

    let (_, log) = start(AtStart::Takes, None, vec![command]).outcomes(1).await;

    assert_eq!(log, ["started after 0", "ring"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_when_the_claim_is_over() {
    for kind in [ErrorKind::Conflict, ErrorKind::NotFound] {
        let commands = vec![leased("a", "open", json!({})), leased("b", "ring", json!({}))];

        let (outcomes, log) = start(AtStart::Refuses(kind), None, commands).outcomes(1).await;

        assert_eq!(
            (outcomes, log),
            (vec![("b".to_owned(), done())], vec!["started after 0".to_owned(), "ring".to_owned()])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_done_when_the_hub_cannot_be_asked_or_answers_too_late() {
    for at_start in [
        AtStart::IsAway,
        AtStart::Refuses(ErrorKind::Unavailable),
        AtStart::Refuses(ErrorKind::InvalidArgument),
        AtStart::AnswersAfter(Duration::from_secs(30)),
    ] {
        let (outcomes, log) = start(at_start, None, vec![leased("a", "open", json!({}))]).outcomes(1).await;

        let [(_, CommandOutcome::Failed { error })] = &outcomes[..] else {
            panic!("{at_start:?}: {outcomes:?}")
        };
        assert!(error.starts_with("not started: "), "{error}");
        assert_eq!(log, ["started after 0"], "{at_start:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_when_the_command_log_cannot_be_written() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let command_log = folder.path().join("file/commands.json");

    let (outcomes, log) =
        start(AtStart::Takes, Some(&command_log), vec![leased("a", "open", json!({}))]).outcomes(1).await;

    assert!(
        matches!(&outcomes[0].1, CommandOutcome::Failed { error } if error.contains("command log")),
        "{outcomes:?}"
    );
    assert_eq!(log, ["started after 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_module_that_crashed_in_the_middle_says_that_it_does_not_know_and_does_not_do_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let command_log = folder.path().join("commands.json");
    let crashing = start(AtStart::Takes, Some(&command_log), vec![leased("a", "open", json!({"secs": 20}))]);
    while !crashing.door.log().contains(&"open".to_owned()) {
        tokio::task::yield_now().await;
    }
    crashing.crash().await;

    // A hub with an older database hands it over once more.
    let again = start(AtStart::Takes, Some(&command_log), vec![leased("a", "open", json!({}))]);
    let (outcomes, log) = again.outcomes(2).await;

    for (id, outcome) in outcomes {
        assert_eq!(id, "a");
        assert!(matches!(&outcome, CommandOutcome::UnknownOutcome { .. }), "{outcome:?}");
    }
    assert_eq!(log, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_module_that_crashed_before_it_could_tell_says_after_all_how_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let command_log = folder.path().join("commands.json");
    // The hub goes away while the door moves.
    let crashing =
        start(AtStart::Takes, Some(&command_log), vec![leased("a", "open", json!({"secs": 5, "jam": 1}))]);
    while !crashing.door.log().contains(&"open".to_owned()) {
        tokio::task::yield_now().await;
    }
    crashing.hub.set_away(true);
    tokio::time::sleep(Duration::from_secs(10)).await;
    crashing.crash().await;

    let (outcomes, log) = start(AtStart::Takes, Some(&command_log), Vec::new()).outcomes(1).await;

    assert_eq!(outcomes, [("a".to_owned(), CommandOutcome::Failed { error: "device: jammed".to_owned() })]);
    assert_eq!(log, Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cut_off_at_the_modules_end_has_an_unknown_outcome() {
    let running = start(AtStart::Takes, None, vec![leased("a", "open", json!({"secs": 20}))]);
    while !running.door.log().contains(&"open".to_owned()) {
        tokio::task::yield_now().await;
    }

    running.stop.cancel();
    running.task.await.unwrap();

    let outcomes = outcomes(&running.hub);
    assert!(matches!(&outcomes[..], [(_, CommandOutcome::UnknownOutcome { .. })]), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn what_was_held_too_long_is_not_done_any_more() {
    // Three at once: the first takes a while, by then the second's time is over.
    let short = LeasedCommand { expires_in: 5.0, ..leased("b", "ring", json!({})) };
    let commands = vec![leased("a", "ring", json!({"secs": 10})), short, leased("c", "ring", json!({}))];
    let (outcomes, _) = start(AtStart::Takes, None, commands).outcomes(2).await;
    assert_eq!(outcomes.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["a", "c"]);

    // The second's time is not over, its lease is: the hub hands it over anew.
    let commands = vec![leased("a", "ring", json!({"secs": 30})), leased("b", "ring", json!({}))];
    let (outcomes, log) = start(AtStart::Takes, None, commands).outcomes(1).await;
    assert_eq!((outcomes.len(), log), (1, vec!["ring".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn once_begins_a_hazardous_action_like_a_module_that_stays() {
    let (hub, door) = (hub(), Door::default());
    hub.command("open", Map::new());

    Box::new(ActuatorModule::new(door.clone())).run_once(Arc::new(hub.clone())).await.unwrap();

    let said: Vec<_> = hub.reports().into_iter().filter_map(|r| r.command).map(|c| c.outcome).collect();
    assert_eq!(said, [CommandOutcome::Started, done()]);
}
