//! A hub as a process of its own, on a free port.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use iotpi_core::HubClient;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};

/// Long enough for a busy machine; a test that waits this long has failed.
pub const DEADLINE: Duration = Duration::from_secs(60);

const CONFIG: &str = "[auth]\nanonymous_ingest = [\"127.0.0.0/8\"]\n";

/// A running hub; killed when dropped.
pub struct Running {
    child: Child,
    pub client: HubClient,
    /// From the start of the process to the first successful answer of `/health`.
    pub ready_after: Duration,
}

impl Running {
    /// Starts a hub on a data folder and waits until it is ready. It accepts readings without a token.
    pub async fn start(data: &Path) -> Self {
        let program = Command::new(env!("CARGO_BIN_EXE_iotpi-hub"));
        tokio::time::timeout(DEADLINE, Self::up(program, data)).await.expect("the hub is ready in time")
    }

    /// The same, with an address space (`RLIMIT_AS`) of this many KiB.
    pub async fn start_with_memory(data: &Path, kib: u32) -> Self {
        let mut program = Command::new("sh");
        program.args(["-c", &format!("ulimit -v {kib} && exec \"$0\" \"$@\"")]);
        program.arg(env!("CARGO_BIN_EXE_iotpi-hub"));
        tokio::time::timeout(DEADLINE, Self::up(program, data)).await.expect("the hub is ready in time")
    }

    async fn up(mut program: Command, data: &Path) -> Self {
        let config = data.join("hub.toml");
        std::fs::write(&config, CONFIG).unwrap();
        let began = Instant::now();
        let mut child = program
            .args(["serve", "--until-stdin-closes", "--listen", "127.0.0.1:0", "--config"])
            .arg(config)
            .arg("--data")
            .arg(data)
            .env("RUST_LOG", "error")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let line = lines.next_line().await.unwrap();
            let Some(line) = line else {
                let mut said = String::new();
                child.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
                panic!("the hub did not start: {said}");
            };
            if let Some(url) = line.strip_prefix("iotpi-hub listening on ") {
                break url.to_owned();
            }
        };
        let client = HubClient::new(&url).unwrap();
        client.health().await.unwrap();
        Self { child, client, ready_after: began.elapsed() }
    }

    /// The process id of the hub.
    pub fn id(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Sends SIGKILL and waits for the exit.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Stops it in order; returns its standard error.
    pub async fn end(mut self) -> (ExitStatus, String) {
        drop(self.child.stdin.take());
        self.ended().await
    }

    /// Waits until it exits on its own; returns its standard error.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        let ended = async {
            stderr.read_to_string(&mut said).await.unwrap();
            self.child.wait().await.unwrap()
        };
        let status = tokio::time::timeout(DEADLINE, ended).await.expect("the hub ends in time");
        (status, said)
    }
}
