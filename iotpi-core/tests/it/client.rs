//! The client with a server that responds with the bytes of a test. The tests of the hub use the real one.

use std::time::Duration;

use iotpi_core::{
    HubClient, ModuleId, NewCommand, UplinkError,
    model::{command::CommandState, error::ErrorKind},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

use crate::bounded;

/// A server that responds to each request with the next of `answers`. It reports the number of the connection
/// and the request.
async fn server(answers: Vec<String>) -> (String, mpsc::UnboundedReceiver<(usize, String)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (sender, requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let mut answers = answers.into_iter();
        let mut connection = 0;
        while let Ok((mut socket, _)) = listener.accept().await {
            connection += 1;
            let mut request = Vec::new();
            let mut buffer = [0; 4096];
            loop {
                match socket.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(n) => request.extend_from_slice(&buffer[..n]),
                }
                if request.windows(4).any(|w| w == b"\r\n\r\n") {
                    sender.send((connection, String::from_utf8_lossy(&request).into_owned())).unwrap();
                    request.clear();
                    match answers.next() {
                        Some(answer) => socket.write_all(answer.as_bytes()).await.unwrap(),
                        None => std::future::pending().await,
                    }
                }
            }
        }
    });
    (url, requests)
}

fn answer(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

const HEALTHY: &str = r#"{"status":"ok","version":"0.1.0","uptime_secs":1.5}"#;

#[tokio::test]
async fn connections_are_reused_and_the_token_is_sent() {
    let (url, mut requests) = server(vec![answer("200 OK", HEALTHY), answer("200 OK", HEALTHY)]).await;
    let hub = HubClient::new(&url).unwrap().with_token("iotpi_abc");

    hub.health().await.unwrap();
    hub.health().await.unwrap();

    let (first, request) = bounded("a request", requests.recv()).await.unwrap();
    let (second, _) = bounded("a request", requests.recv()).await.unwrap();
    assert_eq!((first, second), (1, 1));
    assert!(request.contains("authorization: Bearer iotpi_abc"), "{request}");
}

#[tokio::test]
async fn a_problem_document_becomes_a_typed_error() {
    let body = r#"{"type":"urn:iotpi:problem:not_found","kind":"not_found","title":"Not found","status":404,"detail":"no module `x`","request_id":"r"}"#;
    let (url, _requests) = server(vec![answer("404 Not Found", body)]).await;

    let error = HubClient::new(&url).unwrap().module(&ModuleId::new("x").unwrap()).await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(error.to_string(), "not_found: no module `x`");
}

#[tokio::test]
async fn a_server_that_is_no_hub_is_detected() {
    let (url, _requests) =
        server(vec![answer("502 Bad Gateway", "<h1>oops</h1>"), answer("200 OK", "<h1>welcome</h1>")]).await;
    let hub = HubClient::new(&url).unwrap();

    for _ in 0..2 {
        assert!(matches!(hub.health().await, Err(UplinkError::NotAHub { .. })));
    }
}

#[tokio::test]
async fn a_request_without_a_response_ends_at_the_deadline() {
    let (url, _requests) = server(vec![]).await;
    let hub = HubClient::new(&url).unwrap().with_deadline(Duration::from_millis(50));

    let error = hub.health().await.unwrap_err();

    assert!(matches!(error, UplinkError::Timeout { url: Some(_), .. }), "{error:?}");
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);

    let error = HubClient::new(&url).unwrap().health().await.unwrap_err();

    assert!(matches!(error, UplinkError::Unreachable { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn all_pages_are_read_and_the_cursor_is_encoded() {
    let module = |id: &str| {
        format!(
            r#"{{"id":"{id}","manifest":null,"health":"unknown","last_seen_at":null,"registered_at":1e9,"state":null,"state_at":null}}"#
        )
    };
    let (url, mut requests) = server(vec![
        answer("200 OK", &format!(r#"{{"items":[{}],"next":"a&b=c"}}"#, module("one"))),
        answer("200 OK", &format!(r#"{{"items":[{}],"next":null}}"#, module("two"))),
    ])
    .await;

    let modules = HubClient::new(&url).unwrap().modules().await.unwrap();

    assert_eq!(modules.iter().map(|m| m.id.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    bounded("a request", requests.recv()).await.unwrap();
    let (_, second) = bounded("a request", requests.recv()).await.unwrap();
    assert!(second.contains("cursor=a%26b%3Dc"), "{second}");
}

#[tokio::test]
async fn a_prefix_of_the_address_is_before_every_path() {
    let (url, mut requests) = server(vec![answer("200 OK", HEALTHY)]).await;

    HubClient::new(&format!("{url}/iotpi/")).unwrap().health().await.unwrap();

    let (_, request) = bounded("a request", requests.recv()).await.unwrap();
    assert!(request.starts_with("GET /iotpi/health "), "{request}");
}

#[tokio::test]
async fn a_read_is_repeated_as_often_as_the_program_chose() {
    let busy = r#"{"type":"t","kind":"unavailable","title":"Unavailable","status":503,"detail":"busy"}"#;
    let busy = || answer("503 Service Unavailable", busy);
    let (url, mut requests) = server(vec![busy(), busy(), answer("200 OK", HEALTHY), busy(), busy()]).await;
    let hub = HubClient::new(&url).unwrap();
    let retrying = hub.clone().with_retries(2);

    let health = bounded("the answer", retrying.health()).await;
    let once = hub.health().await;
    let write = retrying.record(&[]).await;

    assert_eq!(health.unwrap().status, "ok");
    assert_eq!(once.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(write.unwrap_err().kind(), ErrorKind::Unavailable);
    for _ in 0..5 {
        bounded("a request", requests.recv()).await.unwrap();
    }
    assert!(requests.try_recv().is_err());
}

#[tokio::test]
async fn a_wait_for_a_command_survives_a_busy_hub() {
    let command = |state: &str| {
        let body = format!(
            r#"{{"id":"c","module_id":"led","action":"set","params":{{}},"state":"{state}","issued_by":"anna","created_at":1e9,"expires_at":1e9,"leased_at":null,"started_at":null,"finished_at":null,"attempts":1,"result":null,"error":null,"superseded_by":null}}"#
        );
        answer("200 OK", &body)
    };
    let busy = r#"{"type":"t","kind":"unavailable","title":"Unavailable","status":503,"detail":"busy"}"#;
    let busy = answer("503 Service Unavailable", busy);
    let (url, mut requests) =
        server(vec![command("queued"), command("leased"), busy, command("succeeded")]).await;
    let set = NewCommand::new("set".parse().unwrap());
    let hub = HubClient::new(&url).unwrap();

    let ended = bounded(
        "the outcome",
        hub.control(&"led".parse().unwrap(), &set).once("key-1".parse().unwrap()).wait(),
    )
    .await;

    assert_eq!(ended.unwrap().state, CommandState::Succeeded);
    let (_, sent) = bounded("a request", requests.recv()).await.unwrap();
    assert!(
        sent.starts_with("POST /api/modules/led/control") && sent.contains("idempotency-key: key-1"),
        "{sent}"
    );
    let (_, polled) = bounded("a request", requests.recv()).await.unwrap();
    assert!(polled.starts_with("GET /api/commands/c "), "{polled}");
}

#[test]
fn unknown_fields_of_a_newer_hub_are_ignored() {
    let camera = r#"{"module_id":"porch","online":true,"width":1,"height":1,"bytes":9,"fps":1.0,"viewers":0,"frames":1,
        "delivered":0,"skipped":0,"missing":0,"refused":0,"taken_at":1e9,"captured_at":1e9,"received_at":1e9,
        "latency":{"p50":0.1,"p99":0.2,"p999":0.3},"colour":"blue"}"#;
    let text = format!(r#"{{"type":"camera","seq":7,"camera":{camera},"mood":"good"}}"#);

    let message: iotpi_core::model::event::LiveMessage = serde_json::from_str(&text).unwrap();

    let iotpi_core::model::event::LiveMessage::Event(event) = message else { panic!("{message:?}") };
    assert!(
        matches!(event.event, iotpi_core::model::event::Event::Camera { camera } if camera.latency.p99 == 0.2)
    );
}
