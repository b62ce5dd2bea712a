//! The load of the whole-process measurements: clients that speak to any server over plain sockets and cost as little as
//! possible, so that the server is measured. `benches/compare/README.md` says how it is used.
//!
//! Each measurement is printed as one line of JSON. Deliberately absent: an HTTP library on this side.
#![forbid(unsafe_code)]

mod bare_hyper;
mod bare_plain;
mod camera;
mod fanout;
mod frame;
mod ingest;
mod line;
mod mjpeg;
mod process;
mod requests;
mod soak;
mod spread;
mod viewers;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use iotpi_benches::Error;

use self::line::Target;

#[derive(Debug, Parser)]
#[command(about = "The load of the whole-process measurements")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cameras that send as fast as they are answered.
    Ingest(ingest::Ingest),
    /// Cameras and viewers: how old the pictures are that arrive.
    Fanout(fanout::Fanout),
    /// One GET request over and over.
    Requests(requests::Requests),
    /// A hub of its own under a steady load: how its memory develops.
    Soak(soak::Soak),
    /// Runs a control server on a free port, which it prints, until it is killed.
    ServeBare {
        /// Made of what.
        #[arg(value_enum)]
        kind: Bare,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bare {
    /// hyper that reads each body, keeps nothing and answers 204.
    Hyper,
    /// Sockets: the newest frame of each camera is kept and written to who watches.
    Plain,
}

/// Who is measured, and how long.
#[derive(Debug, Args)]
struct Whom {
    /// The server.
    #[arg(long, value_name = "http://ADDR:PORT")]
    url: Target,
    /// Shown as `Authorization: Bearer TOKEN`.
    #[arg(long)]
    token: Option<String>,
    /// The server's process: what it uses is part of the figures.
    #[arg(long)]
    pid: u32,
    /// What the server is called in the figures.
    #[arg(long, default_value = "server")]
    label: String,
    /// What the measurement is called in the figures.
    #[arg(long, default_value = "")]
    name: String,
    /// Bytes of a frame, 64 to 8 MiB.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(64..=8 * 1024 * 1024))]
    bytes: u32,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 5.0)]
    secs: f64,
    /// Seconds before that, which do not count.
    #[arg(long, default_value_t = 1.0)]
    warm_up_secs: f64,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hub-load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Ingest(ingest) => println!("{}", ingest.run()?),
        Command::Fanout(fanout) => println!("{}", fanout.run()?),
        Command::Requests(requests) => println!("{}", requests.run()?),
        Command::Soak(soak) => println!("{}", soak.run()?),
        Command::ServeBare { kind } => {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
                println!("listening on http://{}", listener.local_addr()?);
                match kind {
                    Bare::Hyper => bare_hyper::serve(listener).await,
                    Bare::Plain => bare_plain::serve(listener).await,
                }
            })?;
        }
    }
    Ok(())
}
