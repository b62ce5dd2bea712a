//! A hub restarts after a crash while all its modules reconnect at once.

use std::{process::Stdio, sync::Arc, time::Duration};

use iotpi_core::{
    BucketWidth, Health, HubClient, Manifest, Module, ModuleError, ModuleId, Quantity, Reading,
    ReadingFilter, Runner, Sample, Timestamp, Uplink, async_trait,
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
    process::{Child, Command},
    sync::watch,
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::demo::program;

/// Long enough for a busy machine; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(300);
const READINGS: u32 = 100;

/// A hub as a process on a fixed port.
struct Hub {
    process: Child,
    address: String,
}

impl Hub {
    async fn start(data: &TempDir, address: &str) -> Self {
        let mut process = Command::new(program("iotpi-hub"))
            .args(["serve", "--listen", address, "--data"])
            .arg(data.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let address = loop {
            let line = lines.next_line().await.unwrap().expect("the hub says where it listens");
            if let Some(url) = line.strip_prefix("iotpi-hub listening on http://") {
                break url.trim().to_owned();
            }
        };
        // Its other lines are read, so that it does not block on a full pipe.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self { process, address }
    }

    /// A line of `/proc/PID/status`, in KiB.
    fn memory(&self, field: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id().unwrap())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    }

    async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }
}

/// A module that records its readings on request.
struct Waiting {
    heartbeat_secs: f64,
    now: watch::Receiver<bool>,
}

#[async_trait]
impl Module for Waiting {
    fn manifest(&self) -> Manifest {
        Manifest { heartbeat_secs: Some(self.heartbeat_secs), ..Manifest::default() }
    }

    async fn run(
        mut self: Box<Self>,
        up: Arc<dyn Uplink>,
        stop: CancellationToken,
    ) -> Result<(), ModuleError> {
        let told = self.now.wait_for(|now| *now).await.is_ok();
        if told {
            let reading = |n: u32| {
                let at = Timestamp::FIRST_POSSIBLE.plus(Duration::from_secs(n.into()));
                Reading::new(up.module_id().clone(), Sample::new(Quantity::Temperature, n.into()), at)
            };
            up.record((0..READINGS).map(reading).collect()).await?;
        }
        stop.cancelled().await;
        Ok(())
    }

    async fn run_once(self: Box<Self>, _: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        Ok(())
    }
}

/// Polls until the condition is true.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let asking = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, asking).await.is_ok(), "not in time: {what}");
}

/// The number of stored readings.
async fn stored(client: &HubClient) -> Option<u64> {
    let (mut filter, mut count) = (ReadingFilter { limit: Some(1000), ..ReadingFilter::default() }, 0);
    loop {
        let page = client.buckets(&"temperature".parse().ok()?, BucketWidth::Day, &filter).await.ok()?;
        count += page.items.iter().map(|bucket| bucket.count.unwrap_or(0)).sum::<u64>();
        filter.cursor = page.next;
        if filter.cursor.is_none() {
            return Some(count);
        }
    }
}

#[tokio::test]
async fn all_modules_come_back_to_a_hub_that_crashed_and_every_reading_that_waited_is_stored_once() {
    let (count, heartbeat_secs) =
        if std::env::var_os("IOTPI_TORTURE").is_some() { (1000, 10.0) } else { (100, 1.0) };
    // Some connections for each module, here and in the hub, which inherits the limit.
    let mut files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    files.current = files.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, files).unwrap();
    let data = TempDir::new().unwrap();
    let hub = Hub::start(&data, "127.0.0.1:0").await;
    let made = Command::new(program("iotpi-hub"))
        .args(["token", "add", "--role", "admin", "herd", "--data"])
        .arg(data.path())
        .output()
        .await
        .unwrap();
    let token = String::from_utf8(made.stdout).unwrap().trim().to_owned();
    let began = Instant::now();
    let url = format!("http://{}", hub.address);
    let client = HubClient::new(&url).unwrap().with_token(&token);

    let (stop, (tell, now)) = (CancellationToken::new(), watch::channel(false));
    let mut modules = JoinSet::new();
    for n in 0..count {
        let id = ModuleId::new(format!("module-{n}")).unwrap();
        // A client of its own, so that it does not share connections.
        let client = HubClient::new(&url).unwrap().with_token(&token);
        let runner = Runner::new(client.uplink(id));
        modules.spawn(runner.run_until(Waiting { heartbeat_secs, now: now.clone() }, stop.clone()));
    }
    let online = || async {
        client.modules().await.map_or(0, |all| all.iter().filter(|m| m.health == Health::Online).count())
    };
    until("all are there", || async { online().await == count }).await;
    println!("{count} modules there after {:.1} s", began.elapsed().as_secs_f64());
    let before = hub.memory("VmRSS");

    let address = hub.address.clone();
    hub.kill().await;
    // While the hub is away each module tries several times, so that its back-off grows.
    let nobody = TcpListener::bind(&address).await.unwrap();
    tell.send(true).unwrap();
    for _ in 0..count * 5 {
        drop(nobody.accept().await.unwrap());
    }
    drop(nobody);
    let hub = Hub::start(&data, &address).await;
    let begun = Instant::now();
    until("all are back", || async { online().await == count }).await;
    let back = begun.elapsed();
    let expected = count as u64 * u64::from(READINGS);
    until("all is stored", || async { stored(&client).await.is_some_and(|stored| stored >= expected) }).await;
    let all = begun.elapsed();
    println!(
        "{count} modules: all back in {:.1} s, {expected} readings stored in {:.1} s; hub: {before} KiB before, {} KiB now, {} KiB at most",
        back.as_secs_f64(),
        all.as_secs_f64(),
        hub.memory("VmRSS"),
        hub.memory("VmHWM"),
    );

    stop.cancel();
    while let Some(ended) = modules.join_next().await {
        ended.unwrap().unwrap();
    }
    assert_eq!(stored(&client).await, Some(expected));
    hub.kill().await;
}
