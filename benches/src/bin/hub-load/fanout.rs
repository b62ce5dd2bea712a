//! Cameras and viewers: how many pictures arrive, how old, and at what cost.

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
    Whom,
    camera::Camera,
    frame,
    ingest::rest,
    process::{Moment, Stretch, peak_megabytes},
    spread::{milliseconds, rounded},
    viewers::{Delivery, Watch},
};

/// What was sent last has so long to arrive.
const GRACE_SECS: f64 = 0.5;
/// Viewers that have seen nothing after so long never will.
const PATIENCE: Duration = Duration::from_secs(10);

/// What `fanout` can be told.
#[derive(Debug, Args)]
pub struct Fanout {
    #[command(flatten)]
    whom: Whom,
    /// Viewers that read; spread over the cameras.
    #[arg(long, default_value_t = 20)]
    viewers: usize,
    /// Viewers beside them that ask and then never read.
    #[arg(long, default_value_t = 0)]
    stalled: usize,
    /// Cameras; with 0, viewers watch what the server has of its own, and nothing is known of its age.
    #[arg(long, default_value_t = 1)]
    cameras: u16,
    /// Frames a second of each camera.
    #[arg(long, default_value_t = 10.0)]
    fps: f64,
    /// Each camera sends the next frame when the last was acknowledged, instead.
    #[arg(long)]
    as_fast_as_acknowledged: bool,
    /// All frames of a camera in one request.
    #[arg(long, conflicts_with = "as_fast_as_acknowledged")]
    push: bool,
    /// Where frames go; `{n}` is the camera's number.
    #[arg(
        long,
        default_value = "/api/camera/frame?module_id=bench-{n}",
        default_value_if("push", "true", "/api/camera/stream?module_id=bench-{n}")
    )]
    path: String,
    /// Where viewers look; `{n}` is the camera's number.
    #[arg(long, default_value = "/api/camera/stream?module_id=bench-{n}")]
    watch_path: String,
}

impl Fanout {
    /// Measures, and says what came out.
    ///
    /// # Errors
    /// What a camera or viewer met; the server's process being gone.
    pub fn run(&self) -> Result<Value, Error> {
        let whom = &self.whom;
        let mut cameras = (0..self.cameras)
            .map(|n| Camera::connect(whom, &numbered(&self.path, n.into()), self.push))
            .collect::<Result<Vec<_>, _>>()?;
        // There has to be a camera before anybody can look.
        for camera in &mut cameras {
            camera.show()?;
        }
        let (stop_viewers, stopped) = watch::channel(false);
        let (ready, mut readies) = mpsc::unbounded_channel();
        let watching = self.watch();
        let watching = thread::spawn(move || watching.run(ready, stopped));

        let stop = AtomicBool::new(false);
        let interval = (!self.as_fast_as_acknowledged).then(|| Duration::from_secs_f64(1.0 / self.fps));
        let stretch = thread::scope(|scope| {
            let sending: Vec<_> =
                cameras.into_iter().map(|camera| scope.spawn(|| send(camera, interval, &stop))).collect();
            let stretch = self.all_are_there(&mut readies).and_then(|()| {
                rest(whom.warm_up_secs);
                let from = Moment::now(whom.pid)?;
                rest(whom.secs);
                Ok(Stretch { from, to: Moment::now(whom.pid)? })
            });
            stop.store(true, Relaxed);
            let sent = sending.into_iter().map(|camera| camera.join().map_err(|_| "a camera broke")?);
            let sent = sent.collect::<Result<Vec<_>, Error>>();
            Ok::<_, Error>((stretch, sent?))
        });
        rest(GRACE_SECS);
        let _ = stop_viewers.send(true);
        let deliveries = watching.join().map_err(|_| "the viewers broke")??;
        let (stretch, sent) = stretch?;
        self.figures(stretch?, &sent, &deliveries)
    }

