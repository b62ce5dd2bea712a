//! A module process with a lamp that is on: after every stop signal the lamp is off.
//!
//! The process is this test program, started again to run only [`lamp_process`]. The lamp is a file.

use std::{
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use iotpi_core::{
    Action, ActionSpec, Actuator, ActuatorModule, DeviceError, HubClient, Manifest, Module, ModuleError,
    ModuleId, Runner, Uplink, async_trait,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};
use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};
use tokio_util::sync::CancellationToken;

use crate::{LIMIT, bounded};

const LAMP: &str = "IOTPI_TEST_LAMP";
const SIGNALS: [Signal; 4] = [Signal::HUP, Signal::INT, Signal::QUIT, Signal::TERM];

struct Lamp(PathBuf);

#[async_trait]
impl Actuator for Lamp {
    fn actions(&self) -> Vec<ActionSpec> {
        Vec::new()
    }

    async fn perform(&mut self, _: &Action) -> Result<Value, DeviceError> {
        Ok(Value::Null)
    }

    async fn make_safe(&mut self) -> Result<(), DeviceError> {
        println!("making safe");
        // The relay is slow, so that a second signal can arrive meanwhile.
        tokio::time::sleep(Duration::from_millis(300)).await;
        println!("safe");
        std::fs::write(&self.0, "off").unwrap();
        Ok(())
    }
}

/// Switches the lamp on, then runs commands.
struct LitModule(Lamp);

#[async_trait]
impl Module for LitModule {
    fn manifest(&self) -> Manifest {
        Manifest::default()
    }

    async fn run(self: Box<Self>, up: Arc<dyn Uplink>, stop: CancellationToken) -> Result<(), ModuleError> {
        std::fs::write(&self.0.0, "on").unwrap();
        println!("lit by process {}", std::process::id());
        let ticks = tokio::spawn(async {
            loop {
                tokio::time::sleep(Duration::from_millis(20)).await;
                println!("still lit");
            }
        });
        let result = Box::new(ActuatorModule::new(self.0)).run(up, stop).await;
        ticks.abort();
        result
    }

    async fn run_once(self: Box<Self>, _: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        Ok(())
    }
}

#[test]
#[ignore = "a process that the tests of this file start"]
fn lamp_process() {
    let lamp = std::env::var_os(LAMP).expect("the file of the lamp");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let hub = HubClient::new("http://127.0.0.1:1").unwrap();
    let runner = Runner::new(hub.uplink(ModuleId::new("lamp").unwrap()));
    runtime.block_on(runner.run(LitModule(Lamp(lamp.into())))).unwrap();
}

/// The command line of a lamp process, after a program that starts it.
fn lamp_command(starter: &[&str], lamp: &Path) -> Command {
    let this = std::env::current_exe().unwrap();
    let mut command = Command::new(starter[0]);
    command
        .args(&starter[1..])
        .arg(this)
        .args(["--exact", "signals::lamp_process", "--ignored", "--nocapture"])
        .env(LAMP, lamp)
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// A lamp process with its lamp on.
struct Process {
    folder: TempDir,
    child: Child,
    pid: Pid,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts it with this option of `env` for signals: the parent of the tests may ignore some, and children
    /// inherit that.
    async fn start(env: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let mut child = lamp_command(&["env", env], &lamp(&folder)).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let pid = pid_of(&mut lines).await;
        Self { folder, child, pid, lines }
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    async fn wait_for_line(&mut self, text: &str) {
        wait_for_line(&mut self.lines, text).await;
    }

    async fn wait_for_exit(mut self) -> (ExitStatus, String) {
        let status = bounded("the exit of the process", self.child.wait()).await.unwrap();
        (status, std::fs::read_to_string(lamp(&self.folder)).unwrap())
    }
}

fn lamp(folder: &TempDir) -> PathBuf {
    folder.path().join("lamp")
}

/// Reads up to a line with this text; returns the rest of the line.
async fn wait_for_line<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>, text: &str) -> String {
    let reading = async {
        loop {
            let line = lines.next_line().await.unwrap().expect("the process ended");
            if let Some((_, rest)) = line.split_once(text) {
                return rest.to_owned();
            }
        }
    };
    bounded(&format!("a line with `{text}`"), reading).await
}

async fn pid_of<R: AsyncRead + Unpin>(lines: &mut Lines<BufReader<R>>) -> Pid {
    Pid::from_raw(wait_for_line(lines, "lit by process ").await.trim().parse().unwrap()).unwrap()
}

#[tokio::test]
async fn each_stop_signal_switches_the_lamp_off() {
    for signal in SIGNALS {
        let process = Process::start("--default-signal").await;

        process.signal(signal);
        let (status, lamp) = process.wait_for_exit().await;

        assert!(status.success(), "{signal:?}: {status}");
        assert_eq!(lamp, "off", "{signal:?}");
    }
}

#[tokio::test]
async fn a_second_signal_does_not_interrupt_the_shutdown() {
    let mut process = Process::start("--default-signal").await;

    process.signal(Signal::HUP);
    process.wait_for_line("making safe").await;
    for signal in SIGNALS {
        process.signal(signal);
    }
    let (status, lamp) = process.wait_for_exit().await;

    assert!(status.success(), "{status}");
    assert_eq!(lamp, "off");
}

#[tokio::test]
async fn a_module_that_ignores_sighup_keeps_running() {
    let mut process = Process::start("--ignore-signal=HUP").await;

    process.signal(Signal::HUP);
    for _ in 0..5 {
        process.wait_for_line("still lit").await;
    }
    assert_eq!(std::fs::read_to_string(lamp(&process.folder)).unwrap(), "on");
    process.signal(Signal::TERM);
    let (status, lamp) = process.wait_for_exit().await;

    assert!(status.success(), "{status}");
    assert_eq!(lamp, "off");
}

/// `script` (bsdutils, on every Debian) gives the module a separate terminal. When it is killed, the terminal
/// closes, as after a lost SSH connection, and the output of the module fails.
#[tokio::test]
async fn closing_the_terminal_switches_the_lamp_off() {
    let folder = TempDir::new().unwrap();
    let this = std::env::current_exe().unwrap();
    let line = format!(
        "env --default-signal {} --exact signals::lamp_process --ignored --nocapture",
        this.display()
    );
    let mut terminal = Command::new("script")
        .args(["--quiet", "--flush", "--command", &line, "/dev/null"])
        .env(LAMP, lamp(&folder))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut screen = BufReader::new(terminal.stdout.take().unwrap()).lines();
    let pid = pid_of(&mut screen).await;

    let handle = pidfd_open(pid, PidfdFlags::empty()).unwrap();
    terminal.kill().await.unwrap();
    let ended = tokio::task::spawn_blocking(move || {
        poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&LIMIT.try_into().unwrap())).unwrap()
    });

    assert_eq!(ended.await.unwrap(), 1, "the module still runs");
    assert_eq!(std::fs::read_to_string(lamp(&folder)).unwrap(), "off");
}
