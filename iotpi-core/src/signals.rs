//! The signals that ask a program to end.

/// Returns when the process receives SIGHUP (its terminal was closed), SIGINT (Ctrl-C), SIGQUIT or SIGTERM,
/// for programs that call [`Runner::run_until`](crate::Runner::run_until). SIGHUP does not count if the
/// process was started with it ignored, as by `nohup`.
///
/// From the call on, before the first poll, these signals no longer end the process; nor do further ones
/// after the first. When the terminal is gone, standard output and standard error become `/dev/null`:
/// otherwise a `println!` in a function that makes a device safe would panic.
///
/// # Panics
/// Outside a tokio runtime.
///
/// # Cancel safety
/// Cancel safe.
#[cfg(unix)]
pub fn stop_signal() -> impl Future<Output = ()> + Send + 'static {
    use std::{future::poll_fn, task::Poll};
    use tokio::signal::unix::{SignalKind, signal};

    let hangup = (!is_hangup_ignored()).then_some(SignalKind::hangup());
    let always = [SignalKind::interrupt(), SignalKind::quit(), SignalKind::terminate()];
    let mut signals: Vec<_> = hangup.into_iter().chain(always).filter_map(|kind| signal(kind).ok()).collect();
    async move {
        poll_fn(|context| {
            let came = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
            if came { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        replace_lost_output();
    }
}

/// Returns on Ctrl-C.
///
/// # Cancel safety
/// Cancel safe.
#[cfg(not(unix))]
pub fn stop_signal() -> impl Future<Output = ()> + Send + 'static {
    async {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// Whether the parent of this process ignores SIGHUP so that it outlives its terminal. Read from `/proc`,
/// because sigaction(2) takes `unsafe`; without `/proc` the answer is no.
#[cfg(unix)]
fn is_hangup_ignored() -> bool {
    const SIGHUP: u64 = 1;
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & (1 << (SIGHUP - 1)) != 0
}

/// Replaces standard output and error by `/dev/null` if their terminal or the reader of their pipe is gone.
#[cfg(unix)]
fn replace_lost_output() {
    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        stdio,
    };

    let Ok(nowhere) = std::fs::OpenOptions::new().write(true).open("/dev/null") else { return };
    let is_lost = |file| {
        let mut asked = [PollFd::from_borrowed_fd(file, PollFlags::OUT)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut asked, Some(&now)).is_ok() && asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    };
    // If this fails, the output stays as it is.
    if is_lost(stdio::stdout()) {
        let _ = stdio::dup2_stdout(&nowhere);
    }
    if is_lost(stdio::stderr()) {
        let _ = stdio::dup2_stderr(&nowhere);
    }
}
