//! The memory of a hub under a steady load.
//!
//! The hub is a separate process with a new database. Modules record at a fixed rate; two clients query the
//! newest readings, raw readings, aggregates, modules, storage and metrics with pauses of 20 ms.

use std::{
    fs,
    io::{self, BufRead as _, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use clap::Args;
use iotpi_benches::{Error, folder};
use serde_json::{Value, json};

use crate::{
    connection::{Connection, Target},
    frame,
    ingest::pause,
    percentiles::rounded,
};

/// The interval of the samples of the memory.
const SAMPLE_SECS: f64 = 5.0;
/// The pause between two queries of a client.
const QUERY_PAUSE_SECS: f64 = 0.02;
/// Threads that record; each has one connection and a share of the modules.
const RECORDING_THREADS: u32 = 4;

/// The options of `soak`.
#[derive(Debug, Args)]
pub struct Soak {
    /// The path of the hub program.
    #[arg(long, value_name = "FILE")]
    hub: PathBuf,
    /// The duration of the load in seconds. The first third, at most ten minutes, is the warm-up.
    #[arg(long, default_value_t = 600.0)]
    secs: f64,
    /// Modules, with one series each.
    #[arg(long, default_value_t = 200)]
    modules: u32,
    /// Readings per second of all modules.
    #[arg(long, default_value_t = 260)]
    rate: u32,
}

/// A sample of the memory of the hub, in MiB.
#[derive(Debug, Clone, Copy)]
struct Memory {
    at_secs: f64,
    anonymous: f64,
    mapped: f64,
}

impl Soak {
    /// Runs the load, prints the samples to standard error, and returns the results as JSON.
    ///
    /// # Errors
    /// The hub does not start, or a response is not successful.
    pub fn run(&self) -> Result<Value, Error> {
        let data = folder()?;
        let token = self.token(data.path())?;
        let hub = Hub::start(&self.hub, data.path())?;
        let stop = AtomicBool::new(false);
        let (readings, queries) = (AtomicU64::new(0), AtomicU64::new(0));
        let failure = Mutex::new(None);
        let fail = |error: io::Error| {
            failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            stop.store(true, Relaxed);
        };
        let started = frame::now();
        let samples = thread::scope(|scope| {
            for part in 0..RECORDING_THREADS {
                let (token, stop, readings, fail) = (&token, &stop, &readings, &fail);
                scope.spawn(move || {
                    self.record(part, hub.target, token, stop, readings).unwrap_or_else(fail);
                });
            }
            for _ in 0..2 {
                let (token, stop, queries, fail) = (&token, &stop, &queries, &fail);
                scope.spawn(move || query(hub.target, token, stop, queries).unwrap_or_else(fail));
            }
            let samples = self.samples(hub.child.id(), &stop);
            stop.store(true, Relaxed);
            samples
        })?;
        if let Some(error) = failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error.into());
        }
        let secs = (frame::now() - started).as_secs_f64();
        let warm_up = (self.secs / 3.0).min(600.0);
        let counted: Vec<Memory> =
            samples.iter().copied().filter(|sample| sample.at_secs >= warm_up).collect();
        let last = samples.last().ok_or("the load was too short for a sample")?;
        let peak = samples.iter().map(|sample| sample.anonymous + sample.mapped).fold(0.0, f64::max);
        Ok(json!({
            "test": "soak",
            "secs": rounded(secs, 0),
            "modules": self.modules,
            "readings": readings.load(Relaxed),
            "queries": queries.load(Relaxed),
            "anonymous_mib": rounded(last.anonymous, 1),
            "mapped_mib": rounded(last.mapped, 1),
            "most_mib": rounded(peak, 1),
            "slope_mib_per_hour": slope(&counted).map(|slope| rounded(slope * 3600.0, 2)),
        }))
    }

    /// A new token of an admin.
    fn token(&self, data: &std::path::Path) -> Result<String, Error> {
        let output = Command::new(&self.hub)
            .args(["token", "add", "--role", "admin", "soak", "--data"])
            .arg(data)
            .stderr(Stdio::null())
            .output()?;
        if !output.status.success() {
            return Err("the hub created no token".into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    fn samples(&self, pid: u32, stop: &AtomicBool) -> io::Result<Vec<Memory>> {
        let started = frame::now();
        let mut samples = Vec::new();
        loop {
            pause(SAMPLE_SECS);
            let at_secs = (frame::now() - started).as_secs_f64();
            if at_secs >= self.secs || stop.load(Relaxed) {
                return Ok(samples);
            }
            let memory = Memory::of(pid, at_secs)?;
            eprintln!(
                "{:7.0} s  {:6.2} MiB anonymous  {:6.2} MiB mapped",
                at_secs, memory.anonymous, memory.mapped
            );
            samples.push(memory);
        }
    }

    /// Records the readings of a share of the modules at its share of the rate.
    fn record(
        &self,
        part: u32,
        target: Target,
        token: &str,
        stop: &AtomicBool,
        readings: &AtomicU64,
    ) -> io::Result<()> {
        let mut connection = Connection::to(target)?;
        let interval_secs = f64::from(RECORDING_THREADS) / f64::from(self.rate.max(1));
        let started = frame::now();
        let mut count: u32 = 0;
        while !stop.load(Relaxed) {
            let module = (count * RECORDING_THREADS + part) % self.modules.max(1);
            let value = 20.0 + f64::from(count % 100) / 10.0;
            let body = format!(r#"{{"module_id":"soak-{module}","value":{value},"unit":"celsius"}}"#);
            let head = target.head("POST", "/api/sensors/temperature", Some(token));
            let length = body.len();
            connection.request(
                format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}")
                    .as_bytes(),
            )?;
            readings.fetch_add(1, Relaxed);
            count += 1;
            pause(f64::from(count) * interval_secs - (frame::now() - started).as_secs_f64());
        }
        Ok(())
    }
}

/// Queries the paths in turn.
fn query(target: Target, token: &str, stop: &AtomicBool, queries: &AtomicU64) -> io::Result<()> {
    const PATHS: [&str; 8] = [
        "/api/sensors?limit=1000",
        "/api/sensors/temperature?limit=1000",
        "/api/sensors/temperature?limit=100&order=asc",
        "/api/sensors/temperature?bucket=1m&limit=1000",
        "/api/sensors/temperature?bucket=1h&limit=1000",
        "/api/modules?limit=1000",
        "/api/storage",
        "/metrics",
    ];
    let mut connection = Connection::to(target)?;
    for path in PATHS.iter().cycle() {
        if stop.load(Relaxed) {
            return Ok(());
        }
        connection.request((target.head("GET", path, Some(token)) + "\r\n").as_bytes())?;
        queries.fetch_add(1, Relaxed);
        pause(QUERY_PAUSE_SECS);
    }
    Ok(())
}

impl Memory {
    /// The resident memory of a process (proc(5)): anonymous pages, and pages of files.
    fn of(pid: u32, at_secs: f64) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let mib = |name: &str| {
            let kib = status.lines().find_map(|line| line.strip_prefix(name));
            kib.and_then(|kib| kib.trim().trim_end_matches("kB").trim().parse::<f64>().ok())
                .map(|kib| kib / 1024.0)
        };
        match (mib("RssAnon:"), mib("RssFile:"), mib("RssShmem:")) {
            (Some(anonymous), Some(file), Some(shared)) => {
                Ok(Self { at_secs, anonymous, mapped: file + shared })
            }
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "/proc/PID/status has no resident memory")),
        }
    }
}

