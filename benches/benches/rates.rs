//! Request rates of the hub over HTTP on loopback. The clients cost as little as possible (a socket, one
//! write per request, the length of the response), so that the hub is measured. Every reading is on the disk
//! before its response. The values are the medians of one run. Hub and clients share the machine.
//!
//! `IOTPI_BENCH_YEAR=1` also queries a chart of a year at 1 Hz (31.5 million readings, which take some
//! minutes to record).
#![allow(missing_docs, clippy::unwrap_used, clippy::cast_precision_loss, clippy::cast_possible_truncation)]

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, future::join_all};
use iotpi_benches::{cpu_time, folder};
use iotpi_core::{ActionSpec, HubClient, Manifest, ModuleId, Quantity, Reading, Sample, Timestamp};
use iotpi_hub::{
    Config,
    auth::Role,
    store::{Now, Steady},
    testing::TestHub,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

const RUN: Duration = Duration::from_secs(3);
const START: u64 = 1_795_472_000;

/// A connection that sends a request and reads the whole response.
struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; 1 << 20] }
    }

    async fn send(&mut self, request: &[u8]) {
        self.stream.write_all(request).await.unwrap();
        let mut filled = 0;
        loop {
            filled += self.stream.read(&mut self.buffer[filled..]).await.unwrap();
            let Some(head) = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let text = std::str::from_utf8(&self.buffer[..head]).unwrap();
            assert!(text.starts_with("HTTP/1.1 200"), "{text}");
            let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if filled >= head + 4 + length.parse::<usize>().unwrap() {
                return;
            }
        }
    }
}

/// The hub to measure.
#[derive(Clone)]
struct Server {
    address: SocketAddr,
    token: Arc<str>,
}

impl Server {
    fn get(&self, path: &str) -> Vec<u8> {
        format!(
            "GET {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\n\r\n",
            self.address, self.token
        )
        .into()
    }

    fn post(&self, path: &str, body: &str) -> Vec<u8> {
        format!(
            "POST {path} HTTP/1.1\r\nhost: {}\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            self.token,
            body.len()
        )
        .into()
    }

    /// Measures requests on some connections. `request` makes the n-th one, which has `count` items.
    async fn rate(
        &self,
        what: &str,
        connections: usize,
        count: u64,
        request: impl Fn(u64) -> Vec<u8> + Sync,
    ) {
        let next = AtomicU64::new(0);
        let began = Instant::now();
        let times = join_all((0..connections).map(|_| async {
            let mut connection = Connection::to(self.address).await;
            let mut times = Vec::new();
            while began.elapsed() < RUN {
                let request = request(next.fetch_add(1, Relaxed));
                let sent = Instant::now();
                connection.send(&request).await;
                times.push(sent.elapsed());
            }
            times
        }))
        .await;
        let took = began.elapsed().as_secs_f64();
        let times = times.concat();
        println!(
            "{what:<44} {connections:>4} conn  {:>9.0}/s   {}",
            (times.len() as u64 * count) as f64 / took,
            percentiles(times)
        );
    }
}

fn percentiles(mut times: Vec<Duration>) -> String {
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    format!("p50 {:.3} ms  p99 {:.3} ms", at(0.5), at(0.99))
}

fn now(secs: u64) -> Now {
    let at = Timestamp::from_micros((START + secs) as i64 * 1_000_000);
    Now { wall: at, steady: Steady(at) }
}

/// Records a series at 1 Hz directly into the store.
async fn record_series(hub: &TestHub, module: &str, secs: u64) {
    let id: ModuleId = module.parse().unwrap();
    for first in (0..secs).step_by(5000) {
        let reading = |n: u64| {
            let at = Timestamp::from_micros((START + n) as i64 * 1_000_000 + (n * 7919 % 1500) as i64);
            let value = (2100.0 + 300.0 * (n as f64 / 13_750.0).sin() + (n * 31 % 17) as f64).round() / 100.0;
            Reading::new(id.clone(), Sample::new(Quantity::Temperature, value), at)
        };
        let batch = (first..secs.min(first + 5000)).map(reading).collect();
        hub.store().record(batch, 10_000, now(first)).await.unwrap();
    }
    hub.store().compact().await.unwrap();
}

