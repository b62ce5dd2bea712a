//! Schemas that would take much time or memory to compile or check, registered with the token of a module.

use iotpi_core::{Manifest, ModuleId};
use iotpi_hub::store::{Now, Steady};
use serde_json::{Map, Value, json};

use crate::support::api::{Api, NOW};

fn manifest(params: Value) -> Value {
    json!({"actions": [{"name": "set", "params": params}]})
}

/// 45 definitions, each of which references the next one twice: compiled without a limit, it would never end.
fn doubling() -> Value {
    let mut defs = Map::new();
    for i in 0..45 {
        let next = json!({"$ref": format!("#/$defs/a{}", i + 1)});
        defs.insert(format!("a{i}"), json!({"allOf": [next, next]}));
    }
    defs.insert("a45".to_owned(), json!({"type": "integer"}));
    json!({"type": "object", "properties": {"x": {"$ref": "#/$defs/a0"}}, "$defs": defs})
}

#[tokio::test]
async fn a_manifest_that_is_expensive_to_compile_is_rejected() {
    let api = Api::start().await;
    let token = api.module("led").await;
    let patterns: Map<_, _> = (0..800).map(|i| (format!(r"[\w\pL]{{60}}{i}"), json!({}))).collect();
    let hostile = [
        (json!({"patternProperties": patterns}), "/actions/0/params/patternProperties/"),
        (doubling(), "/actions/0/params/$defs/a"),
        (json!({"properties": {"a": {"enum": vec![0; 5000]}}}), "/actions/0/params/properties/a"),
    ];

    for (params, pointer) in hostile {
        let problem = api.put("/api/modules/led", manifest(params)).token(&token).problem().await;

        assert_eq!((problem.0, problem.1.as_str()), (413, "too_large"));
        assert!(problem.2.starts_with(pointer), "{}", problem.2);
    }

    assert_eq!(api.get("/health").ok().await["status"], "ok");
    api.stop().await;
}

#[tokio::test]
async fn a_command_to_a_module_with_an_expensive_stored_schema_is_rejected() {
    let api = Api::start().await;
    let id = ModuleId::new("led").unwrap();
    // An earlier version of the hub accepted it.
    let stored: Manifest = serde_json::from_value(manifest(doubling())).unwrap();
    let now = Now { wall: NOW, steady: Steady(NOW) };
    api.hub.store().register(&id, &stored, now).await.unwrap();

    let command = json!({"action": "set", "params": {"x": 1}});
    let problem = api.post("/api/modules/led/control", command).problem().await;

    assert_eq!(problem, (422, "unprocessable".to_owned(), "/action".to_owned()));
    api.stop().await;
}

#[tokio::test]
async fn parameters_that_would_take_too_many_steps_are_rejected() {
    let api = Api::start().await;
    let branches: Vec<_> = (0..60).map(|i| json!({"required": [format!("r{i}")]})).collect();
    api.register("led", manifest(json!({"properties": {"list": {"items": {"anyOf": branches}}}}))).await;

    let command = json!({"action": "set", "params": {"list": vec![1; 8000]}});
    let problem = api.post("/api/modules/led/control", command).problem().await;

    assert_eq!(problem, (413, "too_large".to_owned(), "/params".to_owned()));
    api.stop().await;
}
