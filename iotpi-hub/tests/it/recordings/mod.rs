//! Recording cameras and reading the recordings, over HTTP and with real files.

mod api;
mod export;
mod full_disk;
mod modes;
mod reconcile;
mod retention;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use http::Method;
use iotpi_core::Timestamp;
use iotpi_hub::{Config, maintenance::Machine, testing::TestHub};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{
    api::{Api, NOW, jpeg},
    wait::until,
};

/// A data folder, on which hubs with a manual clock are started.
struct DataFolder(TempDir);

impl DataFolder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    async fn start(&self) -> Api {
        self.start_on(Config::default(), Machine::default(), NOW).await
    }

    async fn start_on(&self, config: Config, machine: Machine, now: Timestamp) -> Api {
        let url = format!("sqlite://{}", self.path().join("hub.db").display());
        Api::of(TestHub::on_machine(config, &url, machine, now).await.unwrap()).await
    }

    /// The paths of the segments of a camera, sorted by name.
    fn segments(&self, camera: &str) -> Vec<PathBuf> {
        segments(&self.path().join("recordings").join(camera))
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = files.map(|file| file.path()).collect();
    files.sort();
    files
}

/// A JPEG whose length contains its number.
fn numbered_frame(n: usize) -> Vec<u8> {
    jpeg(64, 48, 1000 + n)
}

impl Api {
    async fn publish(&self, camera: &str, jpeg: Vec<u8>) -> Value {
        self.call(Method::POST, &format!("/api/camera/frame?module_id={camera}")).jpeg(jpeg).ok().await
    }

    /// Registers the module and sets the recording of its camera.
    async fn record(&self, camera: &str, settings: Value) -> Value {
        self.put(&format!("/api/modules/{camera}"), json!({})).ok().await;
        self.put(&format!("/api/cameras/{camera}/recording"), settings).ok().await
    }

    async fn recording(&self, camera: &str) -> Value {
        self.get(&format!("/api/cameras/{camera}/recording")).ok().await
    }

    /// The number of recorded frames.
    async fn recorded_count(&self, camera: &str) -> u64 {
        self.recording(camera).await["frames"].as_u64().unwrap()
    }

    /// Publishes frames at this interval; waits for the recorder after each.
    async fn publish_all(&self, camera: &str, numbers: std::ops::Range<usize>, interval: Duration) {
        for n in numbers {
            let before = self.frames_to_recorder(camera).await;
            self.publish(camera, numbered_frame(n)).await;
            until("the recorder received the frame", async || self.frames_to_recorder(camera).await > before)
                .await;
            self.hub.advance(interval);
        }
    }

    /// The number of frames that the recorder received.
    async fn frames_to_recorder(&self, camera: &str) -> u64 {
        let cameras = self.get("/api/cameras").ok().await;
        let items = cameras["items"].as_array().unwrap();
        let info = items.iter().find(|item| item["module_id"] == camera);
        let viewers = info.and_then(|info| info["watching"].as_array()).into_iter().flatten();
        viewers
            .filter(|viewer| viewer["via"] == "recording")
            .map(|viewer| viewer["delivered"].as_u64().unwrap())
            .sum()
    }

    /// Publishes frame 999 and waits until the recorder receives frames of the camera.
    async fn wait_for_recorder(&self, camera: &str) {
        self.publish(camera, numbered_frame(999)).await;
        until("the recorder receives frames", async || self.frames_to_recorder(camera).await > 0).await;
    }

    async fn times(&self, camera: &str) -> Vec<f64> {
        let page = self.get(&format!("/api/cameras/{camera}/recordings/frames?limit=10000")).ok().await;
        page["items"].as_array().unwrap().iter().map(|at| at.as_f64().unwrap()).collect()
    }

    async fn clips(&self, camera: &str) -> Vec<Value> {
        let page = self.get(&format!("/api/cameras/{camera}/recordings")).ok().await;
        page["items"].as_array().unwrap().clone()
    }

    async fn frame_at(&self, camera: &str, at: f64) -> Vec<u8> {
        let answer = self.get(&format!("/api/cameras/{camera}/recordings/frame?at={at}")).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.body.to_vec()
    }

    /// All recorded JPEGs, oldest first.
    async fn recorded_frames(&self, camera: &str) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        for at in self.times(camera).await {
            frames.push(self.frame_at(camera, at).await);
        }
        frames
    }

    async fn metric(&self, name: &str) -> f64 {
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_else(|| panic!("there is no metric {name}"))
    }
}
