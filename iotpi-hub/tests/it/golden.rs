//! Golden files of public interfaces, which must not change by accident. `BLESS=1` rewrites them.

use std::{path::Path, time::Duration};

use iotpi_core::{
    Timestamp,
    model::{
        error::Problem,
        event::{LiveMessage, LiveRequest, NumberedEvent},
        frame::LiveFrame,
    },
};
use iotpi_hub::Config;
use serde_json::{Value, json};

fn same_as(path: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(golden == text, "{} is not what the code says; if that is meant: make bless", path.display());
}

#[test]
fn the_openapi_document_matches_the_golden_file() {
    same_as("../openapi.json", &iotpi_hub::openapi());
}

/// Descriptions come from documentation comments, whose examples are in Rust.
#[test]
fn the_openapi_document_has_no_rust_code() {
    let document = iotpi_hub::openapi();

    for code in ["```", "iotpi_core"] {
        assert!(!document.contains(code), "{code}");
    }
}

/// Messages of each kind, serialized and parsed by the protocol types.
#[test]
fn the_live_protocol_matches_the_golden_file() {
    let reading = json!({"module_id": "temp-sensor-01", "type": "temperature", "value": 21.4, "unit": "celsius",
        "timestamp": 1_795_473_000.25, "received_at": 1_795_473_000.31});
    let gap = json!({"module_id": "temp-sensor-01", "type": "temperature", "value": null, "unit": "celsius",
        "timestamp": 1_795_473_060.25, "received_at": 1_795_473_060.31, "reason": "no answer on the bus"});
    let module = json!({"id": "led", "manifest": {"measures": [], "actions": [{"name": "set", "params": {"type": "object"},
        "hazardous": false}]}, "health": "online", "last_seen_at": 1_795_473_000.5, "registered_at": 1_795_472_000.0,
        "state": {"on": true}, "state_at": 1_795_473_000.5,
        "delivery": {"since": 1_795_472_000.0, "expected": 42, "received": 40, "lost": 2, "missing": 0}});
    let command = json!({"id": "01890a5d-0000-7000-8000-000000000000", "module_id": "led", "action": "set", "params": {"on": true},
        "state": "succeeded", "issued_by": "anna", "created_at": 1_795_473_000.0, "expires_at": 1_795_473_060.0,
        "leased_at": 1_795_473_000.25, "started_at": null, "finished_at": 1_795_473_000.5, "attempts": 1, "result": {"on": true}, "error": null,
        "superseded_by": null});
    let camera = json!({"module_id": "camera", "online": true, "width": 640, "height": 480, "bytes": 23411, "fps": 12.5,
        "viewers": 1, "frames": 1841, "delivered": 1302, "skipped": 3, "missing": 0, "refused": 0, "taken_at": 1_795_472_999.25,
        "captured_at": 1_795_473_000.25, "received_at": 1_795_473_000.5, "latency": {"p50": 0.25, "p99": 0.375}});
    let problem = json!({"type": "urn:iotpi:problem:invalid_argument", "kind": "invalid_argument", "title": "Invalid argument",
        "status": 400, "detail": "`recent` is 0 to 1,000", "pointer": "/recent"});
    serde_json::from_value::<Problem>(problem.clone()).unwrap();
    let hub = [
        json!({"type": "hello", "hub_time": 1_795_473_000.0, "version": "0.1.0"}),
        json!({"type": "recent", "seq": 41, "readings": [reading, gap], "modules": [module], "cameras": [camera]}),
        json!({"type": "reading", "seq": 42, "reading": reading}),
        json!({"type": "module", "seq": 43, "module": module}),
        json!({"type": "module_removed", "seq": 44, "module_id": "led"}),
        json!({"type": "command", "seq": 45, "command": command}),
        json!({"type": "camera", "seq": 46, "camera": camera}),
        json!({"type": "resync", "seq": 90, "missed": 44}),
        json!({"type": "time", "client_time": 1_795_473_000.125, "hub_time": 1_795_473_000.25}),
        json!({"type": "problem", "problem": problem}),
    ];
    let client = [
        json!({"type": "subscribe", "recent": 1}),
        json!({"type": "subscribe", "kinds": ["reading", "module", "command", "camera"], "modules": ["led"],
               "sensors": ["temperature"], "recent": 60}),
        json!({"type": "watch", "cameras": [{"module_id": "front", "max_fps": 10.0}, {"module_id": "porch"}]}),
        json!({"type": "shown", "module_id": "front", "seq": 123}),
        json!({"type": "time", "client_time": 1_795_473_000.125}),
    ];
    let at = |secs| Timestamp::from_secs_f64(secs).unwrap();
    let (captured_at, received_at) = (at(1_795_473_000.25), at(1_795_473_000.5));
    let mut frame =
        LiveFrame::new("front".parse().unwrap(), 123, captured_at, received_at, Vec::new().into());
    frame.no_signal = true;
    let head = frame.head().iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ");

    let hub_messages: Vec<Value> = hub
        .iter()
        .map(|message| {
            serde_json::to_value(serde_json::from_value::<LiveMessage>(message.clone()).unwrap()).unwrap()
        })
        .collect();
    let client_messages: Vec<Value> = client
        .iter()
        .map(|message| {
            serde_json::to_value(serde_json::from_value::<LiveRequest>(message.clone()).unwrap()).unwrap()
        })
        .collect();

    assert_eq!((hub_messages.as_slice(), client_messages.as_slice()), (hub.as_slice(), client.as_slice()));
    assert!(serde_json::from_value::<NumberedEvent>(hub[2].clone()).is_ok());
    let frame = json!({"module_id": "front", "seq": 123, "captured_at": 1_795_473_000.25,
        "received_at": 1_795_473_000.5, "no_signal": true, "head": head});
    let golden = json!({"client": client_messages, "hub": hub_messages, "picture": frame});
    same_as("tests/golden/live.json", &format!("{golden:#}\n"));
}

#[test]
fn the_default_config_matches_the_golden_file() {
    let text = toml::to_string(&Config::default()).unwrap();

    assert_eq!(toml::from_str::<Config>(&text).unwrap(), Config::default());
    assert!(toml::from_str::<Config>("listn = \"127.0.0.1:8000\"").is_err());
    same_as("tests/golden/config.toml", &text);
}

#[test]
fn an_invalid_config_is_rejected_with_the_field() {
    for (text, field) in [
        ("[http]\nmax_connections = 0", "http.max_connections"),
        ("[auth]\njwt_secs = 5", "auth.jwt_secs"),
        ("[limits]\ncommands_waiting = 0", "limits.commands_waiting"),
        ("[limits]\nlive_backlog = 0", "limits.live_backlog"),
    ] {
        let config: Config = toml::from_str(text).unwrap();

        assert!(config.check().unwrap_err().detail().contains(field), "{text}");
    }
    assert_eq!(Config::default().auth.jwt_secs, Duration::from_secs(900).as_secs());
}
