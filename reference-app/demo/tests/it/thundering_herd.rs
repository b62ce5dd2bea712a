//! A hub restarts after a crash while all its modules reconnect at once.

use std::{sync::Arc, time::Duration};

use iotpi_core::{
    HubClient, Manifest, Module, ModuleError, ModuleId, Quantity, Reading, ReadingFilter, Runner, Sample,
    Timestamp, Uplink, async_trait,
    client::BucketWidth,
    model::manifest::{Health, ModuleInfo},
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::watch, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::support::{
    programs::{HubProcess, add_token},
    wait::{bounded_by, poll},
};

/// The longest wait: a thousand modules on a busy machine.
const LIMIT: Duration = Duration::from_secs(300);
const READINGS: u32 = 100;

/// A line of `/proc/PID/status` of the hub, in KiB.
fn memory(hub: &HubProcess, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.child.id().unwrap())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

/// A module that records its readings on request.
struct WaitingModule {
    heartbeat_secs: f64,
    now: watch::Receiver<bool>,
}

#[async_trait]
impl Module for WaitingModule {
    fn manifest(&self) -> Manifest {
        Manifest::new().with_heartbeat(Duration::from_secs_f64(self.heartbeat_secs))
    }

    async fn run(
        mut self: Box<Self>,
        up: Arc<dyn Uplink>,
        stop: CancellationToken,
    ) -> Result<(), ModuleError> {
        if self.now.wait_for(|now| *now).await.is_ok() {
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

/// The number of stored readings.
async fn stored(client: &HubClient) -> Option<u64> {
    let (mut filter, mut count) = (ReadingFilter::default().limit(1000), 0);
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
async fn all_modules_reconnect_to_a_hub_that_crashed_and_every_queued_reading_is_stored_once() {
    let (count, heartbeat_secs) =
        if std::env::var_os("IOTPI_TORTURE").is_some() { (1000, 10.0) } else { (100, 1.0) };
    // Each module needs some connections, here and in the hub, which inherits the limit.
    let mut files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    files.current = files.maximum;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, files).unwrap();
    let data = TempDir::new().unwrap();
    let hub = HubProcess::start(data.path(), "127.0.0.1:0").await;
    let token = add_token(data.path(), &["--role", "admin", "herd"]).await;
    let began = Instant::now();
    let url = hub.url.clone();
    let client = HubClient::new(&url).unwrap().with_token(&token);

    let stop = CancellationToken::new();
    let (record_now, now) = watch::channel(false);
    let mut modules = JoinSet::new();
    for n in 0..count {
        let id = ModuleId::new(format!("module-{n}")).unwrap();
        // Each module has a client of its own, so that they do not share connections.
        let client = HubClient::new(&url).unwrap().with_token(&token);
        let runner = Runner::new(client.uplink(id));
        modules.spawn(runner.run_until(WaitingModule { heartbeat_secs, now: now.clone() }, stop.clone()));
    }
    let all_online = async || {
        let online = |all: Vec<ModuleInfo>| all.iter().filter(|m| m.health == Health::Online).count();
        client.modules().await.is_ok_and(|all| online(all) == count)
    };
    bounded_by(LIMIT, "all modules are online", poll(&all_online)).await;
    println!("{count} modules online after {:.1} s", began.elapsed().as_secs_f64());
    let before = memory(&hub, "VmRSS");

    let address = url.trim_start_matches("http://");
    hub.kill().await;
    // While the hub is down, each module tries several times, so that its back-off grows.
    let refusing = TcpListener::bind(address).await.unwrap();
    record_now.send(true).unwrap();
    bounded_by(LIMIT, "five connection attempts of each module", async {
        for _ in 0..count * 5 {
            drop(refusing.accept().await.unwrap());
        }
    })
    .await;
    drop(refusing);
    let hub = HubProcess::start(data.path(), address).await;
    let begun = Instant::now();
    bounded_by(LIMIT, "all modules are online again", poll(&all_online)).await;
    let back = begun.elapsed();
    let expected = count as u64 * u64::from(READINGS);
    let all_stored = async || stored(&client).await.is_some_and(|stored| stored >= expected);
    bounded_by(LIMIT, "all readings are stored", poll(all_stored)).await;
    let all = begun.elapsed();
    println!(
        "{count} modules: all online again in {:.1} s, {expected} readings stored in {:.1} s; hub: {before} KiB before, {} KiB now, {} KiB at most",
        back.as_secs_f64(),
        all.as_secs_f64(),
        memory(&hub, "VmRSS"),
        memory(&hub, "VmHWM"),
    );

    stop.cancel();
    bounded_by(LIMIT, "the end of all modules", async {
        while let Some(ended) = modules.join_next().await {
            ended.unwrap().unwrap();
        }
    })
    .await;
    assert_eq!(stored(&client).await, Some(expected));
    hub.kill().await;
}
