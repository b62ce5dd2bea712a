//! The CPU time and memory of the server and of the machine, from `/proc` (proc(5)).

use std::{fs, io, num::NonZero, time::Duration};

use crate::frame;

/// The unit of `/proc`: a hundredth of a second, on every architecture Debian has (`getconf CLK_TCK`).
const TICKS_A_SECOND: u64 = 100;

/// The CPU time of a process since its start.
#[derive(Debug, Clone, Copy)]
struct CpuTime {
    /// User and kernel mode together, in nanoseconds.
    total: Duration,
    /// Ticks in user mode and in kernel mode. They are sampled, so only their ratio is used.
    user: u32,
    kernel: u32,
}

impl CpuTime {
    /// Sums the running threads of a process.
    ///
    /// # Errors
    /// There is no such process.
    fn of(pid: u32) -> io::Result<Self> {
        let mut total = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // The same as utime + stime in `stat`, which has a resolution of 10 ms only. A thread may have
            // ended since it was listed.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
            total += Duration::from_nanos(nanos.ok_or_else(|| unreadable("/proc/PID/task/TID/schedstat"))?);
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name is in parentheses and may contain blanks.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|field| field.parse().ok());
        match (ticks(11), ticks(12)) {
            (Some(user), Some(kernel)) => Ok(Self { total, user, kernel }),
            _ => Err(unreadable("/proc/PID/stat")),
        }
    }
}

/// The CPU times at one time.
#[derive(Debug, Clone, Copy)]
pub struct CpuSample {
    at: Duration,
    server: CpuTime,
    load: CpuTime,
    /// All processes, and the time that the hypervisor used.
    machine: Duration,
}

impl CpuSample {
    /// Samples the CPU times now; `pid` is the process id of the server.
    ///
    /// # Errors
    /// There is no such process.
    pub fn now(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
        let ticks: Option<Vec<u64>> =
            line.and_then(|line| line.split_whitespace().map(|ticks| ticks.parse().ok()).collect());
        // user nice system idle iowait irq softirq steal; the other fields are included in `user`.
        let Some([user, nice, system, _, _, irq, softirq, steal, ..]) = ticks.as_deref() else {
            return Err(unreadable("/proc/stat"));
        };
        let busy = user + nice + system + irq + softirq + steal;
        Ok(Self {
            at: frame::now(),
            server: CpuTime::of(pid)?,
            load: CpuTime::of(std::process::id())?,
            machine: Duration::from_millis(busy * 1000 / TICKS_A_SECOND),
        })
    }
}

/// The measured time, between two samples.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredInterval {
    /// The first sample.
    pub from: CpuSample,
    /// The last sample.
    pub to: CpuSample,
}

impl MeasuredInterval {
    /// Whether a time is within the interval.
    pub fn contains(&self, at: Duration) -> bool {
        (self.from.at..self.to.at).contains(&at)
    }

    /// The length in seconds.
    pub fn secs(&self) -> f64 {
        (self.to.at - self.from.at).as_secs_f64()
    }

    /// The CPU time of the server in microseconds per item: in all, and in the kernel (approximately).
    #[allow(clippy::cast_precision_loss)]
    pub fn micros_each(&self, count: usize) -> (f64, f64) {
        let (from, to) = (self.from.server, self.to.server);
        let total = to.total.saturating_sub(from.total).as_secs_f64() * 1e6 / count as f64;
        let user = f64::from(to.user.saturating_sub(from.user));
        let kernel = f64::from(to.kernel.saturating_sub(from.kernel));
        (total, total * kernel / (user + kernel).max(1.0))
    }

    /// The share of the CPU time that other processes used, in percent. With a large share the results are
    /// not valid.
    #[allow(clippy::cast_precision_loss)]
    pub fn others_percent(&self) -> f64 {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get) as f64;
        let of = |used: fn(&CpuSample) -> Duration| used(&self.to).saturating_sub(used(&self.from));
        let others = of(|m| m.machine).saturating_sub(of(|m| m.server.total) + of(|m| m.load.total));
        100.0 * others.as_secs_f64() / self.secs() / processors
    }
}

fn unreadable(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} has an unexpected format"))
}

/// The peak resident memory of a process in megabytes (1e6 bytes).
///
/// # Errors
/// There is no such process.
pub fn peak_megabytes(pid: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: Option<f64> = peak.and_then(|text| text.trim().trim_end_matches("kB").trim().parse().ok());
    kibibytes.map(|kibibytes| kibibytes * 1024.0 / 1e6).ok_or_else(|| unreadable("/proc/PID/status"))
}
