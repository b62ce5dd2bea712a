//! More connections from one address than the hub accepts.

use http::Method;
use iotpi_hub::{Config, HttpConfig};
use serde_json::json;

use crate::support::{api::Api, wire::Wire};

#[tokio::test]
async fn slow_logins_on_every_connection_do_not_lock_out_other_clients() {
    let http = HttpConfig { max_connections: 100, ..HttpConfig::default() };
    let api = Api::with_config(Config { http, ..Config::default() }).await;
    let honest = api.module("shed").await;
    let mut slow = Vec::new();

    for _ in 0..300 {
        let mut wire = Wire::to(&api.hub).await;
        wire.send("POST /api/auth/login HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{").await;
        slow.push(wire);
        if slow.len() % 50 == 0 {
            let reading = json!({"module_id": "shed", "value": 1, "unit": "celsius"});
            api.post("/api/sensors/temperature", reading).token(&honest).ok().await;
            let login = json!({"name": "unknown", "password": "wrong"});
            assert_eq!(api.open(Method::POST, "/api/auth/login").json(login).send().await.status, 401);
        }
    }

    let metrics = api.metrics().await;
    let counted = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.parse::<f64>().ok());
    assert!(counted("iotpi_connections ").unwrap() <= 101.0, "{metrics}");
    assert!(counted("iotpi_connections_evicted_total ").unwrap() >= 190.0, "{metrics}");
    drop(slow);
    api.stop().await;
}
