//! The life of a command: submit, claim, report, cancel, expire.

use std::time::Duration;

use iotpi_hub::{Config, Limits, auth::Role};
use serde_json::{Value, json};

use crate::support::{
    api::{Api, NOW_SECS},
    wait::bounded,
};

const CONTROL: &str = "/api/modules/led/control";
const CLAIM: &str = "/api/modules/led/commands";
const STATUS: &str = "/api/modules/led/status";

async fn state(api: &Api, command: &Value) -> Value {
    api.get(&format!("/api/commands/{}", command["id"].as_str().unwrap())).ok().await["state"].clone()
}

fn outcome(leased: &Value, outcome: Value) -> Value {
    let mut report = json!({"id": leased["id"], "lease": leased["lease"]});
    report.as_object_mut().unwrap().extend(outcome.as_object().unwrap().clone());
    json!({"command": report})
}

#[tokio::test]
async fn a_command_goes_from_a_user_to_the_module_and_its_outcome_back() {
    let api = Api::with_manual_clock().await;
    let module = api.lamp().await;
    let operator = api.token(Role::Operator).await;

    let params = json!({"on": true, "brightness": 40});
    let body = json!({"action": "set", "params": params, "expires_in": 60});
    let command = api.post(CONTROL, body).token(&operator).ok().await;
    let claimed = api.get(CLAIM).token(&module).ok().await;
    let leased = &claimed["items"][0];
    let report = outcome(leased, json!({"outcome": "succeeded", "result": {"on": true}}));
    let receipt = api.post(STATUS, report.clone()).token(&module).ok().await;
    let again = api.post(STATUS, report).token(&module).ok().await;

    assert_eq!((&command["state"], &command["module_id"]), (&json!("queued"), &json!("led")));
    assert!(command["issued_by"].as_str().unwrap().starts_with("operator-"));
    assert_eq!((&command["created_at"], &command["expires_at"]), (&json!(NOW_SECS), &json!(NOW_SECS + 60.0)));
    assert_eq!(
        (&leased["state"], &leased["params"], &leased["attempts"]),
        (&json!("leased"), &params, &json!(1))
    );
    assert_eq!((&leased["lease_secs"], &leased["expires_in"]), (&json!(30.0), &json!(60.0)));
    assert_eq!(receipt["command"]["state"], "succeeded");
    assert_eq!(receipt["command"]["result"], json!({"on": true}));
    assert_eq!(again, receipt);
    let history = api.get("/api/modules/led/commands/history").ok().await;
    assert_eq!(history, json!({"items": [receipt["command"]], "next": null}));
    api.stop().await;
}

#[tokio::test]
async fn a_command_the_manifest_does_not_offer_is_refused() {
    let api = Api::start().await;
    api.lamp().await;
    api.post("/api/sensors/temperature", json!({"module_id": "bare", "value": 1})).ok().await;

    let unknown = api.post(CONTROL, json!({"action": "explode"})).send().await;
    let bad_params = |params: Value| api.post(CONTROL, json!({"action": "set", "params": params}));

    let problem = unknown.problem();
    assert_eq!((unknown.status, &problem["pointer"]), (422, &json!("/action")));
    assert_eq!(problem["choices"], json!(["set"]));
    for (params, pointer) in [
        (json!({"brightness": 101}), "/params/brightness"),
        (json!({"brightness": "40"}), "/params/brightness"),
        (json!({"colour": "red"}), "/params"),
    ] {
        assert_eq!(bad_params(params).problem().await, (422, "unprocessable".to_owned(), pointer.to_owned()));
    }
    assert_eq!(bad_params(json!([])).problem().await.0, 400);
    let large = bad_params(json!({"text": "x".repeat(16 * 1024)})).problem().await;
    assert_eq!(large, (413, "too_large".to_owned(), "/params".to_owned()));
    let bare = api.post("/api/modules/bare/control", json!({"action": "set"})).problem().await;
    assert_eq!((bare.0, bare.1.as_str()), (422, "unprocessable"));
    let unknown = api.post("/api/modules/unknown/control", json!({"action": "set"})).problem().await;
    assert_eq!((unknown.0, unknown.1.as_str()), (404, "not_found"));
    api.stop().await;
}

