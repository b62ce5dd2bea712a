//! The shutdown of the demo leaves no process behind.

use std::{net::TcpListener, process::Stdio, time::Duration};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::{process::Command, time::Instant};

use crate::demo::{DEADLINE, Demo, program};

#[tokio::test]
async fn a_signal_ends_everything_in_order_and_in_under_three_seconds() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP] {
        let mut demo = Demo::start().await;
        let processes = demo.processes().await;

        let asked_at = Instant::now();
        demo.signal(signal);
        let status = demo.ended().await;
        let took = asked_at.elapsed();

        assert!(status.success(), "{status}");
        assert!(took < Duration::from_secs(3), "{took:?}");
        for process in &processes {
            process.ended().await;
        }
        demo.said("Everything ended in ").await;
    }
}

#[tokio::test]
async fn a_module_that_hangs_does_not_hold_up_the_end() {
    let mut demo = Demo::start().await;
    let processes = demo.processes().await;
    demo.process("camera").await.signal(Signal::STOP);

    let asked_at = Instant::now();
    demo.signal(Signal::TERM);
    let status = demo.ended().await;
    let took = asked_at.elapsed();

    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(3), "{took:?}");
    for process in &processes {
        process.ended().await;
    }
}

#[tokio::test]
async fn no_process_outlives_a_killed_demo() {
    let mut demo = Demo::start().await;
    let processes = demo.processes().await;

    demo.signal(Signal::KILL);
    demo.ended().await;

    for process in &processes {
        process.ended().await;
    }
}

#[tokio::test]
async fn the_second_start_knows_what_the_first_one_kept() {
    let mut first = Demo::start().await;
    let admin = first.admin().await;
    let known = admin.modules().await.unwrap().len();
    let code = first.said("first admin code: ").await;
    first.signal(Signal::TERM);
    first.ended().await;

    let mut second = Demo::start_with(first.data).await;
    let still_known = second.admin().await.modules().await.unwrap().len();
    let other_code = second.said("first admin code: ").await;

    assert!(still_known >= known, "{still_known} of {known}");
    assert_ne!(code, other_code);

    second.end().await;
}

#[tokio::test]
async fn a_taken_port_is_said_in_one_line_with_its_mend() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let data = TempDir::new().unwrap();

    let demo = Command::new(program("iotpi-demo"))
        .args(["--listen", &address.to_string(), "--data"])
        .arg(data.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let ended = tokio::time::timeout(DEADLINE, demo).await.expect("the demo ends").unwrap();

    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    let line = said.lines().find(|line| line.contains("is taken")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains(&address.port().to_string()) && line.contains("--listen"), "{line}");
    assert!(!said.contains("panicked") && !said.contains("runs as process"), "{said}");
}
