//! What the hub counts of itself, in Prometheus' text format.
//!
//! A dozen counters without a registry: a metrics crate would bring more code than it replaces.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
};

use iotpi_core::{CommandState, Timestamp};

use crate::quotas::Refused;

/// A number that only rises.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
}

/// How many there are now.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicI64);

impl Gauge {
    /// One more, until the guard is dropped.
    pub(crate) fn enter(self: &std::sync::Arc<Self>) -> Entered {
        self.0.fetch_add(1, Relaxed);
        Entered(std::sync::Arc::clone(self))
    }
}

/// Counts as one while it lives.
#[derive(Debug)]
pub(crate) struct Entered(std::sync::Arc<Gauge>);

impl Drop for Entered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// The hub's counters, since it started.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    /// Answered requests by the first digit of their status, 1 to 5.
    requests: [Counter; 5],
    pub(crate) readings: Counter,
    pub(crate) readings_repeated: Counter,
    pub(crate) readings_ahead: Counter,
    pub(crate) frames_in: Counter,
    pub(crate) frame_times_ignored: Counter,
    pub(crate) frames_out: Counter,
    pub(crate) frames_skipped: Counter,
    pub(crate) recorded_frames: Counter,
    pub(crate) recorded_bytes: Counter,
    pub(crate) recording_skipped: Counter,
    pub(crate) recording_errors: Counter,
    commands: [Counter; CommandState::ALL.len()],
    pub(crate) connections: std::sync::Arc<Gauge>,
    pub(crate) connections_refused: Counter,
    pub(crate) connections_evicted: Counter,
    pub(crate) connections_stalled: Counter,
    pub(crate) live_clients: std::sync::Arc<Gauge>,
    pub(crate) live_resyncs: Counter,
    quotas: [Counter; Refused::ALL.len()],
}

impl Metrics {
    /// A request was answered with that status.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(counter) = self.requests.get(usize::from(status / 100).wrapping_sub(1)) {
            counter.add(1);
        }
    }

    /// A command entered a state.
    pub(crate) fn command(&self, state: CommandState) {
        if let Some(counter) = self.commands.get(state as usize) {
            counter.add(1);
        }
    }

    /// A quota refused a request.
    pub(crate) fn refused(&self, quota: Refused) {
        if let Some(counter) = self.quotas.get(quota as usize) {
            counter.add(1);
        }
    }

    /// Everything as text (Prometheus exposition format 0.0.4).
    pub(crate) fn text(&self, started_at: Timestamp) -> String {
        let mut text = String::new();
        let mut family = |name: &str, kind: &str, help: &str, rows: &[(String, f64)]| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in rows {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let one = |value: f64| vec![(String::new(), value)];
        let counter = |counter: &Counter| one(to_f64(counter.0.load(Relaxed)));
        let gauge = |gauge: &Gauge| one(to_f64(gauge.0.load(Relaxed).unsigned_abs()));

        let requests: Vec<_> = (1..)
            .zip(&self.requests)
            .map(|(class, c)| (format!("{{status=\"{class}xx\"}}"), to_f64(c.0.load(Relaxed))))
            .collect();
        family("iotpi_requests_total", "counter", "HTTP requests answered.", &requests);
        family("iotpi_readings_stored_total", "counter", "Readings stored.", &counter(&self.readings));
        family(
            "iotpi_readings_repeated_total",
            "counter",
            "Numbered readings that had been stored before.",
            &counter(&self.readings_repeated),
        );
        family(
            "iotpi_readings_clock_ahead_total",
            "counter",
            "Readings stamped more than 5 minutes ahead of the hub's clock, stored with the time of their arrival.",
            &counter(&self.readings_ahead),
        );
        family("iotpi_frames_received_total", "counter", "Camera frames taken.", &counter(&self.frames_in));
        family(
            "iotpi_frame_times_ignored_total",
            "counter",
            "Frames whose X-Timestamp was no possible time.",
            &counter(&self.frame_times_ignored),
        );
        family(
            "iotpi_frames_delivered_total",
            "counter",
            "Frames given to viewers.",
            &counter(&self.frames_out),
        );
        family(
            "iotpi_frames_skipped_total",
            "counter",
            "Frames a viewer was too slow for.",
            &counter(&self.frames_skipped),
        );
        for (name, help, count) in [
            ("iotpi_recorded_frames_total", "Frames recorded.", &self.recorded_frames),
            ("iotpi_recorded_bytes_total", "Bytes of recorded frames.", &self.recorded_bytes),
            (
                "iotpi_recording_skipped_frames_total",
                "Frames that were to be recorded and were not.",
                &self.recording_skipped,
            ),
            (
                "iotpi_recording_errors_total",
                "Writes that failed, and recorded frames or files found damaged or missing.",
                &self.recording_errors,
            ),
        ] {
            family(name, "counter", help, &counter(count));
        }
        let commands: Vec<_> = CommandState::ALL
            .iter()
            .zip(&self.commands)
            .filter(|(state, _)| state.is_final())
            .map(|(state, c)| (format!("{{state=\"{}\"}}", state.as_str()), to_f64(c.0.load(Relaxed))))
            .collect();
        family("iotpi_commands_total", "counter", "Commands by their final state.", &commands);
        family("iotpi_connections", "gauge", "Open connections.", &gauge(&self.connections));
        for (name, help, count) in [
            ("iotpi_connections_refused_total", "Connections over the limit.", &self.connections_refused),
            (
                "iotpi_connections_evicted_total",
                "Unauthenticated connections closed to make room for others.",
                &self.connections_evicted,
            ),
            (
                "iotpi_connections_stalled_total",
                "Connections closed because their client did not read its answer.",
                &self.connections_stalled,
            ),
        ] {
            family(name, "counter", help, &counter(count));
        }
        family("iotpi_live_clients", "gauge", "Live WebSockets.", &gauge(&self.live_clients));
        family(
            "iotpi_live_resyncs_total",
            "counter",
            "Times a live client was too slow.",
            &counter(&self.live_resyncs),
        );
        let refused: Vec<_> = Refused::ALL
            .iter()
            .zip(&self.quotas)
            .map(|(quota, c)| (format!("{{quota=\"{}\"}}", quota.as_str()), to_f64(c.0.load(Relaxed))))
            .collect();
        family("iotpi_quota_refused_total", "counter", "Requests refused by a quota.", &refused);
        family(
            "process_start_time_seconds",
            "gauge",
            "Start of the hub, Unix seconds.",
            &one(started_at.as_secs_f64()),
        );
        text
    }
}

#[allow(clippy::cast_precision_loss)]
fn to_f64(count: u64) -> f64 {
    count as f64
}
