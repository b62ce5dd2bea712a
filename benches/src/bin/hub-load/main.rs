//! The load generator of the whole-process measurements. Its clients use plain sockets and as little CPU time
//! as possible, so that the server is measured. `benches/compare/README.md` describes how to use it.
//!
//! It prints each measurement as one line of JSON. Deliberately absent: an HTTP library in the clients.
#![forbid(unsafe_code)]

mod bare_hyper;
mod bare_plain;
mod camera;
mod connection;
mod fanout;
mod frame;
mod ingest;

mod mjpeg;
mod percentiles;
mod process;
mod requests;
mod soak;

mod viewers;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use iotpi_benches::Error;

use self::connection::Target;

#[derive(Debug, Parser)]
#[command(about = "The load generator of the whole-process measurements")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Cameras send frames, each after the response to the previous one.
    Ingest(ingest::Ingest),
    /// Cameras and viewers: the age of the frames that arrive.
    Fanout(fanout::Fanout),
    /// Repeats one GET request.
    Requests(requests::Requests),
    /// Starts a hub and measures its memory under a steady load.
    Soak(soak::Soak),
    /// Runs a minimal server for comparison on a free port, and prints its address.
    ServeBare {
        /// The implementation.
        #[arg(value_enum)]
        kind: Bare,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Bare {
    /// hyper: reads and discards each body, and answers 204.
    Hyper,
    /// Plain sockets: writes the newest frame of each camera to its viewers.
    Plain,
}

/// The server to measure, the frames, and the duration.
#[derive(Debug, Args)]
struct ServerArgs {
    /// The address of the server.
    #[arg(long, value_name = "http://ADDR:PORT")]
    url: Target,
    /// Sent as `Authorization: Bearer TOKEN`.
    #[arg(long)]
    token: Option<String>,
    /// The process id of the server, whose CPU time and memory are reported.
    #[arg(long)]
    pid: u32,
    /// The name of the server in the output.
    #[arg(long, default_value = "server")]
    label: String,
    /// The name of the measurement in the output.
    #[arg(long, default_value = "")]
    name: String,
    /// The size of a frame in bytes, 64 to 8 MiB.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(64..=8 * 1024 * 1024))]
    bytes: u32,
    /// The duration of the measurement in seconds.
    #[arg(long, default_value_t = 5.0)]
    secs: f64,
    /// The duration of the warm-up in seconds.
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