    fn watch(&self) -> Watch {
        let whom = &self.whom;
        let all = self.viewers + self.stalled;
        let requests = (0..all).map(|viewer| {
            let path = numbered(&self.watch_path, viewer % usize::from(self.cameras.max(1)));
            (whom.url.head("GET", &path, whom.token.as_deref()) + "\r\n").into_bytes()
        });
        Watch { target: whom.url, requests: requests.collect(), reading: self.viewers }
    }

    fn all_are_there(&self, readies: &mut mpsc::UnboundedReceiver<()>) -> Result<(), Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        runtime.block_on(async {
            for viewer in 0..self.viewers + self.stalled {
                let ready = tokio::time::timeout(PATIENCE, readies.recv()).await;
                if !matches!(ready, Ok(Some(()))) {
                    return Err(format!("only {viewer} viewers saw a first frame").into());
                }
            }
            Ok(())
        })
    }

    #[allow(clippy::cast_precision_loss)]
    fn figures(
        &self,
        stretch: Stretch,
        sent: &[Vec<Duration>],
        deliveries: &[Delivery],
    ) -> Result<Value, Error> {
        let whom = &self.whom;
        // A frame of ours counts where it was sent: what was lost is then to the frame.
        let when = |delivery: &Delivery| delivery.stamp.map_or(delivery.whole_at, |stamp| stamp.sent_at);
        let counted: Vec<_> = deliveries.iter().filter(|delivery| stretch.has(when(delivery))).collect();
        let ages = counted.iter().filter_map(|d| Some(d.whole_at.saturating_sub(d.stamp?.sent_at)));
        let ages = milliseconds(ages.collect());
        if counted.is_empty() || (ages.is_none() && self.cameras > 0) {
            return Err("no frame was delivered".into());
        }
        let frames: Vec<_> =
            sent.iter().map(|times| times.iter().filter(|at| stretch.has(**at)).count()).collect();
        let wanted: usize = frames.iter().cycle().take(self.viewers).sum();
        let (cpu, kernel) = stretch.micros_each(counted.len());
        let secs = stretch.secs();
        let rate = if self.as_fast_as_acknowledged { json!("acknowledged") } else { json!(self.fps) };
        Ok(json!({
            "server": whom.label,
            "name": whom.name,
            "test": "fanout",
            "cameras": self.cameras,
            "viewers": self.viewers,
            "stalled": self.stalled,
            "fps": rate,
            "push": self.push,
            "bytes": whom.bytes,
            "frames_per_s": rounded(frames.iter().sum::<usize>() as f64 / secs, 1),
            "deliveries_per_s": rounded(counted.len() as f64 / secs, 1),
            "lost": wanted.saturating_sub(counted.len()),
            "lost_percent": rounded(100.0 * wanted.saturating_sub(counted.len()) as f64 / wanted.max(1) as f64, 2),
            "p50_ms": ages.map(|(p50, _)| p50),
            "p99_ms": ages.map(|(_, p99)| p99),
            "cpu_us": rounded(cpu, 1),
            "kernel_us": rounded(kernel, 1),
            "peak_mb": rounded(peak_megabytes(whom.pid)?, 1),
            "others_percent": rounded(stretch.others_percent(), 0),
        }))
    }
}

fn numbered(path: &str, n: usize) -> String {
    path.replace("{n}", &n.to_string())
}

/// Sends at that interval, or as fast as acknowledged, until told to stop; answers when.
fn send(mut camera: Camera, interval: Option<Duration>, stop: &AtomicBool) -> Result<Vec<Duration>, Error> {
    let mut sent = Vec::new();
    let mut due = frame::now();
    while !stop.load(Relaxed) {
        if let Some(interval) = interval {
            due += interval;
            rest(due.saturating_sub(frame::now()).as_secs_f64());
        }
        sent.push(camera.show()?);
    }
    camera.end()?;
    Ok(sent)
}