#[tokio::test]
async fn a_command_lives_1_to_86400_seconds() {
    let api = Api::start().await;
    api.lamp().await;

    for secs in [json!(0), json!(0.99), json!(86_400.1), json!(-5), json!(1e300)] {
        let problem = api.post(CONTROL, json!({"action": "set", "expires_in": secs})).problem().await;

        assert_eq!(problem, (422, "unprocessable".to_owned(), "/expires_in".to_owned()), "{secs}");
    }
    for secs in [json!(1), json!(86_400), json!(1.5)] {
        api.post(CONTROL, json!({"action": "set", "expires_in": secs})).ok().await;
    }
    api.stop().await;
}

#[tokio::test]
async fn a_lost_claim_comes_back_when_its_lease_ends_and_the_fifth_is_the_last() {
    let api = Api::with_manual_clock().await;
    let module = api.lamp().await;
    let command = api.post(CONTROL, json!({"action": "set", "expires_in": 3600})).ok().await;
    let claim = async || api.get(CLAIM).token(&module).ok().await["items"].clone();

    let first = claim().await;
    api.hub.advance(Duration::from_secs(29));
    assert_eq!(claim().await, json!([]));
    for attempt in 2..=5 {
        api.hub.advance(Duration::from_secs(30));
        assert_eq!(claim().await[0]["attempts"], attempt);
    }
    let late = outcome(&first[0], json!({"outcome": "succeeded"}));
    let late = api.post(STATUS, late).token(&module).problem().await;
    api.hub.advance(Duration::from_secs(31));

    assert_eq!((late.0, late.1.as_str()), (409, "conflict"));
    assert_eq!(claim().await, json!([]));
    assert_eq!(state(&api, &command).await, "dead");
    api.stop().await;
}

#[tokio::test]
async fn an_expired_command_is_never_leased() {
    let api = Api::with_manual_clock().await;
    let module = api.lamp().await;
    let command = api.post(CONTROL, json!({"action": "set", "expires_in": 10})).ok().await;

    api.hub.advance(Duration::from_secs(11));

    assert_eq!(api.get(CLAIM).token(&module).ok().await["items"], json!([]));
    assert_eq!(state(&api, &command).await, "expired");
    api.stop().await;
}

#[tokio::test]
async fn a_long_poll_wakes_at_once_when_a_command_is_submitted() {
    let api = Api::start().await;
    let module = api.lamp().await;
    // A poll that is not woken responds with an empty page after 60 s.
    let claim = api.get(&format!("{CLAIM}?wait=60")).token(&module).ok();
    let submit = async {
        api.post(CONTROL, json!({"action": "set"})).ok().await;
    };
    let (claimed, ()) = bounded("the poll wakes", async { tokio::join!(claim, submit) }).await;

    assert_eq!(claimed["items"][0]["state"], "leased");
    api.stop().await;
}

#[tokio::test]
async fn a_long_poll_wakes_when_the_command_before_is_done() {
    let api = Api::start().await;
    let module = api.lamp().await;
    for _ in 0..2 {
        api.post(CONTROL, json!({"action": "set"})).ok().await;
    }
    let first = api.get(CLAIM).token(&module).ok().await["items"][0].clone();
    assert_eq!(api.get(CLAIM).token(&module).ok().await["items"], json!([]));

    let claim = api.get(&format!("{CLAIM}?wait=60")).token(&module).ok();
    let finish =
        api.post(STATUS, outcome(&first, json!({"outcome": "failed", "error": "no power"}))).token(&module);
    let (claimed, finished) = bounded("the poll wakes", async { tokio::join!(claim, finish.ok()) }).await;

    assert_eq!(finished["command"]["error"], "no power");
    assert_ne!(claimed["items"][0]["id"], first["id"]);
    api.stop().await;
}

