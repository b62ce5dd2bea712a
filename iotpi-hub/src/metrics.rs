//! The hub's own counters, and the Prometheus text of all metrics.
//!
//! The text has the exposition format 0.0.4, in which each sample has the name of its family. `prometheus-client` writes
//! OpenMetrics, where the family of a counter is named without `_total`. So a counter is written as a plain value here.

use std::fmt;

use iotpi_core::{Timestamp, model::command::CommandState};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeGaugeValue, GaugeValueEncoder, text::encode_registry},
    metrics::{MetricType, counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// Adds one to a gauge until it is dropped.
#[derive(Debug)]
pub(crate) struct GaugeGuard(Gauge);

impl GaugeGuard {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
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
    pub(crate) connections: Gauge,
    pub(crate) connections_refused: Counter,
    pub(crate) connections_evicted: Counter,
    pub(crate) connections_stalled: Counter,
    pub(crate) live_clients: Gauge,
    pub(crate) live_resyncs: Counter,
    quotas: [Counter; Refused::ALL.len()],
}

impl Metrics {
    /// A request was answered with that status.
    pub(crate) fn answered(&self, status: u16) {
        if let Some(counter) = self.requests.get(usize::from(status / 100).wrapping_sub(1)) {
            counter.inc();
        }
    }

    /// A command entered a state.
    pub(crate) fn command(&self, state: CommandState) {
        if let Some(counter) = self.commands.get(state as usize) {
            counter.inc();
        }
    }

    /// A quota refused a request.
    pub(crate) fn refused(&self, quota: Refused) {
        if let Some(counter) = self.quotas.get(quota as usize) {
            counter.inc();
        }
    }

    /// The counters as they are now.
    pub(crate) fn families(&self, started_at: Timestamp) -> Vec<Family> {
        let requests = (1..).zip(&self.requests).map(|(class, count)| (format!("{class}xx"), count.get()));
        let commands = CommandState::ALL.iter().zip(&self.commands).filter(|(state, _)| state.is_final());
        let commands = commands.map(|(state, count)| (state.as_str().to_owned(), count.get()));
        let refused = Refused::ALL.iter().zip(&self.quotas);
        let refused = refused.map(|(quota, count)| (quota.as_str().to_owned(), count.get()));
        let counter = |name, help, counter: &Counter| Family::counter(name, help).with(counter.get());
        let gauge = |name, help, gauge: &Gauge| Family::gauge(name, help).with(gauge.get().unsigned_abs());
        vec![
            Family::counter("iotpi_requests_total", "HTTP requests answered.").by("status", requests),
            counter("iotpi_readings_stored_total", "Readings stored.", &self.readings),
            counter(
                "iotpi_readings_repeated_total",
                "Numbered readings that had been stored before.",
                &self.readings_repeated,
            ),
            counter(
                "iotpi_readings_clock_ahead_total",
                "Readings stamped more than 5 minutes ahead of the hub's clock, stored with the time of their arrival.",
                &self.readings_ahead,
            ),
            counter("iotpi_frames_received_total", "Camera frames received.", &self.frames_in),
            counter(
                "iotpi_frame_times_ignored_total",
                "Frames with an impossible X-Timestamp.",
                &self.frame_times_ignored,
            ),
            counter("iotpi_frames_delivered_total", "Frames sent to viewers.", &self.frames_out),
            counter(
                "iotpi_frames_skipped_total",
                "Frames that a viewer was too slow for.",
                &self.frames_skipped,
            ),
            counter("iotpi_recorded_frames_total", "Frames recorded.", &self.recorded_frames),
            counter("iotpi_recorded_bytes_total", "Bytes of recorded frames.", &self.recorded_bytes),
            counter(
                "iotpi_recording_skipped_frames_total",
                "Frames that should have been recorded and were not.",
                &self.recording_skipped,
            ),
            counter(
                "iotpi_recording_errors_total",
                "Writes that failed, and recorded frames or files found damaged or missing.",
                &self.recording_errors,
            ),
            Family::counter("iotpi_commands_total", "Commands by their final state.").by("state", commands),
            gauge("iotpi_connections", "Open connections.", &self.connections),
            counter(
                "iotpi_connections_refused_total",
                "Connections over the limit.",
                &self.connections_refused,
            ),
            counter(
                "iotpi_connections_evicted_total",
                "Unauthenticated connections closed to make room for others.",
                &self.connections_evicted,
            ),
            counter(
                "iotpi_connections_stalled_total",
                "Connections closed because their client did not read its answer.",
                &self.connections_stalled,
            ),
            gauge("iotpi_live_clients", "Live WebSockets.", &self.live_clients),
            counter("iotpi_live_resyncs_total", "Times a live client was too slow.", &self.live_resyncs),
            Family::counter("iotpi_quota_refused_total", "Requests refused by a quota.").by("quota", refused),
            Family::gauge("process_start_time_seconds", "Start of the hub, Unix seconds.")
                .with(started_at.as_secs_f64()),
        ]
    }
}

/// The quota that refused a request: a label of the metrics.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refused {
    Readings,
    Series,
    NewModules,
    Registrations,
}

impl Refused {
    pub(crate) const ALL: [Self; 4] = [Self::Readings, Self::Series, Self::NewModules, Self::Registrations];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Readings => "readings",
            Self::Series => "series",
            Self::NewModules => "new_modules",
            Self::Registrations => "registrations",
        }
    }
}

/// A metric family and its present samples.
#[derive(Debug)]
pub(crate) struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Labels, Value)>,
}

/// Names and values of a sample's labels.
pub(crate) type Labels = Vec<(&'static str, String)>;

/// The value of a sample.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Value {
    Count(u64),
    Number(f64),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl EncodeGaugeValue for Value {
    fn encode(&self, encoder: &mut GaugeValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Count(count) => count.encode(encoder),
            Self::Number(number) => number.encode(encoder),
        }
    }
}

impl Family {
    pub(crate) fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricType::Counter, samples: Vec::new() }
    }

    pub(crate) fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, kind: MetricType::Gauge, samples: Vec::new() }
    }

    /// Adds a sample without labels.
    pub(crate) fn with(self, value: impl Into<Value>) -> Self {
        self.with_samples([(Labels::new(), value.into())])
    }

    /// Adds a sample for each value of one label.
    fn by(self, label: &'static str, samples: impl Iterator<Item = (String, u64)>) -> Self {
        self.with_samples(samples.map(|(value, count)| (vec![(label, value)], count.into())))
    }

    /// Adds samples with their labels.
    pub(crate) fn with_samples(mut self, samples: impl IntoIterator<Item = (Labels, Value)>) -> Self {
        self.samples.extend(samples);
        self
    }
}

/// All families of a scrape.
#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let mut metric = encoder.encode_descriptor(family.name, family.help, None, family.kind)?;
            for (labels, value) in &family.samples {
                if labels.is_empty() {
                    metric.encode_gauge(value)?;
                } else {
                    metric.encode_family(labels)?.encode_gauge(value)?;
                }
            }
        }
        Ok(())
    }
}

/// The text of a scrape, in the exposition format 0.0.4.
pub(crate) fn text(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    // Writing to a string cannot fail.
    let _ = encode_registry(&mut text, &registry);
    // prometheus-client does not know summaries: the quantiles are written as a gauge.
    text.replace("# TYPE iotpi_camera_latency_seconds gauge", "# TYPE iotpi_camera_latency_seconds summary")
}
