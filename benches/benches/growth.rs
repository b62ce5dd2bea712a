//! The cost of queries and of an idle second with a growing number of series and readings: each query over
//! HTTP on loopback, with 10, 1,000 and 10,000 series of one type and 10,000 and 1,000,000 readings in all.
//! It prints a table of the medians of one run. Hub and client share the machine.
//!
//! Each series has one reading per minute, at its own phase. A window is 100 s in the middle of the recorded
//! time; a cold window is different for each query. `IOTPI_BENCH_GROWTH=10000/1e8` measures 100,000,000
//! readings (some minutes, 1 GB).
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation)]

use std::{
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use iotpi_benches::{cpu_time, folder};
use iotpi_core::{ModuleId, Quantity, Reading, Sample, Timestamp};
use iotpi_hub::{
    Config,
    auth::Role,
    store::{self, Now, Steady, Store},
    testing::TestHub,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// The time of the first reading in Unix seconds.
const START: i64 = 1_760_000_000;
/// The limits of the repetitions of a query.
const MAX_TIME: Duration = Duration::from_secs(2);
const MAX_QUERIES: usize = 500;

fn now(secs: i64) -> Now {
    let at = Timestamp::from_micros((START + secs) * 1_000_000);
    Now { wall: at, steady: Steady(at) }
}

/// The `k`-th reading of the `n`-th series.
fn reading(n: i64, k: i64) -> Reading {
    let id = ModuleId::new(format!("m{n:05}")).unwrap();
    let phase = n * 7_919_993 % 60_000_000;
    let at = Timestamp::from_micros((START + k * 60) * 1_000_000 + phase + k * 7919 % 1500);
    let value = (2100.0 + 300.0 * (k as f64 / 230.0).sin() + (k * 31 % 17) as f64).round() / 100.0;
    Reading::new(id, Sample::new(Quantity::Temperature, value), at)
}

/// Records `each` readings of each series, in the order of their arrival.
async fn fill(path: &Path, series: i64, each: i64) {
    let store = store::open(&format!("sqlite://{}", path.display())).await.unwrap();
    let mut batch = Vec::with_capacity(5000);
    for k in 0..each {
        for n in 0..series {
            batch.push(reading(n, k));
            if batch.len() == 5000 {
                store.record(std::mem::take(&mut batch), 20_000, now(k * 60)).await.unwrap();
            }
        }
    }
    store.record(batch, 20_000, now(each * 60)).await.unwrap();
    store.compact().await.unwrap();
    store.close().await.unwrap();
}

/// A connection to the hub.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    address: SocketAddr,
    token: String,
}

impl Connection {
    async fn to(address: SocketAddr, token: String) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; 4 << 20], address, token }
    }

    /// Sends a request; returns the body of the response.
    async fn send(&mut self, method: &str, path: &str, body: &str) -> &str {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        );
        self.stream.write_all(request.as_bytes()).await.unwrap();
        let mut filled = 0;
        loop {
            filled += self.stream.read(&mut self.buffer[filled..]).await.unwrap();
            let Some(head) = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let text = std::str::from_utf8(&self.buffer[..head]).unwrap();
            assert!(text.starts_with("HTTP/1.1 2"), "{path}: {text}");
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.map_or(0, |length| length.parse::<usize>().unwrap());
            if filled >= head + 4 + length {
                return std::str::from_utf8(&self.buffer[head + 4..head + 4 + length]).unwrap();
            }
        }
    }

    /// The median time of repeated requests, in milliseconds.
    async fn median(&mut self, method: &str, mut next: impl FnMut(usize) -> (String, String)) -> f64 {
        let mut times = Vec::new();
        let started = Instant::now();
        while times.len() < MAX_QUERIES && (started.elapsed() < MAX_TIME || times.len() < 3) {
            let (path, body) = next(times.len());
            let sent = Instant::now();
            self.send(method, &path, &body).await;
            times.push(sent.elapsed());
        }
        times.sort_unstable();
        times[times.len() / 2].as_secs_f64() * 1e3
    }

    async fn get(&mut self, path: &str) -> f64 {
        self.median("GET", |_| (path.to_owned(), String::new())).await
    }
}

/// The CPU time of this process in seconds.
fn cpu_secs() -> f64 {
    cpu_time(std::process::id()).unwrap().as_secs_f64()
}

