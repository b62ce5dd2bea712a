//! What the hub reads from its machine; a test replaces it.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

type Written = dyn Fn() -> Option<u64> + Send + Sync;
type Free = dyn Fn(&Path) -> io::Result<u64> + Send + Sync;

/// The machine of the hub.
#[derive(Clone)]
pub struct Machine {
    sys: PathBuf,
    written: Arc<Written>,
    free: Arc<Free>,
    check_interval: Duration,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            sys: "/sys".into(),
            written: Arc::new(written_by_process),
            free: Arc::new(free_on_disk),
            check_interval: Duration::from_secs(5),
        }
    }
}

impl Machine {
    /// Replaces the mount point of sysfs.
    #[must_use]
    pub fn with_sys(mut self, sys: impl Into<PathBuf>) -> Self {
        self.sys = sys.into();
        self
    }

    /// Replaces the count of bytes that this process has written to devices since it started.
    #[must_use]
    pub fn with_written_bytes(mut self, written: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Self {
        self.written = Arc::new(written);
        self
    }

    /// Replaces the number of free bytes on the disk of a file.
    #[must_use]
    pub fn with_free_bytes(
        mut self,
        free: impl Fn(&Path) -> io::Result<u64> + Send + Sync + 'static,
    ) -> Self {
        self.free = Arc::new(free);
        self
    }

    /// Replaces the interval of the check of the free space; 5 s by default.
    #[must_use]
    pub fn with_check_interval(mut self, every: Duration) -> Self {
        self.check_interval = every;
        self
    }

    /// The interval of the check of the free space.
    #[must_use]
    pub fn check_interval(&self) -> Duration {
        self.check_interval
    }

    /// The mount point of sysfs.
    #[must_use]
    pub fn sys(&self) -> &Path {
        &self.sys
    }

    /// Bytes that this process has written to devices since it started; `None` if the kernel does not count
    /// them.
    #[must_use]
    pub fn written_bytes(&self) -> Option<u64> {
        (self.written)()
    }

    /// Free bytes for this user on the disk of the file.
    ///
    /// # Errors
    /// The system's.
    pub fn free_bytes(&self, file: &Path) -> io::Result<u64> {
        (self.free)(file)
    }
}

impl fmt::Debug for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Machine").field("sys", &self.sys).finish_non_exhaustive()
    }
}

/// `write_bytes` minus the bytes that never reached the device (proc(5), /proc/pid/io).
fn written_by_process() -> Option<u64> {
    parse_io(&fs::read_to_string("/proc/self/io").ok()?)
}

fn parse_io(text: &str) -> Option<u64> {
    let field =
        |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok());
    let written: u64 = field("write_bytes")?;
    Some(written.saturating_sub(field("cancelled_write_bytes").unwrap_or(0)))
}

fn free_on_disk(file: &Path) -> io::Result<u64> {
    let file = std::path::absolute(file)?;
    // A folder that does not exist yet is created on the disk of the nearest existing one.
    let there = file.ancestors().skip(1).find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    let disk = rustix::fs::statvfs(there)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counters_of_the_kernel_are_parsed() {
        let text = "rchar: 1\nwchar: 2\nsyscr: 3\nsyscw: 4\nread_bytes: 5\nwrite_bytes: 8192\ncancelled_write_bytes: 4096\n";

        assert_eq!(parse_io(text), Some(4096));
        assert_eq!(parse_io("rchar: 1\n"), None);
    }

    #[test]
    fn this_machine_reports_its_free_space() {
        let folder = tempfile::tempdir().unwrap();

        assert!(Machine::default().free_bytes(&folder.path().join("hub.db")).unwrap() > 0);
        assert!(Machine::default().free_bytes(&folder.path().join("not/yet/hub.db")).unwrap() > 0);
    }
}
