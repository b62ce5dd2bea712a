//! The metrics of cameras.

use iotpi_core::model::camera::{ViewerInfo, WatchedCamera};

use crate::metrics::{Family, Labels, Value};

/// The metric families of all cameras.
pub(crate) fn metrics(cameras: &[WatchedCamera]) -> Vec<Family> {
    let counter = |name, help, count: fn(&WatchedCamera) -> u64| {
        let sample = |c: &WatchedCamera| (labels(c, []), count(c).into());
        Family::counter(name, help).with_samples(cameras.iter().map(sample))
    };
    let gauge = |name, help, value: fn(&WatchedCamera) -> Value| {
        Family::gauge(name, help).with_samples(cameras.iter().map(|c| (labels(c, []), value(c))))
    };
    let by_viewer = |name, help, count: fn(&ViewerInfo) -> u64| {
        let sample = |c, v: &ViewerInfo| {
            let viewer = [("viewer", v.id.to_string()), ("via", v.via.as_str().to_owned())];
            (labels(c, viewer), count(v).into())
        };
        let samples = cameras.iter().flat_map(|c| c.watching.iter().map(move |v| sample(c, v)));
        Family::counter(name, help).with_samples(samples)
    };
    let quantiles = cameras.iter().flat_map(|c| {
        [("0.5", c.camera.latency.p50), ("0.99", c.camera.latency.p99)]
            .map(|(quantile, secs)| (labels(c, [("quantile", quantile.to_owned())]), secs.into()))
    });
    vec![
        gauge("iotpi_camera_online", "1: it delivers.", |c| u64::from(c.camera.online).into()),
        counter("iotpi_camera_frames_total", "Frames received.", |c| c.camera.frames),
        counter("iotpi_camera_missing_total", "Numbered frames that never arrived.", |c| c.camera.missing),
        counter("iotpi_camera_refused_total", "Deliveries that were not a frame.", |c| c.camera.refused),
        gauge("iotpi_camera_viewers", "Open streams of it, without the recorder.", |c| {
            u64::from(c.camera.viewers).into()
        }),
        counter("iotpi_camera_delivered_total", "Frames sent to viewers.", |c| c.camera.delivered),
        counter("iotpi_camera_skipped_total", "Frames that viewers were too slow for.", |c| c.camera.skipped),
        gauge("iotpi_camera_age_seconds", "Time since the newest frame was captured.", |c| c.age.into()),
        Family::gauge(
            "iotpi_camera_latency_seconds",
            "Time from the camera to the hub, over the last 256 frames.",
        )
        .with_samples(quantiles),
        by_viewer("iotpi_camera_viewer_delivered_total", "Frames sent to a present viewer.", |v| v.delivered),
        by_viewer(
            "iotpi_camera_viewer_skipped_total",
            "Frames that a present viewer was too slow for.",
            |v| v.skipped,
        ),
    ]
}

fn labels<const N: usize>(camera: &WatchedCamera, others: [(&'static str, String); N]) -> Labels {
    [("camera", camera.camera.module_id.to_string())].into_iter().chain(others).collect()
}