/// The growth of the anonymous memory in MiB per second, by least squares.
#[allow(clippy::cast_precision_loss)]
fn slope(samples: &[Memory]) -> Option<f64> {
    let count = samples.len() as f64;
    let mean = |of: fn(&Memory) -> f64| samples.iter().map(of).sum::<f64>() / count;
    let (at, memory) = (mean(|sample| sample.at_secs), mean(|sample| sample.anonymous));
    let covariance: f64 =
        samples.iter().map(|sample| (sample.at_secs - at) * (sample.anonymous - memory)).sum();
    let variance: f64 = samples.iter().map(|sample| (sample.at_secs - at).powi(2)).sum();
    (variance > 0.0).then(|| covariance / variance)
}

/// The hub process. Dropping it kills it.
struct Hub {
    child: Child,
    target: Target,
}

impl Hub {
    fn start(program: &PathBuf, data: &std::path::Path) -> Result<Self, Error> {
        let mut child = Command::new(program)
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(data)
            .env("RUST_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("the hub has no standard output")?;
        let mut found = None;
        for line in BufReader::new(output).lines() {
            if let Some((_, url)) = line?.split_once("listening on ") {
                found = Some(url.trim().parse()?);
                break;
            }
        }
        match found {
            Some(target) => Ok(Self { child, target }),
            None => {
                child.kill()?;
                Err("the hub does not listen".into())
            }
        }
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