#[tokio::test]
async fn a_poll_without_a_command_waits_and_returns_an_empty_page() {
    let api = Api::start().await;
    let module = api.lamp().await;
    let begun = tokio::time::Instant::now();

    let claimed = api.get(&format!("{CLAIM}?wait=0.2")).token(&module).ok().await;

    assert_eq!(claimed, json!({"items": [], "next": null}));
    // A lower bound: a slow machine only makes it longer.
    assert!(begun.elapsed() >= Duration::from_millis(200));
    for query in ["wait=61", "wait=-1", "wait=nan", "limit=0", "limit=17"] {
        assert_eq!(api.get(&format!("{CLAIM}?{query}")).token(&module).problem().await.0, 400, "{query}");
    }
    api.stop().await;
}

#[tokio::test]
async fn several_commands_are_leased_in_order() {
    let api = Api::start().await;
    let module = api.lamp().await;
    for brightness in 0..3 {
        api.post(CONTROL, json!({"action": "set", "params": {"brightness": brightness}})).ok().await;
    }

    let claimed = api.get(&format!("{CLAIM}?limit=16")).token(&module).ok().await;

    let order: Vec<_> =
        claimed["items"].as_array().unwrap().iter().map(|c| &c["params"]["brightness"]).collect();
    assert_eq!(order, [&json!(0), &json!(1), &json!(2)]);
    api.stop().await;
}

#[tokio::test]
async fn a_queued_command_can_be_cancelled_and_a_leased_one_cannot() {
    let api = Api::start().await;
    let module = api.lamp().await;
    let cancel = |command: &Value| {
        api.call(http::Method::POST, &format!("/api/commands/{}/cancel", command["id"].as_str().unwrap()))
    };
    let first = api.post(CONTROL, json!({"action": "set"})).ok().await;
    let second = api.post(CONTROL, json!({"action": "set"})).ok().await;
    api.get(CLAIM).token(&module).ok().await;

    let leased = cancel(&first).problem().await;
    let cancelled = cancel(&second).ok().await;
    let again = cancel(&second).problem().await;

    assert_eq!((leased.0, leased.1.as_str()), (409, "conflict"));
    assert_eq!(cancelled["state"], "cancelled");
    assert_eq!(again.0, 409);
    api.stop().await;
}

#[tokio::test]
async fn the_queue_of_a_module_has_the_configured_limit() {
    for (limit, config) in [(100, Config::default()), (3, waiting(3))] {
        let api = Api::with_config(config).await;
        api.lamp().await;
        for _ in 0..limit {
            api.post(CONTROL, json!({"action": "set"})).ok().await;
        }

        let problem = api.post(CONTROL, json!({"action": "set"})).problem().await;

        assert_eq!((problem.0, problem.1.as_str()), (429, "rate_limited"));
        api.stop().await;
    }
}

fn waiting(commands_waiting: u64) -> Config {
    Config { limits: Limits { commands_waiting, ..Limits::default() }, ..Config::default() }
}

#[tokio::test]
async fn a_report_on_an_unknown_command_is_not_found() {
    let api = Api::start().await;
    let module = api.lamp().await;
    let report = json!({"id": "01890a5d-0000-7000-8000-000000000000", "lease": "l"});

    let unknown =
        api.post(STATUS, outcome(&report, json!({"outcome": "succeeded"}))).token(&module).problem().await;
    let long = outcome(&report, json!({"outcome": "failed", "error": "x".repeat(501)}));
    let long = api.post(STATUS, long).token(&module).problem().await;
    let vague =
        api.post(STATUS, outcome(&report, json!({"outcome": "maybe"}))).token(&module).problem().await;

    assert_eq!(unknown.0, 404);
    assert_eq!((long.0, long.2.as_str()), (400, "/command/error"));
    assert_eq!(vague.0, 400);
    api.stop().await;
}
