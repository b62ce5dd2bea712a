use std::{sync::mpsc, thread, time::Duration};

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::*;
use crate::error::HubError;

fn object(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

fn compile(schema: Value) -> Result<ParamsSchema> {
    ParamsSchema::compile(&object(schema))
}

fn refusal(schema: Value) -> (String, String) {
    let error = compile(schema).unwrap_err();
    (error.kind().as_str().to_owned(), error.pointer().unwrap_or_default().to_owned())
}

/// Runs work with a time limit. A schema without a bound on its cost needs hours.
fn within_limit<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    const LIMIT: Duration = Duration::from_secs(60);
    let (sender, result) = mpsc::channel();
    thread::spawn(move || sender.send(work()));
    result.recv_timeout(LIMIT).expect("the work panicked or did not end within 60 s")
}

#[test]
fn schemas_that_programs_generate_are_accepted() {
    for schema in [
        json!({}),
        json!({"type": "object"}),
        json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Move", "type": "object",
               "properties": {"to": {"$ref": "#/$defs/Point"}, "via": {"type": "array", "items": {"$ref": "#/$defs/Point"}}},
               "required": ["to"], "additionalProperties": false,
               "$defs": {"Point": {"type": "object", "properties": {"x": {"type": "number", "format": "double"},
                                   "y": {"anyOf": [{"type": "number"}, {"type": "null"}], "default": null}}}}}),
        json!({"properties": {"name": {"type": "string", "pattern": "^[a-z0-9_-]{1,64}$", "maxLength": 64},
               "at": {"pattern": "^\\d{2}:\\d{2}$"}, "label": {"pattern": "^\\p{L}+$"}}, "x-order": ["name"]}),
        json!({"if": {"properties": {"mode": {"const": "auto"}}}, "then": {"required": ["target"]}, "else": {"not": {"required": ["target"]}}}),
        json!({"properties": {"level": {"multipleOf": 0.5}, "color": {"enum": ["red", "green"]}},
               "dependentRequired": {"level": ["color"]}}),
    ] {
        assert!(compile(schema.clone()).is_ok(), "{schema}: {:?}", compile(schema.clone()));
    }
}

#[test]
fn keywords_of_unknown_cost_are_refused_with_a_pointer() {
    for (keyword, value) in [
        ("unevaluatedProperties", json!(false)),
        ("$dynamicRef", json!("#a")),
        ("$recursiveRef", json!("#")),
        ("$anchor", json!("a")),
        ("$id", json!("https://example.com/a")),
        ("definitions", json!({})),
        ("maximun", json!(5)),
    ] {
        let found = refusal(json!({"properties": {"a/b": {keyword: value}}}));

        assert_eq!(found, ("unprocessable".to_owned(), format!("/properties/a~1b/{keyword}")));
    }
}

#[test]
fn a_reference_leads_to_a_definition_of_the_same_schema() {
    for target in
        ["https://example.com/a", "#", "#/properties/a", "#/$defs/", "#/$defs/a/b", "#/$defs/none", "a.json"]
    {
        let schema = json!({"properties": {"a": {"$ref": target}}, "$defs": {"a": {}}});

        assert_eq!(
            refusal(schema),
            ("unprocessable".to_owned(), "/properties/a/$ref".to_owned()),
            "{target}"
        );
    }
}

