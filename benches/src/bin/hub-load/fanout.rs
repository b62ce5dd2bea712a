//! Cameras and viewers: the number and age of the frames that arrive, and their cost.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use clap::Args;
use iotpi_benches::Error;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};

use crate::{
    ServerArgs,
    camera::Camera,
    frame,
    ingest::pause,
    percentiles::{milliseconds, rounded},
    process::{CpuSample, MeasuredInterval, peak_megabytes},
    viewers::{Delivery, Viewers},
};

/// The time for the last frames to arrive.
const GRACE_SECS: f64 = 0.5;
/// The longest wait for the first frame of a viewer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The options of `fanout`.
#[derive(Debug, Args)]
pub struct Fanout {
    #[command(flatten)]
    server: ServerArgs,
    /// Viewers that read, distributed over the cameras.
    #[arg(long, default_value_t = 20)]
    viewers: usize,
    /// Additional viewers that never read.
    #[arg(long, default_value_t = 0)]
    stalled: usize,
    /// Cameras. With 0, the viewers watch the frames of the server itself, whose age is unknown.
    #[arg(long, default_value_t = 1)]
    cameras: u16,
    /// Frames per second of each camera.
    #[arg(long, default_value_t = 10.0)]
    fps: f64,
    /// Each camera sends the next frame when the previous one is acknowledged.
    #[arg(long)]
    as_fast_as_acknowledged: bool,
    /// Send all frames of a camera in one request.
    #[arg(long, conflicts_with = "as_fast_as_acknowledged")]
    push: bool,
    /// The path of the uploads; `{n}` is the number of the camera.
    #[arg(
        long,
        default_value = "/api/camera/frame?module_id=bench-{n}",
        default_value_if("push", "true", "/api/camera/stream?module_id=bench-{n}")
    )]
    path: String,
    /// The path of the streams; `{n}` is the number of the camera.
    #[arg(long, default_value = "/api/camera/stream?module_id=bench-{n}")]
    watch_path: String,
}

impl Fanout {
    /// Measures and returns the results as JSON.
    ///
    /// # Errors
    /// Those of a camera or viewer; there is no server process.
    pub fn run(&self) -> Result<Value, Error> {
        let server = &self.server;
        let mut cameras = (0..self.cameras)
            .map(|n| Camera::connect(server, &numbered(&self.path, n.into()), self.push))
            .collect::<Result<Vec<_>, _>>()?;
        // The camera must exist before it can be viewed.
        for camera in &mut cameras {
            camera.send_frame()?;
        }
        let (stop_viewers, stopped) = watch::channel(false);
        let (ready, mut ready_viewers) = mpsc::unbounded_channel();
        let viewers = self.viewers();
        let viewers = thread::spawn(move || viewers.run(ready, stopped));

        let stop = AtomicBool::new(false);
        let interval = (!self.as_fast_as_acknowledged).then(|| Duration::from_secs_f64(1.0 / self.fps));
        let interval = thread::scope(|scope| {
            let sending: Vec<_> =
                cameras.into_iter().map(|camera| scope.spawn(|| send(camera, interval, &stop))).collect();
            let interval = self.wait_for_viewers(&mut ready_viewers).and_then(|()| {
                pause(server.warm_up_secs);
                let from = CpuSample::now(server.pid)?;
                pause(server.secs);
                Ok(MeasuredInterval { from, to: CpuSample::now(server.pid)? })
            });
            stop.store(true, Relaxed);
            let sent = sending.into_iter().map(|camera| camera.join().map_err(|_| "a camera panicked")?);
            let sent = sent.collect::<Result<Vec<_>, Error>>();
            Ok::<_, Error>((interval, sent?))
        });
        pause(GRACE_SECS);
        let _ = stop_viewers.send(true);
        let deliveries = viewers.join().map_err(|_| "the viewers panicked")??;
        let (interval, sent) = interval?;
        self.results(interval?, &sent, &deliveries)
    }

