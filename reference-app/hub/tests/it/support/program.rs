//! The program `iotpi-hub` on the command line.

use std::{
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::wait::LIMIT;

/// The path of the program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_iotpi-hub");

/// Runs `iotpi-hub` on a data folder until it exits.
pub fn iotpi_hub(data: &Path, arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).env("IOTPI_DATA", data).env_remove("IOTPI_LISTEN").output().unwrap()
}

/// Creates a token; returns its secret.
pub fn add_token(data: &Path, arguments: &[&str]) -> String {
    let output = iotpi_hub(data, &[&["token", "add"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).trim().to_owned()
}

/// Completes the command of a hub on a free port. It stops when its standard input closes, and accepts
/// readings from loopback without a token.
pub fn serve(mut command: Command, data: &Path, config: &str) -> Command {
    let file = data.join("hub.toml");
    std::fs::create_dir_all(data).unwrap();
    std::fs::write(&file, format!("{config}\n[auth]\nanonymous_ingest = [\"127.0.0.0/8\"]\n")).unwrap();
    command
        .args(["serve", "--until-stdin-closes", "--listen", "127.0.0.1:0", "--config"])
        .arg(file)
        .arg("--data")
        .arg(data)
        .env_remove("IOTPI_LISTEN")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The URL in the line with which a hub reports that it listens.
pub fn listening_url(line: &str) -> Option<&str> {
    line.strip_prefix("iotpi-hub listening on ")
}

/// Waits for the exit of a child.
pub fn wait_for_exit(child: &mut Child) -> ExitStatus {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).unwrap();
    // The descriptor becomes readable when the process exits.
    let ready = poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&LIMIT.try_into().unwrap())).unwrap();
    assert_eq!(ready, 1, "the process did not exit within {LIMIT:?}");
    child.wait().unwrap()
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
