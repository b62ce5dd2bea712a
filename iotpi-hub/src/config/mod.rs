//! The configuration of a hub. Plain data: the library reads no file and no environment; a program does that.

mod storage;

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

pub use self::storage::{BackupConfig, CommitWindow, RetentionConfig, SeriesRetention, StorageConfig};
use crate::error::{HubError, Result};

/// The maximum length of a base path in characters.
const MAX_BASE_PATH_CHARS: usize = 200;

/// The configuration of a hub. Unknown fields are refused; omitted ones have their defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The address and port to listen on. Default `127.0.0.1:8000`: this machine only.
    pub listen: SocketAddr,
    /// The URL of the store: `sqlite:///var/lib/iotpi/hub.db`, `sqlite::memory:`. Default
    /// `sqlite:iotpi-hub.db`.
    pub store: String,
    /// The HTTP server.
    pub http: HttpConfig,
    /// Authentication.
    pub auth: AuthConfig,
    /// Limits.
    pub limits: Limits,
    /// Cameras.
    pub cameras: CamerasConfig,
    /// The database and its device.
    pub storage: StorageConfig,
    /// Backups.
    pub backup: BackupConfig,
    /// Retention of recorded data.
    pub retention: RetentionConfig,
}

/// The HTTP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Host names of the hub, besides IP addresses, `localhost` and the machine's own name. Default none.
    pub allowed_hosts: Vec<String>,
    /// Networks of proxies in front of the hub. For a request from one of them, the client's address is taken
    /// from `X-Forwarded-For`; for all others it is the address of the connection, whatever their headers
    /// say. Default none.
    pub trusted_proxies: Vec<IpNet>,
    /// The path prefix of a proxy, such as `/iotpi`, if the proxy keeps it when it forwards requests. A proxy
    /// that removes it needs no setting. Default empty.
    pub base_path: String,
    /// Open connections, including streams and WebSockets; a further one is answered 503 and closed. Default
    /// 1,024.
    pub max_connections: u32,
    /// Seconds in which a client must send the head of a request. Default 10.
    pub header_timeout_secs: u64,
    /// Seconds for which a connection may be idle between two requests. Default 75.
    pub idle_timeout_secs: u64,
}

/// Authentication.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Networks whose requests without credentials may deliver readings, gaps, frames and status, request the
    /// time, and nothing else. The client's address counts: list a proxy in `http.trusted_proxies`. Default
    /// none.
    pub anonymous_ingest: Vec<IpNet>,
    /// Days for which a login is valid. Default 30.
    pub session_days: u32,
    /// Seconds for which a JWT is valid. Default 900. It ends earlier if the session or token that made it
    /// ends.
    pub jwt_secs: u64,
}

/// Limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Series in the store; a quarter is reserved for modules with their own token. Default 10,000.
    pub series: u64,
    /// Known modules; a quarter is reserved for modules with their own token. Default 1,000.
    pub modules: u64,
    /// Cameras with a frame in memory. Default 64.
    pub cameras: u64,
    /// Series of one module. Default 256.
    pub series_per_module: u64,
    /// Readings that one module may deliver a minute, with bursts of as many; beyond, the answer is 429 with
    /// `Retry-After`. Not for admins. Default 600,000.
    pub readings_per_minute: u64,
    /// New modules from one caller a minute, with bursts of as many. Not for admins. Default 300.
    pub new_modules_per_minute: u64,
    /// Bytes of one module's manifest as JSON. Default 65,536.
    pub manifest_bytes: u64,
    /// Bytes of one module's state as JSON. Default 16,384.
    pub state_bytes: u64,
    /// Commands of one module that have not ended. Default 100.
    pub commands_waiting: u64,
    /// Events that a live client may be behind before it gets a resync. Default 2,048.
    pub live_backlog: u32,
    /// Bytes of the events kept for live clients, for all clients together; a client that is further behind
    /// gets a resync. Default 4,194,304 (4 MiB).
    pub live_backlog_bytes: u64,
}

