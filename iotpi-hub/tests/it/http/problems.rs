//! Problem documents of invalid requests.

use http::Method;
use serde_json::{Value, json};

use crate::support::api::Api;

#[tokio::test]
async fn a_body_that_is_not_json_is_an_invalid_argument() {
    let api = Api::start().await;
    let call =
        || api.call(Method::POST, "/api/sensors/temperature").header("content-type", "application/json");

    for body in ["", "{", "{\"module_id\": }", "\u{feff}{}", "hello"] {
        assert_eq!(call().body(body).problem().await.1, "invalid_argument", "{body:?}");
    }
    assert_eq!(call().body(vec![0xFF, 0xFE, 0x00]).problem().await.0, 400);
    let deep = "[".repeat(100_000);
    assert_eq!(call().body(deep).problem().await.0, 400);
    api.stop().await;
}

#[tokio::test]
async fn a_form_is_rejected_with_a_hint_how_to_send_json() {
    let api = Api::start().await;

    let call = api.call(Method::POST, "/api/sensors/temperature");
    let answer = call
        .header("content-type", "application/x-www-form-urlencoded")
        .body("value=1&unit=celsius")
        .send()
        .await;

    let problem = answer.problem();
    assert_eq!(problem["kind"], "invalid_argument");
    assert!(problem["detail"].as_str().unwrap().contains("-H 'content-type: application/json'"), "{problem}");
    api.stop().await;
}

#[tokio::test]
async fn a_json_body_over_256_kib_is_too_large() {
    let api = Api::start().await;
    let body = |bytes: usize| Value::from("x".repeat(bytes - 2));

    let over = api.post("/api/sensors/temperature", body(256 * 1024 + 1)).problem().await;
    let at = api.post("/api/sensors/temperature", body(256 * 1024)).problem().await;

    assert_eq!((over.0, over.1.as_str()), (413, "too_large"));
    assert_eq!((at.0, at.1.as_str()), (400, "invalid_argument"));
    api.stop().await;
}

#[tokio::test]
async fn ids_outside_their_alphabet_are_invalid_arguments() {
    let api = Api::start().await;
    let long = "x".repeat(65);

    for text in ["A", "-a", "_a", "a.b", "a%20b", "%C3%A4", "%FF", "..%2Fetc", long.as_str()] {
        for path in [format!("/api/sensors/{text}"), format!("/api/modules/{text}")] {
            let (status, kind, _) = api.get(&path).problem().await;

            assert_eq!((status, kind.as_str()), (400, "invalid_argument"), "{path}");
        }
    }
    assert_eq!(api.get("/api/commands/not-a-uuid").problem().await.0, 400);
    api.stop().await;
}

#[tokio::test]
async fn an_unknown_path_is_a_problem_and_not_a_page() {
    let api = Api::start().await;

    for path in ["/api", "/api/", "/api/nothing", "/api/sensors/a/b"] {
        let problem = api.get(path).header("accept", "text/html").problem().await;

        assert_eq!((problem.0, problem.1.as_str()), (404, "not_found"), "{path}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_wrong_method_is_rejected_with_the_allowed_ones() {
    let api = Api::start().await;

    for (method, path, allowed) in [
        (Method::DELETE, "/api/sensors", "GET,HEAD,POST"),
        (Method::PATCH, "/api/modules/led", "GET,HEAD,PUT,DELETE"),
        (Method::GET, "/api/auth/login", "POST"),
        (Method::POST, "/health", "GET,HEAD"),
        (Method::POST, "/somewhere", "GET,HEAD"),
    ] {
        let answer = api.call(method, path).send().await;

        assert_eq!(
            (answer.status, answer.problem()["kind"].as_str()),
            (405, Some("invalid_argument")),
            "{path}"
        );
        let mut methods: Vec<_> = answer.header("allow").split(',').collect();
        let mut expected: Vec<_> = allowed.split(',').collect();
        methods.sort_unstable();
        expected.sort_unstable();
        assert_eq!(methods, expected, "{path}");
    }
    api.stop().await;
}

#[tokio::test]
async fn every_response_has_an_id_and_the_security_headers() {
    let api = Api::start().await;

    let first = api.get("/health").send().await;
    let second = api.get("/api/nothing").send().await;

    assert_ne!(first.header("x-request-id"), second.header("x-request-id"));
    for answer in [&first, &second] {
        assert!(!answer.header("x-request-id").is_empty());
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!(answer.header("referrer-policy"), "same-origin");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_misspelt_field_is_rejected_in_every_body() {
    let api = Api::start().await;
    let token = api.lamp().await;

    let command =
        api.post("/api/modules/led/control", json!({"action": "set", "expires": 5})).problem().await;
    let manifest = json!({"actions": [{"name": "a", "harzardous": true}]});
    let manifest = api.put("/api/modules/led", manifest).problem().await;
    let report = json!({"command": {"id": "c", "lease": "l", "outcome": "succeeded", "results": 1}});
    let report = api.post("/api/modules/led/status", report).token(&token).problem().await;
    let login = json!({"name": "anna", "password": "correct horse", "remember": true});
    let login = api.post("/api/auth/login", login).problem().await;

    assert_eq!(command, (400, "invalid_argument".to_owned(), "/expires".to_owned()));
    assert_eq!(manifest, (400, "invalid_argument".to_owned(), "/actions/0/harzardous".to_owned()));
    assert_eq!((report.0, report.1.as_str()), (400, "invalid_argument"));
    assert_eq!((login.0, login.2.as_str()), (400, "/remember"));
    api.stop().await;
}
