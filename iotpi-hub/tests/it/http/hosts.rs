//! Host names and origins of requests.

use http::Method;
use iotpi_hub::{Config, HttpConfig};
use serde_json::json;

use crate::support::api::Api;

#[tokio::test]
async fn an_unknown_host_name_is_rejected() {
    let http = HttpConfig { allowed_hosts: vec!["hub.example".to_owned()], ..HttpConfig::default() };
    let api = Api::with_config(Config { http, ..Config::default() }).await;
    let own = gethostname::gethostname().to_string_lossy().into_owned();
    let own_local = format!("{own}.local:8000");

    for name in [
        "localhost",
        "LOCALHOST:8000",
        "127.0.0.1:9",
        "[::1]:8000",
        "hub.example",
        "Hub.Example:80",
        &own,
        &own_local,
    ] {
        let answer = api.open(Method::GET, "/health").header("host", name).send().await;

        assert_eq!(answer.status, 200, "{name}");
    }
    for name in [
        "evil.example",
        "localhost.evil.example",
        "hub.example.evil",
        "127.0.0.1.evil.example",
        "user@localhost",
    ] {
        let answer = api.open(Method::GET, "/health").header("host", name).send().await;

        assert!(matches!(answer.status, 400 | 403), "{name}");
        answer.problem();
    }
    api.stop().await;
}

#[tokio::test]
async fn a_page_of_another_site_can_neither_write_nor_open_the_live_connection() {
    let api = Api::start().await;
    let own = api.hub.url();
    let write = |origin: &str| api.post("/api/modules/led/status", json!({})).header("origin", origin).send();
    let read = |origin: &str| api.get("/api/modules").header("origin", origin).send();

    assert_eq!(write(&own).await.status, 200);
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "http://localhost"] {
        assert_eq!(write(origin).await.problem()["kind"], "permission_denied", "{origin}");
        assert_eq!(read(origin).await.status, 200, "{origin}");
    }
    let live = api.get("/api/live").header("upgrade", "websocket").header("connection", "upgrade");
    let live = live.header("origin", "http://evil.example").problem().await;
    assert_eq!((live.0, live.1.as_str()), (403, "permission_denied"));
    api.stop().await;
}
