//! Connection limits, timeouts and shutdown.

use http_body_util::BodyExt as _;
use iotpi_hub::{Config, HttpConfig};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::support::{
    api::{Api, jpeg},
    live::Live,
    wait::{bounded, until},
};

/// Reads until the hub closes the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    bounded("the hub closes", stream.read_to_string(&mut text)).await.unwrap();
    text
}

/// A request with credentials. The hub may close a connection without credentials in favour of others.
fn authenticated(api: &Api) -> String {
    format!("GET /api/cameras HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n", api.admin)
}

#[tokio::test]
async fn one_connection_more_than_allowed_is_answered_503_and_closed() {
    let http = HttpConfig { max_connections: 3, ..HttpConfig::default() };
    let api = Api::with_config(Config { http, ..Config::default() }).await;
    let mut held = Vec::new();
    let authenticated = authenticated(&api);
    for _ in 0..3 {
        let mut stream = TcpStream::connect(api.hub.address()).await.unwrap();
        stream.write_all(authenticated.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        bounded("a response", stream.read_exact(&mut head)).await.unwrap();
        assert_eq!(&head, b"HTTP/1.1 200");
        held.push(stream);
    }

    let mut one_more = TcpStream::connect(api.hub.address()).await.unwrap();
    one_more.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    one_more.shutdown().await.unwrap();
    let refused = rest(&mut one_more).await;
    held.pop();

    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(
        refused.contains("application/problem+json") && refused.contains(r#""kind":"unavailable""#),
        "{refused}"
    );
    let head = refused.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
    let body: serde_json::Value = serde_json::from_str(refused.lines().last().unwrap()).unwrap();
    assert!((1..=10).contains(&head.parse::<u32>().unwrap()), "{refused}");
    assert_eq!(body["retry_after_secs"].as_f64(), head.parse().ok(), "{refused}");
    // A connection is accepted again once the hub has noticed that one was closed.
    until("a connection is accepted", async || {
        let mut stream = TcpStream::connect(api.hub.address()).await.unwrap();
        let request = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request).await.unwrap();
        rest(&mut stream).await.starts_with("HTTP/1.1 200")
    })
    .await;
    api.stop().await;
}

#[tokio::test]
async fn near_the_limit_a_connection_is_closed_after_its_response() {
    let http = HttpConfig { max_connections: 8, ..HttpConfig::default() };
    let api = Api::with_config(Config { http, ..Config::default() }).await;
    let mut held = Vec::new();
    let authenticated = authenticated(&api);
    for _ in 0..6 {
        let mut stream = TcpStream::connect(api.hub.address()).await.unwrap();
        stream.write_all(authenticated.as_bytes()).await.unwrap();
        bounded("a response", stream.read_exact(&mut [0; 12])).await.unwrap();
        held.push(stream);
    }

    let mut seventh = TcpStream::connect(api.hub.address()).await.unwrap();
    seventh.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();

    let answer = rest(&mut seventh).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("connection: close"), "{answer}");
    drop(held);
    api.stop().await;
}

#[tokio::test]
async fn a_connection_is_closed_if_the_request_head_does_not_arrive() {
    // The idle timeout is longer than the test waits.
    let http = HttpConfig { header_timeout_secs: 1, idle_timeout_secs: 600, ..HttpConfig::default() };
    let api = Api::with_config(Config { http, ..Config::default() }).await;
    let mut slow = TcpStream::connect(api.hub.address()).await.unwrap();

    slow.write_all(b"GET /health HT").await.unwrap();

    assert!(!rest(&mut slow).await.starts_with("HTTP/1.1 200"));
    api.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let http = HttpConfig { header_timeout_secs: 1, idle_timeout_secs: 2, ..HttpConfig::default() };
    let api = Api::with_config(Config { http, ..Config::default() }).await;
    let mut idle = TcpStream::connect(api.hub.address()).await.unwrap();

    idle.write_all(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();

    assert!(rest(&mut idle).await.starts_with("HTTP/1.1 200"));
    api.stop().await;
}

#[tokio::test]
async fn a_hub_with_open_streams_polls_and_websockets_stops_in_order_and_in_time() {
    let api = Api::start().await;
    let module = api.lamp().await;
    api.call(http::Method::POST, "/api/camera/frame").jpeg(jpeg(8, 8, 10)).ok().await;
    let mut stream = api.get("/api/camera/stream").open().await.into_body();
    bounded("a frame", stream.frame()).await.unwrap().unwrap();
    let mut live = Live::connect(&api).await;
    live.send(json!({"type": "subscribe"})).await;
    live.receive().await;
    let poll = api.get("/api/modules/led/commands?wait=60").token(&module).send();
    let hub = api.hub.hub().clone();
    // The hub stops when the poll and all other connections are open. The poll alone would wait longer than
    // the limit.
    let stop = async {
        until("all connections are open", async || metrics_show_all(&api).await).await;
        hub.shutdown().await.unwrap();
    };
    let (polled, ()) = bounded("the hub stops", async { tokio::join!(poll, stop) }).await;

    assert_eq!((polled.status, polled.json()["items"].clone()), (200, json!([])));
    assert_eq!(live.closed().await, Some(CloseCode::Away));
    while let Some(frame) = bounded("the end of the stream", stream.frame()).await {
        frame.unwrap();
    }
    assert!(TcpStream::connect(api.hub.address()).await.is_err());
    api.hub.stop().await.unwrap();
}

/// The poll, the stream, the WebSocket and this request itself each hold a connection.
async fn metrics_show_all(api: &Api) -> bool {
    let text = api.metrics().await;
    let open = text.lines().find_map(|line| line.strip_prefix("iotpi_connections ")).unwrap();
    open.parse::<f64>().unwrap() >= 4.0
}

#[tokio::test]
async fn pipelined_requests_are_answered_on_one_connection() {
    let api = Api::start().await;
    let mut stream = TcpStream::connect(api.hub.address()).await.unwrap();

    let one = "GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let last = "GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(format!("{one}{one}{last}").as_bytes()).await.unwrap();

    assert_eq!(rest(&mut stream).await.matches("HTTP/1.1 200 OK").count(), 3);
    api.stop().await;
}

#[tokio::test]
async fn a_rejected_frame_is_read_to_its_end_so_that_the_client_gets_the_problem() {
    let api = Api::start().await;

    let rejected =
        api.open(http::Method::POST, "/api/camera/frame").jpeg(jpeg(8, 8, 3_000_000)).problem().await;

    assert_eq!((rejected.0, rejected.1.as_str()), (401, "unauthenticated"));
    api.stop().await;
}
