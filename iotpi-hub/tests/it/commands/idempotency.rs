//! Repeated, superseded and hazardous commands.

use std::time::Duration;

use iotpi_core::{
    HubClient, NewCommand,
    client::LiveStream,
    model::{
        command::IdempotencyKey,
        event::{Event, LiveMessage, Subscription},
    },
};
use iotpi_hub::auth::Role;
use serde_json::{Value, json};

use crate::support::{
    api::{Api, id},
    wait::bounded,
};

const CONTROL: &str = "/api/modules/led/control";
const CLAIM: &str = "/api/modules/led/commands";
const STATUS: &str = "/api/modules/led/status";

/// Registers a module with an absolute action on two channels and a hazardous one. Returns its token.
async fn blinds(api: &Api) -> String {
    let manifest = json!({"actions": [
        {"name": "move", "absolute": true, "target": "channel"},
        {"name": "open", "hazardous": true},
    ]});
    api.register("led", manifest).await
}

async fn state(api: &Api, command: &Value) -> Value {
    api.get(&format!("/api/commands/{}", command["id"].as_str().unwrap())).ok().await["state"].clone()
}

fn report(leased: &Value, outcome: Value) -> Value {
    let mut report = json!({"id": leased["id"], "lease": leased["lease"]});
    report.as_object_mut().unwrap().extend(outcome.as_object().unwrap().clone());
    json!({"command": report})
}

#[tokio::test]
async fn a_repeated_request_with_its_key_is_one_command() {
    let api = Api::with_manual_clock().await;
    let module = api.lamp().await;
    let request = || api.post(CONTROL, json!({"action": "set", "params": {"on": true}}));

    let first = request().header("idempotency-key", "button-17!").ok().await;
    let again = request().header("idempotency-key", "button-17!").ok().await;
    let leased = api.get(CLAIM).token(&module).ok().await["items"][0].clone();
    let done = report(&leased, json!({"outcome": "succeeded"}));
    let receipt = api.post(STATUS, done).token(&module).ok().await;
    let after_all = request().header("idempotency-key", "button-17!").ok().await;

    assert_eq!(again, first);
    assert_eq!(after_all, receipt["command"]);
    assert_eq!(api.get(CLAIM).token(&module).ok().await["items"], json!([]));
    // Another caller may use the same key. Without a key, each request is a new command.
    let operator = api.token(Role::Operator).await;
    let others = request().token(&operator).header("idempotency-key", "button-17!").ok().await;
    let (one, two) = (request().ok().await, request().ok().await);
    assert_ne!(others["id"], first["id"]);
    assert_ne!(one["id"], two["id"]);
    api.stop().await;
}

#[tokio::test]
async fn a_key_of_another_request_and_an_invalid_key_are_rejected() {
    let api = Api::start().await;
    api.lamp().await;
    let request = |params: Value| api.post(CONTROL, json!({"action": "set", "params": params}));
    request(json!({"on": true})).header("idempotency-key", "k").ok().await;

    let other = request(json!({"on": false})).header("idempotency-key", "k").problem().await;
    assert_eq!((other.0, other.1.as_str()), (409, "conflict"));
    for key in ["", "two words", &"x".repeat(65), "schlüssel"] {
        let problem = request(json!({})).header("idempotency-key", key).problem().await;

        assert_eq!((problem.0, problem.1.as_str()), (400, "invalid_argument"), "{key}");
    }
    request(json!({})).header("idempotency-key", &"x".repeat(64)).ok().await;
    api.stop().await;
}

#[tokio::test]
async fn the_client_sends_the_key() {
    let api = Api::start().await;
    api.lamp().await;
    let client = HubClient::new(&api.hub.url()).unwrap().with_token(&api.admin);
    let on = NewCommand::new("set".parse().unwrap());

    let key: IdempotencyKey = "k".parse().unwrap();
    let first = client.control(&id("led"), &on).once(key.clone()).await.unwrap();
    let again = client.control(&id("led"), &on).once(key).await.unwrap();
    let other = client.control(&id("led"), &on).await.unwrap();

    assert_eq!(first, again);
    assert_ne!(first.id, other.id);
    api.stop().await;
}

/// The next command event.
async fn receive_command(live: &mut LiveStream) -> (String, String) {
    loop {
        let LiveMessage::Event(numbered) = bounded("a live message", live.next()).await.unwrap().unwrap()
        else {
            continue;
        };
        if let Event::Command { command } = numbered.event {
            return (command.id.into(), command.state.as_str().to_owned());
        }
    }
}

