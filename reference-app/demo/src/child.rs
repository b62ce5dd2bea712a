//! One process started by the demo.
//!
//! A child watches its standard input, a pipe whose other end only the demo holds: closing it is how the demo asks a
//! child to end, and when the demo is killed the kernel closes it. So no child survives, on any system, without a
//! process id being signalled that may by then be somebody else's.

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

/// What a child gets so that it watches its standard input.
pub const ENDS_WITH_STDIN: &str = "--until-stdin-closes";

/// The programs that stand beside the demo.
#[derive(Debug)]
pub struct Programs {
    pub hub: PathBuf,
    pub module: PathBuf,
}

impl Programs {
    /// Finds them in the folder this program lies in.
    pub fn beside_this() -> anyhow::Result<Self> {
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

/// A running child whose lines are passed on.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// Held open while the child shall run.
    stdin: Option<ChildStdin>,
    /// What passes its lines on; ends with the child.
    lines: TaskTracker,
}

impl Running {
    /// Starts a child. What it says on standard error goes to ours, each line behind its name; what it says on standard
    /// output goes to `said`, or to standard error as well.
    pub fn start(
        name: &'static str,
        command: &mut Command,
        said: Option<mpsc::UnboundedSender<String>>,
    ) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C in a terminal reaches the whole group at once; the order of the end is the demo's business.
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
            lines.spawn(pass_on(name, stdout, said));
        }
        lines.close();
        Ok(Self { child, stdin, lines })
    }

    /// The process id, while it runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits for the child to end by itself.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ended(&mut self) -> anyhow::Result<ExitStatus> {
        let status = self.child.wait().await.context("a child cannot be waited for")?;
        // Its last words say why.
        self.lines.wait().await;
        Ok(status)
    }

    /// Asks it to end and waits; kills it when its time is over.
    pub async fn end(mut self, name: &str, within: Duration) {
        drop(self.stdin.take());
        if tokio::time::timeout(within, self.child.wait()).await.is_err() {
            say(format!("iotpi-demo: {name} did not end in time and was killed"));
            let _ = self.child.kill().await;
        }
        self.lines.wait().await;
    }
}

async fn pass_on(
    name: &'static str,
    from: impl AsyncRead + Unpin,
    said: Option<mpsc::UnboundedSender<String>>,
) {
    let mut lines = BufReader::new(from);
    let mut line = Vec::new();
    while let Ok(1..) = lines.read_until(b'\n', &mut line).await {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        line.clear();
        match &said {
            Some(said) => drop(said.send(text)),
            None => say(format!("{name:>11} | {text}")),
        }
    }
}

/// Says a line on standard error; whoever closed it does not want to hear.
pub fn say(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stderr(), "{}", line.as_ref());
}

/// Tells a line on standard output: what a person or a program that started the demo wants to know.
pub fn tell(line: impl AsRef<str>) {
    let _ = writeln!(std::io::stdout(), "{}", line.as_ref());
}
