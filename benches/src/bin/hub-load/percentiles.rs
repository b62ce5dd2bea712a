//! Percentiles of measured times, and rounding.

use std::time::Duration;

/// The 50th and 99th percentile in milliseconds; `None` without values.
pub fn milliseconds(mut times: Vec<Duration>) -> Option<(f64, f64)> {
    times.sort_unstable();
    let at = |part: usize| {
        let last = times.len().checked_sub(1)?;
        Some((times[last * part / 100].as_secs_f64() * 1e6).round() / 1e3)
    };
    Some((at(50)?, at(99)?))
}

/// Rounds to this number of decimals.
pub fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}
