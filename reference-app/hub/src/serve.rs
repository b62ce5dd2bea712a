//! The command `iotpi-hub serve`.

use std::{io::ErrorKind, net::SocketAddr, os::unix::process::CommandExt as _, time::Duration};

use anyhow::{Context, anyhow};
use clap::Args;
use iotpi_hub::{Config, Hub};
use sd_notify::NotifyState;
use tokio::{net::TcpListener, sync::oneshot};

use crate::{config::HubPaths, watchdog};

/// The documented limit of a shutdown is 3 s.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(2800);
/// A program that has not exited this long after the signal is blocked. The unit's `TimeoutStopSec` is
/// longer.
const EXIT_AFTER: Duration = Duration::from_secs(6);

/// Options of `serve`.
#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    paths: HubPaths,
    /// The address to listen on; port 0 selects a free port. Default 127.0.0.1:8000: this machine only.
    #[arg(long, value_name = "ADDR:PORT", env = "IOTPI_LISTEN")]
    listen: Option<SocketAddr>,
    /// Also exits when standard input is closed: for a program that runs a hub.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// The number of heaps of glibc's allocator (`M_ARENA_MAX` in mallopt(3)). The default is eight for each
/// core, and each reserves 64 MiB of address space: with a limit on the address space (`RLIMIT_AS`) of 400
/// MiB an idle hub had 10 MiB left.
const ALLOCATOR: (&str, &str) = ("MALLOC_ARENA_MAX", "2");

/// Executes this program again in the same process, with the allocator's setting in its environment, which
/// the allocator reads before any other code runs. If that fails, the hub runs without the setting.
fn with_few_heaps() {
    if cfg!(target_env = "gnu")
        && std::env::var_os(ALLOCATOR.0).is_none()
        && let Ok(program) = std::env::current_exe()
    {
        let mut arguments = std::env::args_os();
        let mut command = std::process::Command::new(program);
        if let Some(name) = arguments.next() {
            command.arg0(name);
        }
        let error = command.args(arguments).env(ALLOCATOR.0, ALLOCATOR.1).exec();
        eprintln!("iotpi-hub: {} could not be set: {error}", ALLOCATOR.0);
    }
}

/// Runs a hub until it is asked to stop.
pub fn run(serve: &Serve) -> anyhow::Result<()> {
    with_few_heaps();
    iotpi_core::log::init();
    let config = serve.paths.config(serve.listen)?;
    let signal = watchdog::stop_signal().context("signals cannot be awaited")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(until_told(config, signal, serve.until_stdin_closes));
    runtime.shutdown_background();
    ended
}

async fn until_told(
    config: Config,
    signal: oneshot::Receiver<()>,
    until_stdin_closes: bool,
) -> anyhow::Result<()> {
    let stdin_closed = stdin_closed(until_stdin_closes);

    let listener =
        TcpListener::bind(config.listen).await.map_err(|error| cannot_listen(config.listen, error))?;
    let address = listener.local_addr()?;
    let store = config.store.clone();
    let hub = Hub::open(config).await.with_context(|| format!("the store {store} cannot be used"))?;
    if let Some(recovered) = hub.recovered() {
        let instead = match (&recovered.restored, &recovered.salvaged) {
            (Some(backup), _) => format!("{} was restored", backup.display()),
            (None, Some(what)) => what.clone(),
            (None, None) => "there was no backup: a new database was begun".to_owned(),
        };
        // Printed even when logging is off.
        eprintln!(
            "iotpi-hub: the database was damaged ({}); all its files are in {}; {instead}",
            recovered.why,
            recovered.quarantine.display()
        );
        tracing::error!(
            why = recovered.why, quarantine = %recovered.quarantine.display(), instead, "the database was damaged"
        );
    }
    if let Some(code) = hub.first_admin_code().await? {
        println!("first admin code: {code}");
    }
    println!("iotpi-hub listening on http://{address}");
    tracing::info!(%address, store, "the hub runs");
    let mut serving = tokio::spawn(hub.clone().serve(listener));
    #[cfg(feature = "sabotage")]
    block_workers();
    watchdog::feed(&hub);
    tell_systemd(NotifyState::Ready);

    let mut failed = None;
    tokio::select! {
        _ = signal => {}
        _ = stdin_closed => {}
        ended = &mut serving => {
            ended.context("the server ended by itself")?;
        }
        why = hub.failed() => failed = Some(why),
    }
    let _exit = watchdog::exit_after(EXIT_AFTER);
    tell_systemd(NotifyState::Stopping);
    tracing::info!("stopping");
    match tokio::time::timeout(SHUTDOWN_TIMEOUT, hub.shutdown()).await {
        Ok(closed) => closed.context("the store was not closed well")?,
        Err(_) => tracing::warn!("not everything ended in time; what was acknowledged is kept"),
    }
    tracing::info!("stopped");
    match failed {
        // The service manager restarts the hub; a failed sync is not tried again before that.
        Some(why) => Err(anyhow!("the store failed ({why}): the next start recovers what was acknowledged")),
        None => Ok(()),
    }
}

/// Completes when standard input is closed, if `asked`; otherwise never.
async fn stdin_closed(asked: bool) {
    let (closed, is_closed) = oneshot::channel::<()>();
    if !asked {
        return std::future::pending().await;
    }
    // A plain thread: unlike a blocking thread of the runtime, it does not delay the exit of the program.
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        drop(closed);
    });
    let _ = is_closed.await;
}

fn cannot_listen(address: SocketAddr, error: std::io::Error) -> anyhow::Error {
    let port = address.port();
    match error.kind() {
        ErrorKind::AddrInUse => anyhow!(
            "port {port} is taken: stop what listens there (`ss -ltnp 'sport = :{port}'` shows it), or choose another \
             port with --listen {}:{}",
            address.ip(),
            port.wrapping_add(1).max(1024)
        ),
        ErrorKind::PermissionDenied => {
            anyhow!("port {port} may only be opened by root: choose one from 1024 up with --listen")
        }
        ErrorKind::AddrNotAvailable => {
            anyhow!("{} is no address of this machine: choose another with --listen", address.ip())
        }
        _ => anyhow::Error::new(error).context(format!("cannot listen on {address}")),
    }
}

/// Does nothing when systemd does not expect notifications.
pub fn tell_systemd(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "systemd could not be notified");
    }
}

/// Blocks every worker thread of the runtime forever, for the test of this failure.
#[cfg(feature = "sabotage")]
fn block_workers() {
    use iotpi_hub::sabotage::{Sabotage, is};

    if is(Sabotage::BlockWorkers) {
        for _ in 0..tokio::runtime::Handle::current().metrics().num_workers() {
            tokio::spawn(async {
                loop {
                    std::thread::park();
                }
            });
        }
    }
}
