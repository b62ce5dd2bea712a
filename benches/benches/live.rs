//! The CPU time of frames on live connections: a hub as a separate process, cameras, and clients that
//! acknowledge each frame. The CPU time is that of the hub and includes the uploads.
//!
//! `cargo bench --bench live -- CLIENTS CAMERAS FPS KILOBYTES SECONDS`; the default is 20 1 30 100 10.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use iotpi_benches::{Bench, Error, cpu_time, frame};
use iotpi_core::{
    Frame, HubClient, ModuleId, SystemClock,
    client::Live,
    model::event::{Subscription, WatchRequest},
};

const HUB: &str = "IOTPI_BENCH_LIVE_HUB";

fn main() -> Result<(), Error> {
    if std::env::var_os(HUB).is_some() {
        return hub();
    }
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|arg| arg.parse().ok()).collect();
    let number = |at: usize, default| arguments.get(at).copied().unwrap_or(default);
    let load = Load {
        clients: number(0, 20),
        cameras: number(1, 1),
        fps: number(2, 30),
        bytes: usize::try_from(number(3, 100) * 1024)?,
        secs: number(4, 10),
    };
    let mut child = Command::new(std::env::current_exe()?)
        .env(HUB, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let measured = load.run(&mut child);
    // The hub stops when its standard input closes.
    drop(child.stdin.take());
    child.wait()?;
    measured
}

/// Runs the hub until its standard input closes.
fn hub() -> Result<(), Error> {
    let bench = Bench::new()?;
    let token = bench.runtime.block_on(bench.hub.token(iotpi_hub::auth::Role::Operator))?;
    println!("{} {token}", bench.hub.url());
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

#[derive(Clone, Copy)]
struct Load {
    clients: u64,
    cameras: u64,
    fps: u64,
    bytes: usize,
    secs: u64,
}

impl Load {
    fn run(self, child: &mut Child) -> Result<(), Error> {
        let stdout = child.stdout.take().ok_or("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let (url, token) = line.trim().split_once(' ').ok_or("no address")?;
        let client = HubClient::new(url)?.with_token(token.to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(self.measure(client, child.id()))
    }

    async fn measure(self, client: HubClient, hub: u32) -> Result<(), Error> {
        let cameras = (0..self.cameras).map(|n| Ok(format!("camera-{n}").parse()?));
        let cameras = cameras.collect::<Result<Vec<ModuleId>, Error>>()?;
        for camera in &cameras {
            let jpeg = frame(self.bytes)?.jpeg().clone();
            client.publish(camera, &Frame::from_jpeg(jpeg, SystemClock::shared().now())?).await?;
        }
        let mut clients = tokio::task::JoinSet::new();
        let end = Instant::now() + Duration::from_secs(self.secs + 1);
        for _ in 0..self.clients {
            clients.spawn(watch(client.clone(), cameras.clone(), end));
        }
        let before = cpu_time(hub)?;
        let started = Instant::now();
        let mut due = tokio::time::interval(Duration::from_secs(1) / u32::try_from(self.fps)?);
        due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let jpeg = frame(self.bytes)?.jpeg().clone();
        let mut published = 0_u64;
        while started.elapsed() < Duration::from_secs(self.secs) {
            due.tick().await;
            let now = SystemClock::shared().now();
            for camera in &cameras {
                client.publish(camera, &Frame::from_jpeg(jpeg.clone(), now)?).await?;
                published += 1;
            }
        }
        let (took, spent) = (started.elapsed(), cpu_time(hub)? - before);
        let memory = resident(hub)?;
        let mut ages = Vec::new();
        while let Some(received) = clients.join_next().await {
            ages.extend(received??);
        }
        ages.sort_by(f64::total_cmp);
        let at = |share: usize| ages.get(ages.len() * share / 100).copied().unwrap_or_default() * 1e3;
        #[allow(clippy::cast_precision_loss)]
        let each = spent.as_secs_f64() * 1e6 / ages.len() as f64;
        println!(
            "{} clients, {} cameras, {} KiB at {} fps: {published} published in {:.1} s, {} deliveries, {each:.1} us of the hub's \
             CPU time each, age p50 {:.2} ms, p99 {:.2} ms; hub's memory {memory} KiB",
            self.clients,
            self.cameras,
            self.bytes / 1024,
            self.fps,
            took.as_secs_f64(),
            ages.len(),
            at(50),
            at(99),
        );
        Ok(())
    }
}

/// Views the cameras; returns the age of each received frame in seconds.
async fn watch(client: HubClient, cameras: Vec<ModuleId>, end: Instant) -> Result<Vec<f64>, Error> {
    let no_events = Subscription::new().with_kinds([]).with_recent(0);
    let mut live = client.live(&no_events).await?;
    let requests: Vec<_> = cameras.into_iter().map(WatchRequest::new).collect();
    live.watch(&requests).await?;
    let clock = SystemClock::shared();
    let mut ages = Vec::new();
    while let Ok(next) = tokio::time::timeout_at(end.into(), live.receive()).await {
        match next? {
            Some(Live::Frame(frame)) => {
                ages.push(clock.now().since(frame.captured_at).as_secs_f64());
                live.acknowledge(&frame.module_id, frame.seq).await?;
            }
            Some(_) => {}
            None => break,
        }
    }
    Ok(ages)
}

fn resident(process: u32) -> Result<u64, Error> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    Ok(line.and_then(|rest| rest.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default())
}