fn main() {
    let hub_runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let client_runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let folder = folder().unwrap();
    let url = format!("sqlite://{}", folder.path().join("hub.db").display());
    let hub = hub_runtime.block_on(TestHub::with_store(Config::default(), &url)).unwrap();
    let token: Arc<str> = hub_runtime.block_on(hub.token(Role::Operator)).unwrap().into();
    let server = Server { address: hub.address(), token: Arc::clone(&token) };

    client_runtime.block_on(async {
        for connections in [1, 8, 32, 128] {
            server
                .rate("single readings, each after its durable commit", connections, 1, |n| {
                    let body = format!(
                        r#"{{"module_id":"m{}","value":{}.5,"unit":"celsius","timestamp":{}}}"#,
                        n % 50,
                        n % 40,
                        START + n
                    );
                    server.post("/api/sensors/temperature", &body)
                })
                .await;
        }
        server
            .rate("readings in batches of 1,000", 4, 1000, |n| {
                let mut body = String::from("[");
                for i in 0..1000_u64 {
                    let comma = if i == 0 { "" } else { "," };
                    let seq = n * 1000 + i + 1;
                    let _ = write!(
                        body,
                        r#"{comma}{{"module_id":"b{}","type":"temperature","value":{}.{},"unit":"celsius","timestamp":{}}}"#,
                        n % 4,
                        seq % 40,
                        seq % 10,
                        START + seq
                    );
                }
                body.push(']');
                server.post("/api/sensors", &body)
            })
            .await;
        // Compacts all readings before they are queried.
        hub.store().compact().await.unwrap();
        record_series(&hub, "week", 7 * 86_400).await;
        record_series(&hub, "last", 5_000).await;
        for connections in [1, 8] {
            let request = server.get("/api/sensors/temperature?module_id=last&limit=100");
            server.rate("last 100 of a series", connections, 1, |_| request.clone()).await;
        }
        let request = server.get(&format!(
            "/api/sensors/temperature?module_id=week&bucket=1h&agg=avg&limit=200&since={START}&until={}",
            START + 7 * 86_400
        ));
        for connections in [1, 8] {
            server.rate("a week of hourly means", connections, 1, |_| request.clone()).await;
        }
        for n in 0..20 {
            let batch = (0..50).map(|m| {
                let id: ModuleId = format!("s{}", n * 50 + m).parse().unwrap();
                Reading::new(id, Sample::new(Quantity::Humidity, 50.0), now(0).wall)
            });
            hub.store().record(batch.collect(), 10_000, now(0)).await.unwrap();
        }
        let request = server.get("/api/sensors?limit=1000");
        server.rate("the newest of 1,000 series", 1, 1, |_| request.clone()).await;
        control(&hub, &server).await;
        live(&server).await;
        if std::env::var_os("IOTPI_BENCH_YEAR").is_some() {
            record_series(&hub, "year", 365 * 86_400).await;
            let request = server.get(&format!(
                "/api/sensors/temperature?module_id=year&bucket=6h&agg=avg,min,max&limit=2000&since={START}&until={}",
                START + 365 * 86_400
            ));
            server.rate("a chart of a year at 1 Hz (31.5 M readings)", 1, 1, |_| request.clone()).await;
        }
    });
    hub_runtime.block_on(hub.stop()).unwrap();
}

