//! Many attacks with minimal rights at the same time, on a hub with little memory: it keeps running, and a
//! well-behaved module still delivers.

use std::{
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use iotpi_core::{HubClient, ModuleId, Quantity, Reading, Sample, Timestamp};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::timeout,
};

use crate::support::{hub_process::HubProcess, program::add_token};

/// The address space of the hub: a Raspberry Pi Zero has 512 MB.
const MEMORY_KIB: u32 = 400 * 1024;
/// The longest wait for a reading to be stored: half of the minute for which such attacks once blocked all
/// clients.
const LIMIT: Duration = Duration::from_secs(30);
/// An attack continues for this many readings of the well-behaved module.
const READINGS: u32 = 100;

/// The address of the hub and the credentials of an attacker.
#[derive(Clone)]
struct Attacker {
    address: String,
    module: String,
    viewer: String,
}

impl Attacker {
    /// Opens a connection and sends this request head.
    async fn open(&self, request: &str, token: &str, fields: &str) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(&self.address).await.ok()?;
        let head =
            format!("{request} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n{fields}\r\n");
        stream.write_all(head.as_bytes()).await.ok()?;
        Some(stream)
    }

    /// Sends all but the end of a body, and waits until the hub closes.
    async fn withhold(&self, request: &str, token: &str, fields: &str, bytes: usize) {
        let fields = format!("{fields}content-length: {}\r\n", bytes + 1);
        let Some(mut stream) = self.open(request, token, &fields).await else { return };
        let piece = vec![b' '; 64 * 1024];
        let mut left = bytes;
        while left > 0 {
            match stream.write(&piece[..left.min(piece.len())]).await {
                Ok(written @ 1..) => left -= written,
                _ => return,
            }
        }
        let _ = stream.read(&mut [0]).await;
    }

    /// Opens the live connection, sends pings and never reads, until the hub closes.
    async fn ping(&self) {
        let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                       sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        let Some(mut stream) = self.open("GET /api/live", &self.viewer, upgrade).await else { return };
        // A ping of 125 bytes, masked with zeros.
        let mut ping = vec![0x89, 0x80 | 125, 0, 0, 0, 0];
        ping.resize(ping.len() + 125, b'x');
        let pings = ping.repeat(100);
        while stream.write_all(&pings).await.is_ok() {}
    }

    /// Sends a request and closes the connection.
    async fn hang_up(&self, request: &str, token: &str, body: &str) {
        let fields = format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
        if let Some(mut stream) = self.open(request, token, &fields).await {
            let _ = stream.write_all(body.as_bytes()).await;
        }
    }

    /// Sends a request and reads only one byte of the response.
    async fn read_nothing(&self, request: &str) {
        if let Some(mut stream) = self.open(request, &self.viewer, "").await {
            let _ = stream.read(&mut [0]).await;
        }
    }
}

