//! A child process of the demo.
//!
//! A child watches its standard input, a pipe whose write end only the demo holds. Closing the pipe asks the
//! child to exit; when the demo is killed, the kernel closes it. So no child outlives the demo on any system,
//! and no signal is sent to a process id that may have been reused.

use std::{
    env,
    io::Write,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, ChildStdin, Command},
    sync::mpsc,
};
use tokio_util::task::TaskTracker;

/// The option that makes a child watch its standard input.
pub const ENDS_WITH_STDIN: &str = "--until-stdin-closes";

/// The paths of the programs in the folder of the demo.
#[derive(Debug)]
pub struct Programs {
    pub hub: PathBuf,
    pub module: PathBuf,
}

impl Programs {
    /// Finds the programs in the folder of the running executable.
    pub fn in_own_folder() -> anyhow::Result<Self> {
        let this = env::current_exe().context("this program's own place cannot be found")?;
        let folder = this.parent().unwrap_or(Path::new("."));
        let find = |name: &str| {
            let path = folder.join(name);
            ensure!(
                path.is_file(),
                "`{name}` is missing beside this program, in {}: build it with `cargo build`",
                folder.display()
            );
            Ok(path)
        };
        Ok(Self { hub: find("iotpi-hub")?, module: find("iotpi-module")? })
    }
}

/// A running child whose output lines are forwarded.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Kept open while the child should run.
    stdin: Option<ChildStdin>,
    /// The tasks that forward its lines; they end with the child.
    lines: TaskTracker,
}

impl Running {
    /// Starts a child. Its standard error is forwarded to ours, each line prefixed with its name. Its
    /// standard output is sent to `lines`, or also to standard error.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        stdout_lines: Option<mpsc::UnboundedSender<String>>,
    ) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal signals the whole process group at once; the demo itself controls the
            // order of the shutdown.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{name} cannot be started"))?;
        let stdin = child.stdin.take();
        let lines = TaskTracker::new();
        if let Some(stderr) = child.stderr.take() {
            lines.spawn(pass_on(name, stderr, None));
        }
        if let Some(stdout) = child.stdout.take() {
            lines.spawn(pass_on(name, stdout, stdout_lines));
        }
        lines.close();
        Ok(Self { child, stdin, lines })
    }

    /// The process id, while the child runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the child to exit on its own.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let status = self.child.wait().await.context("a child cannot be waited for")?;
        // The last lines contain the reason.
        self.lines.wait().await;
        Ok(status)
    }

    /// Asks the child to exit and waits; kills it after the timeout.
    pub async fn end(mut self, name: &str, within: Duration) {
        drop(self.stdin.take());
        if tokio::time::timeout(within, self.child.wait()).await.is_err() {
            log_line(format!("iotpi-demo: {name} did not end in time and was killed"));
            let _ = self.child.kill().await;
        }
        self.lines.wait().await;
    }
}

async fn pass_on(
    name: &'static str,
    from: impl AsyncRead + Unpin,
    stdout_lines: Option<mpsc::UnboundedSender<String>>,
) {
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while let Ok(1..) = lines.read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        match &stdout_lines {
            Some(stdout_lines) => drop(stdout_lines.send(text)),
            None => log_line(format!("{name:>11} | {text}")),
        }
    }
}

/// Writes a line to standard error; ignores a closed one.
pub fn log_line(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "{}", line.as_ref());
}

/// Writes a line to standard output: information for the user, or for a program that started the demo.
pub fn print_line(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout(), "{}", line.as_ref());
}