async fn measure(path: &Path, series: i64, each: i64) -> Vec<(&'static str, f64)> {
    let mut config = Config::default();
    config.limits.modules = 20_000;
    config.limits.series = 20_000;
    let opened = Instant::now();
    let hub = TestHub::with_store(config, &format!("sqlite://{}", path.display())).await.unwrap();
    let start = opened.elapsed().as_secs_f64() * 1e3;
    let token = hub.token(Role::Admin).await.unwrap();
    let mut connection = Connection::to(hub.address(), token).await;
    let all = "/api/sensors/temperature?limit=100";
    let span = each * 60;
    let window = |at: i64| format!("{all}&since={}&until={}", START + at, START + at + 100);

    let mut rows = vec![("start, ms", start)];
    let first = Instant::now();
    let page = connection.send("GET", all, "").await;
    let next: serde_json::Value = serde_json::from_str(page).unwrap();
    rows.push(("newest 100, first query", first.elapsed().as_secs_f64() * 1e3));
    rows.push(("newest 100", connection.get(all).await));
    let next = next["next"].as_str().unwrap_or_default().to_owned();
    rows.push(("the next page", connection.get(&format!("{all}&cursor={next}")).await));
    rows.push(("oldest 100", connection.get(&format!("{all}&order=asc")).await));
    rows.push(("100 of a window", connection.get(&window(span / 2)).await));
    let cold = |n: usize| (window((n as i64 * 7_919 + 13) * 61 % span.max(1)), String::new());
    rows.push(("100 of another window each time", connection.median("GET", cold).await));
    let buckets = "/api/sensors/temperature?bucket=1h&limit=1000";
    rows.push(("bucket=1h, the oldest 1,000", connection.get(buckets).await));
    let since = format!("{buckets}&since={}", START + span / 2);
    rows.push(("bucket=1h, 1,000 from the middle", connection.get(&since).await));
    let one = "/api/sensors/temperature?limit=100&module_id=m00003";
    rows.push(("100 of one series", connection.get(one).await));
    rows.push(("newest of each of 100 series", connection.get("/api/sensors?limit=100").await));
    rows.push(("100 modules", connection.get("/api/modules?limit=100").await));
    rows.push(("one module", connection.get("/api/modules/m00003").await));
    rows.push(("metrics", connection.get("/metrics").await));
    rows.push(("storage", connection.get("/api/storage").await));
    rows.push(("health", connection.get("/health").await));
    let post = |n: usize| {
        let body = format!(
            r#"{{"module_id":"m{:05}","value":21.5,"unit":"celsius","timestamp":{}}}"#,
            n as i64 % series,
            START + span + 60
        );
        ("/api/sensors/temperature".to_owned(), body)
    };
    rows.push(("a reading stored", connection.median("POST", post).await));
    rows.push(("newest 100 after the writes", connection.get(all).await));
    let before = cpu_secs();
    tokio::time::sleep(Duration::from_secs(3)).await;
    rows.push(("an idle second, ms of CPU", (cpu_secs() - before) / 3.0 * 1e3));
    hub.stop().await.unwrap();
    rows
}

/// The longest write during the removal of a module with 500,000 readings, and the time of the removal.
async fn removal(path: &Path) {
    fill(path, 1, 500_000).await;
    let store: std::sync::Arc<dyn Store> =
        store::open(&format!("sqlite://{}", path.display())).await.unwrap();
    let removing = std::sync::Arc::clone(&store);
    let writing = tokio::spawn(async move {
        let mut times = Vec::new();
        for k in 0..1500 {
            let began = Instant::now();
            let mut other = reading(0, k);
            other.module_id = ModuleId::new("other").unwrap();
            removing.record(vec![other], 10, now(k)).await.unwrap();
            times.push(began.elapsed());
        }
        times.sort_unstable();
        times
    });
    let began = Instant::now();
    store.remove_module(&ModuleId::new("m00000").unwrap()).await.unwrap();
    let removed = began.elapsed();
    let times = writing.await.unwrap();
    store.compact().await.unwrap();
    println!(
        "\na module with 500,000 readings removed: invisible after {:.1} ms; 1,500 concurrent writes, p50 {:.2} ms, longest {:.1} ms",
        removed.as_secs_f64() * 1e3,
        times[times.len() / 2].as_secs_f64() * 1e3,
        times[times.len() - 1].as_secs_f64() * 1e3
    );
    store.close().await.unwrap();
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let sizes = std::env::var("IOTPI_BENCH_GROWTH");
    let sizes = sizes.unwrap_or_else(|_| "10/1e4 1000/1e4 10/1e6 1000/1e6 10000/1e6".to_owned());
    let size = |text: &str| {
        let (series, readings) = text.split_once('/').unwrap();
        (series.parse::<f64>().unwrap() as i64, readings.parse::<f64>().unwrap() as i64)
    };
    let sizes: Vec<_> = sizes.split_whitespace().map(size).collect();
    let mut table: Vec<(&str, Vec<f64>)> = Vec::new();
    for (series, readings) in &sizes {
        let folder = folder().unwrap();
        let path = folder.path().join("hub.db");
        let each = readings / series;
        let rows = runtime.block_on(async {
            fill(&path, *series, each).await;
            measure(&path, *series, each).await
        });
        for (at, (name, value)) in rows.into_iter().enumerate() {
            match table.get_mut(at) {
                Some((_, values)) => values.push(value),
                None => table.push((name, vec![value])),
            }
        }
    }
    let head: Vec<_> = sizes.iter().map(|(series, readings)| format!("{series} / {readings:e}")).collect();
    println!("| p50, ms; series / readings | {} |", head.join(" | "));
    println!("|---|{}", "---|".repeat(sizes.len()));
    for (name, values) in table {
        let values: Vec<_> = values.iter().map(|value| format!("{value:.2}")).collect();
        println!("| {name} | {} |", values.join(" | "));
    }
    let folder = folder().unwrap();
    runtime.block_on(removal(&folder.path().join("hub.db")));
}
