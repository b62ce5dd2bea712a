//! The process of the hub: starts it, reads its output, and restarts it on its first address.

use std::{net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use tokio::{
    process::Command,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    child::{ENDS_WITH_STDIN, Programs, Running, log_line, print_line},
    supervise,
};

/// A hub starts in a tenth of a second; a Pi with a slow SD card takes longer.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// The demo's own processes deliver without a token, as any program on this machine may. So the ten-line
/// script of the documentation works unchanged.
const CONFIG: &str = "# Written by iotpi-demo at every start.\n\
    [auth]\nanonymous_ingest = [\"127.0.0.0/8\", \"::1/128\"]\n";

/// The supervised hub.
#[derive(Debug)]
pub struct Hub {
    url: String,
    code: Option<String>,
    end: Option<oneshot::Sender<Duration>>,
    kept: JoinHandle<()>,
}

/// The lines a hub prints on standard output once it listens.
struct Announced {
    url: String,
    code: Option<String>,
}

impl Hub {
    /// Starts the hub, waits until it listens, and restarts it when it crashes.
    pub async fn start(programs: &Programs, data: &Path, listen: SocketAddr) -> anyhow::Result<Self> {
        let config = data.join("demo-hub.toml");
        tokio::fs::write(&config, CONFIG).await.context("the hub's config cannot be written")?;
        let command = |listen: &str| {
            let mut command = Command::new(&programs.hub);
            command.arg("serve").arg("--config").arg(&config).arg("--data").arg(data);
            command.args(["--listen", listen, ENDS_WITH_STDIN]);
            command
        };
        let (running, announced) = up(&mut command(&listen.to_string())).await?;
        let address = announced.url.trim_start_matches("http://").to_owned();
        let (end, asked) = oneshot::channel();
        // A restarted hub must listen on the address the modules use.
        let kept = tokio::spawn(keep_up(running, command(&address), asked));
        Ok(Self { url: announced.url, code: announced.code, end: Some(end), kept })
    }

    /// `http://ADDR:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The code that creates the first admin, while there is none.
    pub fn first_admin_code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// Stops the hub within the timeout.
    pub async fn end(mut self, within: Duration) {
        if let Some(end) = self.end.take() {
            let _ = end.send(within);
        }
        let _ = self.kept.await;
    }
}

/// Starts a hub and waits until it listens.
async fn up(command: &mut Command) -> anyhow::Result<(Running, Announced)> {
    let (said, mut lines) = mpsc::unbounded_channel();
    let mut running = Running::start("hub", command, Some(said))?;
    let pid = running.id().unwrap_or_default();
    let announced = async {
        let mut code = None;
        while let Some(line) = lines.recv().await {
            if let Some(said) = line.strip_prefix("first admin code: ") {
                code = Some(said.to_owned());
            } else if let Some(url) = line.strip_prefix("iotpi-hub listening on ") {
                return Some(Announced { url: url.to_owned(), code });
            }
        }
        None
    };
    match tokio::time::timeout(START_TIMEOUT, announced).await {
        Ok(Some(announced)) => {
            log_line(format!("iotpi-demo: hub runs as process {pid}"));
            Ok((running, announced))
        }
        // The last line of its log contains the reason.
        Ok(None) => bail!("the hub did not start ({})", running.ended().await?),
        Err(_) => bail!("the hub did not listen within {} s", START_TIMEOUT.as_secs()),
    }
}

async fn keep_up(mut running: Running, mut command: Command, mut asked: oneshot::Receiver<Duration>) {
    let mut backoff = supervise::backoff();
    loop {
        tokio::select! {
            within = &mut asked => return running.end("hub", within.unwrap_or_default()).await,
            ended = running.ended() => match ended {
                Ok(status) => log_line(format!("iotpi-demo: the hub ended ({status})")),
                Err(error) => log_line(format!("iotpi-demo: {error:#}")),
            },
        }
        running = loop {
            let wait = backoff.failed();
            log_line(format!("iotpi-demo: the hub is started again in {:.1} s", wait.as_secs_f64()));
            tokio::select! {
                _ = &mut asked => return,
                () = tokio::time::sleep(wait) => {}
            }
            let again = tokio::select! {
                _ = &mut asked => return,
                again = up(&mut command) => again,
            };
            match again {
                Ok((running, announced)) => {
                    backoff.succeeded();
                    if let Some(code) = announced.code {
                        print_line(format!("first admin code: {code}"));
                    }
                    break running;
                }
                Err(error) => log_line(format!("iotpi-demo: {error:#}")),
            }
        };
    }
}

/// A new token for a module; the token of the demo's last start is revoked.
pub async fn module_token(programs: &Programs, data: &Path, module: &str) -> anyhow::Result<String> {
    let made = Command::new(&programs.hub)
        .args(["token", "add", "--replace", "--role", "module", "--module", module])
        .arg(format!("demo-{module}"))
        .arg("--data")
        .arg(data)
        .output()
        .await
        .context("iotpi-hub cannot be started")?;
    ensure!(made.status.success(), "no token for {module}: {}", String::from_utf8_lossy(&made.stderr).trim());
    Ok(String::from_utf8_lossy(&made.stdout).trim().to_owned())
}