/// A manifest whose patterns take gigabytes when they are compiled.
fn patterns() -> String {
    let mut patterns = String::new();
    for n in 0..800 {
        let _ = write!(patterns, r#"{}"[\\w\\pL]{{60}}{n}": {{}}"#, if n == 0 { "" } else { "," });
    }
    format!(
        r#"{{"actions": [{{"name": "set", "params": {{"type": "object", "patternProperties": {{{patterns}}}}}}}]}}"#
    )
}

/// A manifest whose references double 45 times.
fn references() -> String {
    let mut definitions = r#""d45": {"type": "null"}"#.to_owned();
    for n in 0..45 {
        let next = n + 1;
        let reference = format!(r##"{{"$ref": "#/$defs/d{next}"}}"##);
        let _ = write!(definitions, r#", "d{n}": {{"anyOf": [{reference}, {reference}]}}"#);
    }
    let params = format!(
        r##"{{"type": "object", "additionalProperties": {{"$ref": "#/$defs/d0"}}, "$defs": {{{definitions}}}}}"##
    );
    format!(r#"{{"actions": [{{"name": "set", "params": {params}}}]}}"#)
}

/// Runs one attack on several connections, again and again.
fn attack<F: Future<Output = ()> + Send + 'static>(
    attacks: &mut JoinSet<()>,
    connections: usize,
    once: impl Fn() -> F + Send + Sync + 'static,
) {
    let once = Arc::new(once);
    for _ in 0..connections {
        let once = Arc::clone(&once);
        attacks.spawn(async move {
            loop {
                once().await;
                tokio::task::yield_now().await;
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hub_with_little_memory_keeps_running_and_stores_readings_under_attack() {
    let data = tempfile::tempdir().unwrap();
    let hub = HubProcess::start_with_memory(data.path(), MEMORY_KIB).await;
    let honest = add_token(data.path(), &["--role", "module", "--module", "shed"]);
    let shed = HubClient::new(hub.client.url()).unwrap().with_token(&honest);
    let attacker = Attacker {
        address: hub.address().to_owned(),
        module: add_token(data.path(), &["--role", "module", "--module", "attic"]),
        viewer: add_token(data.path(), &["--role", "viewer", "watcher"]),
    };
    let mut attacks = JoinSet::new();
    let mut start =
        |connections, once: fn(Attacker) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>>| {
            let attacker = attacker.clone();
            attack(&mut attacks, connections, move || once(attacker.clone()));
        };

    start(150, |a| {
        Box::pin(async move {
            a.withhold("POST /api/camera/frame", &a.module, "content-type: image/jpeg\r\n", 8_000_000).await
        })
    });
    start(40, |a| {
        Box::pin(async move {
            a.withhold("POST /api/sensors", &a.module, "content-type: application/json\r\n", 200_000).await
        })
    });
    start(300, |a| {
        Box::pin(async move {
            a.withhold("POST /api/auth/login", "none", "content-type: application/json\r\n", 1).await
        })
    });
    start(50, |a| Box::pin(async move { a.ping().await }));
    start(10, |a| {
        Box::pin(async move {
            a.hang_up("POST /api/auth/login", "none", r#"{"name": "anna", "password": "wrong-password"}"#)
                .await
        })
    });
    start(2, |a| Box::pin(async move { a.hang_up("PUT /api/modules/attic", &a.module, &patterns()).await }));
    start(2, |a| {
        Box::pin(async move { a.hang_up("PUT /api/modules/attic", &a.module, &references()).await })
    });
    start(20, |a| {
        Box::pin(async move { a.read_nothing("GET /api/sensors/temperature?bucket=1m&limit=2000").await })
    });
    start(20, |a| Box::pin(async move { a.read_nothing("GET /api/camera/stream").await }));

    let id = ModuleId::new("shed").unwrap();
    let (mut slowest, mut most) = (Duration::ZERO, 0);
    for n in 0..READINGS {
        let at = Timestamp::from_micros(1_795_472_000_000_000).plus(Duration::from_secs(n.into()));
        let reading = Reading::new(id.clone(), Sample::new(Quantity::Temperature, n.into()), at);
        let (begun, mut refusal) = (Instant::now(), None);
        // A busy hub returns a Retry-After; the runner of a module would keep the reading and try again.
        let storing = async {
            while let Err(error) = shed.record(std::slice::from_ref(&reading)).await {
                refusal = Some(error);
            }
        };
        if timeout(LIMIT, storing).await.is_err() {
            panic!("no reading was stored for {LIMIT:?}: {refusal:?}; the hub: {:?}", hub.stop().await);
        }
        slowest = slowest.max(begun.elapsed());
        most = most.max(hub.resident_bytes());
    }
    attacks.shutdown().await;

    println!("slowest honest reading {slowest:?}, most memory {} KiB", most / 1024);
    hub.client.health().await.unwrap();
    let (status, stderr) = hub.stop().await;
    assert!(status.success(), "{stderr}");
}
