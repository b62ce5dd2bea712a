//! Whether the one who issued a command is still there, as its module is told.

use std::time::Duration;

use iotpi_core::{HubClient, Subscription};
use iotpi_hub::auth::Role;
use serde_json::{Value, json};

use crate::support::api::Api;

const CONTROL: &str = "/api/modules/heater/control";
const STATUS: &str = "/api/modules/heater/status";

/// A heater whose heat lasts only while somebody watches, 10 s at most without; its token.
async fn heater(api: &Api) -> String {
    let manifest = json!({"actions": [{"name": "heat", "while_alive": 10}, {"name": "beep"}]});
    api.register("heater", manifest).await
}

async fn alive_secs(api: &Api, module: &str, watch: &Value) -> Value {
    api.post(STATUS, json!({"watch": watch})).token(module).ok().await["alive_secs"].clone()
}

#[tokio::test]
async fn an_issuer_is_there_while_it_makes_requests_and_is_gone_after_the_limit() {
    let api = Api::standing_still().await;
    let module = heater(&api).await;
    let (anna, bob) = (api.token(Role::Operator).await, api.token(Role::Operator).await);
    let heat = api.post(CONTROL, json!({"action": "heat"})).token(&anna).ok().await["id"].clone();

    let at_once = alive_secs(&api, &module, &heat).await;
    api.hub.advance(Duration::from_secs(7));
    let later = alive_secs(&api, &module, &heat).await;
    // Somebody else is no sign of the issuer.
    api.get("/api/modules").token(&bob).ok().await;
    api.hub.advance(Duration::from_secs(4));
    let gone = alive_secs(&api, &module, &heat).await;
    api.get("/api/modules").token(&anna).ok().await;
    let back = alive_secs(&api, &module, &heat).await;

    assert_eq!([at_once, later, gone, back], [json!(10.0), json!(3.0), json!(0.0), json!(10.0)]);
    api.stop().await;
}

#[tokio::test]
async fn an_open_live_line_is_being_there() {
    let api = Api::standing_still().await;
    let module = heater(&api).await;
    let anna = api.token(Role::Operator).await;
    let heat = api.post(CONTROL, json!({"action": "heat"})).token(&anna).ok().await["id"].clone();
    let client = HubClient::new(&api.hub.url()).unwrap().with_token(&anna);
    let mut live = client.live(&Subscription::default()).await.unwrap();
    // Hello, and the present: the hub has heard the line.
    live.next().await.unwrap();
    live.next().await.unwrap();

    // No ping is due on the machine's clock: the line is silent for as long as the hub's clock says.
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
async fn nobody_was_there_yet_when_a_hub_starts() {
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
