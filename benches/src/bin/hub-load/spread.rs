//! How values lie: the median and what one in a hundred exceeds.

use std::time::Duration;

/// Milliseconds at p50 and p99; nothing when there are none.
pub fn milliseconds(mut times: Vec<Duration>) -> Option<(f64, f64)> {
    times.sort_unstable();
    let at = |part: usize| {
        let last = times.len().checked_sub(1)?;
        Some((times[last * part / 100].as_secs_f64() * 1e6).round() / 1e3)
    };
    Some((at(50)?, at(99)?))
}

/// Rounded to so many decimals: figures that nobody reads are noise.
pub fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}
