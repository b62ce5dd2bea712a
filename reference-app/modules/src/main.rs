//! The stock modules: a settings file in TOML becomes a module that runs as a service, or once from cron.
//!
//! Deliberately absent: a plug-in loader. To support another device, write a driver in `iotpi-hal`, or a
//! program based on `iotpi-core`: `iotpi-module new` creates one.
#![forbid(unsafe_code)]

mod catalog_table;
mod check;
mod doctor;
mod new;
mod reload;
mod run;
mod scan;
mod settings;
mod stock;
mod stop;
mod wiring;

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

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
    ///
    /// When the settings file has changed, the module starts again with the new settings: first its devices are
    /// made safe. A file with faults changes nothing; the faults are logged.
    #[command(after_help = run::HELP)]
    Run(run::Run),
    /// Checks a settings file without opening a device: prints all faults, each with its line. Exit code 1 if
    /// there are any.
    Check {
        /// The settings file.
        file: PathBuf,
    },
    /// Draws the 40-pin header of a Raspberry Pi with the wires of the devices, as SVG on the standard output:
    /// `iotpi-module wiring greenhouse.toml > greenhouse.svg`.
    Wiring {
        /// The settings file.
        file: PathBuf,
    },
    /// Checks this machine and the hub: power, clock, buses, permissions, disk. Each fault comes with the command
    /// or the line that corrects it. Exit code 1 if something fails.
    Doctor(doctor::Doctor),
    /// Creates a folder with a program of your own that is a module: with a test, and a README.
    New(new::New),
    /// Lists the devices that the kernel of this machine shows, and prints a settings file with them.
    Scan,
    /// Lists the drivers of this build: quantities or actions, connection and bus.
    List,
}

fn main() -> ExitCode {
    let ended = match Cli::parse().command {
        Command::List => {
            print!("{}", catalog_table::table());
            Ok(())
        }
        Command::Check { file } => check::check(&file),
        Command::Doctor(doctor) => doctor::doctor(&doctor),
        Command::New(new) => new::new(&new),
        Command::Scan => {
            print!("{}", scan::report(&iotpi_hal::kernel::Sysfs::new()));
            Ok(())
        }
        Command::Wiring { file } => wiring::wiring(&file),
        Command::Run(run) => run::run(&run),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("iotpi-module: {error:#}");
            ExitCode::FAILURE
        }
    }
}
