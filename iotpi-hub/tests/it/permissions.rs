//! Who may call what, for every operation of the OpenAPI document.

use std::collections::BTreeMap;

use http::Method;
use iotpi_hub::auth::Role;
use serde_json::Value;

use crate::api::Api;

/// The operations: method, path with its parameter filled in, operation id, whether it is open.
fn operations() -> Vec<(Method, String, String, bool)> {
    let document: Value = serde_json::from_str(&iotpi_hub::http::openapi()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let filled = if path.starts_with("/api/commands/") || path.starts_with("/api/auth/tokens/") {
                path.replace("{id}", "01890a5d-0000-7000-8000-000000000000")
            } else {
                path.replace("{id}", "led").replace("{type}", "temperature")
            };
            let open = operation["security"] == serde_json::json!([{}]);
            let id = operation["operationId"].as_str().unwrap().to_owned();
            operations.push((method.to_uppercase().parse().unwrap(), filled, id, open));
        }
    }
    assert!(operations.len() >= 30, "{}", operations.len());
    operations
}

/// Sends something to an operation and tells whether the caller was let in: anything but 401 and 403.
async fn let_in(api: &Api, method: &Method, path: &str, token: Option<&str>) -> (bool, u16) {
    let mut call = api.open(method.clone(), path);
    if let Some(token) = token {
        call = call.token(token);
    }
    if matches!(*method, Method::POST | Method::PUT) {
        let body = match path {
            "/api/sensors" | "/api/sensors/temperature" => {
                serde_json::json!({"module_id": "led", "type": "temperature", "value": 1})
            }
            "/api/modules/led/gaps" => {
                serde_json::json!({"epoch": 1, "first_seq": 1, "last_seq": 1, "reason": "full"})
            }
            "/api/cameras/led/recording" => serde_json::json!({"mode": "off"}),
            "/api/modules/led/control" => serde_json::json!({"action": "set"}),
            "/api/auth/url" => serde_json::json!({"path": "/api/live"}),
            "/api/auth/tokens" => serde_json::json!({"name": format!("n{}", uuid()), "role": "viewer"}),
            _ => serde_json::json!({}),
        };
        call =
            if path == "/api/camera/frame" { call.jpeg(crate::api::jpeg(8, 8, 0)) } else { call.json(body) };
    }
    // Of the endless stream the head is enough.
    let status = call.open().await.status().as_u16();
    (!matches!(status, 401 | 403), status)
}

fn uuid() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[tokio::test]
async fn every_operation_is_open_or_answers_nobody_with_401() {
    let api = Api::start().await;

    for (method, path, id, open) in operations() {
        let (_, status) = let_in(&api, &method, &path, None).await;

        if open {
            assert_ne!(status, 401, "{id}");
        } else {
            assert_eq!(status, 401, "{id}");
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn each_role_is_let_in_where_the_reference_says_and_nowhere_else() {
    let api = Api::start().await;
    api.lamp().await;
    let mut callers = Vec::new();
    for role in [Role::Viewer, Role::Operator, Role::Admin] {
        callers.push((role.as_str(), api.token(role).await));
    }
    callers.push(("module", api.module("led").await));
    callers.push(("other", api.module("other").await));
    // v: viewer, o: operator, a: admin, m: the module itself, x: another module.
    let expected = BTreeMap::from([
        ("list_series", "voa"),
        ("record", "oam"),
        ("record_mixed", "oam"),
        ("read", "voa"),
        // Without `module_id` a module delivers as its own camera.
        ("show", "oamx"),
        ("push", "oamx"),
        ("watch", "voa"),
        ("snapshot", "voa"),
        ("list_cameras", "voa"),
        ("read_recording", "voa"),
        ("set_recording", "oa"),
        ("record_camera", "oa"),
        ("stop_recording", "oa"),
        ("list_recordings", "voa"),
        ("list_recorded_frames", "voa"),
        ("recorded_frame", "voa"),
        ("export_recording", "voa"),
        ("record_gap", "oam"),
        ("list_gaps", "voa"),
        ("read_delivery", "voam"),
        ("list_modules", "voa"),
        ("read_module", "voam"),
        ("register", "am"),
        ("submit", "oa"),
        ("claim", "m"),
        ("list_commands", "voa"),
        ("report", "oam"),
        ("read_command", "voa"),
        ("cancel_command", "oa"),
        ("live", "voa"),
        ("time", "voamx"),
        ("jwt", "voamx"),
        ("sign_url", "voa"),
        ("list_tokens", "a"),
        ("issue_token", "a"),
        ("revoke_token", "a"),
        ("metrics", "voa"),
        ("storage", "voa"),
        ("acknowledge_quarantine", "a"),
        ("back_up", "a"),
        ("expire", "a"),
        ("remove_module", "a"),
    ]);

    for (method, path, id, open) in operations() {
        // It takes the module's own token with it; its turn comes last.
        if open || id == "remove_module" {
            continue;
        }
        let mut allowed = String::new();
        for (caller, token) in &callers {
            if let_in(&api, &method, &path, Some(token)).await.0 {
                allowed.push(if *caller == "other" { 'x' } else { caller.chars().next().unwrap() });
            }
        }
        assert_eq!(Some(&allowed.as_str()), expected.get(id.as_str()), "{id}");
    }
    for (caller, token) in callers.iter().rev() {
        let (may, _) = let_in(&api, &Method::DELETE, "/api/modules/led", Some(token)).await;
        assert_eq!(may, *caller == "admin", "{caller}");
    }
    api.stop().await;
}
