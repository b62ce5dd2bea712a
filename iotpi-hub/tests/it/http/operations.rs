//! Health, metrics and the API description.

use http::Method;
use http_body_util::BodyExt as _;
use iotpi_hub::auth::Role;
use serde_json::{Value, json};

use crate::support::{
    api::{Api, jpeg},
    wait::bounded,
};

#[tokio::test]
async fn health_is_public_and_reports_version_and_uptime() {
    let api = Api::start().await;

    let health = api.open(Method::GET, "/health").ok().await;

    assert_eq!((&health["status"], &health["version"]), (&json!("ok"), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(health["uptime_secs"].as_f64().unwrap() >= 0.0);
    api.stop().await;
}

#[tokio::test]
async fn a_hub_without_its_store_reports_failing() {
    let api = Api::with_manual_clock().await;

    api.hub.store().close().await.unwrap();
    // A check of the last second, such as the one at the start, counts.
    api.hub.advance(std::time::Duration::from_secs(2));

    let health = api.open(Method::GET, "/health").send().await;
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("failing")));
    let problem = api.get("/api/modules").problem().await;
    assert_eq!((problem.0, problem.1.as_str()), (503, "unavailable"));
    api.stop().await;
}

#[tokio::test]
async fn a_store_that_fails_in_the_background_leaves_the_hub_responding() {
    let api = Api::with_manual_clock().await;
    api.lamp().await;
    api.post("/api/modules/led/control", json!({"action": "set", "expires_in": 10})).ok().await;

    api.hub.store().close().await.unwrap();
    api.hub.advance(std::time::Duration::from_secs(11));

    for _ in 0..3 {
        assert_eq!(api.open(Method::GET, "/health").send().await.status, 503);
    }
    api.stop().await;
}

#[tokio::test]
async fn metrics_count_readings_frames_and_commands() {
    let api = Api::start().await;
    let viewer = api.token(Role::Viewer).await;
    api.lamp().await;
    api.post(
        "/api/sensors/temperature",
        json!([{"module_id": "a", "value": 1}, {"module_id": "a", "value": 2}]),
    )
    .ok()
    .await;
    api.call(Method::POST, "/api/camera/frame").jpeg(jpeg(8, 8, 1)).ok().await;
    let mut stream = api.get("/api/camera/stream").open().await.into_body();
    let has_the_end = |read: &[u8]| read.windows(2).any(|w| w == [0xFF, 0xD9]);
    bounded("a complete frame", async {
        while !has_the_end(stream.frame().await.unwrap().unwrap().data_ref().unwrap()) {}
    })
    .await;
    let command = api.post("/api/modules/led/control", json!({"action": "set"})).ok().await;
    api.call(Method::POST, &format!("/api/commands/{}/cancel", command["id"].as_str().unwrap())).ok().await;
    api.get("/api/nothing").problem().await;

    let answer = api.get("/metrics").token(&viewer).send().await;

    assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    for line in [
        "iotpi_readings_stored_total 2",
        "iotpi_frames_received_total 1",
        "iotpi_commands_total{state=\"cancelled\"} 1",
        "iotpi_requests_total{status=\"4xx\"} 1",
        "iotpi_live_clients 0",
        "iotpi_camera_online{camera=\"camera\"} 1",
        "iotpi_camera_frames_total{camera=\"camera\"} 1",
        "iotpi_camera_viewers{camera=\"camera\"} 1",
        "iotpi_camera_delivered_total{camera=\"camera\"} 1",
        "iotpi_camera_viewer_skipped_total{camera=\"camera\",viewer=\"1\",via=\"mjpeg\"} 0",
        "# TYPE process_start_time_seconds gauge",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    api.stop().await;
}

/// Metrics that every hub with a camera exposes, with their types. Dashboards and alerts depend on these
/// names.
const METRICS: &str = "
iotpi_requests_total counter
iotpi_readings_stored_total counter
iotpi_readings_repeated_total counter
iotpi_readings_clock_ahead_total counter
iotpi_frames_received_total counter
iotpi_frame_times_ignored_total counter
iotpi_frames_delivered_total counter
iotpi_frames_skipped_total counter
iotpi_recorded_frames_total counter
iotpi_recorded_bytes_total counter
iotpi_recording_skipped_frames_total counter
iotpi_recording_errors_total counter
iotpi_commands_total counter
iotpi_connections gauge
iotpi_connections_refused_total counter
iotpi_connections_evicted_total counter
iotpi_connections_stalled_total counter
iotpi_live_clients gauge
iotpi_live_resyncs_total counter
iotpi_quota_refused_total counter
process_start_time_seconds gauge
iotpi_camera_online gauge
iotpi_camera_frames_total counter
iotpi_camera_missing_total counter
iotpi_camera_refused_total counter
iotpi_camera_viewers gauge
iotpi_camera_delivered_total counter
iotpi_camera_skipped_total counter
iotpi_camera_age_seconds gauge
iotpi_camera_latency_seconds summary
iotpi_camera_viewer_delivered_total counter
iotpi_camera_viewer_skipped_total counter
iotpi_database_bytes gauge
iotpi_wal_bytes gauge
iotpi_database_reusable_bytes gauge
iotpi_storage_full gauge
iotpi_device_endurance_bytes gauge
iotpi_databases_quarantined gauge
iotpi_storage_problems gauge
";

#[tokio::test]
async fn names_and_types_of_metrics_stay_and_each_sample_belongs_to_its_family() {
    let api = Api::start().await;
    api.call(Method::POST, "/api/camera/frame").jpeg(jpeg(8, 8, 1)).ok().await;

    let text = api.metrics().await;

    let mut types = Vec::new();
    for line in text.lines().filter(|line| !line.starts_with("# HELP ")) {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            types.push(family);
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap();
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        let name = series.split('{').next().unwrap();
        assert_eq!(types.last().unwrap().split(' ').next(), Some(name), "{line}");
    }
    for expected in METRICS.trim().lines() {
        assert_eq!(types.iter().filter(|family| **family == expected).count(), 1, "{expected}\n{text}");
    }
    api.stop().await;
}

#[tokio::test]
async fn the_api_describes_itself() {
    let api = Api::start().await;

    let document = api.open(Method::GET, "/api/openapi.json").ok().await;

    let golden: Value = serde_json::from_str(&iotpi_hub::openapi()).unwrap();
    assert_eq!(document, golden);
    api.stop().await;
}

#[cfg(feature = "docs")]
#[tokio::test]
async fn the_api_page_loads_nothing_from_other_sites() {
    let api = Api::start().await;

    let redirect = api.open(Method::GET, "/docs").send().await;
    let page = api.open(Method::GET, "/docs/").send().await;

    assert_eq!((redirect.status, redirect.header("location")), (303, "docs/"));
    let html = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self'"), "{policy}");
    let sources = html.split("src=\"").skip(1).chain(html.split("href=\"").skip(1));
    for source in sources.map(|rest| rest.split('"').next().unwrap()) {
        let path = format!("/docs/{}", source.trim_start_matches("./"));
        assert_eq!(api.open(Method::GET, &path).send().await.status, 200, "{path}");
    }
    api.stop().await;
}
