//! Every operation of the OpenAPI document requires credentials, unless it is public. The permissions of each
//! role are tested in `hostile/authorization.rs`.

use http::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, Call};

/// The operations: method, path with parameters, operation id, and whether it is public.
pub fn operations() -> Vec<(Method, String, String, bool)> {
    let document: Value = serde_json::from_str(&iotpi_hub::openapi()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let filled = if path.starts_with("/api/commands/") || path.starts_with("/api/auth/tokens/") {
                path.replace("{id}", "01890a5d-0000-7000-8000-000000000000")
            } else {
                path.replace("{id}", "led").replace("{type}", "temperature")
            };
            let open = operation["security"] == json!([{}]);
            let id = operation["operationId"].as_str().unwrap().to_owned();
            operations.push((method.to_uppercase().parse().unwrap(), filled, id, open));
        }
    }
    assert!(operations.len() >= 30, "{}", operations.len());
    operations
}

/// A well-formed request to an operation.
pub fn request<'a>(api: &'a Api, method: &Method, path: &str) -> Call<'a> {
    let call = api.open(method.clone(), path);
    if !matches!(*method, Method::POST | Method::PUT) {
        return call;
    }
    let module = if path.contains("other") { "other" } else { "led" };
    let body = match path.replace("other", "led").as_str() {
        "/api/sensors" | "/api/sensors/temperature" => {
            json!({"module_id": module, "type": "temperature", "value": 1})
        }
        "/api/modules/led/gaps" => json!({"epoch": 1, "first_seq": 1, "last_seq": 1, "reason": "full"}),
        "/api/cameras/led/recording" => json!({"mode": "off"}),
        "/api/modules/led/control" => json!({"action": "set"}),
        "/api/auth/url" => json!({"path": "/api/live"}),
        "/api/auth/tokens" => json!({"name": format!("n{}", uuid()), "role": "viewer"}),
        _ => json!({}),
    };
    if path == "/api/camera/frame" { call.jpeg(crate::support::api::jpeg(8, 8, 0)) } else { call.json(body) }
}

fn uuid() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[tokio::test]
async fn every_operation_is_public_or_answers_401_without_credentials() {
    let api = Api::start().await;

    for (method, path, id, open) in operations() {
        // Only the head of the response is read: some streams are endless.
        let status = request(&api, &method, &path).open().await.status().as_u16();

        if open {
            assert_ne!(status, 401, "{id}");
        } else {
            assert_eq!(status, 401, "{id}");
        }
    }
    api.stop().await;
}
