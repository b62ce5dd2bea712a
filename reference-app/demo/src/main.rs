//! A complete iotpi system on one machine: a hub and some modules with simulated devices, each a process of
//! its own.
//!
//! The demo uses hubs and modules only through their command lines: it starts `iotpi-hub` and `iotpi-module`,
//! which are in its folder, restarts a process that crashes, and shuts everything down in order. It needs no
//! terminal.
#![forbid(unsafe_code)]

mod child;
mod hub;
mod modules;
mod supervise;

use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use clap::Parser;
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    child::{Programs, log_line, print_line},
    modules::CameraSource,
};

/// The time from the signal to the exit. The modules get the first part of it, the hub the rest.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(2800);
const MODULES_ENDED_WITHIN: Duration = Duration::from_millis(1900);

/// Starts a hub and the modules `system`, `temperature`, `led` and `camera`, each as its own process.
///
/// The demo needs no hardware: the devices are simulated below their drivers, and `system` reads this
/// machine. Ctrl-C, SIGTERM, SIGQUIT or SIGHUP (the terminal is closed) shuts everything down in order.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// The address the hub listens on. Port 0 selects a free port.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// The folder for the database and the settings of the modules.
    #[arg(long, value_name = "DIR", env = "IOTPI_DATA", default_value = "iotpi-data")]
    data: PathBuf,
    /// The source of the camera: `testcard`, a folder of JPEG files, or a device such as `/dev/video0`.
    #[arg(long, value_name = "SOURCE", default_value = "testcard")]
    camera: CameraSource,
    /// Seconds between heartbeats of the modules; a module without a heartbeat for 2.5 times as long is late.
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0, value_parser = modules::heartbeat)]
    heartbeat: f64,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ran = runtime.context("no runtime could be made").and_then(|runtime| runtime.block_on(run(args)));
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log_line(format!("iotpi-demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let stop = iotpi_core::stop_signal();
    tokio::pin!(stop);
    let started = tokio::select! {
        () = &mut stop => return Ok(()),
        started = start(&args) => started?,
    };
    stop.await;
    started.end().await;
    Ok(())
}

/// The supervised processes.
struct Started {
    hub: hub::Hub,
    modules: TaskTracker,
    stop_modules: CancellationToken,
}

async fn start(args: &Args) -> anyhow::Result<Started> {
    let programs = Programs::in_own_folder()?;
    // The hub's database has password hashes and keys.
    tokio::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&args.data)
        .await
        .with_context(|| format!("the data folder {} cannot be created", args.data.display()))?;
    let data = tokio::fs::canonicalize(&args.data).await.context("the data folder cannot be found")?;
    let settings = modules::write_settings(&data, &args.camera, args.heartbeat).await?;

    let hub = hub::Hub::start(&programs, &data, args.listen).await?;
    let modules = TaskTracker::new();
    let stop_modules = CancellationToken::new();
    for (name, file) in settings {
        let token = hub::module_token(&programs, &data, name).await?;
        let command = modules::command(&programs, &file, hub.url(), token);
        modules.spawn(supervise::keep_running(name, command, stop_modules.clone(), MODULES_ENDED_WITHIN));
    }
    modules.close();

    print_line(format!("hub: {}", hub.url()));
    match hub.first_admin_code() {
        Some(code) => {
            print_line(format!("first admin code: {code}"));
            print_line(format!("Open {} and make yourself the first admin with that code.", hub.url()));
        }
        None => print_line(format!("An admin exists already: open {} and log in.", hub.url())),
    }
    print_line(format!(
        "Running: the hub and the modules {}. Ctrl-C ends all of them.",
        modules::NAMES.join(", ")
    ));
    Ok(Started { hub, modules, stop_modules })
}

impl Started {
    /// Modules stop first, so that they can still report the final state of their devices to the hub.
    async fn end(self) {
        let asked_at = Instant::now();
        print_line("Ending: modules first, then the hub.");
        self.stop_modules.cancel();
        self.modules.wait().await;
        self.hub.end(SHUTDOWN_TIMEOUT.saturating_sub(asked_at.elapsed())).await;
        print_line(format!("Everything ended in {:.1} s.", asked_at.elapsed().as_secs_f64()));
    }
}
