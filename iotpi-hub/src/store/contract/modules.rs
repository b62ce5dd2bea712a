//! Modules: manifest, state, last contact and removal.

use std::sync::Arc;

use iotpi_core::{
    Manifest, Quantity, Reading, Sample,
    model::command::{CommandOutcome, CommandReport},
};
use serde_json::{Map, Value, json};

use super::{MAX_SERIES, add_module, after, all_pages, commands, module, page, start, users};
use crate::store::{ModuleRecord, Now, ReadingQuery, Result, SeriesKey, Store, StoreError};

fn manifest(text: &str) -> Manifest {
    serde_json::from_str(text).unwrap()
}

fn state(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

pub async fn a_registered_module_is_returned_with_its_manifest(store: Arc<dyn Store>) {
    let lamp = manifest(
        r#"{"version": "0.1.0", "measures": [{"type": "temperature", "unit": "celsius", "every_secs": 60}],
            "actions": [{"name": "set", "params": {"type": "object"}, "hazardous": true}],
            "camera": {"width": 640, "height": 480, "fps": 12}, "heartbeat_secs": 10}"#,
    );

    let result = store.register(&module("led"), &lamp, after(1)).await.unwrap();

    let expected = ModuleRecord {
        id: module("led"),
        manifest: Some(lamp),
        last_seen_at: None,
        registered_at: after(1).wall,
        state: None,
        delivery: None,
    };
    assert_eq!(result, expected);
    assert_eq!(store.module(&module("led")).await.unwrap(), Some(expected));
    assert_eq!(store.module(&module("other")).await.unwrap(), None);
}

async fn report_state(
    store: &Arc<dyn Store>,
    id: &str,
    state: &Map<String, Value>,
    now: Now,
) -> Result<ModuleRecord> {
    let id = module(id);
    assert!(store.report(&id, Some(state), None, commands::TERMS, now).await?.is_none());
    Ok(store.module(&id).await?.unwrap())
}

pub async fn a_second_manifest_replaces_the_first(store: Arc<dyn Store>) {
    store.register(&module("led"), &manifest(r#"{"version": "1"}"#), after(1)).await.unwrap();
    report_state(&store, "led", &state(json!({"on": true})), after(2)).await.unwrap();

    let result = store.register(&module("led"), &manifest(r#"{"version": "2"}"#), after(3)).await.unwrap();

    assert_eq!(result.manifest.unwrap().version.as_deref(), Some("2"));
    assert_eq!(result.registered_at, after(1).wall);
    assert_eq!(result.state, Some((state(json!({"on": true})), after(2).wall)));
}

pub async fn a_reported_state_replaces_the_previous_one(store: Arc<dyn Store>) {
    let first = report_state(&store, "led", &state(json!({"on": true, "x": 1})), after(1)).await.unwrap();
    let last = state(json!({"on": false, "nested": {"list": [1, null, "ü"]}}));

    let result = report_state(&store, "led", &last, after(2)).await.unwrap();

    assert_eq!((first.manifest, first.registered_at), (None, after(1).wall));
    assert_eq!(result.state, Some((last, after(2).wall)));
    assert_eq!(store.module(&module("led")).await.unwrap(), Some(result));
}

pub async fn a_state_is_stored_although_the_report_on_a_command_is_refused(store: Arc<dyn Store>) {
    let (id, lease) = ("c1".into(), "unknown".into());
    let report = CommandReport::new(id, lease, CommandOutcome::Started);
    let on = state(json!({"on": true}));

    let result = store.report(&module("led"), Some(&on), Some(&report), commands::TERMS, after(1)).await;

    let refused = result.unwrap().unwrap();
    assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    let stored = store.module(&module("led")).await.unwrap().unwrap();
    assert_eq!(stored.state, Some((on, after(1).wall)));
}

pub async fn the_last_touch_sets_last_seen_at_even_to_an_earlier_time(store: Arc<dyn Store>) {
    let (a, b) = (module("a"), module("b"));
    store.touch(&[(a.clone(), after(5).wall), (b.clone(), after(6).wall)], after(6)).await.unwrap();

    // The clock was set back. The last call counts, although its time is earlier.
    store.touch(&[(a.clone(), after(2).wall)], after(2)).await.unwrap();
    store.touch(&[], after(9)).await.unwrap();

    let (a, b) = (store.module(&a).await.unwrap().unwrap(), store.module(&b).await.unwrap().unwrap());
    assert_eq!((a.last_seen_at, a.registered_at), (Some(after(2).wall), after(6).wall));
    assert_eq!(b.last_seen_at, Some(after(6).wall));
}

pub async fn modules_are_listed_by_id(store: Arc<dyn Store>) {
    let ids = ["0", "a", "a-1", "a_1", "b", "zz"];
    for id in ids.iter().rev() {
        add_module(&store, id).await;
    }

    for limit in [1, 2, 6, 7] {
        let (found, _) = all_pages(limit, async |page| store.modules(&page).await.unwrap()).await;

        let found: Vec<_> = found.iter().map(|module| module.id.as_str()).collect();
        assert_eq!(found, ids, "limit {limit}");
    }
}

pub async fn removing_a_module_deletes_everything_that_belongs_to_it(store: Arc<dyn Store>) {
    let (led, other) = (module("led"), module("other"));
    let reading = |of| Reading::new(of, Sample::new(Quantity::Temperature, 1.0), start());
    store.record(vec![reading(led.clone()), reading(other.clone())], MAX_SERIES, after(0)).await.unwrap();
    report_state(&store, "led", &state(json!({"on": true})), after(0)).await.unwrap();
    let command = commands::new_command("led", "led-command", 60);
    store.submit(&command, commands::MAX_WAITING, after(0)).await.unwrap();
    let other_command = commands::new_command("other", "other-command", 60);
    store.submit(&other_command, commands::MAX_WAITING, after(0)).await.unwrap();
    store.add_token(&[1; 32], &users::token("led-token", Some("led"))).await.unwrap();
    store.add_token(&[2; 32], &users::token("other-token", Some("other"))).await.unwrap();

    store.remove_module(&led).await.unwrap();

    let query = ReadingQuery {
        sensor: Quantity::Temperature.name(),
        module_id: None,
        channel: None,
        since: None,
        until: None,
        not_after: None,
        ascending: true,
    };
    assert_eq!(store.module(&led).await.unwrap(), None);
    assert_eq!(store.readings(&query, &page(10)).await.unwrap().items.len(), 1);
    assert_eq!(store.newest(None, None, &page(10)).await.unwrap().items.len(), 1);
    assert_eq!(store.command(&command.id).await.unwrap(), None);
    assert_eq!(store.token(&[1; 32]).await.unwrap(), None);
    assert!(store.command(&other_command.id).await.unwrap().is_some());
    assert!(store.token(&[2; 32]).await.unwrap().is_some());

    // A new module with the same id starts empty.
    store.record(vec![reading(led.clone())], MAX_SERIES, after(1)).await.unwrap();
    let series = SeriesKey { module_id: led.clone(), sensor: query.sensor.clone(), channel: None };
    assert_eq!(store.recent(&series, 10, None).await.unwrap().len(), 1);
    assert_eq!(store.commands(&led, &page(10)).await.unwrap().items, []);
    assert_eq!(store.module(&led).await.unwrap().unwrap().state, None);
}

pub async fn removing_an_unknown_module_is_refused(store: Arc<dyn Store>) {
    let result = store.remove_module(&module("unknown")).await;

    assert!(matches!(result, Err(StoreError::NotFound(_))), "{result:?}");
}
