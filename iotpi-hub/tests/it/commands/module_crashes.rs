//! A module is killed at every point around running and reporting a command, and restarted until its commands
//! have ended: a hazardous one ran at most once, and any other has exactly one recorded outcome.
//!
//! The module is a separate process (`crashing_module.rs`). The hub is real except for its clock, which jumps
//! over leases. `IOTPI_SEED` repeats a run; `IOTPI_TORTURE=1` kills a thousand times.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use iotpi_core::{
    HubClient,
    client::LiveStream,
    model::{
        command::CommandState,
        event::{Event, LiveMessage, Subscription},
    },
};
use iotpi_hub::store::PageRequest;
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout},
};

use crate::support::{
    api::{Api, id},
    seeded_random::{PrintSeedOnPanic, SeededRandom, seeds, torture},
    wait::bounded,
};

/// The crash points of the module.
const POINTS: [&str; 8] = [
    "claimed",
    "before_started",
    "after_started",
    "before_perform",
    "in_perform",
    "after_perform",
    "before_report",
    "after_report",
];
/// Longer than a lease.
const AFTER_LEASE: Duration = Duration::from_secs(31);

/// The running process of the module.
struct Module {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
}

/// The state and observations of a run.
struct Run {
    api: Api,
    token: String,
    folder: tempfile::TempDir,
    forgetful: bool,
    random: SeededRandom,
    live: LiveStream,
    points: Vec<&'static str>,
    crashes: BTreeMap<&'static str, u32>,
    /// The final states that each command entered.
    ended: BTreeMap<String, Vec<CommandState>>,
}

impl Run {
    async fn new(forgetful: bool, seed: u64) -> Self {
        let api = Api::with_manual_clock().await;
        let token = api.module("led").await;
        let client = HubClient::new(&api.hub.url()).unwrap().with_token(&api.admin);
        let live = client.live(&Subscription::default()).await.unwrap();
        Self {
            api,
            token,
            folder: tempfile::tempdir().unwrap(),
            forgetful,
            random: SeededRandom::new(seed),
            live,
            points: Vec::new(),
            crashes: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// The next crash point. Each occurs once before any occurs again.
    fn next_point(&mut self) -> &'static str {
        if self.points.is_empty() {
            self.points = POINTS.to_vec();
        }
        let index = self.random.index(self.points.len());
        self.points.swap_remove(index)
    }

    fn start(&mut self, kill_at: &str) -> Module {
        // Runs this test binary with only the module.
        let mut command = tokio::process::Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "commands::crashing_module::the_module",
                "--exact",
                "--ignored",
                "--nocapture",
                "--test-threads=1",
            ])
            .env("HUB", self.api.hub.url())
            .env("TOKEN", &self.token)
            .env("FOLDER", self.folder.path())
            .env("KILL_AT", kill_at)
            .env("KILL_AFTER", self.random.below(3).to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        if self.forgetful {
            command.env("FORGETFUL", "1");
        }
        let mut child = command.spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        Module { child, stdout }
    }

    async fn command(&self, id: &str) -> iotpi_core::model::command::Command {
        self.api.hub.store().command(&id.into()).await.unwrap().unwrap()
    }

