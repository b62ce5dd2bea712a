//! The programs of this workspace as child processes.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, Command},
};

/// A program that was built together with this test. `cargo test` for the whole workspace builds all of them.
pub fn program(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_iotpi-demo")).with_file_name(name);
    assert!(path.is_file(), "{} is missing: run `cargo build` first", path.display());
    path
}

/// Creates a token in the database of a hub, which may be running. Returns its secret.
pub async fn add_token(data: &Path, arguments: &[&str]) -> String {
    let output = Command::new(program("iotpi-hub"))
        .args(["token", "add"])
        .args(arguments)
        .arg("--data")
        .arg(data)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A hub as a process. Dropping it kills it.
pub struct HubProcess {
    pub child: Child,
    pub url: String,
}

impl HubProcess {
    /// Starts a hub on a data folder and waits until it listens. Port 0 selects a free port.
    pub async fn start(data: &Path, address: &str) -> Self {
        let mut child = Command::new(program("iotpi-hub"))
            .args(["serve", "--listen", address, "--data"])
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let url = loop {
            let line = lines.next_line().await.unwrap().expect("the hub did not start");
            if let Some(url) = line.strip_prefix("iotpi-hub listening on ") {
                break url.trim().to_owned();
            }
        };
        // The other lines are read, so that the hub does not block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { child, url }
    }

    /// Sends SIGKILL and waits for the exit.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}
