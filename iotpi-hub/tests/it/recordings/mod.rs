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

use crate::support::api::{Api, NOW, jpeg};

/// A hub with a database in its own folder, on a clock that only the test advances.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    async fn start(&self) -> Api {
        self.start_on(Config::default(), Machine::default(), NOW).await
    }

    async fn start_on(&self, config: Config, machine: Machine, now: Timestamp) -> Api {
        let url = format!("sqlite://{}", self.folder.path().join("hub.db").display());
        Api::of(TestHub::on_machine(config, &url, machine, now).await.unwrap()).await
    }

    /// Paths of a camera's segments, sorted by name.
    fn segments(&self, camera: &str) -> Vec<PathBuf> {
        segments(&self.folder.path().join("recordings").join(camera))
    }
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = files.map(|file| file.path()).collect();
    files.sort();
    files
}

/// Polls until the condition holds.
async fn until<F: Future<Output = bool>>(what: &str, is_so: impl Fn() -> F) {
    let looking = async {
        let mut look = tokio::time::interval(Duration::from_millis(20));
        while !is_so().await {
            look.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), looking).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// A JPEG that differs from others by its number.
fn picture(n: usize) -> Vec<u8> {
    jpeg(64, 48, 1000 + n)
}

impl Api {
    async fn film(&self, camera: &str, jpeg: Vec<u8>) -> Value {
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

    /// Number of recorded frames.
    async fn recorded(&self, camera: &str) -> u64 {
        self.recording(camera).await["frames"].as_u64().unwrap()
    }

    /// Publishes frames, `apart` from each other; waits for the recorder after each.
    async fn film_all(&self, camera: &str, pictures: std::ops::Range<usize>, apart: Duration) {
        for n in pictures {
            let before = self.taken(camera).await;
            self.film(camera, picture(n)).await;
            until("the recorder sees a frame", async || self.taken(camera).await > before).await;
            self.hub.advance(apart);
        }
    }

    /// Number of frames delivered to the recorder.
    async fn taken(&self, camera: &str) -> u64 {
        let cameras = self.get("/api/cameras").ok().await;
        let items = cameras["items"].as_array().unwrap();
        let of = items.iter().find(|item| item["module_id"] == camera);
        let watching = of.and_then(|of| of["watching"].as_array()).into_iter().flatten();
        watching.filter(|one| one["via"] == "recording").map(|one| one["delivered"].as_u64().unwrap()).sum()
    }

    /// Waits until the recorder watches the camera.
    async fn watched(&self, camera: &str) {
        self.film(camera, picture(999)).await;
        until("the recorder watches", async || self.taken(camera).await > 0).await;
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
    async fn pictures(&self, camera: &str) -> Vec<Vec<u8>> {
        let mut pictures = Vec::new();
        for at in self.times(camera).await {
            pictures.push(self.frame_at(camera, at).await);
        }
        pictures
    }

    async fn metric(&self, name: &str) -> f64 {
        let text = String::from_utf8(self.get("/metrics").send().await.body.to_vec()).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        line.unwrap_or_else(|| panic!("{name} is not counted"))
    }
}
