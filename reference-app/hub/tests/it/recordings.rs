//! `kill -9` of a hub during a recording: every completed frame is intact afterwards.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use iotpi_core::Timestamp;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    hub_process::HubProcess,
    jpeg::{HEADER_BYTES, jpeg},
    program::{add_token, text},
    seeded_random::{PrintSeedOnPanic, SeededRandom, seeds, torture},
    wait::{bounded, until},
};

/// The size of the header of a record; the JPEG follows.
const RECORD_HEADER: usize = 40;

/// A plain HTTP client, because the typed client has no recordings API.
#[derive(Clone)]
struct Http {
    address: String,
    token: String,
}

impl Http {
    async fn send(
        &self,
        method: &str,
        path: &str,
        media: &str,
        body: &[u8],
    ) -> std::io::Result<(u16, Vec<u8>)> {
        let mut stream = TcpStream::connect(&self.address).await?;
        let Self { address, token } = self;
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\ncontent-type: {media}\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body).await?;
        let mut response = Vec::new();
        bounded("a response", stream.read_to_end(&mut response)).await?;
        let truncated = || std::io::Error::from(std::io::ErrorKind::UnexpectedEof);
        let end = response.windows(4).position(|end| end == b"\r\n\r\n").ok_or_else(truncated)?;
        let status = text(&response[..end]).split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(truncated)?, response[end + 4..].to_vec()))
    }

    async fn json(&self, method: &str, path: &str, body: &Value) -> Value {
        let sent = self.send(method, path, "application/json", body.to_string().as_bytes()).await;
        let (status, body) = sent.unwrap();
        assert!((200..300).contains(&status), "{method} {path}: {}", text(&body));
        serde_json::from_slice(&body).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.json("GET", path, &json!({})).await
    }

    async fn recorded(&self) -> u64 {
        self.get("/api/cameras/porch/recording").await["frames"].as_u64().unwrap()
    }

    async fn times(&self) -> Vec<f64> {
        let mut times = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/cameras/porch/recordings/frames?limit=10000{cursor}");
            let page = self.get(&path).await;
            times.extend(page["items"].as_array().unwrap().iter().map(|at| at.as_f64().unwrap()));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return times,
            }
        }
    }

    async fn frame(&self, at: f64) -> Vec<u8> {
        let path = format!("/api/cameras/porch/recordings/frame?at={at}");
        let (status, jpeg) = self.send("GET", &path, "application/json", b"").await.unwrap();
        assert_eq!(status, 200, "{}", text(&jpeg));
        jpeg
    }
}

/// The frame with this number; its content follows from the number.
fn numbered_frame(n: u64) -> Vec<u8> {
    let mut noise = SeededRandom::new(n);
    let length = 2_000 + noise.below(40_000);
    let content: Vec<u8> = (0..length / 8).flat_map(|_| noise.below(u64::MAX).to_be_bytes()).collect();
    jpeg(n.to_be_bytes().into_iter().chain(content))
}

fn number(jpeg: &[u8]) -> u64 {
    u64::from_be_bytes(jpeg[HEADER_BYTES..HEADER_BYTES + 8].try_into().unwrap())
}

/// Every complete record on the disk, by its time; read without the hub's code.
fn on_disk(data: &Path) -> BTreeMap<i64, Vec<u8>> {
    let mut found = BTreeMap::new();
    for file in std::fs::read_dir(data.join("recordings/porch")).into_iter().flatten() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let u32_at = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let Some(json) = u32_at(8) else { continue };
        let mut at = 16 + json as usize;
        while let Some(length) = u32_at(at + 4).filter(|_| bytes[at..].starts_with(b"IPJ1")) {
            let end = at + RECORD_HEADER + length as usize;
            let Some(jpeg) = bytes.get(at + RECORD_HEADER..end) else { break };
            let captured = i64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
            found.insert(captured, jpeg.to_vec());
            at = end;
        }
    }
    found
}

