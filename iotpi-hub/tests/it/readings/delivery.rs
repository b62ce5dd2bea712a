//! Numbered readings, gaps, and full exports.

use std::time::Duration;

use iotpi_core::{Reading, Timestamp, model::event::Event};
use serde_json::{Value, json};

use crate::support::api::{Api, NOW, NOW_SECS};

fn numbered(seq: u64) -> Value {
    json!({"module_id": "attic", "value": seq, "timestamp": NOW_SECS + seq as f64, "epoch": 7, "seq": seq})
}

#[tokio::test]
async fn a_repeated_delivery_is_stored_once_and_published_once() {
    let api = Api::with_manual_clock().await;
    let batch = json!([numbered(1), numbered(2), numbered(3)]);
    api.post("/api/sensors/temperature", json!([numbered(1), numbered(2)])).ok().await;
    let (_, mut events) = api.hub.hub().events().subscribe();

    let answer = api.post("/api/sensors/temperature", batch).ok().await;

    assert_eq!(answer, json!({"stored": 1, "repeated": 2}));
    let mut published = Vec::new();
    while let Ok(happened) = events.try_recv() {
        if let Event::Reading { reading } = happened.event().unwrap() {
            published.push(reading.outcome.value());
        }
    }
    assert_eq!(published, [Some(3.0)]);
    let records = api.get("/api/sensors/temperature?order=asc").ok().await;
    let values: Vec<_> = records["items"].as_array().unwrap().iter().map(|r| r["value"].clone()).collect();
    assert_eq!(values, [1.0, 2.0, 3.0]);
    assert!(records["items"][0].get("seq").is_none());
    api.stop().await;
}

#[tokio::test]
async fn numbers_come_in_pairs_and_in_range() {
    let api = Api::with_manual_clock().await;

    for (part, pointer) in [
        (json!({"seq": 1}), "/epoch"),
        (json!({"epoch": 1}), "/seq"),
        (json!({"epoch": 0, "seq": 1}), "/epoch"),
        (json!({"epoch": 1, "seq": 9_007_199_254_740_992_u64}), "/seq"),
        (json!({"age": 1, "timestamp": NOW_SECS}), "/age"),
    ] {
        let mut reading = json!({"module_id": "attic", "value": 1});
        reading.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());

        let (status, _, at) = api.post("/api/sensors/temperature", reading).problem().await;

        assert_eq!((status, at.as_str()), (400, pointer), "{part}");
    }
    let old = json!({"module_id": "attic", "value": 1, "age": 1e9});
    assert_eq!(api.post("/api/sensors/temperature", old).problem().await.0, 422);
    api.stop().await;
}

#[tokio::test]
async fn a_reading_without_a_clock_is_placed_by_its_age() {
    let api = Api::with_manual_clock().await;
    let aged = json!({"module_id": "attic", "value": 1, "age": 90.5});
    let bare = json!({"module_id": "attic", "value": 2});

    api.post("/api/sensors/temperature", json!([aged, bare])).ok().await;

    let records = api.get("/api/sensors/temperature?order=asc").ok().await;
    let placed =
        |i: usize| (records["items"][i]["timestamp"].clone(), records["items"][i]["time_source"].clone());
    assert_eq!(placed(0), (json!(NOW_SECS - 90.5), json!("estimated")));
    assert_eq!(placed(1), (json!(NOW_SECS), json!("hub")));
    api.stop().await;
}

#[tokio::test]
async fn a_module_reports_a_gap_and_all_readers_see_it() {
    let api = Api::with_manual_clock().await;
    let token = api.module("attic").await;
    api.post("/api/sensors/temperature", json!([numbered(1), numbered(6)])).ok().await;
    let gap = json!({"epoch": 7, "first_seq": 2, "last_seq": 4, "reason": "full",
                     "series": [{"type": "temperature", "lost": 3, "since": NOW_SECS + 2.0, "until": NOW_SECS + 4.0}]});

    for _ in 0..2 {
        let answer = api.post("/api/modules/attic/gaps", gap.clone()).token(&token).send().await;
        assert_eq!(answer.status, 204);
    }

    let gaps = api.get("/api/gaps?module_id=attic&type=temperature").ok().await;
    assert_eq!(
        gaps["items"],
        json!([{"module_id": "attic", "type": "temperature", "since": NOW_SECS + 2.0, "until": NOW_SECS + 4.0,
                "lost": 3, "reason": "full", "recorded_at": NOW_SECS}])
    );
    let total = json!({"since": NOW_SECS, "expected": 6, "received": 2, "lost": 3, "missing": 1});
    assert_eq!(
        api.get("/api/modules/attic/delivery").ok().await,
        json!({"module_id": "attic", "total": total,
               "series": [{"type": "temperature", "expected": 5, "received": 2, "lost": 3}]})
    );
    assert_eq!(api.get("/api/modules/attic").ok().await["delivery"], total);
    assert_eq!(api.get("/api/modules/unknown/delivery").problem().await.0, 404);
    api.stop().await;
}

