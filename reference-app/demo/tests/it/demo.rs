//! A demo under test: started on a free port with a data folder of its own, and stopped at the end.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{ExitStatus, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use iotpi_core::{HubClient, LiveMessage, LiveStream, ModuleId, NumberedEvent, Subscription};
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

/// Long enough for a busy machine; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The processes of a demo.
pub const NAMES: [&str; 5] = ["hub", "system", "temperature", "led", "camera"];

/// A running demo. Dropping it kills it, and its children exit with it.
pub struct Demo {
    child: Child,
    pub url: String,
    pub data: TempDir,
    /// The lines it has written so far to standard output, and to standard error.
    out: watch::Receiver<Vec<String>>,
    err: watch::Receiver<Vec<String>>,
}

/// A program built together with this test; `cargo test` for the whole workspace builds all of them.
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_iotpi-demo")).with_file_name(name);
    assert!(path.is_file(), "{} is missing: run `cargo build` first", path.display());
    path
}

impl Demo {
    pub async fn start() -> Self {
        Self::start_with(TempDir::new().unwrap()).await
    }

    /// Starts a demo on a data folder that may already exist.
    pub async fn start_with(data: TempDir) -> Self {
        program("iotpi-hub");
        // The parent of the tests may ignore some signals, and children inherit that.
        let mut child = Command::new("env")
            .arg("--default-signal")
            .arg(program("iotpi-demo"))
            .args(["--listen", "127.0.0.1:0", "--heartbeat", "1", "--data"])
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let out = collect(child.stdout.take().unwrap());
        let err = collect(child.stderr.take().unwrap());
        let mut demo = Self { child, url: String::new(), data, out, err };
        demo.said("Running: ").await;
        demo.url = demo.said("hub: ").await;
        for name in NAMES {
            demo.process(name).await;
        }
        demo
    }

    /// The first line on standard output with this prefix, without the prefix.
    pub async fn said(&mut self, beginning: &str) -> String {
        first(&mut self.out, |line| line.strip_prefix(beginning).map(str::to_owned)).await
    }

    /// The process with this name.
    pub async fn process(&mut self, name: &str) -> Process {
        self.process_after(name, None).await
    }

    /// The process that was started after another one exited.
    pub async fn process_after(&mut self, name: &str, before: Option<&Process>) -> Process {
        let beginning = format!("iotpi-demo: {name} runs as process ");
        let pid = first(&mut self.err, |line| {
            line.strip_prefix(&beginning)?.parse().ok().filter(|pid| before.is_none_or(|b| b.pid != *pid))
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
        let ran = Command::new(program("iotpi-hub"))
            .args(arguments)
            .arg("--data")
            .arg(self.data.path())
            .output()
            .await
            .unwrap();
        assert!(ran.status.success(), "{ran:?}");
        ran
    }

    /// A new token, created while the hub runs.
    pub async fn token(&self, arguments: &[&str]) -> String {
        let made = self.hub_command(&[&["token", "add"], arguments].concat()).await;
        String::from_utf8(made.stdout).unwrap().trim().to_owned()
    }

    /// A client with the rights of an admin.
    pub async fn admin(&self) -> HubClient {
        let token = self.token(&["--role", "admin", "--replace", "test"]).await;
        HubClient::new(&self.url).unwrap().with_token(token)
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its exit.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(DEADLINE, self.child.wait()).await.expect("the demo ends").unwrap()
    }

    /// Stops it in order.
    pub async fn end(mut self) {
        self.signal(Signal::TERM);
        assert!(self.ended().await.success());
    }
}

/// Collects lines as they arrive.
fn collect(from: impl AsyncRead + Unpin + Send + 'static) -> watch::Receiver<Vec<String>> {
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
async fn first<T>(lines: &mut watch::Receiver<Vec<String>>, mut is_it: impl FnMut(&str) -> Option<T>) -> T {
    let mut looked_at = 0;
    let found = async {
        loop {
            {
                let all = lines.borrow_and_update();
                for line in &all[looked_at..] {
                    if let Some(it) = is_it(line) {
                        return it;
                    }
                }
                looked_at = all.len();
            }
            lines.changed().await.expect("the demo says it before it ends");
        }
    };
    tokio::time::timeout(DEADLINE, found).await.expect("the demo says it in time")
}

/// A process, referenced by a file descriptor: its id may be reused after its exit.
#[derive(Debug)]
pub struct Process {
    pub pid: i32,
    handle: Arc<OwnedFd>,
}

impl Process {
    pub fn open(pid: i32) -> Self {
        let handle = pidfd_open(Pid::from_raw(pid).unwrap(), PidfdFlags::empty()).unwrap();
        Self { pid, handle: Arc::new(handle) }
    }

    pub fn signal(&self, signal: Signal) {
        pidfd_send_signal(&self.handle, signal).unwrap();
    }

    /// Waits for its exit: its descriptor then becomes readable.
    pub async fn ended(&self) {
        let handle = self.handle.clone();
        let ended = tokio::task::spawn_blocking(move || {
            poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&DEADLINE.try_into().unwrap())).unwrap()
        });
        assert_eq!(ended.await.unwrap(), 1, "process {} still runs", self.pid);
    }
}

/// A live connection that receives all messages.
pub async fn live(hub: &HubClient) -> LiveStream {
    hub.live(&Subscription::default()).await.unwrap()
}

/// The first future message that matches.
pub async fn until<T>(live: &mut LiveStream, mut is_it: impl FnMut(&LiveMessage) -> Option<T>) -> T {
    let found = async {
        loop {
            let message = live.next().await.unwrap().expect("the hub keeps the line");
            if let Some(it) = is_it(&message) {
                return it;
            }
        }
    };
    tokio::time::timeout(DEADLINE, found).await.expect("the hub tells it in time")
}

/// The event in a message, if there is one.
pub fn event(message: &LiveMessage) -> Option<&iotpi_core::Event> {
    match message {
        LiveMessage::Event(NumberedEvent { event, .. }) => Some(event),
        _ => None,
    }
}

pub fn id(module: &str) -> ModuleId {
    ModuleId::new(module).unwrap()
}