#[test]
fn a_schema_that_refers_to_itself_is_refused() {
    let direct =
        json!({"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "properties": {"x": {"$ref": "#/$defs/a"}}});
    let by_way_of_another =
        json!({"$defs": {"a": {"allOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}});

    assert_eq!(refusal(direct), ("unprocessable".to_owned(), "/$defs/a/items/$ref".to_owned()));
    assert_eq!(refusal(by_way_of_another), ("unprocessable".to_owned(), "/$defs/b/not/$ref".to_owned()));
}

#[test]
fn a_schema_that_doubles_with_each_reference_is_refused_soon() {
    let applied = |keyword: &str, next: &str| match keyword {
        "dependentSchemas" | "properties" | "patternProperties" => {
            json!({keyword: {"a": {"$ref": next}, "b": {"$ref": next}}})
        }
        "if" => json!({"if": {"$ref": next}, "then": {"$ref": next}, "else": {"$ref": next}}),
        "items" => json!({"items": {"$ref": next}, "contains": {"$ref": next}}),
        keyword => json!({keyword: [{"$ref": next}, {"$ref": next}]}),
    };
    for keyword in [
        "allOf",
        "anyOf",
        "oneOf",
        "prefixItems",
        "dependentSchemas",
        "properties",
        "if",
        "items",
        "patternProperties",
    ] {
        let mut defs = Map::new();
        for i in 0..45 {
            defs.insert(format!("a{i}"), applied(keyword, &format!("#/$defs/a{}", i + 1)));
        }
        defs.insert("a45".to_owned(), json!({"type": "integer"}));
        let schema = json!({"properties": {"x": {"$ref": "#/$defs/a0"}}, "$defs": defs});

        let (kind, pointer) = within_limit(move || refusal(schema));

        assert_eq!(kind, "too_large", "{keyword}");
        assert!(pointer.starts_with("/$defs/a"), "{pointer}");
    }
}

#[test]
fn patterns_are_bounded_one_by_one_and_together() {
    let by_name = |name: &str| json!({"patternProperties": {name: {}}});
    assert_eq!(
        refusal(by_name(r"[\w\pL]{60}")),
        ("too_large".to_owned(), r"/patternProperties/[\w\pL]{60}".to_owned())
    );
    assert_eq!(refusal(by_name(&"a".repeat(257))).0, "too_large");
    assert_eq!(refusal(json!({"propertyNames": {"pattern": "((a{99}){99}){99}"}})).0, "too_large");
    assert_eq!(refusal(json!({"propertyNames": {"pattern": "("}})).0, "unprocessable");

    let mut budget = Budget::default();
    let schema = object(json!({"properties": {"a": {"pattern": "^[a-z]{1,400}$"}}}));
    let refused = (0..64).find_map(|i| budget.add(&schema, &format!("/actions/{i}/params")).err()).unwrap();
    assert_eq!(refused.kind(), iotpi_core::model::error::ErrorKind::TooLarge);
}

#[test]
fn all_actions_of_a_manifest_share_one_budget() {
    let names: Vec<_> = (0..200).map(|i| format!("p{i}")).collect();
    let properties: Map<_, _> = names.iter().map(|name| (name.clone(), json!({"type": "integer"}))).collect();
    let action = |i| json!({"name": format!("a{i}"), "params": {"properties": properties}});
    let manifest = |count| {
        serde_json::from_value(json!({"actions": (0..count).map(action).collect::<Vec<_>>()})).unwrap()
    };

    assert!(check_actions(&manifest(5)).is_ok());
    let error = check_actions(&manifest(20)).unwrap_err();
    assert!(error.pointer().is_some_and(|pointer| pointer.starts_with("/actions/10/params")), "{error:?}");
    assert_eq!(error.kind(), iotpi_core::model::error::ErrorKind::TooLarge);
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| (0..depth).fold(json!({}), |inner, _| json!({"not": inner}));

    assert!(compile(nested(MAX_SCHEMA_DEPTH)).is_ok());
    assert_eq!(refusal(nested(MAX_SCHEMA_DEPTH + 1)).0, "too_large");
}

#[test]
fn invalid_parameters_are_reported_with_a_pointer() {
    let schema = compile(json!({"properties": {"level": {"type": "integer", "maximum": 100}}})).unwrap();

    let broken = schema.check(&object(json!({"level": 101}))).unwrap_err();

    assert!(schema.check(&object(json!({"level": 100}))).is_ok());
    assert_eq!(broken.pointer(), Some("/params/level"));
}

#[test]
fn parameters_that_would_take_too_many_steps_are_rejected() {
    let branches: Vec<_> = (0..60).map(|i| json!({"required": [format!("r{i}")]})).collect();
    let schema = compile(json!({"properties": {"list": {"items": {"anyOf": branches}}}})).unwrap();
    let list = |count: usize| object(json!({"list": vec![1; count]}));

    assert!(schema.check(&list(100)).is_ok());
    let error: HubError = schema.check(&list(8000)).unwrap_err();
    assert_eq!(
        (error.kind(), error.pointer()),
        (iotpi_core::model::error::ErrorKind::TooLarge, Some("/params"))
    );
}

/// The most expensive schemas that are accepted, with parameters just below the limit.
#[test]
fn the_most_expensive_accepted_schemas_can_be_checked() {
    let branches = |of: &Value| vec![of.clone(); 40];
    let contains = json!({"contains": {"type": "object"}, "uniqueItems": true});
    let many: Vec<Value> = (0..6000).map(Value::from).collect();
    let fractions: Vec<Value> = (0..700).map(|i| json!(1.1e300 + f64::from(i) * 1e290)).collect();
    for (schema, params) in [
        (json!({"properties": {"l": {"allOf": branches(&contains)}}}), json!({"l": many})),
        (json!({"properties": {"l": {"items": {"multipleOf": 1.1e-300}}}}), json!({"l": fractions})),
        (
            json!({"properties": {"s": {"pattern": "^(a|b|ab)*(.{0,20}x){3}$"}}}),
            json!({"s": "ab".repeat(2500)}),
        ),
        (
            json!({"propertyNames": {"anyOf": branches(&json!({"minLength": 1000, "maxLength": 2000}))}}),
            Value::Object((0..900).map(|i| (format!("name{i}"), Value::Null)).collect()),
        ),
    ] {
        let schema = compile(schema).unwrap();

        let _ = within_limit(move || schema.check(&object(params)));
    }
}

/// Random schemas, with keywords and values that are sometimes meaningful.
fn any_schema() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!({})),
        Just(json!(true)),
        Just(json!({"type": "integer", "multipleOf": 0.01})),
        Just(json!({"enum": [1, "a", null, [1, 2]]})),
        Just(json!({"$ref": "#/$defs/a"})),
        Just(json!({"$ref": "#/$defs/b"})),
        "[a-c().*+?{}0-9,\\[\\]^$|\\\\pLwd-]{0,12}".prop_map(|pattern| json!({"pattern": pattern})),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            (
                prop::sample::select(vec![
                    "items",
                    "contains",
                    "not",
                    "additionalProperties",
                    "propertyNames",
                    "if",
                    "then"
                ]),
                inner.clone()
            )
                .prop_map(|(keyword, schema)| json!({keyword: schema})),
            (prop::sample::select(vec!["allOf", "anyOf", "oneOf", "prefixItems"]), vec(inner.clone(), 1..6))
                .prop_map(|(keyword, schemas)| json!({keyword: schemas})),
            (
                prop::sample::select(vec!["properties", "patternProperties", "dependentSchemas"]),
                vec(inner, 1..4)
            )
                .prop_map(|(keyword, schemas)| {
                    let named: Map<_, _> =
                        ["a", "b", "c", "d"].into_iter().map(str::to_owned).zip(schemas).collect();
                    json!({keyword: named, "uniqueItems": true})
                }),
        ]
    })
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-d]{0,40}".prop_map(Value::from)
    ];
    leaf.prop_recursive(5, 200, 20, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..20).prop_map(Value::from),
            vec(("[a-d]{1,2}", inner), 0..8).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_schema_is_refused_or_checked_in_bounded_time(
        (schema, a, b) in (any_schema(), any_schema(), any_schema()), params in any_value()
    ) {
        let mut schema = match schema { Value::Object(schema) => schema, other => object(json!({"not": other})) };
        schema.insert("$defs".to_owned(), json!({"a": a, "b": b}));

        within_limit(move || {
            if let Ok(schema) = ParamsSchema::compile(&schema) {
                let _ = schema.check(&object(json!({"a": params})));
            }
        });
    }
}
