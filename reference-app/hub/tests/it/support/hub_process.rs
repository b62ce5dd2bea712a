//! A hub as a process, with the asynchronous client.

use std::{
    path::Path,
    process::ExitStatus,
    time::{Duration, Instant},
};

use iotpi_core::HubClient;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    process::{Child, Command},
};

use super::{
    program::{PROGRAM, listening_url, serve},
    wait::bounded,
};

/// A running hub. Dropping it kills it.
pub struct HubProcess {
    child: Child,
    pub client: HubClient,
    /// The time from the start of the process to the first successful response of `/health`.
    pub ready_after: Duration,
}

impl HubProcess {
    /// Starts a hub on a data folder and waits until it is ready. It accepts readings without a token.
    pub async fn start(data: &Path) -> Self {
        let program = std::process::Command::new(PROGRAM);
        bounded("the hub is ready", Self::start_program(program, data)).await
    }

    /// Starts a hub with an address space (`RLIMIT_AS`) of this many KiB.
    pub async fn start_with_memory(data: &Path, kib: u32) -> Self {
        let mut program = std::process::Command::new("sh");
        program.args(["-c", &format!("ulimit -v {kib} && exec \"$0\" \"$@\"")]).arg(PROGRAM);
        bounded("the hub is ready", Self::start_program(program, data)).await
    }

    async fn start_program(program: std::process::Command, data: &Path) -> Self {
        let mut command = Command::from(serve(program, data, ""));
        let started = Instant::now();
        let mut child = command.env("RUST_LOG", "error").kill_on_drop(true).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let Some(line) = lines.next_line().await.unwrap() else {
                let mut stderr = String::new();
                child.stderr.take().unwrap().read_to_string(&mut stderr).await.unwrap();
                panic!("the hub did not start: {stderr}");
            };
            if let Some(url) = listening_url(&line) {
                break url.to_owned();
            }
        };
        let client = HubClient::new(&url).unwrap();
        client.health().await.unwrap();
        Self { child, client, ready_after: started.elapsed() }
    }

    /// `ADDR:PORT` of the hub.
    pub fn address(&self) -> &str {
        self.client.url().trim_start_matches("http://")
    }

    /// The anonymous memory of the hub in RAM, in bytes.
    pub fn resident_bytes(&self) -> usize {
        let path = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
    }

    /// Sends SIGKILL and waits for the exit.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Stops it; returns its standard error.
    pub async fn stop(mut self) -> (ExitStatus, String) {
        drop(self.child.stdin.take());
        self.wait_for_exit().await
    }

    /// Waits until it exits by itself; returns its standard error.
    pub async fn wait_for_exit(mut self) -> (ExitStatus, String) {
        let mut text = String::new();
        let mut stderr = self.child.stderr.take().unwrap();
        let exit = async {
            stderr.read_to_string(&mut text).await.unwrap();
            self.child.wait().await.unwrap()
        };
        let status = bounded("the exit of the hub", exit).await;
        (status, text)
    }
}