    /// Submits a command and restarts the module until the command has ended. Returns the running module.
    async fn run_command(&mut self, n: usize, mut module: (Module, &'static str)) -> (Module, &'static str) {
        let action = if self.random.below(2) == 0 { "open" } else { "set" };
        let command = json!({"action": action, "params": {"n": n}, "expires_in": 86_400});
        let command = self.api.post("/api/modules/led/control", command).ok().await;
        let id = command["id"].as_str().unwrap().to_owned();
        while !self.command(&id).await.state.is_final() {
            let crashed = tokio::select! {
                _ = module.0.child.wait() => true,
                () = wait_for_end(&mut self.live, &mut self.ended, &id) => false,
            };
            if crashed {
                module = self.restart_after_crash(&id, module.1).await;
            }
        }
        module
    }

    /// Restarts the module while the previous lease is still valid, or after it ended.
    async fn restart_after_crash(&mut self, id: &str, point: &'static str) -> (Module, &'static str) {
        *self.crashes.entry(point).or_default() += 1;
        let before = self.command(id).await;
        if self.random.below(2) == 0 {
            self.api.hub.advance(AFTER_LEASE);
        }
        let point = self.next_point();
        let mut module = self.start(point);
        bounded("the module sends its pending reports or crashes", async {
            while let Some(line) = module.stdout.next_line().await.unwrap() {
                if line.ends_with("claiming") {
                    break;
                }
            }
        })
        .await;
        let after = self.command(id).await;
        if after.state == CommandState::Leased && after.leased_at == before.leased_at {
            self.api.hub.advance(AFTER_LEASE);
        }
        (module, point)
    }

    /// Submits commands until the module crashed this many times and each outcome occurred, or until it
    /// crashed twice as often.
    async fn kill(&mut self, times: u32) -> Vec<iotpi_core::model::command::Command> {
        let point = self.next_point();
        let mut module = (self.start(point), point);
        self.wait_for_registration().await;
        let mut n = 0;
        loop {
            module = self.run_command(n, module).await;
            n += 1;
            let crashes: u32 = self.crashes.values().sum();
            if crashes >= 2 * times || (crashes >= times && has_every_outcome(&self.commands().await)) {
                break;
            }
        }
        drop(module);
        self.commands().await
    }

    /// All commands of the run.
    async fn commands(&self) -> Vec<iotpi_core::model::command::Command> {
        let mut request = PageRequest { limit: 1000, cursor: None };
        let mut all = Vec::new();
        loop {
            let page = self.api.hub.store().commands(&id("led"), &request).await.unwrap();
            all.extend(page.items);
            match page.next {
                Some(cursor) => request.cursor = Some(cursor),
                None => return all,
            }
        }
    }

    /// Waits until the hub has the manifest of the module.
    async fn wait_for_registration(&mut self) {
        loop {
            if let LiveMessage::Event(numbered) = next(&mut self.live).await
                && let Event::Module { module } = numbered.event
                && module.id == id("led")
                && module.manifest.is_some()
            {
                return;
            }
        }
    }

    /// How often each action ran.
    fn action_counts(&self) -> BTreeMap<String, u32> {
        let mut counts = BTreeMap::new();
        for line in std::fs::read_to_string(self.folder.path().join("done.log")).unwrap().lines() {
            *counts.entry(line.to_owned()).or_default() += 1;
        }
        counts
    }
}

async fn next(live: &mut LiveStream) -> LiveMessage {
    bounded("a live message", live.next()).await.unwrap().unwrap()
}

/// Waits until the command has ended, and records all commands that end.
async fn wait_for_end(live: &mut LiveStream, all: &mut BTreeMap<String, Vec<CommandState>>, id: &str) {
    loop {
        let LiveMessage::Event(numbered) = next(live).await else { continue };
        let Event::Command { command } = numbered.event else { continue };
        if command.state.is_final() {
            all.entry(command.id.clone().into()).or_default().push(command.state);
            if command.id == id {
                return;
            }
        }
    }
}

/// How often this command ran.
fn times(counts: &BTreeMap<String, u32>, command: &iotpi_core::model::command::Command) -> u32 {
    counts.get(&format!("{} {}", command.action, command.params["n"])).copied().unwrap_or(0)
}

fn is_hazardous(command: &iotpi_core::model::command::Command) -> bool {
    command.action.as_str() == "open"
}

/// Whether hazardous commands had known and unknown outcomes, and others succeeded.
fn has_every_outcome(commands: &[iotpi_core::model::command::Command]) -> bool {
    let expected = [
        (true, CommandState::Succeeded),
        (true, CommandState::UnknownOutcome),
        (false, CommandState::Succeeded),
    ];
    expected.iter().all(|end| commands.iter().any(|command| (is_hazardous(command), command.state) == *end))
}

#[tokio::test]
async fn a_module_killed_at_any_point_runs_no_hazardous_command_twice_and_every_command_ends() {
    let kills = if torture() { 1000 } else { 40 };
    let seed = seeds(1, 1).next().unwrap();
    let _print_seed = PrintSeedOnPanic { test: "module_crashes", seed };
    let mut run = Run::new(false, seed).await;

    let commands = run.kill(kills).await;

    let counts = run.action_counts();
    for command in &commands {
        let times = times(&counts, command);
        let is_valid = match (is_hazardous(command), command.state) {
            (true, CommandState::Succeeded) => times == 1,
            (true, CommandState::UnknownOutcome) => times <= 1 && command.started_at.is_some(),
            (true, CommandState::Dead) => times == 0 && command.started_at.is_none(),
            (false, CommandState::Succeeded) => times >= 1,
            (false, CommandState::Dead) => command.attempts == 5,
            _ => false,
        };
        assert!(is_valid, "ran {times} times: {command:?}");
        assert!(
            run.ended.get(command.id.as_str()).is_none_or(|ends| *ends == [command.state]),
            "{:?}",
            run.ended
        );
    }
    // Otherwise the test covered too little.
    assert!(POINTS.iter().all(|point| run.crashes.contains_key(point)), "{:?}", run.crashes);
    assert!(has_every_outcome(&commands), "{commands:?}");
    eprintln!("{} commands, crashes {:?}", commands.len(), run.crashes);
    run.api.stop().await;
}

/// The control: a module that does not report `started` must be detected.
#[tokio::test]
async fn a_module_that_does_not_report_started_is_detected_running_a_command_twice() {
    let seed = seeds(1, 1).next().unwrap();
    let _print_seed = PrintSeedOnPanic { test: "module_crashes", seed };
    let mut run = Run::new(true, seed).await;

    let commands = run.kill(40).await;

    let counts = run.action_counts();
    let twice =
        commands.iter().filter(|command| is_hazardous(command) && times(&counts, command) > 1).count();
    assert!(twice > 0, "{counts:?}");
    run.api.stop().await;
}
