//! Frames in, as fast as they are answered.

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
    Whom,
    camera::Camera,
    frame,
    process::{Moment, Stretch, peak_megabytes},
    spread::{milliseconds, rounded},
};

/// What `ingest` can be told.
#[derive(Debug, Args)]
pub struct Ingest {
    #[command(flatten)]
    whom: Whom,
    /// Cameras that send at the same time.
    #[arg(long, default_value_t = 4)]
    connections: usize,
    /// All frames of a camera in one request.
    #[arg(long)]
    push: bool,
    /// Where frames go; `{n}` is the camera's number.
    #[arg(
        long,
        default_value = "/api/camera/frame?module_id=bench",
        default_value_if("push", "true", "/api/camera/stream?module_id=bench-{n}")
    )]
    path: String,
}

/// A frame: when it was done, and how long that took.
type Sent = (Duration, Duration);

impl Ingest {
    /// Measures, and says what came out.
    ///
    /// # Errors
    /// What a camera met; the server's process being gone.
    #[allow(clippy::cast_precision_loss)]
    pub fn run(&self) -> Result<Value, Error> {
        let whom = &self.whom;
        let cameras = (0..self.connections)
            .map(|n| Camera::connect(whom, &self.path.replace("{n}", &n.to_string()), self.push))
            .collect::<io::Result<Vec<_>>>()?;
        let stop = AtomicBool::new(false);
        let (stretch, sent) = thread::scope(|scope| {
            let running: Vec<_> =
                cameras.into_iter().map(|camera| scope.spawn(|| send(camera, &stop))).collect();
            rest(whom.warm_up_secs);
            let from = Moment::now(whom.pid);
            rest(whom.secs);
            let to = Moment::now(whom.pid);
            stop.store(true, Relaxed);
            let sent: Result<Vec<_>, Error> =
                running.into_iter().map(|camera| camera.join().map_err(|_| "a camera broke")?).collect();
            Ok::<_, Error>((Stretch { from: from?, to: to? }, sent?.concat()))
        })?;
        let took: Vec<Duration> =
            sent.into_iter().filter(|(at, _)| stretch.has(*at)).map(|(_, took)| took).collect();
        let count = took.len();
        let (cpu, kernel) = stretch.micros_each(count);
        if count == 0 {
            return Err("no frame was taken".into());
        }
        // Nobody acknowledges a pushed frame: how long the kernel took to take it says nothing.
        let times = if self.push { None } else { milliseconds(took) };
        Ok(json!({
            "server": whom.label,
            "name": whom.name,
            "test": if self.push { "push" } else { "ingest" },
            "connections": self.connections,
            "bytes": whom.bytes,
            "frames_per_s": rounded(count as f64 / stretch.secs(), 0),
            "p50_ms": times.map(|(p50, _)| p50),
            "p99_ms": times.map(|(_, p99)| p99),
            "cpu_us": rounded(cpu, 1),
            "kernel_us": rounded(kernel, 1),
            "peak_mb": rounded(peak_megabytes(whom.pid)?, 1),
            "others_percent": rounded(stretch.others_percent(), 0),
        }))
    }
}

/// Sends until told to stop.
fn send(mut camera: Camera, stop: &AtomicBool) -> Result<Vec<Sent>, Error> {
    let mut sent = Vec::with_capacity(1 << 16);
    while !stop.load(Relaxed) {
        let began = camera.show()?;
        let done = frame::now();
        sent.push((done, done - began));
    }
    camera.end()?;
    Ok(sent)
}

/// Waits, on a thread of its own that nobody has to stop.
#[allow(clippy::disallowed_methods)]
pub fn rest(secs: f64) {
    thread::sleep(Duration::from_secs_f64(secs.max(0.0)));
}
