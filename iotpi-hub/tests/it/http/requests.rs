//! Request forms: compressed bodies, paths and the `Host` header; and the terms of problem details.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use http::Method;
use serde_json::{Value, json};

use crate::support::{
    api::{Api, jpeg},
    live::Live,
    wire::Wire,
};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn a_gzip_body_is_read_by_every_route() {
    let api = Api::start().await;
    let reading = |value: f64| json!({"module_id": "shed", "value": value, "unit": "celsius"}).to_string();
    let post = |path: &str, encoding: &str, body: Vec<u8>| {
        let call = api.call(Method::POST, path).header("content-type", "application/json");
        call.header("content-encoding", encoding).body(body)
    };

    post("/api/sensors/temperature", "gzip", gzip(reading(1.0).as_bytes())).ok().await;
    post("/api/sensors/temperature", "x-GZIP", gzip(reading(2.0).as_bytes())).ok().await;
    post("/api/sensors/temperature", "identity", reading(3.0).into_bytes()).ok().await;
    // Several gzip members form one body (RFC 1952 section 2.2).
    let text = reading(4.0);
    let (first, second) = text.as_bytes().split_at(20);
    post("/api/sensors/temperature", "gzip", [gzip(first), gzip(second)].concat()).ok().await;
    post("/api/modules/shed/status", "gzip", gzip(br#"{"state": {"on": true}}"#)).ok().await;
    let original = jpeg(64, 48, 200_000);
    let frame = api.call(Method::POST, "/api/camera/frame").jpeg(gzip(&original));
    frame.header("content-encoding", "gzip").ok().await;

    let page = api.get("/api/sensors/temperature?module_id=shed&order=asc").ok().await;
    let values: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|item| item["value"].as_f64().unwrap()).collect();
    assert_eq!(values, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(api.get("/api/modules/shed").ok().await["state"]["on"], true);
    assert_eq!(api.get("/api/camera/snapshot").send().await.body, original);
    api.stop().await;
}

#[tokio::test]
async fn a_gzip_body_that_expands_beyond_the_limit_or_is_damaged_is_rejected() {
    let api = Api::start().await;
    let post = |path: &str, body: Vec<u8>| {
        let call = api.call(Method::POST, path).header("content-type", "application/json");
        call.header("content-encoding", "gzip").body(body)
    };
    // 64 MiB of spaces, compressed to 65 KB.
    let bomb = gzip(&vec![b' '; 64 * 1024 * 1024]);
    let whole = gzip(br#"{"module_id": "shed", "value": 1, "unit": "celsius"}"#);

    assert_eq!(post("/api/sensors/temperature", bomb.clone()).problem().await.0, 413);
    let frame = api.call(Method::POST, "/api/camera/frame").jpeg(bomb).header("content-encoding", "gzip");
    assert_eq!(frame.problem().await.0, 413);
    for damaged in [whole[..whole.len() - 9].to_vec(), whole[..5].to_vec(), b"{}".to_vec(), Vec::new()] {
        let answer = post("/api/sensors/temperature", damaged).send().await;
        assert_eq!((answer.status, answer.problem()["kind"].clone()), (400, json!("invalid_argument")));
    }
    api.stop().await;
}

#[tokio::test]
async fn an_unsupported_encoding_is_answered_415_with_the_supported_one() {
    let api = Api::start().await;

    for encoding in ["br", "deflate", "zstd", "compress", "gzip, gzip", "gzip, br"] {
        let call = api.post("/api/sensors/temperature", json!({})).header("content-encoding", encoding);
        let answer = call.send().await;

        let problem = answer.problem();
        assert_eq!((answer.status, answer.header("accept-encoding")), (415, "gzip"), "{encoding}");
        assert_eq!(problem["kind"], "invalid_argument");
        assert!(problem["detail"].as_str().unwrap().contains("gzip"), "{problem}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_path_without_its_prefix_is_not_found_and_the_problem_names_the_right_one() {
    let api = Api::start().await;

    for (method, path, meant) in [
        (Method::POST, "/sensors/temperature", "/api/sensors/temperature"),
        (Method::PUT, "/modules/led", "/api/modules/led"),
        (Method::POST, "/modules/led/control", "/api/modules/led/control"),
        (Method::POST, "/camera/frame?module_id=a", "/api/camera/frame"),
        (Method::DELETE, "/auth/tokens/5", "/api/auth/tokens/5"),
        (Method::GET, "/sensors", "/api/sensors"),
        (Method::POST, "/api/sensors/temperature/", "/api/sensors/temperature"),
        (Method::GET, "/api/api/cameras", "/api/cameras"),
        (Method::GET, "/API/cameras", "/api/cameras"),
    ] {
        let answer = api.call(method, path).json(json!({})).send().await;

        let problem = answer.problem();
        assert_eq!((answer.status, &problem["kind"]), (404, &json!("not_found")), "{path}");
        let detail = problem["detail"].as_str().unwrap();
        assert!(detail.ends_with(&format!("Did you mean {meant}?")), "{detail}");
    }
    let wrong = api.call(Method::PATCH, "/api/sensors/temperature").send().await;
    assert_eq!((wrong.status, wrong.header("allow").contains("POST")), (405, true));
    api.stop().await;
}

#[tokio::test]
async fn a_request_has_exactly_one_host() {
    let api = Api::start().await;
    let original = jpeg(8, 8, 10);
    let requests = [
        ("GET /health HTTP/1.1\r\n".to_owned(), vec![]),
        (
            format!(
                "POST /api/camera/frame HTTP/1.1\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n",
                api.admin,
                original.len()
            ),
            original,
        ),
    ];

    for (head, body) in requests {
        for (hosts, status) in [
            ("host: localhost\r\n", 200),
            ("host: localhost\r\nhost: evil.example\r\n", 400),
            ("host: evil.example\r\nhost: localhost\r\n", 400),
            ("host: localhost\r\nHost: localhost\r\n", 400),
            ("", 400),
            ("host:\r\n", 400),
        ] {
            let mut wire = Wire::to(&api.hub).await;
            wire.send([head.as_bytes(), hosts.as_bytes(), b"\r\n", &body].concat()).await;

            assert_eq!(wire.answer_head().await.status(), status, "{head}{hosts}");
        }
    }
    api.stop().await;
}

/// Checks that a text has no terms of Rust or serde.
fn is_plain(detail: &str) -> bool {
    let words = [
        "struct",
        "enum",
        "variant",
        "sequence",
        "map,",
        "a map",
        "f64",
        "u32",
        "u64",
        "i64",
        "tagged",
        "line 1",
        "Option",
        "field `type`",
        "digit found",
    ];
    words.iter().all(|word| !detail.contains(word))
}

#[tokio::test]
async fn problems_use_the_terms_of_the_protocol() {
    let api = Api::start().await;
    api.lamp().await;
    let rule = |fields: Value| json!({"actions": [fields]});

    for (method, path, body) in [
        (Method::POST, "/api/sensors/temperature", json!({"module_id": 5, "value": 1})),
        (Method::POST, "/api/sensors/temperature", json!({"module_id": "a", "value": {}})),
        (Method::POST, "/api/sensors/temperature", json!({"module_id": "a", "value": 1, "seq": "x"})),
        (Method::POST, "/api/sensors/temperature", json!([[1]])),
        (Method::POST, "/api/modules/led/control", json!({"action": []})),
        (Method::POST, "/api/modules/led/control", json!({"action": "set", "params": 5})),
        (Method::POST, "/api/modules/led/control", json!({"action": "set", "expires_in": "soon"})),
        (Method::POST, "/api/modules/led/status", json!({"state": [], "command": 7})),
        (
            Method::POST,
            "/api/modules/led/status",
            json!({"command": {"id": "c", "lease": "l", "outcome": "done"}}),
        ),
        (Method::PUT, "/api/modules/led", rule(json!("set"))),
        (Method::PUT, "/api/modules/led", rule(json!({"name": "set", "hazardous": 1}))),
        (Method::PUT, "/api/modules/led", json!({"camera": {"width": -1, "height": 1, "fps": 1}})),
        (Method::PUT, "/api/cameras/porch/recording", json!({"mode": "always"})),
        (Method::PUT, "/api/cameras/porch/recording", json!({"mode": "off", "triggers": {}})),
        (Method::POST, "/api/auth/tokens", json!({"name": "a", "role": "boss"})),
        (Method::POST, "/api/auth/login", json!({"name": true, "password": "x"})),
        (Method::POST, "/api/auth/url", json!({"path": 5})),
        (Method::GET, "/api/sensors?limit=many", Value::Null),
        (Method::GET, "/api/sensors?limit=-1", Value::Null),
        (Method::GET, "/api/sensors/temperature?order=up", Value::Null),
        (Method::GET, "/api/sensors/temperature?bucket=1y", Value::Null),
        (Method::GET, "/api/modules/led/commands?wait=long", Value::Null),
        (Method::GET, "/api/modules?what=1", Value::Null),
        (Method::GET, "/api/commands/5", Value::Null),
    ] {
        let answer = api.call(method, path).json(body.clone()).send().await;

        let problem = answer.problem();
        assert!(matches!(answer.status, 400 | 403 | 422), "{path} {body}: {problem}");
        assert!(is_plain(problem["detail"].as_str().unwrap()), "{path} {body}: {problem}");
    }
    api.stop().await;
}

#[tokio::test]
async fn problems_of_the_live_protocol_point_to_the_invalid_field() {
    let api = Api::start().await;
    let mut live = Live::connect(&api).await;

    for (message, pointer, words) in [
        (json!({"type": "watch", "cameras": ["x"]}), "/cameras/0", "an object"),
        (
            json!({"type": "watch", "cameras": [{"module_id": "x", "max_fps": "fast"}]}),
            "/cameras/0/max_fps",
            "a number",
        ),
        (json!({"type": "watch", "cameras": [{"module_id": "X"}]}), "/cameras/0/module_id", ""),
        (json!({"type": "watch", "cameras": {}}), "/cameras", "an array"),
        (json!({"type": "watch", "cameras": [], "fps": 5}), "/fps", "`fps` is unknown"),
        (json!({"type": "watch"}), "", "`cameras` is missing"),
        (json!({"type": "subscribe", "kinds": ["weather"]}), "/kinds/0", "`weather` is unknown"),
        (json!({"type": "subscribe", "recent": -1}), "/recent", "a whole number"),
        (json!({"type": "shown", "module_id": "x"}), "", "`seq` is missing"),
        (json!({"type": "shown", "module_id": "x", "seq": 1.5}), "/seq", "a whole number"),
        (json!({"type": "time", "client_time": "now"}), "/client_time", "a number"),
        (json!({"type": "look"}), "/type", "subscribe, watch, shown or time"),
        (json!({"kind": "watch"}), "/type", "subscribe, watch, shown or time"),
        (json!([]), "", "a JSON object"),
    ] {
        live.send(message.clone()).await;
        let response = live.receive().await;

        let (detail, place) =
            (response["problem"]["detail"].as_str().unwrap(), response["problem"]["pointer"].as_str());
        assert!(detail.contains(words) && is_plain(detail), "{message}: {detail}");
        assert_eq!(place.unwrap_or_default(), pointer, "{message}: {response}");
    }
    api.stop().await;
}
