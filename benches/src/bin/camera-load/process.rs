//! What another process uses, from `/proc` (proc(5)).

use std::{fs, io, time::Duration};

/// What a process used of the processors since it began.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
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
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut whole = Duration::ZERO;
        for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
            // The same sum as utime + stime of `stat`, which shows it in hundredths of a second only. A thread may have ended
            // since it was listed.
            let Ok(text) = fs::read_to_string(thread?.path().join("schedstat")) else { continue };
            let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
            whole += Duration::from_nanos(nanos.ok_or_else(|| unreadable("schedstat"))?);
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The name is in parentheses and may have blanks.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |i: usize| fields.get(i).and_then(|field| field.parse().ok());
        match (ticks(11), ticks(12)) {
            (Some(user), Some(kernel)) => Ok(Self { whole, user, kernel }),
            _ => Err(unreadable("stat")),
        }
    }

    /// Microseconds for each of `count` things between `earlier` and this: in all, and in the kernel (about).
    #[allow(clippy::cast_precision_loss)]
    pub fn micros_each(self, earlier: Self, count: usize) -> (f64, f64) {
        let whole = self.whole.saturating_sub(earlier.whole).as_secs_f64() * 1e6 / count as f64;
        let user = f64::from(self.user.saturating_sub(earlier.user));
        let kernel = f64::from(self.kernel.saturating_sub(earlier.kernel));
        (whole, whole * kernel / (user + kernel).max(1.0))
    }
}

fn unreadable(file: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/PID/{file} does not say what it should"))
}

/// The most memory a process has had resident since it began, in megabytes (1e6 bytes).
///
/// # Errors
/// When there is no such process.
pub fn peak_megabytes(pid: u32) -> io::Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes: Option<f64> = peak.and_then(|text| text.trim().trim_end_matches("kB").trim().parse().ok());
    kibibytes.map(|kibibytes| kibibytes * 1024.0 / 1e6).ok_or_else(|| unreadable("status"))
}