    fn viewers(&self) -> Viewers {
        let server = &self.server;
        let all = self.viewers + self.stalled;
        let requests = (0..all).map(|viewer| {
            let path = numbered(&self.watch_path, viewer % usize::from(self.cameras.max(1)));
            (server.url.head("GET", &path, server.token.as_deref()) + "\r\n").into_bytes()
        });
        Viewers { target: server.url, requests: requests.collect(), reading: self.viewers }
    }

    fn wait_for_viewers(&self, ready_viewers: &mut mpsc::UnboundedReceiver<()>) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async {
            for viewer in 0..self.viewers + self.stalled {
                let ready = tokio::time::timeout(TIMEOUT, ready_viewers.recv()).await;
                if !matches!(ready, Ok(Some(()))) {
                    return Err(format!("only {viewer} viewers received a first frame").into());
                }
            }
            Ok(())
        })
    }

    #[allow(clippy::cast_precision_loss)]
    fn results(
        &self,
        interval: MeasuredInterval,
        sent: &[Vec<Duration>],
        deliveries: &[Delivery],
    ) -> Result<Value, Error> {
        let server = &self.server;
        // A frame counts at the time it was sent, so that the number of lost frames is exact.
        let time_of =
            |delivery: &Delivery| delivery.stamp.map_or(delivery.received_at, |stamp| stamp.sent_at);
        let counted: Vec<_> =
            deliveries.iter().filter(|delivery| interval.contains(time_of(delivery))).collect();
        let ages = counted.iter().filter_map(|d| Some(d.received_at.saturating_sub(d.stamp?.sent_at)));
        let ages = milliseconds(ages.collect());
        if counted.is_empty() || (ages.is_none() && self.cameras > 0) {
            return Err("no frame was delivered".into());
        }
        let frames: Vec<_> =
            sent.iter().map(|times| times.iter().filter(|at| interval.contains(**at)).count()).collect();
        let expected: usize = frames.iter().cycle().take(self.viewers).sum();
        let (cpu, kernel) = interval.micros_each(counted.len());
        let secs = interval.secs();
        let rate = if self.as_fast_as_acknowledged { json!("acknowledged") } else { json!(self.fps) };
        Ok(json!({
            "server": server.label,
            "name": server.name,
            "test": "fanout",
            "cameras": self.cameras,
            "viewers": self.viewers,
            "stalled": self.stalled,
            "fps": rate,
            "push": self.push,
            "bytes": server.bytes,
            "frames_per_s": rounded(frames.iter().sum::<usize>() as f64 / secs, 1),
            "deliveries_per_s": rounded(counted.len() as f64 / secs, 1),
            "lost": expected.saturating_sub(counted.len()),
            "lost_percent": rounded(100.0 * expected.saturating_sub(counted.len()) as f64 / expected.max(1) as f64, 2),
            "p50_ms": ages.map(|(p50, _)| p50),
            "p99_ms": ages.map(|(_, p99)| p99),
            "cpu_us": rounded(cpu, 1),
            "kernel_us": rounded(kernel, 1),
            "peak_mb": rounded(peak_megabytes(server.pid)?, 1),
            "others_percent": rounded(interval.others_percent(), 0),
        }))
    }
}

fn numbered(path: &str, n: usize) -> String {
    path.replace("{n}", &n.to_string())
}

/// Sends frames at this interval, or as fast as they are acknowledged, until `stop` is set. Returns the
/// times.
fn send(mut camera: Camera, interval: Option<Duration>, stop: &AtomicBool) -> Result<Vec<Duration>, Error> {
    let mut sent = Vec::new();
    let mut due = frame::now();
    while !stop.load(Relaxed) {
        if let Some(interval) = interval {
            due += interval;
            pause(due.saturating_sub(frame::now()).as_secs_f64());
        }
        sent.push(camera.send_frame()?);
    }
    camera.end()?;
    Ok(sent)
}