/// Cameras.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CamerasConfig {
    /// Seconds without a frame after which a camera counts as lost and its viewers see a "no signal" frame;
    /// for a slower camera three of its own intervals. Default 5.
    pub lost_after_secs: u64,
    /// The directory for recordings, created if missing. Default `recordings` beside the database; with a
    /// database in memory there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recordings: Option<PathBuf>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            store: "sqlite:iotpi-hub.db".to_owned(),
            http: HttpConfig::default(),
            auth: AuthConfig::default(),
            limits: Limits::default(),
            cameras: CamerasConfig::default(),
            storage: StorageConfig::default(),
            backup: BackupConfig::default(),
            retention: RetentionConfig::default(),
        }
    }
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            base_path: String::new(),
            max_connections: 1024,
            header_timeout_secs: 10,
            idle_timeout_secs: 75,
        }
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { anonymous_ingest: Vec::new(), session_days: 30, jwt_secs: 900 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            series: 10_000,
            modules: 1_000,
            cameras: 64,
            series_per_module: 256,
            readings_per_minute: 600_000,
            new_modules_per_minute: 300,
            manifest_bytes: 65_536,
            state_bytes: 16_384,
            commands_waiting: 100,
            live_backlog: 2_048,
            live_backlog_bytes: 4 * 1024 * 1024,
        }
    }
}

impl Default for CamerasConfig {
    fn default() -> Self {
        Self { lost_after_secs: 5, recordings: None }
    }
}

impl CamerasConfig {
    pub(crate) fn lost_after(&self) -> Duration {
        Duration::from_secs(self.lost_after_secs)
    }

    /// The directory for recordings, given the path of the database.
    pub(crate) fn recordings(&self, database: Option<&Path>) -> Option<PathBuf> {
        self.recordings.clone().or_else(|| Some(database?.with_file_name("recordings")))
    }
}

impl Config {
    /// Checks for invalid values.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the field.
    pub fn check(&self) -> Result<()> {
        let in_range = |field: &str, value: u64, min: u64, max: u64| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(HubError::invalid_argument(format!("{field} must be {min} to {max}, not {value}")))
            }
        };
        in_range("http.max_connections", self.http.max_connections.into(), 1, 100_000)?;
        in_range("http.header_timeout_secs", self.http.header_timeout_secs, 1, 600)?;
        in_range("http.idle_timeout_secs", self.http.idle_timeout_secs, 1, 3_600)?;
        if !self.http.base_path.is_empty() && !is_base_path(&self.http.base_path) {
            return Err(HubError::invalid_argument(format!(
                "http.base_path must be a path such as \"/iotpi\", without a slash at its end, not {:?}",
                self.http.base_path
            )));
        }
        in_range("auth.session_days", self.auth.session_days.into(), 1, 3_650)?;
        in_range("auth.jwt_secs", self.auth.jwt_secs, 10, 86_400)?;
        in_range("limits.series", self.limits.series, 1, 1_000_000)?;
        in_range("limits.modules", self.limits.modules, 1, 100_000)?;
        in_range("limits.cameras", self.limits.cameras, 1, 10_000)?;
        in_range("limits.series_per_module", self.limits.series_per_module, 1, 1_000_000)?;
        in_range("limits.readings_per_minute", self.limits.readings_per_minute, 1_000, 1_000_000_000)?;
        in_range("limits.new_modules_per_minute", self.limits.new_modules_per_minute, 1, 1_000_000)?;
        in_range("limits.manifest_bytes", self.limits.manifest_bytes, 1_024, 262_144)?;
        in_range("limits.state_bytes", self.limits.state_bytes, 256, 262_144)?;
        in_range("limits.commands_waiting", self.limits.commands_waiting, 1, 10_000)?;
        in_range("limits.live_backlog", self.limits.live_backlog.into(), 1, 1_000_000)?;
        in_range(
            "limits.live_backlog_bytes",
            self.limits.live_backlog_bytes,
            256 * 1024,
            1024 * 1024 * 1024,
        )?;
        in_range("cameras.lost_after_secs", self.cameras.lost_after_secs, 2, 3_600)?;
        self.storage.check()?;
        self.backup.check()?;
        self.retention.check()
    }
}

impl HttpConfig {
    pub(crate) fn header_timeout(&self) -> Duration {
        Duration::from_secs(self.header_timeout_secs)
    }

    pub(crate) fn idle_timeout(&self) -> Duration {
        Duration::from_secs(self.idle_timeout_secs)
    }
}

/// Whether the path is a valid base path: segments of unreserved characters (RFC 3986, 2.3), each after a
/// slash.
pub(crate) fn is_base_path(path: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment = |segment: &str| {
        !segment.is_empty() && segment.bytes().all(is_plain) && !segment.bytes().all(|byte| byte == b'.')
    };
    path.len() <= MAX_BASE_PATH_CHARS
        && path.strip_prefix('/').is_some_and(|path| path.split('/').all(is_segment))
}