#[tokio::test]
async fn an_impossible_gap_is_rejected() {
    let api = Api::with_manual_clock().await;
    let series = |lost: u64| json!([{"type": "t", "lost": lost, "since": NOW_SECS, "until": NOW_SECS}]);

    for (change, status, pointer) in [
        (json!({"epoch": 0}), 400, "/epoch"),
        (json!({"last_seq": 1}), 422, "/last_seq"),
        (json!({"series": series(5)}), 422, "/series"),
        (json!({"reason": "boredom"}), 400, "/reason"),
    ] {
        let mut gap = json!({"epoch": 7, "first_seq": 2, "last_seq": 4, "reason": "full"});
        gap.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());

        let (answered, _, at) = api.post("/api/modules/attic/gaps", gap).problem().await;

        assert_eq!((answered, at.as_str()), (status, pointer), "{change}");
    }
    api.stop().await;
}

#[tokio::test]
async fn an_export_without_a_limit_contains_all_records() {
    let api = Api::with_manual_clock().await;
    // The readings are one hour old: the hub would replace times ahead of its clock.
    api.hub.advance(Duration::from_secs(3600));
    for batch in 0..3 {
        let batch: Vec<_> = (0..900).map(|n| numbered(batch * 900 + n + 1)).collect();
        api.post("/api/sensors/temperature", json!(batch)).ok().await;
    }
    let text = async |query: &str| {
        let answer = api.get(&format!("/api/sensors/temperature?order=asc&{query}")).send().await;
        (answer.header("content-type").to_owned(), String::from_utf8(answer.body.to_vec()).unwrap())
    };

    let (kind, csv) = text("format=csv").await;
    let (_, lines) = text("format=ndjson").await;
    let (_, page) = text("format=ndjson&limit=10").await;
    let (_, minutes) = text("format=ndjson&bucket=1m").await;

    assert!(kind.starts_with("text/csv"));
    assert_eq!(csv.lines().count(), 2701);
    let values: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(values.iter().zip(1..).all(|(record, n)| record["value"] == f64::from(n)));
    assert_eq!((values.len(), page.lines().count()), (2700, 10));
    let counted: u64 = minutes
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counted, 2700);
    api.stop().await;
}

#[tokio::test]
async fn a_hub_that_booted_in_1970_takes_what_says_its_time_and_the_rest_later() {
    let api = Api::with_manual_clock().await;
    api.hub.step_to(Timestamp::from_micros(0));

    api.post("/api/sensors/temperature", json!([numbered(1)])).ok().await;
    let placeless = json!({"module_id": "attic", "value": 2, "age": 5, "epoch": 7, "seq": 2});
    let refused = api.post("/api/sensors/temperature", placeless.clone()).send().await;
    api.hub.step_to(NOW);
    api.post("/api/sensors/temperature", placeless).ok().await;

    assert_eq!(refused.status, 503);
    assert!(!refused.header("retry-after").is_empty());
    let records = api.get("/api/sensors/temperature?order=asc").ok().await;
    let read: Vec<Reading> = serde_json::from_value(records["items"].clone()).unwrap();
    let taken: Vec<_> = read.iter().map(|reading| reading.taken_at.as_secs_f64()).collect();
    assert_eq!(taken, [NOW_SECS - 5.0, NOW_SECS + 1.0]);
    api.stop().await;
}

#[tokio::test]
async fn a_hub_whose_clock_jumps_ten_years_keeps_every_reading_once_and_in_its_place() {
    let api = Api::with_manual_clock().await;
    let ten_years = std::time::Duration::from_secs(10 * 365 * 86_400);

    for (seq, wall) in [(1, NOW), (2, NOW.plus(ten_years)), (3, NOW.minus(ten_years)), (4, NOW)] {
        api.hub.step_to(wall);
        for _ in 0..2 {
            api.post("/api/sensors/temperature", json!([numbered(seq)])).ok().await;
        }
    }

    let records = api.get("/api/sensors/temperature?order=asc").ok().await;
    let values: Vec<_> = records["items"].as_array().unwrap().iter().map(|r| r["value"].clone()).collect();
    assert_eq!(values, [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(api.get("/api/modules/attic/delivery").ok().await["total"]["received"], 4);
    api.stop().await;
}