#[tokio::test]
async fn a_newer_absolute_command_supersedes_the_queued_one_and_both_are_published() {
    let api = Api::start().await;
    let module = blinds(&api).await;
    let client = HubClient::new(&api.hub.url()).unwrap().with_token(&api.admin);
    let mut live = client.live(&Subscription::default()).await.unwrap();
    let order = |channel: u32, percent: u32| {
        api.post(CONTROL, json!({"action": "move", "params": {"channel": channel, "percent": percent}})).ok()
    };

    let first = order(1, 10).await;
    let other = order(2, 20).await;
    let newer = order(1, 30).await;

    let text = |command: &Value| command["id"].as_str().unwrap().to_owned();
    let mut events = Vec::new();
    for _ in 0..4 {
        events.push(receive_command(&mut live).await);
    }
    let expected = [
        (text(&first), "queued"),
        (text(&other), "queued"),
        (text(&first), "cancelled"),
        (text(&newer), "queued"),
    ];
    assert_eq!(events, expected.map(|(id, state)| (id, state.to_owned())));
    let older = api.get(&format!("/api/commands/{}", text(&first))).ok().await;
    assert_eq!(older["superseded_by"], newer["id"]);
    assert!(older["error"].as_str().unwrap().contains("newer"), "{older}");
    let claimed = api.get(&format!("{CLAIM}?limit=16")).token(&module).ok().await;
    let ids: Vec<_> = claimed["items"].as_array().unwrap().iter().map(|c| c["id"].clone()).collect();
    assert_eq!(ids, [other["id"].clone(), newer["id"].clone()]);
    api.stop().await;
}

#[tokio::test]
async fn a_started_hazardous_command_ends_known_or_unknown_and_does_not_run_again() {
    let api = Api::with_manual_clock().await;
    let module = blinds(&api).await;
    let command = api.post(CONTROL, json!({"action": "open", "expires_in": 3600})).ok().await;
    let leased = api.get(CLAIM).token(&module).ok().await["items"][0].clone();
    let started = report(&leased, json!({"outcome": "started"}));

    let begun = api.post(STATUS, started.clone()).token(&module).ok().await["command"].clone();
    api.hub.advance(Duration::from_secs(31));
    let none = api.get(CLAIM).token(&module).ok().await["items"].clone();
    let late = api.post(STATUS, started).token(&module).problem().await;

    assert_eq!(leased["hazardous"], true);
    assert_eq!(
        (&begun["state"], &begun["started_at"]),
        (&json!("leased"), &json!(crate::support::api::NOW_SECS))
    );
    assert_eq!(none, json!([]));
    assert_eq!(state(&api, &command).await, "unknown_outcome");
    assert_eq!((late.0, late.1.as_str()), (409, "conflict"));
    let metrics = api.get("/metrics").send().await;
    let metrics = String::from_utf8(metrics.body.to_vec()).unwrap();
    assert!(metrics.contains("iotpi_commands_total{state=\"unknown_outcome\"} 1\n"), "{metrics}");
    api.stop().await;
}

#[tokio::test]
async fn a_hazardous_command_that_was_not_started_is_leased_again_before_it_expires() {
    let api = Api::with_manual_clock().await;
    let module = blinds(&api).await;
    let claim = async || api.get(CLAIM).token(&module).ok().await["items"].clone();
    let command = api.post(CONTROL, json!({"action": "open", "expires_in": 50})).ok().await;

    let lost = claim().await[0].clone();
    api.hub.advance(Duration::from_secs(31));
    let present = claim().await[0].clone();
    let late = report(&lost, json!({"outcome": "started"}));
    let late = api.post(STATUS, late).token(&module).problem().await;
    // The lease is valid, but the command has expired.
    api.hub.advance(Duration::from_secs(20));
    let overdue = report(&present, json!({"outcome": "started"}));
    let overdue = api.post(STATUS, overdue).token(&module).problem().await;
    api.hub.advance(Duration::from_secs(10));

    assert_eq!(present["attempts"], 2);
    assert_eq!([late.0, overdue.0], [409, 409]);
    assert_eq!(claim().await, json!([]));
    assert_eq!(state(&api, &command).await, "expired");
    api.stop().await;
}

#[tokio::test]
async fn a_restarted_module_may_report_an_unknown_outcome() {
    let api = Api::start().await;
    let module = blinds(&api).await;
    let command = api.post(CONTROL, json!({"action": "open"})).ok().await;
    let leased = api.get(CLAIM).token(&module).ok().await["items"][0].clone();

    let unknown = json!({"outcome": "unknown_outcome", "error": "the power went"});
    api.post(STATUS, report(&leased, unknown)).token(&module).ok().await;

    assert_eq!(state(&api, &command).await, "unknown_outcome");
    api.stop().await;
}

#[tokio::test]
async fn a_manifest_with_contradictory_actions_is_rejected() {
    let api = Api::start().await;
    let token = api.module("led").await;
    let put = |action: Value| api.put("/api/modules/led", json!({"actions": [action]})).token(&token);

    for (action, status, pointer) in [
        (json!({"name": "a", "while_alive": 0.5}), 400, "/actions/0/while_alive"),
        (json!({"name": "a", "while_alive": 3601}), 400, "/actions/0/while_alive"),
        (json!({"name": "a", "target": "channel"}), 422, "/actions/0/target"),
        (json!({"name": "a", "absolute": true, "target": ""}), 400, "/actions/0/target"),
    ] {
        let problem = put(action.clone()).problem().await;

        assert_eq!((problem.0, problem.2.as_str()), (status, pointer), "{action}");
    }
    put(json!({"name": "a", "while_alive": 1, "absolute": true, "target": "channel"})).ok().await;
    api.stop().await;
}
