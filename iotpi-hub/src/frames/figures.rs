//! What is counted of cameras, in Prometheus' text format.

use std::fmt::Write as _;

use iotpi_core::WatchedCamera;

/// Everything as text (Prometheus exposition format 0.0.4).
pub(crate) fn metrics(cameras: &[WatchedCamera]) -> String {
    let mut text = String::new();
    let mut family =
        |name: &str, kind: &str, help: &str, rows: &dyn Fn(&WatchedCamera) -> Vec<(String, f64)>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# HELP iotpi_camera_{name} {help}\n# TYPE iotpi_camera_{name} {kind}");
            for camera in cameras {
                let id = &camera.camera.module_id;
                for (labels, value) in rows(camera) {
                    let _ = writeln!(text, "iotpi_camera_{name}{{camera=\"{id}\"{labels}}} {value}");
                }
            }
        };
    let one = |value: f64| vec![(String::new(), value)];
    family("online", "gauge", "1: it delivers.", &|c| one(f64::from(u8::from(c.camera.online))));
    family("frames_total", "counter", "Frames taken.", &|c| one(float(c.camera.frames)));
    family("missing_total", "counter", "Frames it numbered that never came.", &|c| {
        one(float(c.camera.missing))
    });
    family("refused_total", "counter", "Deliveries that were no frame.", &|c| one(float(c.camera.refused)));
    family("viewers", "gauge", "Open streams of it, without the recorder.", &|c| {
        one(f64::from(c.camera.viewers))
    });
    family("delivered_total", "counter", "Frames given to viewers.", &|c| one(float(c.camera.delivered)));
    family("skipped_total", "counter", "Frames viewers were too slow for.", &|c| {
        one(float(c.camera.skipped))
    });
    family("age_seconds", "gauge", "Since the newest frame was captured.", &|c| one(c.age));
    family("latency_seconds", "summary", "From the camera to the hub, over the last 256 frames.", &|c| {
        let latency = c.camera.latency;
        [("0.5", latency.p50), ("0.99", latency.p99)]
            .map(|(quantile, secs)| (format!(",quantile=\"{quantile}\""), secs))
            .into()
    });
    let labels = |w: &iotpi_core::ViewerInfo| format!(",viewer=\"{}\",via=\"{}\"", w.id, w.via.as_str());
    family("viewer_delivered_total", "counter", "Frames given to a viewer that is there.", &|c| {
        c.watching.iter().map(|w| (labels(w), float(w.delivered))).collect()
    });
    family("viewer_skipped_total", "counter", "Frames a viewer that is there was too slow for.", &|c| {
        c.watching.iter().map(|w| (labels(w), float(w.skipped))).collect()
    });
    text
}

#[allow(clippy::cast_precision_loss)]
fn float(count: u64) -> f64 {
    count as f64
}
