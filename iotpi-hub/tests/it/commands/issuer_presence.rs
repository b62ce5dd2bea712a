//! Issuer presence: whether the issuer of a command is still present, as reported to its module.

use std::time::Duration;

use iotpi_core::{HubClient, model::event::Subscription};
use iotpi_hub::auth::Role;
use serde_json::{Value, json};

use crate::support::{api::Api, wait::bounded};

const CONTROL: &str = "/api/modules/heater/control";
const STATUS: &str = "/api/modules/heater/status";

/// Registers a heater that stays on for at most 10 s without its issuer. Returns its token.
async fn heater(api: &Api) -> String {
    let manifest = json!({"actions": [{"name": "heat", "while_alive": 10}, {"name": "beep"}]});
    api.register("heater", manifest).await
}

async fn alive_secs(api: &Api, module: &str, watch: &Value) -> Value {
    api.post(STATUS, json!({"watch": watch})).token(module).ok().await["alive_secs"].clone()
}

#[tokio::test]
async fn an_issuer_is_present_while_it_makes_requests_and_absent_after_the_limit() {
    let api = Api::with_manual_clock().await;
    let module = heater(&api).await;
    let (anna, bob) = (api.token(Role::Operator).await, api.token(Role::Operator).await);
    let heat = api.post(CONTROL, json!({"action": "heat"})).token(&anna).ok().await["id"].clone();

    let at_once = alive_secs(&api, &module, &heat).await;
    api.hub.advance(Duration::from_secs(7));
    let later = alive_secs(&api, &module, &heat).await;
    // Requests of another caller do not count.
    api.get("/api/modules").token(&bob).ok().await;
    api.hub.advance(Duration::from_secs(4));
    let gone = alive_secs(&api, &module, &heat).await;
    api.get("/api/modules").token(&anna).ok().await;
    let back = alive_secs(&api, &module, &heat).await;

    assert_eq!([at_once, later, gone, back], [json!(10.0), json!(3.0), json!(0.0), json!(10.0)]);
    api.stop().await;
}

#[tokio::test]
async fn an_issuer_with_an_open_live_connection_is_present() {
    let api = Api::with_manual_clock().await;
    let module = heater(&api).await;
    let anna = api.token(Role::Operator).await;
    let heat = api.post(CONTROL, json!({"action": "heat"})).token(&anna).ok().await["id"].clone();
    let client = HubClient::new(&api.hub.url()).unwrap().with_token(&anna);
    let mut live = client.live(&Subscription::default()).await.unwrap();
    // After hello and the current state, the hub has registered the connection.
    bounded("a live message", live.next()).await.unwrap();
    bounded("a live message", live.next()).await.unwrap();

    // No ping is due by the machine's clock, so the connection is silent by the hub's clock.
    api.hub.advance(Duration::from_secs(20));
    let open = alive_secs(&api, &module, &heat).await;
    api.hub.advance(Duration::from_secs(10));
    let silent = alive_secs(&api, &module, &heat).await;
    drop(live);
    api.hub.advance(Duration::from_secs(5));
    let gone = alive_secs(&api, &module, &heat).await;

    assert_eq!([open, silent, gone], [json!(10.0), json!(5.0), json!(0.0)]);
    api.stop().await;
}

#[tokio::test]
async fn only_a_modules_own_command_with_a_limit_is_watched() {
    let api = Api::start().await;
    let module = heater(&api).await;
    let other = api.lamp().await;
    let heat = api.post(CONTROL, json!({"action": "heat"})).ok().await["id"].clone();
    let beep = api.post(CONTROL, json!({"action": "beep"})).ok().await["id"].clone();

    let nobodys = json!("01890a5d-0000-7000-8000-000000000000");
    for watch in [&beep, &nobodys] {
        assert_eq!(alive_secs(&api, &module, watch).await, Value::Null);
    }
    let watched = api.post("/api/modules/led/status", json!({"watch": heat})).token(&other).ok().await;
    assert_eq!(watched["alive_secs"], Value::Null);
    let nothing = api.post(STATUS, json!({})).token(&module).ok().await;
    assert_eq!(nothing["alive_secs"], Value::Null);
    api.stop().await;
}

#[tokio::test]
async fn no_issuer_is_present_when_the_hub_starts() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/hub.db", folder.path().display());
    let start = async || {
        let hub = iotpi_hub::testing::TestHub::with_store(iotpi_hub::Config::default(), &url).await.unwrap();
        Api::of(hub).await
    };
    let api = start().await;
    let (module, admin) = (heater(&api).await, api.admin.clone());
    let heat = api.post(CONTROL, json!({"action": "heat", "expires_in": 3600})).ok().await["id"].clone();
    api.stop().await;

    let api = start().await;
    let before = alive_secs(&api, &module, &heat).await;
    api.get("/api/modules").token(&admin).ok().await;
    let after = alive_secs(&api, &module, &heat).await;

    assert_eq!(before, json!(0.0));
    assert!(after.as_f64().unwrap() > 0.0, "{after}");
    api.stop().await;
}