/// Measures the time from sending a command until its module receives it.
async fn control(hub: &TestHub, server: &Server) {
    let id: ModuleId = "lamp".parse().unwrap();
    let token = hub.module_token(&id).await.unwrap();
    let lamp = HubClient::new(&hub.url()).unwrap().with_token(token).uplink(id);
    let set = ActionSpec::new("set".parse().unwrap(), "Switch", serde_json::json!({"type": "object"}));
    let up: Arc<dyn iotpi_core::Uplink> = Arc::new(lamp);
    up.register(&Manifest::new().with_actions([set])).await.unwrap();
    let request = server.post("/api/modules/lamp/control", r#"{"action":"set"}"#);
    let mut sender = Connection::to(server.address).await;
    let mut times = Vec::new();
    for _ in 0..500 {
        let waiting = tokio::spawn({
            let up = Arc::clone(&up);
            async move {
                let claimed = up.claim(Duration::from_secs(25)).await.unwrap();
                (Instant::now(), claimed)
            }
        });
        // Waits until the module polls. Its claim is a separate write.
        tokio::time::sleep(Duration::from_millis(4)).await;
        let sent = Instant::now();
        sender.send(&request).await;
        let (at, claimed) = waiting.await.unwrap();
        times.push(at - sent);
        let command = &claimed[0];
        let outcome = iotpi_core::model::command::CommandOutcome::Succeeded { result: None };
        let report = iotpi_core::model::command::CommandReport::new(
            command.command.id.clone(),
            command.lease.clone(),
            outcome,
        );
        up.report(iotpi_core::model::command::StatusReport::new().with_command(report)).await.unwrap();
    }
    println!(
        "{:<44}                         {}",
        "control to module by long poll, stored first",
        percentiles(times)
    );
}

/// Measures the time from sending a reading until each of 100 clients receives it, at 200 readings per
/// second.
async fn live(server: &Server) {
    let mut clients = Vec::new();
    for _ in 0..100 {
        let request = tokio_tungstenite::tungstenite::http::Request::builder()
            .uri(format!("ws://{}/api/live", server.address))
            .header("host", server.address.to_string())
            .header("authorization", format!("Bearer {}", server.token))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", tokio_tungstenite::tungstenite::handshake::client::generate_key())
            .body(())
            .unwrap();
        let stream = TcpStream::connect(server.address).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let subscribe = r#"{"type":"subscribe","kinds":["reading"],"modules":["pulse"],"recent":0}"#;
        futures_util::SinkExt::send(&mut socket, subscribe.into()).await.unwrap();
        clients.push(socket);
    }
    let began = Instant::now();
    const EVENTS: usize = 1000;
    let readers: Vec<_> = clients
        .into_iter()
        .map(|mut socket| {
            tokio::spawn(async move {
                let mut times = Vec::new();
                while times.len() < EVENTS {
                    let message = socket.next().await.unwrap().unwrap();
                    let text = message.to_text().unwrap_or_default();
                    if text.contains("\"type\":\"reading\"") {
                        let value: serde_json::Value = serde_json::from_str(text).unwrap();
                        let sent = Duration::from_secs_f64(value["reading"]["value"].as_f64().unwrap());
                        times.push(began.elapsed().saturating_sub(sent));
                    }
                }
                times
            })
        })
        .collect();
    let mut connection = Connection::to(server.address).await;
    let mut interval = tokio::time::interval(Duration::from_millis(5));
    let cpu = cpu_secs();
    for n in 0..EVENTS {
        interval.tick().await;
        let body = format!(
            r#"{{"module_id":"pulse","value":{},"unit":"celsius","timestamp":{}}}"#,
            began.elapsed().as_secs_f64(),
            START + n as u64
        );
        connection.send(&server.post("/api/sensors/temperature", &body)).await;
    }
    let times = join_all(readers).await.into_iter().flat_map(Result::unwrap).collect::<Vec<_>>();
    let each = (cpu_secs() - cpu) * 1e6 / times.len() as f64;
    println!(
        "{:<44}                         {}  {each:.1} us CPU a delivery, clients included",
        "live push, 100 sockets, 200 events/s",
        percentiles(times)
    );
}

/// The CPU time of this process in seconds.
fn cpu_secs() -> f64 {
    cpu_time(std::process::id()).unwrap().as_secs_f64()
}
