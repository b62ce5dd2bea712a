//! Clients that close or half-close the connection right after their request (RFC 9112 section 9.6).

use std::cell::Cell;

use futures_util::future::join_all;
use iotpi_hub::{CommitWindow, Config, StorageConfig, testing::TestHub};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{
    api::{Api, anonymous, jpeg},
    wait::{LIMIT, bounded, poll},
};

/// The number of connections per way of closing.
const CONNECTIONS: usize = 20;

/// How a client closes after its request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Closes,
    /// Closes after the body, which is in a separate packet.
    ClosesAfterBody,
    /// Closes with a reset (`SO_LINGER` of 0).
    Resets,
    HalfCloses,
    HalfClosesAfterBody,
}

const WAYS: [Way; 5] =
    [Way::Closes, Way::ClosesAfterBody, Way::Resets, Way::HalfCloses, Way::HalfClosesAfterBody];

impl Way {
    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    fn reads(self) -> bool {
        matches!(self, Self::HalfCloses | Self::HalfClosesAfterBody)
    }

    /// Sends a request. Returns the response if the client reads it.
    async fn send(self, api: &Api, head: &str, body: &[u8]) -> String {
        let mut stream = TcpStream::connect(api.hub.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        if matches!(self, Self::ClosesAfterBody | Self::HalfClosesAfterBody) {
            stream.write_all(head.as_bytes()).await.unwrap();
            // Lets the hub, which runs on the same thread, read the head.
            for _ in 0..200 {
                tokio::task::yield_now().await;
            }
            stream.write_all(body).await.unwrap();
        } else {
            stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
        }
        let mut answer = Vec::new();
        if self.reads() {
            stream.shutdown().await.unwrap();
            bounded("the response", stream.read_to_end(&mut answer)).await.unwrap();
        } else if self == Self::Resets {
            stream.set_zero_linger().unwrap();
        }
        String::from_utf8_lossy(&answer).into_owned()
    }
}

fn head(request: &str, fields: &str, body: &[u8]) -> String {
    format!("{request} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {}\r\n\r\n", body.len())
}

fn post_json(path: &str, fields: &str, body: &Value) -> (String, Vec<u8>) {
    let body = body.to_string().into_bytes();
    (head(&format!("POST {path}"), &format!("Content-Type: application/json\r\n{fields}"), &body), body)
}

fn chunked(request: &str, fields: &str, body: &[u8]) -> (String, Vec<u8>) {
    let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\n{fields}Transfer-Encoding: chunked\r\n\r\n");
    let (first, rest) = body.split_at(body.len() / 2);
    let chunk = |data: &[u8]| [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat();
    (head, [chunk(first), chunk(rest), chunk(b"")].concat())
}

/// A hub with a commit window of 200 ms, the default on an SD card.
async fn hub() -> (Api, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let store = format!("sqlite://{}", folder.path().join("hub.db").display());
    let storage = StorageConfig { commit_window: CommitWindow::Millis(200), ..StorageConfig::default() };
    let api = Api::of(TestHub::opened(Config { store, storage, ..anonymous() }).await.unwrap()).await;
    (api, folder)
}

/// Waits until `count` returns `expected`.
async fn wait_for_count(expected: usize, what: &str, count: impl AsyncFn() -> usize) {
    let last = Cell::new(0);
    let is_reached = async || {
        last.set(count().await);
        last.get() == expected
    };
    let reached = tokio::time::timeout(LIMIT, poll(is_reached)).await;
    assert!(reached.is_ok(), "{what}: {} of {expected} within {LIMIT:?}", last.get());
}

impl Api {
    async fn readings(&self, module: &str) -> usize {
        let page = self.get(&format!("/api/sensors/fire?module_id={module}&limit=1000")).ok().await;
        page["items"].as_array().unwrap().len()
    }

    async fn frames_of(&self, module: &str) -> usize {
        let cameras = self.get("/api/cameras").ok().await;
        let items = cameras["items"].as_array().unwrap();
        let camera = items.iter().find(|camera| camera["module_id"] == module);
        camera.map_or(0, |camera| usize::try_from(camera["frames"].as_u64().unwrap()).unwrap())
    }

    /// Sends requests on separate connections, with every way of closing.
    async fn send_in_every_way(&self, request: impl Fn(&str, usize) -> (String, Vec<u8>)) {
        for way in WAYS {
            let requests: Vec<_> = (0..CONNECTIONS).map(|i| request(&way.name(), i)).collect();
            let answers = join_all(requests.iter().map(|(head, body)| way.send(self, head, body))).await;
            if way.reads() {
                let answered = answers.iter().filter(|answer| answer.starts_with("HTTP/1.1 200")).count();
                let answered = answered + answers.iter().filter(|a| a.starts_with("HTTP/1.0 200")).count();
                assert_eq!(answered, CONNECTIONS, "{way:?}: {answers:?}");
            }
        }
    }
}

/// The head and body of a request with a reading.
type Body = fn(&str, usize) -> (String, Vec<u8>);

fn reading(module: &str, i: usize) -> Value {
    json!({"module_id": module, "value": i, "unit": "count"})
}

#[tokio::test]
async fn every_reading_is_stored_even_if_its_sender_closes_at_once() {
    let (api, _folder) = hub().await;
    let bodies: [(&str, Body); 6] = [
        ("single", |module, i| post_json("/api/sensors/fire", "", &reading(module, i))),
        ("array", |module, i| post_json("/api/sensors/fire", "", &json!([reading(module, i)]))),
        ("mixed", |module, i| {
            let mut reading = reading(module, i);
            reading["type"] = json!("fire");
            post_json("/api/sensors", "", &json!([reading]))
        }),
        ("chunked", |module, i| {
            let body = reading(module, i).to_string().into_bytes();
            chunked("POST /api/sensors/fire", "Content-Type: application/json\r\n", &body)
        }),
        ("old", |module, i| {
            let (head, body) = post_json("/api/sensors/fire", "", &reading(module, i));
            (head.replace("HTTP/1.1", "HTTP/1.0"), body)
        }),
        ("last", |module, i| post_json("/api/sensors/fire", "Connection: close\r\n", &reading(module, i))),
    ];

    for (name, body) in bodies {
        api.send_in_every_way(|way, i| body(&format!("{name}-{way}"), i)).await;

        for way in WAYS {
            let module = format!("{name}-{}", way.name());
            wait_for_count(CONNECTIONS, &module, async || api.readings(&module).await).await;
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn pipelined_requests_are_all_processed_after_the_client_closed() {
    let (api, _folder) = hub().await;
    let both = |module: &str, i: usize| {
        let (head, body) = post_json("/api/sensors/fire", "", &reading(module, i));
        [head.as_bytes(), &body].concat()
    };

    for way in [Way::Closes, Way::Resets, Way::HalfCloses] {
        let module = format!("many-{}", way.name());
        let together: Vec<u8> = (0..CONNECTIONS).flat_map(|i| both(&module, i)).collect();
        let answers = way.send(&api, "", &together).await;

        wait_for_count(CONNECTIONS, &module, async || api.readings(&module).await).await;
        if way.reads() {
            assert_eq!(answers.matches("HTTP/1.1 200").count(), CONNECTIONS);
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn every_frame_is_published_even_if_its_sender_closes_at_once() {
    let (api, _folder) = hub().await;
    let frame = jpeg(64, 48, 100_000);
    let path = |camera: &str| format!("POST /api/camera/frame?module_id={camera}");
    let form = [
        &b"--b\r\nContent-Disposition: form-data; name=\"frame\"; filename=\"a.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n"[..],
        &frame,
        b"\r\n--b--\r\n",
    ]
    .concat();

    api.send_in_every_way(|way, _| {
        (head(&path(&format!("jpeg-{way}")), "Content-Type: image/jpeg\r\n", &frame), frame.clone())
    })
    .await;
    api.send_in_every_way(|way, _| {
        let fields = "Content-Type: multipart/form-data; boundary=b\r\n";
        (head(&path(&format!("form-{way}")), fields, &form), form.clone())
    })
    .await;
    api.send_in_every_way(|way, _| {
        chunked(&path(&format!("chunked-{way}")), "Content-Type: image/jpeg\r\n", &frame)
    })
    .await;

    for kind in ["jpeg", "form", "chunked"] {
        for way in WAYS {
            let camera = format!("{kind}-{}", way.name());
            wait_for_count(CONNECTIONS, &camera, async || api.frames_of(&camera).await).await;
        }
    }
    // Pipelined frames followed by a reading.
    for way in [Way::Closes, Way::Resets, Way::HalfCloses] {
        let camera = format!("many-{}", way.name());
        let small = jpeg(8, 8, 10);
        let one = [head(&path(&camera), "", &small).as_bytes(), &small].concat();
        let (last_head, last_body) = post_json("/api/sensors/fire", "", &reading(&camera, 1));
        way.send(&api, "", &[one.repeat(CONNECTIONS), last_head.into(), last_body].concat()).await;

        wait_for_count(CONNECTIONS, &camera, async || api.frames_of(&camera).await).await;
        wait_for_count(1, &camera, async || api.readings(&camera).await).await;
    }
    api.stop().await;
}

#[tokio::test]
async fn every_command_and_status_is_accepted_even_if_its_sender_closes_at_once() {
    let (api, _folder) = hub().await;
    let bearer = format!("Authorization: Bearer {}\r\n", api.admin);
    for way in WAYS {
        let action = json!({"actions": [{"name": "set", "params": {"type": "object"}}]});
        api.register(&format!("lamp-{}", way.name()), action).await;
    }

    api.send_in_every_way(|way, i| {
        let command = json!({"action": "set", "params": {"i": i}});
        post_json(&format!("/api/modules/lamp-{way}/control"), &bearer, &command)
    })
    .await;
    api.send_in_every_way(|way, i| {
        post_json(&format!("/api/modules/{way}-{i}/status"), "", &json!({"state": {"i": i}}))
    })
    .await;

    for way in WAYS {
        let lamp = format!("lamp-{}", way.name());
        wait_for_count(CONNECTIONS, &lamp, async || {
            let page = api.get(&format!("/api/modules/{lamp}/commands/history")).ok().await;
            page["items"].as_array().unwrap().len()
        })
        .await;
    }
    wait_for_count(CONNECTIONS * WAYS.len(), "states", async || {
        let page = api.get("/api/modules?limit=1000").ok().await;
        page["items"].as_array().unwrap().iter().filter(|module| module["state"]["i"].is_u64()).count()
    })
    .await;
    api.stop().await;
}

#[tokio::test]
async fn frames_pushed_before_the_client_closed_are_all_published() {
    let (api, _folder) = hub().await;
    let part = |i: u16| {
        let frame = jpeg(8 + i, 8, 1000);
        let head = format!("--x\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", frame.len());
        [head.as_bytes(), &frame, b"\r\n"].concat()
    };
    let stream: Vec<u8> = (0..20).flat_map(part).chain(*b"--x--\r\n").collect();

    for way in WAYS {
        let request = format!("POST /api/camera/stream?module_id={}", way.name());
        let fields = "Content-Type: multipart/x-mixed-replace; boundary=x\r\n";
        way.send(&api, &head(&request, fields, &stream), &stream).await;

        wait_for_count(20, &way.name(), async || api.frames_of(&way.name()).await).await;
    }
    api.stop().await;
}

#[tokio::test]
async fn a_half_closed_client_gets_a_response_and_streams_and_long_polls_end() {
    let (api, _folder) = hub().await;
    let token = api.lamp().await;
    api.call(http::Method::POST, "/api/camera/frame").jpeg(jpeg(8, 8, 10)).ok().await;
    let request = |path: &str, token: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
    };

    let cameras = Way::HalfCloses.send(&api, &request("/api/cameras", &api.admin), b"").await;
    let commands = Way::HalfCloses.send(&api, &request("/api/modules/led/commands", &token), b"").await;
    assert!(cameras.starts_with("HTTP/1.1 200") && commands.starts_with("HTTP/1.1 200"));

    for way in [Way::Closes, Way::Resets, Way::HalfCloses] {
        way.send(&api, &request("/api/camera/stream", &api.admin), b"").await;
        way.send(&api, &request("/api/camera/snapshot?fresh=1", &api.admin), b"").await;
        way.send(&api, &request("/api/modules/led/commands?wait=60", &token), b"").await;

        // Only the connection of this request remains.
        wait_for_count(1, "connections", async || {
            let text = api.metrics().await;
            text.lines().find_map(|line| line.strip_prefix("iotpi_connections ")).unwrap().parse().unwrap()
        })
        .await;
        assert_eq!(api.get("/api/cameras").ok().await["items"][0]["viewers"], 0);
    }
    // No poll of a closed client claimed the command.
    api.post("/api/modules/led/control", json!({"action": "set"})).ok().await;
    let claimed = api.get("/api/modules/led/commands").token(&token).ok().await;
    assert_eq!(claimed["items"][0]["attempts"], 1);
    api.stop().await;
}
