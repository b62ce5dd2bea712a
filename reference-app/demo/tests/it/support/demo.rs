//! A demo on a free port with a data folder of its own, and the processes it starts.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    sync::Arc,
};

use iotpi_core::{HubClient, ModuleId};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    sync::watch,
};

use super::{
    programs::{add_token, program},
    wait::{LIMIT, bounded},
};

/// The processes of a demo.
pub const NAMES: [&str; 5] = ["hub", "system", "temperature", "led", "camera"];

/// The name of the data folder, below a temporary folder.
const DATA: &str = "data";

/// A running demo. Dropping it kills it, and its children exit with it.
pub struct Demo {
    child: Child,
    pub url: String,
    pub data: TempDir,
    /// The lines of its standard output and standard error so far.
    stdout: watch::Receiver<Vec<String>>,
    stderr: watch::Receiver<Vec<String>>,
}

impl Demo {
    pub async fn start() -> Self {
        Self::start_with(TempDir::new().unwrap()).await
    }

    /// Starts a demo on a data folder that may already exist.
    pub async fn start_with(data: TempDir) -> Self {
        program("iotpi-hub");
        let mut child = command_with_default_signals("iotpi-demo")
            .args(["--listen", "127.0.0.1:0", "--heartbeat", "1", "--data"])
            .arg(data.path().join(DATA))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = collect_lines(child.stdout.take().unwrap());
        let stderr = collect_lines(child.stderr.take().unwrap());
        let mut demo = Self { child, url: String::new(), data, stdout, stderr };
        demo.line_after("Running: ").await;
        demo.url = demo.line_after("hub: ").await;
        for name in NAMES {
            demo.process(name).await;
        }
        demo
    }

    /// The data folder, which the demo creates.
    pub fn folder(&self) -> PathBuf {
        self.data.path().join(DATA)
    }

    /// The rest of the first line on standard output that begins with this prefix.
    pub async fn line_after(&mut self, prefix: &str) -> String {
        find_line(&mut self.stdout, |line| line.strip_prefix(prefix).map(str::to_owned)).await
    }

    /// The process with this name.
    pub async fn process(&mut self, name: &str) -> Process {
        self.process_after(name, None).await
    }

    /// The process that was started after another one exited.
    pub async fn process_after(&mut self, name: &str, before: Option<&Process>) -> Process {
        let prefix = format!("iotpi-demo: {name} runs as process ");
        let pid = find_line(&mut self.stderr, |line| {
            line.strip_prefix(&prefix)?.parse().ok().filter(|pid| before.is_none_or(|b| b.pid != *pid))
        })
        .await;
        Process::open(pid)
    }

    /// All processes of the demo.
    pub async fn processes(&mut self) -> Vec<Process> {
        let mut all = Vec::new();
        for name in NAMES {
            all.push(self.process(name).await);
        }
        all
    }

    /// Runs `iotpi-hub` on the data of the demo.
    pub async fn hub_command(&self, arguments: &[&str]) -> Output {
        let output = Command::new(program("iotpi-hub"))
            .args(arguments)
            .arg("--data")
            .arg(self.folder())
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        output
    }

    /// A new token, created while the hub runs.
    pub async fn token(&self, arguments: &[&str]) -> String {
        add_token(&self.folder(), arguments).await
    }

    /// A client with the rights of an admin.
    pub async fn admin(&self) -> HubClient {
        let token = self.token(&["--role", "admin", "--replace", "test"]).await;
        HubClient::new(&self.url).unwrap().with_token(token)
    }

    pub fn signal(&self, signal: Signal) {
        Process::of(&self.child).signal(signal);
    }

    pub async fn wait_for_exit(&mut self) -> ExitStatus {
        bounded("the exit of the demo", self.child.wait()).await.unwrap()
    }

    /// Stops it with SIGTERM.
    pub async fn stop(mut self) {
        self.signal(Signal::TERM);
        assert!(self.wait_for_exit().await.success());
    }
}

/// A program with the default action for each signal: the parent of the tests may ignore some signals, and
/// children inherit that. Dropping the child kills it.
fn command_with_default_signals(name: &str) -> Command {
    let mut command = Command::new("env");
    command.arg("--default-signal").arg(program(name)).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// `iotpi-module run` with these settings.
pub fn module_command(settings: &Path, hub: &str, token: &str) -> Command {
    let mut command = command_with_default_signals("iotpi-module");
    command.arg("run").arg(settings).args(["--hub", hub]).env("IOTPI_TOKEN", token);
    command
}

/// Collects lines as they arrive.
fn collect_lines(from: impl AsyncRead + Unpin + Send + 'static) -> watch::Receiver<Vec<String>> {
    let (lines, collected) = watch::channel(Vec::new());
    tokio::spawn(async move {
        let mut from = BufReader::new(from).lines();
        while let Ok(Some(line)) = from.next_line().await {
            // The test runner shows it when the test fails.
            eprintln!("{line}");
            lines.send_modify(|all| all.push(line));
        }
    });
    collected
}

/// The first line, present or future, that matches.
async fn find_line<T>(
    lines: &mut watch::Receiver<Vec<String>>,
    mut matches: impl FnMut(&str) -> Option<T>,
) -> T {
    let mut checked = 0;
    bounded("a line of the demo that matches", async {
        loop {
            {
                let all = lines.borrow_and_update();
                if let Some(found) = all[checked..].iter().find_map(|line| matches(line)) {
                    return found;
                }
                checked = all.len();
            }
            lines.changed().await.expect("the demo ended without the line");
        }
    })
    .await
}

/// A process, referenced by a file descriptor: its id may be reused after its exit.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    handle: Arc<OwnedFd>,
}

impl Process {
    fn open(pid: i32) -> Self {
        let handle = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        Self { pid, handle: Arc::new(handle) }
    }

    /// The process of a child that was not waited for yet.
    pub fn of(child: &Child) -> Self {
        Self::open(child.id().expect("the child exited").cast_signed())
    }

    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.handle, signal).unwrap();
    }

    /// Waits for its exit: its descriptor then becomes readable.
    pub async fn wait_for_exit(&self) {
        let handle = self.handle.clone();
        let ready = tokio::task::spawn_blocking(move || {
            poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&LIMIT.try_into().unwrap())).unwrap()
        });
        assert_eq!(ready.await.unwrap(), 1, "process {} still runs", self.pid);
    }
}

pub fn id(module: &str) -> ModuleId {
    ModuleId::new(module).unwrap()
}
