//! The notifications of a hub to systemd, and the exit of a hub with blocked threads.

use std::{
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{
    program::{PROGRAM, wait_for_exit},
    wait::LIMIT,
};

const NOTIFICATIONS: u64 = 100;
/// The minimum that a commit with a change adds to the write-ahead log.
const WAL_FRAME: u64 = 512 + 24;

/// A hub for which this test acts as systemd.
struct Service {
    child: Child,
    socket: UnixDatagram,
    folder: tempfile::TempDir,
}

impl Service {
    fn start(sabotage: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = folder.path().join("notify");
        let socket = UnixDatagram::bind(&address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let child = Command::new(PROGRAM)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.path())
            .env("NOTIFY_SOCKET", &address)
            .env("WATCHDOG_USEC", "60000")
            .env_remove("WATCHDOG_PID")
            .env("IOTPI_SABOTAGE", sabotage)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, socket, folder }
    }

    fn message(&self) -> String {
        let mut message = [0; 256];
        let length = self.socket.recv(&mut message).expect("a message in time");
        String::from_utf8_lossy(&message[..length]).trim().to_owned()
    }

    fn wait_for(&self, message: &str) {
        while self.message() != message {}
    }

    /// Asks it to exit; returns the exit code, and the notifications until then.
    fn terminate(&mut self) -> (Option<i32>, Vec<String>) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let code = wait_for_exit(&mut self.child).code();
        self.socket.set_nonblocking(true).unwrap();
        let mut message = [0; 256];
        let mut messages = Vec::new();
        while let Ok(length) = self.socket.recv(&mut message) {
            messages.push(String::from_utf8_lossy(&message[..length]).trim().to_owned());
        }
        (code, messages)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_ahead_log(data: &Path) -> u64 {
    std::fs::metadata(data.join("hub.db-wal")).map_or(0, |wal| wal.len())
}

#[test]
fn a_hub_that_works_notifies_the_watchdog_and_writes_nothing_for_it() {
    let mut hub = Service::start("");
    hub.wait_for("READY=1");
    hub.wait_for("WATCHDOG=1");
    let before = write_ahead_log(hub.folder.path());

    for _ in 0..NOTIFICATIONS {
        hub.wait_for("WATCHDOG=1");
    }

    // The hub writes a few pages of its own in that time.
    assert!(write_ahead_log(hub.folder.path()) < before + NOTIFICATIONS * WAL_FRAME);
    assert_eq!(hub.terminate().0, Some(0));
}

#[cfg(feature = "sabotage")]
#[test]
fn a_hub_whose_threads_are_blocked_sends_no_watchdog_notification_and_exits_on_sigterm() {
    let mut hub = Service::start("block_workers");
    hub.wait_for("READY=1");

    let (code, messages) = hub.terminate();

    assert_eq!(code, Some(1));
    assert!(messages.iter().any(|message| message == "STOPPING=1"), "{messages:?}");
    assert!(!messages.iter().any(|message| message == "WATCHDOG=1"), "{messages:?}");
}
