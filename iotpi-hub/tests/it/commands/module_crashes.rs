//! A module is killed at every point around running and reporting a command, and restarted until its commands
//! have ended: a hazardous one ran at most once, and any other has exactly one recorded outcome.
//!
//! The module is a separate process (`crashing_module.rs`). The hub is real except for its clock, which jumps
//! over leases. `IOTPI_SEED` reruns a run; `IOTPI_TORTURE=1` kills a thousand times.

use std::{collections::BTreeMap, process::Stdio, time::Duration};

use iotpi_core::{
    Clock as _, Command as Order, CommandState, Event, HubClient, LiveMessage, LiveStream, Subscription,
    SystemClock,
};
use iotpi_hub::{Config, store::PageRequest, testing::TestHub};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

use crate::support::api::{Api, NOW, id};

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
/// Long enough for a busy machine. A test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(60);
const LEASE_AND_SOME: Duration = Duration::from_secs(31);

/// Seeded random numbers (SplitMix64, Steele et al. 2014).
struct Random(u64);

impl Random {
    fn of_the_seed() -> Self {
        let seed = match std::env::var("IOTPI_SEED") {
            Ok(seed) => seed.parse().expect("IOTPI_SEED is a number"),
            Err(_) => SystemClock::new().now().as_micros().unsigned_abs(),
        };
        eprintln!("IOTPI_SEED={seed}");
        Self(seed)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound as u64).unwrap()
    }
}

/// The running process of the module.
struct Module {
    child: Child,
    said: Lines<BufReader<ChildStdout>>,
}

/// The state and observations of a run.
struct Run {
    api: Api,
    token: String,
    folder: tempfile::TempDir,
    forgetful: bool,
    random: Random,
    live: LiveStream,
    points: Vec<&'static str>,
    deaths: BTreeMap<&'static str, u32>,
    /// The final states that each command entered.
    ended: BTreeMap<String, Vec<CommandState>>,
}

impl Run {
    async fn new(forgetful: bool) -> Self {
        let api = Api::of(TestHub::with_manual_clock(Config::default(), NOW).await.unwrap()).await;
        let token = api.module("led").await;
        let client = HubClient::new(&api.hub.url()).unwrap().with_token(&api.admin);
        let live = client.live(&Subscription::default()).await.unwrap();
        Self {
            api,
            token,
            folder: tempfile::tempdir().unwrap(),
            forgetful,
            random: Random::of_the_seed(),
            live,
            points: Vec::new(),
            deaths: BTreeMap::new(),
            ended: BTreeMap::new(),
        }
    }

