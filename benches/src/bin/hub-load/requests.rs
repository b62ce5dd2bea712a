//! One request over and over on kept connections: what a request costs beside its handler.

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
    Whom, frame,
    ingest::rest,
    line::Line,
    process::{Moment, Stretch, peak_megabytes},
    spread::{milliseconds, rounded},
};

/// The options of `requests`.
#[derive(Debug, Args)]
pub struct Requests {
    #[command(flatten)]
    whom: Whom,
    /// Connections that send at the same time, each one request at a time.
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// What is requested.
    #[arg(long, default_value = "/health")]
    path: String,
}

/// A request: when it was answered, and how long that took.
type Answered = (Duration, Duration);

impl Requests {
    /// Measures and returns the figures as JSON.
    ///
    /// # Errors
    /// The connections'; an answer that is not a success; a server process that does not exist.
    #[allow(clippy::cast_precision_loss)]
    pub fn run(&self) -> Result<Value, Error> {
        let whom = &self.whom;
        let request = whom.url.head("GET", &self.path, whom.token.as_deref()) + "\r\n";
        let lines = (0..self.connections).map(|_| Line::to(whom.url)).collect::<io::Result<Vec<_>>>()?;
        let stop = AtomicBool::new(false);
        let (stretch, answered) = thread::scope(|scope| {
            let running: Vec<_> =
                lines.into_iter().map(|line| scope.spawn(|| send(line, request.as_bytes(), &stop))).collect();
            rest(whom.warm_up_secs);
            let from = Moment::now(whom.pid);
            rest(whom.secs);
            let to = Moment::now(whom.pid);
            stop.store(true, Relaxed);
            let answered: Result<Vec<_>, Error> =
                running.into_iter().map(|line| line.join().map_err(|_| "a connection panicked")?).collect();
            Ok::<_, Error>((Stretch { from: from?, to: to? }, answered?.concat()))
        })?;
        let took: Vec<Duration> =
            answered.into_iter().filter(|(at, _)| stretch.has(*at)).map(|(_, took)| took).collect();
        let count = took.len();
        if count == 0 {
            return Err("no request was answered".into());
        }
        let (cpu, kernel) = stretch.micros_each(count);
        let times = milliseconds(took);
        Ok(json!({
            "server": whom.label,
            "name": whom.name,
            "test": "requests",
            "connections": self.connections,
            "path": self.path,
            "requests_per_s": rounded(count as f64 / stretch.secs(), 0),
            "p50_ms": times.map(|(p50, _)| p50),
            "p99_ms": times.map(|(_, p99)| p99),
            "cpu_us": rounded(cpu, 1),
            "kernel_us": rounded(kernel, 1),
            "peak_mb": rounded(peak_megabytes(whom.pid)?, 1),
            "others_percent": rounded(stretch.others_percent(), 0),
        }))
    }
}

/// Sends the request until `stop` is set.
fn send(mut line: Line, request: &[u8], stop: &AtomicBool) -> Result<Vec<Answered>, Error> {
    let mut answered = Vec::with_capacity(1 << 16);
    while !stop.load(Relaxed) {
        let began = frame::now();
        line.ask(request)?;
        let done = frame::now();
        answered.push((done, done - began));
    }
    Ok(answered)
}
