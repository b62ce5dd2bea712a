//! Repeats one request on persistent connections: the cost of a request without its handler.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use clap::Args;
use iotpi_benches::Error;
use serde_json::{Value, json};

use crate::{
    ServerArgs,
    connection::Connection,
    frame,
    ingest::pause,
    percentiles::{milliseconds, rounded},
    process::{CpuSample, MeasuredInterval, peak_megabytes},
};

/// The options of `requests`.
#[derive(Debug, Args)]
pub struct Requests {
    #[command(flatten)]
    server: ServerArgs,
    /// Concurrent connections, each with one request at a time.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// The path of the request.
    #[arg(long, default_value = "/health")]
    path: String,
}

/// A request: the time of its response, and its duration.
type Answered = (Duration, Duration);

impl Requests {
    /// Measures and returns the results as JSON.
    ///
    /// # Errors
    /// Those of the connections; a response that is not successful; there is no server process.
    #[allow(clippy::cast_precision_loss)]
    pub fn run(&self) -> Result<Value, Error> {
        let server = &self.server;
        let request = server.url.head("GET", &self.path, server.token.as_deref()) + "\r\n";
        let connections =
            (0..self.connections).map(|_| Connection::to(server.url)).collect::<io::Result<Vec<_>>>()?;
        let stop = AtomicBool::new(false);
        let (interval, answered) = thread::scope(|scope| {
            let running: Vec<_> = connections
                .into_iter()
                .map(|connection| scope.spawn(|| send(connection, request.as_bytes(), &stop)))
                .collect();
            pause(server.warm_up_secs);
            let from = CpuSample::now(server.pid);
            pause(server.secs);
            let to = CpuSample::now(server.pid);
            stop.store(true, Relaxed);
            let answered: Result<Vec<_>, Error> = running
                .into_iter()
                .map(|thread| thread.join().map_err(|_| "a connection panicked")?)
                .collect();
            Ok::<_, Error>((MeasuredInterval { from: from?, to: to? }, answered?.concat()))
        })?;
        let took: Vec<Duration> =
            answered.into_iter().filter(|(at, _)| interval.contains(*at)).map(|(_, took)| took).collect();
        let count = took.len();
        if count == 0 {
            return Err("no request was answered".into());
        }
        let (cpu, kernel) = interval.micros_each(count);
        let times = milliseconds(took);
        Ok(json!({
            "server": server.label,
            "name": server.name,
            "test": "requests",
            "connections": self.connections,
            "path": self.path,
            "requests_per_s": rounded(count as f64 / interval.secs(), 0),
            "p50_ms": times.map(|(p50, _)| p50),
            "p99_ms": times.map(|(_, p99)| p99),
            "cpu_us": rounded(cpu, 1),
            "kernel_us": rounded(kernel, 1),
            "peak_mb": rounded(peak_megabytes(server.pid)?, 1),
            "others_percent": rounded(interval.others_percent(), 0),
        }))
    }
}

/// Sends the request until `stop` is set.
fn send(mut connection: Connection, request: &[u8], stop: &AtomicBool) -> Result<Vec<Answered>, Error> {
    let mut answered = Vec::with_capacity(1 << 16);
    while !stop.load(Relaxed) {
        let started = frame::now();
        connection.request(request)?;
        let done = frame::now();
        answered.push((done, done - started));
    }
    Ok(answered)
}