    /// The next crash point. Each occurs once before any occurs again.
    fn next_point(&mut self) -> &'static str {
        if self.points.is_empty() {
            self.points = POINTS.to_vec();
        }
        let index = self.random.below(self.points.len());
        self.points.swap_remove(index)
    }

    fn start(&mut self, kill_at: &str) -> Module {
        // Runs this test binary with only the module.
        let mut command = Command::new(std::env::current_exe().unwrap());
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
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Module { child, said }
    }

    async fn now(&self, id: &str) -> Order {
        self.api.hub.store().command(&id.to_owned()).await.unwrap().unwrap()
    }

    /// Submits a command and restarts the module until the command has ended. Returns the running module.
    async fn order(&mut self, n: usize, mut module: (Module, &'static str)) -> (Module, &'static str) {
        let action = if self.random.below(2) == 0 { "open" } else { "set" };
        let command = json!({"action": action, "params": {"n": n}, "expires_in": 86_400});
        let command = self.api.post("/api/modules/led/control", command).ok().await;
        let id = command["id"].as_str().unwrap().to_owned();
        while !self.now(&id).await.state.is_final() {
            let died = tokio::select! {
                _ = module.0.child.wait() => true,
                () = ended(&mut self.live, &mut self.ended, &id) => false,
            };
            if died {
                module = self.after_a_death(&id, module.1).await;
            }
        }
        module
    }

    /// Restarts the module while the previous lease is still valid, or after it ended.
    async fn after_a_death(&mut self, id: &str, point: &'static str) -> (Module, &'static str) {
        *self.deaths.entry(point).or_default() += 1;
        let left = self.now(id).await;
        if self.random.below(2) == 0 {
            self.api.hub.advance(LEASE_AND_SOME);
        }
        let point = self.next_point();
        let mut module = self.start(point);
        // Waits until it has sent its pending reports or crashed.
        while let Some(line) = module.said.next_line().await.unwrap() {
            if line.ends_with("asking") {
                break;
            }
        }
        let now = self.now(id).await;
        if now.state == CommandState::Leased && now.leased_at == left.leased_at {
            self.api.hub.advance(LEASE_AND_SOME);
        }
        (module, point)
    }

    /// Submits and kills until the module was killed that often and each outcome was seen, or it was killed
    /// twice as often.
    async fn kill(&mut self, times: u32) -> Vec<Order> {
        let point = self.next_point();
        let mut module = (self.start(point), point);
        self.registered().await;
        let mut n = 0;
        loop {
            module = self.order(n, module).await;
            n += 1;
            let deaths: u32 = self.deaths.values().sum();
            if deaths >= 2 * times || (deaths >= times && every_end(&self.commands().await)) {
                break;
            }
        }
        drop(module);
        self.commands().await
    }

    /// All commands of the run.
    async fn commands(&self) -> Vec<Order> {
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
    async fn registered(&mut self) {
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
    fn done(&self) -> BTreeMap<String, u32> {
        let mut done = BTreeMap::new();
        for line in std::fs::read_to_string(self.folder.path().join("done.log")).unwrap().lines() {
            *done.entry(line.to_owned()).or_default() += 1;
        }
        done
    }
}

async fn next(live: &mut LiveStream) -> LiveMessage {
    tokio::time::timeout(DEADLINE, live.next()).await.expect("something happens").unwrap().unwrap()
}

/// Waits until the command has ended, and records all commands that end.
async fn ended(live: &mut LiveStream, all: &mut BTreeMap<String, Vec<CommandState>>, id: &str) {
    loop {
        let LiveMessage::Event(numbered) = next(live).await else { continue };
        let Event::Command { command } = numbered.event else { continue };
        if command.state.is_final() {
            all.entry(command.id.clone()).or_default().push(command.state);
            if command.id == id {
                return;
            }
        }
    }
}

/// How often this command ran.
fn times(done: &BTreeMap<String, u32>, command: &Order) -> u32 {
    done.get(&format!("{} {}", command.action, command.params["n"])).copied().unwrap_or(0)
}

fn is_hazardous(command: &Order) -> bool {
    command.action.as_str() == "open"
}

/// Whether hazardous commands had known and unknown outcomes, and others succeeded.
fn every_end(commands: &[Order]) -> bool {
    let wanted = [
        (true, CommandState::Succeeded),
        (true, CommandState::UnknownOutcome),
        (false, CommandState::Succeeded),
    ];
    wanted.iter().all(|end| commands.iter().any(|command| (is_hazardous(command), command.state) == *end))
}

#[tokio::test]
async fn a_module_killed_at_any_point_does_nothing_hazardous_twice_and_leaves_no_command_open() {
    let kills = if std::env::var_os("IOTPI_TORTURE").is_some() { 1000 } else { 40 };
    let mut run = Run::new(false).await;

    let commands = run.kill(kills).await;

    let done = run.done();
    for command in &commands {
        let times = times(&done, command);
        let sound = match (is_hazardous(command), command.state) {
            (true, CommandState::Succeeded) => times == 1,
            (true, CommandState::UnknownOutcome) => times <= 1 && command.started_at.is_some(),
            (true, CommandState::Dead) => times == 0 && command.started_at.is_none(),
            (false, CommandState::Succeeded) => times >= 1,
            (false, CommandState::Dead) => command.attempts == 5,
            _ => false,
        };
        assert!(sound, "done {times} times: {command:?}");
        assert!(run.ended.get(&command.id).is_none_or(|ends| *ends == [command.state]), "{:?}", run.ended);
    }
    // The test proves nothing unless each crash point and each outcome occurred.
    assert!(POINTS.iter().all(|point| run.deaths.contains_key(point)), "{:?}", run.deaths);
    assert!(every_end(&commands), "{commands:?}");
    eprintln!("{} commands, deaths {:?}", commands.len(), run.deaths);
    run.api.stop().await;
}

/// The control: a module that does not report `started` must be detected.
#[tokio::test]
async fn a_module_that_does_not_report_started_is_caught_acting_twice() {
    let mut run = Run::new(true).await;

    let commands = run.kill(40).await;

    let done = run.done();
    let twice = commands.iter().filter(|command| is_hazardous(command) && times(&done, command) > 1).count();
    assert!(twice > 0, "{done:?}");
    run.api.stop().await;
}
