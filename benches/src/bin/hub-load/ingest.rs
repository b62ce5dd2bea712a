//! Uploads of frames, each after the response to the previous one.

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
    camera::Camera,
    frame,
    percentiles::{milliseconds, rounded},
    process::{CpuSample, MeasuredInterval, peak_megabytes},
};

/// The options of `ingest`.
#[derive(Debug, Args)]
pub struct Ingest {
    #[command(flatten)]
    server: ServerArgs,
    /// Concurrent cameras.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// Send all frames of a camera in one request.
    #[arg(long)]
    push: bool,
    /// The path of the uploads; `{n}` is the number of the camera.
    #[arg(
        long,
        default_value = "/api/camera/frame?module_id=bench",
        default_value_if("push", "true", "/api/camera/stream?module_id=bench-{n}")
    )]
    path: String,
}

/// A frame: the time of its response, and the duration.
type Sent = (Duration, Duration);

impl Ingest {
    /// Measures and returns the results as JSON.
    ///
    /// # Errors
    /// Those of a camera; there is no server process.
    #[allow(clippy::cast_precision_loss)]
    pub fn run(&self) -> Result<Value, Error> {
        let server = &self.server;
        let cameras = (0..self.connections)
            .map(|n| Camera::connect(server, &self.path.replace("{n}", &n.to_string()), self.push))
            .collect::<io::Result<Vec<_>>>()?;
        let stop = AtomicBool::new(false);
        let (interval, sent) = thread::scope(|scope| {
            let running: Vec<_> =
                cameras.into_iter().map(|camera| scope.spawn(|| send(camera, &stop))).collect();
            pause(server.warm_up_secs);
            let from = CpuSample::now(server.pid);
            pause(server.secs);
            let to = CpuSample::now(server.pid);
            stop.store(true, Relaxed);
            let sent: Result<Vec<_>, Error> =
                running.into_iter().map(|camera| camera.join().map_err(|_| "a camera panicked")?).collect();
            Ok::<_, Error>((MeasuredInterval { from: from?, to: to? }, sent?.concat()))
        })?;
        let took: Vec<Duration> =
            sent.into_iter().filter(|(at, _)| interval.contains(*at)).map(|(_, took)| took).collect();
        let count = took.len();
        let (cpu, kernel) = interval.micros_each(count);
        if count == 0 {
            return Err("no frame was accepted".into());
        }
        // A pushed frame is not acknowledged, and the time until the kernel accepts it means nothing.
        let times = if self.push { None } else { milliseconds(took) };
        Ok(json!({
            "server": server.label,
            "name": server.name,
            "test": if self.push { "push" } else { "ingest" },
            "connections": self.connections,
            "bytes": server.bytes,
            "frames_per_s": rounded(count as f64 / interval.secs(), 0),
            "p50_ms": times.map(|(p50, _)| p50),
            "p99_ms": times.map(|(_, p99)| p99),
            "cpu_us": rounded(cpu, 1),
            "kernel_us": rounded(kernel, 1),
            "peak_mb": rounded(peak_megabytes(server.pid)?, 1),
            "others_percent": rounded(interval.others_percent(), 0),
        }))
    }
}

/// Sends frames until `stop` is set.
fn send(mut camera: Camera, stop: &AtomicBool) -> Result<Vec<Sent>, Error> {
    let mut sent = Vec::with_capacity(1 << 16);
    while !stop.load(Relaxed) {
        let started = camera.send_frame()?;
        let done = frame::now();
        sent.push((done, done - started));
    }
    camera.end()?;
    Ok(sent)
}

/// Blocks the thread. No task runs on it.
#[allow(clippy::disallowed_methods)]
pub fn pause(secs: f64) {
    thread::sleep(Duration::from_secs_f64(secs.max(0.0)));
}
