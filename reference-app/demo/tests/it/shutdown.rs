//! The shutdown of the demo leaves no process behind.

use std::{net::TcpListener, process::Stdio};

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::process::Command;

use crate::support::{demo::Demo, programs::program, wait::bounded};

#[tokio::test]
async fn each_stop_signal_ends_the_demo_and_all_its_processes() {
    for signal in [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP] {
        let mut demo = Demo::start().await;
        let processes = demo.processes().await;

        demo.signal(signal);
        let status = demo.wait_for_exit().await;

        assert!(status.success(), "{status}");
        for process in &processes {
            process.wait_for_exit().await;
        }
        demo.line_after("Everything ended in ").await;
    }
}

/// A process that SIGSTOP has stopped does not handle SIGTERM: it exits only if the demo kills it.
#[tokio::test]
async fn a_module_that_hangs_is_killed_at_the_shutdown_of_the_demo() {
    let mut demo = Demo::start().await;
    let processes = demo.processes().await;
    demo.process("camera").await.signal(Signal::STOP);

    demo.signal(Signal::TERM);
    let status = demo.wait_for_exit().await;

    assert!(status.success(), "{status}");
    for process in &processes {
        process.wait_for_exit().await;
    }
}

#[tokio::test]
async fn no_process_outlives_a_killed_demo() {
    let mut demo = Demo::start().await;
    let processes = demo.processes().await;

    demo.signal(Signal::KILL);
    demo.wait_for_exit().await;

    for process in &processes {
        process.wait_for_exit().await;
    }
}

#[tokio::test]
async fn a_second_start_keeps_the_modules_and_creates_another_first_admin_code() {
    let mut first = Demo::start().await;
    let admin = first.admin().await;
    let before = admin.modules().await.unwrap().len();
    let code = first.line_after("first admin code: ").await;
    first.signal(Signal::TERM);
    first.wait_for_exit().await;

    let mut second = Demo::start_with(first.data).await;
    let after = second.admin().await.modules().await.unwrap().len();
    let other_code = second.line_after("first admin code: ").await;

    assert!(after >= before, "{after} of {before}");
    assert_ne!(code, other_code);

    second.stop().await;
}

#[tokio::test]
async fn a_port_in_use_is_reported_in_one_line_with_the_remedy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let data = TempDir::new().unwrap();

    let demo = Command::new(program("iotpi-demo"))
        .args(["--listen", &address.to_string(), "--data"])
        .arg(data.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = bounded("the exit of the demo", demo).await.unwrap();

    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    let line = stderr.lines().find(|line| line.contains("is taken")).unwrap_or_else(|| panic!("{stderr}"));
    assert!(line.contains(&address.port().to_string()) && line.contains("--listen"), "{line}");
    assert!(!stderr.contains("panicked") && !stderr.contains("runs as process"), "{stderr}");
}
