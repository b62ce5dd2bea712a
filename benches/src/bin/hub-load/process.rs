//! What the server uses, and everybody, from `/proc` (proc(5)).

use std::{fs, io, num::NonZero, time::Duration};

use crate::frame;

/// The unit of `/proc`: a hundredth of a second, on every architecture Debian has (`getconf CLK_TCK`).
const TICKS_A_SECOND: u64 = 100;

/// What a process used of the processors since it began.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    /// User and kernel mode, to the nanosecond.
    whole: Duration,
    /// Ticks in user mode, in kernel mode: sampled, so good for their ratio only.
    user: u32,
    kernel: u32,
}

impl Cpu {
    /// Of the process with that id, all its threads that run.
    ///
    /// # Errors
    /// When there is no such process.
    fn of(pid: u32) -> io::Result<Self> {
        let mut whole = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // The same sum as utime + stime of `stat`, which shows it in hundredths of a second only. A thread may have ended
            // since it was listed.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
            whole += Duration::from_nanos(nanos.ok_or_else(|| unreadable("/proc/PID/task/TID/schedstat"))?);
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name is in parentheses and may have blanks.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|field| field.parse().ok());
        match (ticks(11), ticks(12)) {
            (Some(user), Some(kernel)) => Ok(Self { whole, user, kernel }),
            _ => Err(unreadable("/proc/PID/stat")),
        }
    }
}

/// What was used up to one moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    at: Duration,
    server: Cpu,
    load: Cpu,
    /// By everybody, and what the host took away.
    machine: Duration,
}

impl Moment {
    /// This one; `pid` is the server's.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn now(pid: u32) -> io::Result<Self> {
        let stat = fs::read_to_string("/proc/stat")?;
        let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu "));
        let ticks: Option<Vec<u64>> =
            line.and_then(|line| line.split_whitespace().map(|ticks| ticks.parse().ok()).collect());
        // user nice system idle iowait irq softirq steal; what follows is in `user` already.
        let Some([user, nice, system, _, _, irq, softirq, steal, ..]) = ticks.as_deref() else {
            return Err(unreadable("/proc/stat"));
        };
        let busy = user + nice + system + irq + softirq + steal;
        Ok(Self {
            at: frame::now(),
            server: Cpu::of(pid)?,
            load: Cpu::of(std::process::id())?,
            machine: Duration::from_millis(busy * 1000 / TICKS_A_SECOND),
        })
    }
}

/// What is measured: all between two moments.
#[derive(Debug, Clone, Copy)]
pub struct Stretch {
    /// The first moment.
    pub from: Moment,
    /// The last.
    pub to: Moment,
}

impl Stretch {
    /// Whether something happened in it.
    pub fn has(&self, at: Duration) -> bool {
        (self.from.at..self.to.at).contains(&at)
    }

    /// How long it is.
    pub fn secs(&self) -> f64 {
        (self.to.at - self.from.at).as_secs_f64()
    }

    /// The server's microseconds for each of `count` things: in all, and in the kernel (about).
    #[allow(clippy::cast_precision_loss)]
    pub fn micros_each(&self, count: usize) -> (f64, f64) {
        let (from, to) = (self.from.server, self.to.server);
        let whole = to.whole.saturating_sub(from.whole).as_secs_f64() * 1e6 / count as f64;
        let user = f64::from(to.user.saturating_sub(from.user));
        let kernel = f64::from(to.kernel.saturating_sub(from.kernel));
        (whole, whole * kernel / (user + kernel).max(1.0))
    }

    /// How much of the machine was used by neither the server nor this process, in percent. If it is much, the figures are
    /// of no use.
    #[allow(clippy::cast_precision_loss)]
    pub fn others_percent(&self) -> f64 {
        let processors = std::thread::available_parallelism().map_or(1, NonZero::get) as f64;
        let of = |used: fn(&Moment) -> Duration| used(&self.to).saturating_sub(used(&self.from));
        let others = of(|m| m.machine).saturating_sub(of(|m| m.server.whole) + of(|m| m.load.whole));
        100.0 * others.as_secs_f64() / self.secs() / processors
    }
}

fn unreadable(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{file} does not say what it should"))
}

/// The most memory a process has had resident since it began, in megabytes (1e6 bytes).
///
/// # Errors
/// When there is no such process.
pub fn peak_megabytes(pid: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: Option<f64> = peak.and_then(|text| text.trim().trim_end_matches("kB").trim().parse().ok());
    kibibytes.map(|kibibytes| kibibytes * 1024.0 / 1e6).ok_or_else(|| unreadable("/proc/PID/status"))
}
