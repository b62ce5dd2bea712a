//! What the benches share: a hub on a disk, and things to send to it.

use bytes::Bytes;
use iotpi_core::{Frame, HubClient, ModuleId, Quantity, Reading, Sample, Timestamp};
use iotpi_hub::{Config, auth::Role, testing::TestHub};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Why a bench could not be set up.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// A hub with its database in a file, served on loopback, and a client of it.
#[derive(Debug)]
pub struct Bench {
    /// What the hub and its clients run on.
    pub runtime: Runtime,
    /// The hub.
    pub hub: TestHub,
    /// A client that may deliver for any module.
    pub client: HubClient,
    /// Removed at the end.
    _folder: TempDir,
}

impl Bench {
    /// A fresh hub.
    ///
    /// # Errors
    /// The runtime's, the file system's, the hub's.
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

/// A folder on the disk the repository is on: `/tmp` may be memory, where a commit costs nothing.
///
/// # Errors
/// The file system's.
pub fn folder() -> Result<TempDir, Error> {
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/../target");
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(target)?)
}

/// The module everything is sent for.
///
/// # Errors
/// None in truth.
pub fn module() -> Result<ModuleId, Error> {
    Ok("bench".parse()?)
}

/// A file with the head and the size of a 1280 x 720 JPEG. Nobody on the way decodes it.
///
/// # Errors
/// None in truth.
pub fn frame(bytes: usize) -> Result<Frame, Error> {
    let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0x02, 0xD0, 0x05, 0x00, 3];
    jpeg.extend([1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
    jpeg.extend([0xFF, 0xDA, 0, 2]);
    let filling = bytes.saturating_sub(jpeg.len() + 2);
    jpeg.extend((0..filling).map(|i| u8::try_from(i * 31 % 251).unwrap_or(0)));
    jpeg.extend([0xFF, 0xD9]);
    Ok(Frame::from_jpeg(Bytes::from(jpeg), Timestamp::MIN)?)
}

/// Readings of one series, a second apart.
///
/// # Errors
/// None in truth.
pub fn readings(first: u64, count: u64) -> Result<Vec<Reading>, Error> {
    let module = module()?;
    let reading = |n: u64| {
        let at = Timestamp::MIN.plus(std::time::Duration::from_secs(n));
        #[allow(clippy::cast_precision_loss)]
        let value = 20.0 + (n % 100) as f64 / 10.0;
        Reading::new(module.clone(), Sample::new(Quantity::Temperature, value), at)
    };
    Ok((first..first + count).map(reading).collect())
}
