//! Runs a module, as a service or once.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use iotpi_core::{HubClient, Runner, SystemClock};
use iotpi_hal::catalog::Setup;

use crate::{
    reload::{self, Job},
    settings::Settings,
    stock::Stock,
    stop,
};

pub const HELP: &str = "Example, `temperature.toml`:\n
  id = \"temperature\"
  hub = \"http://raspberrypi.local:8000\"
  token_file = \"/etc/iotpi/temperature.token\"

  [[device]]
  driver = \"bme280\"
  bus = \"linux\"
  every_secs = 60

A token: `iotpi-hub token add --role module --module temperature` on the hub's machine.
`iotpi-module check` finds the faults of a file before the start.
RUST_LOG sets what is logged (info; debug; iotpi_core=debug).";

/// The arguments of the command.
#[derive(Debug, Args)]
pub struct Run {
    /// The settings file.
    file: PathBuf,
    /// Takes one reading or frame, or runs the pending command, and exits: for cron. Fails when the device or
    /// hub fails.
    #[arg(long)]
    once: bool,
    /// The hub, `http://HOST:PORT`.
    #[arg(long, value_name = "URL", env = "IOTPI_URL")]
    hub: Option<String>,
    /// A file that contains the module's token. Default: IOTPI_TOKEN, else the token of the settings file.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A folder of this module for readings that the hub has not accepted yet and for the log of hazardous
    /// commands. Default: the folder of the settings file, else `outbox` in systemd's STATE_DIRECTORY;
    /// without any of them both are in memory.
    #[arg(long, value_name = "DIR")]
    outbox: Option<PathBuf>,
    /// Also exits when standard input is closed: for a program that runs modules.
    #[arg(long, hide = true)]
    until_stdin_closes: bool,
}

/// Runs the module of a settings file.
///
/// # Errors
/// A fault of the file, a missing token, a device that cannot be opened, or
/// [`RunError`](iotpi_core::module::RunError).
pub fn run(run: &Run) -> anyhow::Result<()> {
    iotpi_core::log::init();
    let settings = Settings::read(&run.file)?;
    // One thread: a module mostly waits. A blocking driver runs on a thread of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let stop = (!run.once).then(|| stop::stop_token(run.until_stdin_closes));
        let name = format!("module `{}` at {}", settings.id, settings.hub_url(run.hub.as_deref()));
        match stop {
            Some(stop) => reload::run_until(&run.file, settings, |settings| job(run, settings), stop).await,
            None => {
                let (runner, module) = job(run, &settings)?;
                runner.once(module).await.map_err(Into::into)
            }
        }
        .with_context(|| name)
    });
    // A hanging device blocks its thread; the process does not wait for it.
    runtime.shutdown_background();
    ended
}

/// Opens the devices of the settings, and a runner for them.
fn job(run: &Run, settings: &Settings) -> anyhow::Result<Job> {
    let token = settings.token(run.token_file.as_deref(), std::env::var("IOTPI_TOKEN").ok())?;
    let hub = HubClient::new(&settings.hub_url(run.hub.as_deref()))?.with_token(token);
    let outbox = settings.outbox(run.outbox.as_deref(), std::env::var_os("STATE_DIRECTORY"));
    let module = Stock::open(settings, &Setup::new(SystemClock::shared()), outbox.as_deref())?;
    let runner = Runner::new(hub.uplink(settings.id.clone()));
    Ok(match outbox {
        Some(folder) => (runner.with_outbox_dir(folder), module),
        None => (runner, module),
    })
}
