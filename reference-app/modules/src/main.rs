//! The stock modules: a settings file in TOML becomes a module that runs as a service, or once from cron.
//!
//! Deliberately absent: a plug-in loader. To support another device, write a driver in `iotpi-hal`, or a
//! program based on `iotpi-core`.
#![forbid(unsafe_code)]

mod catalog_table;
mod settings;
mod stock;
mod stop;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Parser, Subcommand};
use iotpi_core::{HubClient, Runner, SystemClock};
use iotpi_hal::catalog::Setup;

use self::{settings::Settings, stock::Stock};

/// Runs a module made of devices with a driver in the catalog.
#[derive(Debug, Parser)]
#[command(version, about, name = "iotpi-module", subcommand_required = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the module that a settings file describes, until SIGHUP (the terminal is closed), Ctrl-C, SIGQUIT
    /// or SIGTERM: then it makes its devices safe and exits within 2 s. Started with SIGHUP ignored
    /// (`nohup`), it keeps running.
    ///
    /// The command line takes precedence over the environment, and the environment over the file.
    #[command(after_help = RUN_HELP)]
    Run(Run),
    /// Lists the drivers of this build: quantities or actions, connection and bus.
    List,
}

const RUN_HELP: &str = "Example, `temperature.toml`:\n
  id = \"temperature\"
  hub = \"http://raspberrypi.local:8000\"
  token_file = \"/etc/iotpi/temperature.token\"

  [[device]]
  driver = \"bme280\"
  bus = \"linux\"
  every_secs = 60

A token: `iotpi-hub token add --role module --module temperature` on the hub's machine.
RUST_LOG sets what is logged (info; debug; iotpi_core=debug).";

#[derive(Debug, Args)]
struct Run {
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

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::List => {
            print!("{}", catalog_table::table());
            Ok(())
        }
        Command::Run(run) => start(&run),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("iotpi-module: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(run: &Run) -> anyhow::Result<()> {
    iotpi_core::log::init();
    let settings = Settings::read(&run.file)?;
    let url = settings.hub_url(run.hub.as_deref());
    let token = settings.token(run.token_file.as_deref(), std::env::var("IOTPI_TOKEN").ok())?;
    let hub = HubClient::new(&url)?.with_token(token);
    let outbox = settings.outbox(run.outbox.as_deref(), std::env::var_os("STATE_DIRECTORY"));
    // One thread: a module mostly waits. A blocking driver runs on a thread of its own.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let stop = (!run.once).then(|| stop::stop_token(run.until_stdin_closes));
        let module = Stock::open(&settings, &Setup::new(SystemClock::shared()), outbox.as_deref())?;
        let mut runner = Runner::new(hub.uplink(settings.id.clone()));
        if let Some(folder) = outbox {
            runner = runner.with_outbox_dir(folder);
        }
        let ended = match stop {
            Some(stop) => runner.run_until(module, stop).await,
            None => runner.once(module).await,
        };
        ended.with_context(|| format!("module `{}` at {url}", settings.id))
    });
    // A hanging device blocks its thread; the process does not wait for it.
    runtime.shutdown_background();
    ended
}
