//! Helpers of the benches: a hub with its database on a disk, frames and readings, random numbers, CPU time.

use std::time::Duration;

use bytes::Bytes;
use iotpi_core::{Frame, HubClient, ModuleId, Quantity, Reading, Sample, Timestamp};
use iotpi_hub::{Config, auth::Role, testing::TestHub};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// An error of a bench.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A hub on loopback with its database in a file, and a client of it.
#[derive(Debug)]
pub struct Bench {
    /// The runtime of the hub and its clients.
    pub runtime: Runtime,
    /// The hub.
    pub hub: TestHub,
    /// A client that may deliver for any module.
    pub client: HubClient,
    /// Deleted when this is dropped.
    _folder: TempDir,
}

impl Bench {
    /// Starts a hub with a new database.
    ///
    /// # Errors
    /// Those of the runtime, the file system and the hub.
    pub fn new() -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let folder = folder()?;
        let url = format!("sqlite://{}", folder.path().join("hub.db").display());
        let hub = runtime.block_on(TestHub::with_store(Config::default(), &url))?;
        let token = runtime.block_on(hub.token(Role::Operator))?;
        let client = HubClient::new(&hub.url())?.with_token(token);
        Ok(Self { runtime, hub, client, _folder: folder })
    }
}

/// A temporary folder on the disk of the repository: `/tmp` may be in memory, where a commit costs nothing.
///
/// # Errors
/// Those of the file system.
pub fn folder() -> Result<TempDir, Error> {
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(target)?)
}

/// The module of all readings and frames.
///
/// # Errors
/// None: the id is valid.
pub fn module() -> Result<ModuleId, Error> {
    Ok("bench".parse()?)
}

/// A frame with the header of a JPEG of 1280 x 720 pixels and this size. The hub does not decode it.
///
/// # Errors
/// None: the frame is valid.
pub fn frame(bytes: usize) -> Result<Frame, Error> {
    let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0x02, 0xD0, 0x05, 0x00, 3];
    jpeg.extend([1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
    jpeg.extend([0xFF, 0xDA, 0, 2]);
    let content = bytes.saturating_sub(jpeg.len() + 2);
    jpeg.extend((0..content).map(|i| u8::try_from(i * 31 % 251).unwrap_or(0)));
    jpeg.extend([0xFF, 0xD9]);
    Ok(Frame::from_jpeg(Bytes::from(jpeg), Timestamp::MIN)?)
}

/// Readings of one series, one per second.
///
/// # Errors
/// None: the module id is valid.
pub fn readings(first: u64, count: u64) -> Result<Vec<Reading>, Error> {
    let module = module()?;
    let reading = |n: u64| {
        let at = Timestamp::MIN.plus(Duration::from_secs(n));
        #[allow(clippy::cast_precision_loss)]
        let value = 20.0 + (n % 100) as f64 / 10.0;
        Reading::new(module.clone(), Sample::new(Quantity::Temperature, value), at)
    };
    Ok((first..first + count).map(reading).collect())
}

/// A generator of pseudo-random numbers (a linear congruential generator, Knuth), the same for each seed.
#[derive(Debug)]
pub struct Random(pub u64);

impl Random {
    /// 0 to `limit - 1`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// The CPU time of a process in user and kernel mode (proc_pid_stat(5)), in steps of 10 ms.
///
/// # Errors
/// There is no such process.
pub fn cpu_time(process: u32) -> Result<Duration, Error> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or_default();
    Ok(Duration::from_millis(10 * (ticks(11) + ticks(12))))
}