/// Sends frames without a pause until asked to stop or the hub is gone.
async fn upload_frames(http: Http, first: u64, uploaded: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> u64 {
    for n in first.. {
        let sent =
            http.send("POST", "/api/camera/frame?module_id=porch", "image/jpeg", &numbered_frame(n)).await;
        if sent.is_err() || stop.load(Ordering::SeqCst) {
            return n + 1;
        }
        uploaded.fetch_add(1, Ordering::SeqCst);
    }
    unreachable!("the numbers are endless")
}

#[tokio::test]
async fn every_completed_frame_survives_kill_9_at_any_moment() {
    let seed = seeds(1, 1).next().unwrap();
    let _print_seed = PrintSeedOnPanic { test: "every_completed_frame", seed };
    let kills = std::env::var("IOTPI_KILLS").map_or(if torture() { 200 } else { 12 }, |n| n.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let token = add_token(data, &["--role", "operator", "recorder"]);
    let http = |hub: &HubProcess| Http { address: hub.address().to_owned(), token: token.clone() };
    let mut random = SeededRandom::new(seed);
    let (mut next, mut acknowledged, mut unindexed, mut early) = (0, 0, 0, 0);

    for kill in 0..kills {
        let complete = on_disk(data).len() as u64;
        let hub = HubProcess::start(data).await;
        let client = http(&hub);
        if kill == 0 {
            client
                .send("POST", "/api/camera/frame?module_id=porch", "image/jpeg", &numbered_frame(next))
                .await
                .unwrap();
            next += 1;
            let settings = json!({"mode": "continuous", "keep_days": 0});
            client.json("PUT", "/api/cameras/porch/recording", &settings).await;
        } else {
            until("the reconciliation is complete", async || client.recorded().await == complete).await;
        }
        let (uploaded, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let uploading =
            tokio::spawn(upload_frames(client.clone(), next, Arc::clone(&uploaded), Arc::clone(&stop)));

        // Before the first write, between write and index, after some of them.
        let enough = 1 + random.below(150);
        until("enough frames are uploaded", async || uploaded.load(Ordering::SeqCst) >= enough).await;
        if kill % 3 == 2 {
            until("some frames are indexed", async || {
                client.recorded().await > complete + random.clone().below(20)
            })
            .await;
        }
        let listed = client.times().await;
        hub.kill().await;
        stop.store(true, Ordering::SeqCst);
        next = bounded("the end of the uploads", uploading).await.unwrap();

        // Before the next start, whose reconciliation truncates incomplete records and removes empty files.
        let records = on_disk(data);
        let hub = HubProcess::start(data).await;
        let client = http(&hub);
        until("the reconciliation is complete", async || client.recorded().await == records.len() as u64)
            .await;
        let times = client.times().await;
        let on_disk: Vec<_> = records.keys().map(|at| Timestamp::from_micros(*at).as_secs_f64()).collect();
        assert_eq!(times, on_disk, "after kill {kill}");
        assert!(
            listed.iter().all(|at| times.binary_search_by(|other| other.total_cmp(at)).is_ok()),
            "after kill {kill}"
        );
        for (at, jpeg) in times.iter().zip(records.values()).skip(complete as usize) {
            let read = client.frame(*at).await;
            assert!(
                read == *jpeg && read == numbered_frame(number(&read)),
                "after kill {kill}: the frame of {at}"
            );
        }
        acknowledged = listed.len();
        unindexed += times.len() - listed.len();
        early += usize::from(times.len() > listed.len());
        hub.kill().await;
    }

    println!(
        "{kills} kills: {next} frames uploaded, {acknowledged} of the last run listed, {unindexed} complete and not yet \
         listed when the hub was killed, in {early} kills; none is lost"
    );
    // Otherwise the test covered nothing.
    assert!(acknowledged > 0 && unindexed > 0);
}
