//! Recording and querying readings.

use http::Method;
use iotpi_core::{Quantity, Reading, Sample, SensorType, Unit};
use iotpi_hub::{
    auth::Role,
    store::{Now, Steady},
};
use serde_json::{Value, json};

use crate::support::api::{Api, NOW, NOW_SECS, anonymous, id};

fn reading(value: f64, timestamp: f64) -> Value {
    json!({"module_id": "temp-sensor-01", "value": value, "unit": "celsius", "timestamp": timestamp})
}

#[tokio::test]
async fn a_reading_comes_back_as_it_was_sent_and_may_be_sent_again() {
    let api = Api::with_manual_clock().await;

    let stored = api.post("/api/sensors/temperature", reading(21.4, NOW_SECS + 0.25)).ok().await;

    assert_eq!(stored, json!({"stored": 1, "repeated": 0}));
    let page = api.get("/api/sensors/temperature").ok().await;
    let record = json!({"module_id": "temp-sensor-01", "type": "temperature", "value": 21.4, "unit": "celsius",
                        "timestamp": NOW_SECS + 0.25, "received_at": NOW_SECS});
    assert_eq!(page, json!({"items": [record], "next": null}));
    let again = api.post("/api/sensors/temperature", page["items"][0].clone()).ok().await;
    assert_eq!(again, json!({"stored": 1, "repeated": 0}));
    api.stop().await;
}

#[tokio::test]
async fn the_four_fields_of_the_documentation_need_no_token_on_an_anonymous_network() {
    let api = Api::with_config(anonymous()).await;

    let body = reading(23.5, NOW_SECS);
    let answer = api.open(Method::POST, "/api/sensors/temperature").json(body).send().await;

    assert_eq!((answer.status, answer.json()), (200, json!({"stored": 1, "repeated": 0})));
    api.stop().await;
}

#[tokio::test]
async fn an_array_is_stored_whole_or_not_at_all_and_the_problem_names_the_item() {
    let api = Api::start().await;
    let bad = [
        (json!({"module_id": "a", "value": 1, "unit": "bananas"}), 422, "unprocessable", "/1/unit"),
        (json!({"module_id": "a", "value": "1", "unit": "celsius"}), 400, "invalid_argument", "/1/value"),
        (json!({"module_id": "A!", "value": 1}), 400, "invalid_argument", "/1/module_id"),
        (json!({"module_id": "a", "value": 1, "timestamp": 3}), 422, "unprocessable", "/1/timestamp"),
        (
            json!({"module_id": "a", "value": 1, "timestamp": "yesterday"}),
            400,
            "invalid_argument",
            "/1/timestamp",
        ),
        (json!({"module_id": "a", "value": 1, "humidity": 3}), 400, "invalid_argument", "/1/humidity"),
        (json!({"module_id": "a", "value": 1, "type": "humidity"}), 400, "invalid_argument", "/1/type"),
        (json!({"module_id": "a", "unit": "celsius"}), 400, "invalid_argument", "/1/value"),
        (json!({"value": 1}), 400, "invalid_argument", "/1"),
        (json!(["a", "temperature", 1]), 400, "invalid_argument", "/1"),
    ];

    for (item, status, kind, pointer) in bad {
        let body = json!([reading(1.0, NOW_SECS), item, reading(2.0, NOW_SECS)]);
        let problem = api.post("/api/sensors/temperature", body.clone()).problem().await;

        assert_eq!(problem, (status, kind.to_owned(), pointer.to_owned()), "{body}");
    }
    assert_eq!(api.get("/api/sensors/temperature").ok().await["items"], json!([]));
    api.stop().await;
}

#[tokio::test]
async fn a_timestamp_outside_2000_to_2099_is_unprocessable() {
    let api = Api::start().await;

    for timestamp in [json!(0), json!(946_684_799.9), json!(4_102_444_800.0), json!("1970-01-01T00:00:00Z")] {
        let body = json!({"module_id": "a", "value": 1, "unit": "celsius", "timestamp": timestamp});
        let problem = api.post("/api/sensors/temperature", body).problem().await;

        assert_eq!(problem, (422, "unprocessable".to_owned(), "/timestamp".to_owned()));
    }
    for timestamp in [json!(946_684_800), json!("2099-12-31T23:59:59.999Z")] {
        let body = json!({"module_id": "a", "value": 1, "unit": "celsius", "timestamp": timestamp});
        api.post("/api/sensors/temperature", body).ok().await;
    }
    api.stop().await;
}

#[tokio::test]
async fn a_value_that_is_not_a_finite_number_is_refused() {
    let api = Api::start().await;

    for value in ["NaN", "Infinity", "1e999", "\"NaN\"", "true", "[]"] {
        let body = format!(r#"{{"module_id": "a", "unit": "celsius", "value": {value}}}"#);
        let call =
            api.call(Method::POST, "/api/sensors/temperature").header("content-type", "application/json");
        let (status, kind, _) = call.body(body).problem().await;

        assert_eq!((status, kind.as_str()), (400, "invalid_argument"), "{value}");
    }
    let body = json!({"module_id": "a", "unit": "kilopascal", "value": 1e308});
    assert_eq!(api.post("/api/sensors/pressure", body).problem().await.0, 422);
    api.stop().await;
}

#[tokio::test]
async fn an_unknown_unit_is_refused_with_those_that_fit() {
    let api = Api::start().await;
    let body = json!({"module_id": "a", "value": 1, "unit": "bananas"});

    let answer = api.post("/api/sensors/temperature", body).send().await;

    let problem = answer.problem();
    assert_eq!((answer.status, &problem["pointer"]), (422, &json!("/unit")));
    assert_eq!(problem["choices"], json!(["celsius", "kelvin", "fahrenheit"]));
    assert!(problem["detail"].as_str().unwrap().contains("`bananas`"));
    api.stop().await;
}

#[tokio::test]
async fn a_custom_series_keeps_its_first_unit() {
    let api = Api::start().await;
    let post = |value: f64, unit: Option<&str>| {
        let mut body = json!({"module_id": "oven", "value": value});
        if let Some(unit) = unit {
            body["unit"] = unit.into();
        }
        api.post("/api/sensors/flow-rate", body)
    };

    let unsaid = post(1.0, None).problem().await;
    post(1.0, Some("km")).ok().await;
    post(2000.0, Some("m")).ok().await;
    post(3.0, None).ok().await;
    let foreign = post(4.0, Some("celsius")).problem().await;

    assert_eq!(unsaid, (422, "unprocessable".to_owned(), "/unit".to_owned()));
    assert_eq!(foreign, (422, "unprocessable".to_owned(), "/unit".to_owned()));
    let page = api.get("/api/sensors/flow-rate?order=asc").ok().await;
    let values: Vec<_> =
        page["items"].as_array().unwrap().iter().map(|r| (&r["value"], &r["unit"])).collect();
    let unit = json!("kilometre");
    assert_eq!(values, [(&json!(1.0), &unit), (&json!(2.0), &unit), (&json!(3.0), &unit)]);
    api.stop().await;
}

#[tokio::test]
async fn a_known_quantity_that_the_store_has_in_another_unit_is_refused_for_good() {
    let api = Api::start().await;
    let quantity = Quantity::Custom {
        name: SensorType::new("temperature").unwrap(),
        unit: Unit::parse("bananas").unwrap(),
    };
    let stored = Reading::new(id("oven"), Sample::new(quantity, 1.0), NOW);
    let now = Now { wall: NOW, steady: Steady(NOW) };
    api.hub.store().record(vec![stored], 10, now).await.unwrap();

    let body = json!({"module_id": "oven", "value": 21, "unit": "celsius"});
    let refused = api.post("/api/sensors/temperature", body).problem().await;

    assert_eq!(refused, (422, "unprocessable".to_owned(), "/unit".to_owned()));
    api.stop().await;
}

#[tokio::test]
async fn a_failed_measurement_is_stored_as_a_gap_with_its_reason() {
    let api = Api::start().await;
    let body = json!({"module_id": "a", "value": null, "unit": "celsius", "timestamp": NOW_SECS, "reason": "bus NACK"});

    api.post("/api/sensors/temperature", body).ok().await;

    let item = &api.get("/api/sensors").ok().await["items"][0];
    assert_eq!((&item["value"], &item["reason"]), (&Value::Null, &json!("bus NACK")));
    let long = json!({"module_id": "a", "value": null, "unit": "celsius", "reason": "x".repeat(201)});
    assert_eq!(api.post("/api/sensors/temperature", long).problem().await.2, "/reason");
    api.stop().await;
}

#[tokio::test]
async fn more_than_a_thousand_readings_are_too_many() {
    let api = Api::start().await;
    let batch = |count: usize| Value::from(vec![json!({"module_id": "a", "value": 1}); count]);

    let problem = api.post("/api/sensors/temperature", batch(1001)).problem().await;

    assert_eq!((problem.0, problem.1.as_str()), (413, "too_large"));
    assert_eq!(
        api.post("/api/sensors/temperature", batch(1000)).ok().await,
        json!({"stored": 1000, "repeated": 0})
    );
    api.stop().await;
}

#[tokio::test]
async fn one_request_may_contain_readings_of_several_types() {
    let api = Api::start().await;
    let body = json!([
        {"module_id": "a", "type": "temperature", "value": 68, "unit": "fahrenheit", "timestamp": NOW_SECS},
        {"module_id": "a", "type": "humidity", "value": 40, "unit": "%", "timestamp": NOW_SECS},
    ]);

    api.post("/api/sensors", body).ok().await;

    let items = api.get("/api/sensors?module_id=a").ok().await["items"].clone();
    assert_eq!((&items[0]["type"], &items[0]["unit"]), (&json!("humidity"), &json!("percent")));
    assert!((items[1]["value"].as_f64().unwrap() - 20.0).abs() < 1e-9);
    let untyped = api.post("/api/sensors", json!({"module_id": "a", "value": 1})).problem().await;
    assert_eq!(untyped, (400, "invalid_argument".to_owned(), "/type".to_owned()));
    api.stop().await;
}

#[tokio::test]
async fn records_are_paged_filtered_and_ordered() {
    let api = Api::start().await;
    let batch: Vec<_> = (0..10).map(|i| reading(f64::from(i), NOW_SECS + f64::from(i))).collect();
    api.post("/api/sensors/temperature", batch.into()).ok().await;
    let values = |page: &Value| -> Vec<f64> {
        page["items"].as_array().unwrap().iter().map(|r| r["value"].as_f64().unwrap()).collect()
    };

    let first = api.get("/api/sensors/temperature?limit=4").ok().await;
    let cursor = first["next"].as_str().unwrap();
    let second = api.get(&format!("/api/sensors/temperature?limit=4&cursor={cursor}")).ok().await;
    let between = format!("since={}&until={}&order=asc", NOW_SECS + 2.0, NOW_SECS + 5.0);
    let between = api.get(&format!("/api/sensors/temperature?{between}")).ok().await;
    let by_text = api.get("/api/sensors/temperature?since=2026-11-23T22:30:08Z").ok().await;

    assert_eq!(values(&first), [9.0, 8.0, 7.0, 6.0]);
    assert_eq!(values(&second), [5.0, 4.0, 3.0, 2.0]);
    assert_eq!(values(&between), [2.0, 3.0, 4.0]);
    assert_eq!(values(&by_text), [9.0, 8.0]);
    assert_eq!(values(&api.get("/api/sensors/temperature?module_id=other").ok().await), [0.0; 0]);
    api.stop().await;
}

#[tokio::test]
async fn buckets_contain_only_the_requested_aggregates() {
    let api = Api::start().await;
    let batch: Vec<_> =
        [1.0, 2.0, 6.0].iter().zip(0..).map(|(v, i)| reading(*v, NOW_SECS + f64::from(i))).collect();
    api.post("/api/sensors/temperature", batch.into()).ok().await;
    let gap = json!({"module_id": "temp-sensor-01", "value": null, "timestamp": NOW_SECS + 5.0});
    api.post("/api/sensors/temperature", gap).ok().await;

    let all = api.get("/api/sensors/temperature?bucket=1m").ok().await;
    let some = api.get("/api/sensors/temperature?bucket=1h&agg=max").ok().await;

    assert_eq!(
        all["items"],
        json!([{"module_id": "temp-sensor-01", "type": "temperature", "unit": "celsius", "start": NOW_SECS,
                "avg": 3.0, "min": 1.0, "max": 6.0, "count": 3, "missing": 1}])
    );
    assert_eq!(some["items"][0]["max"], 6.0);
    assert!(some["items"][0].get("avg").is_none());
    for query in ["bucket=2m", "bucket=1m&agg=sum", "agg=avg"] {
        assert_eq!(api.get(&format!("/api/sensors/temperature?{query}")).problem().await.0, 400, "{query}");
    }
    api.stop().await;
}

#[tokio::test]
async fn the_same_page_is_available_as_csv() {
    let api = Api::with_manual_clock().await;
    api.post("/api/sensors/temperature", json!([reading(1.5, NOW_SECS), reading(2.5, NOW_SECS + 0.5)]))
        .ok()
        .await;

    let by_format = api.get("/api/sensors/temperature?format=csv&limit=1").send().await;
    let by_accept = api.get("/api/sensors/temperature").header("accept", "text/csv").send().await;

    assert!(by_format.header("content-type").starts_with("text/csv"));
    assert_eq!(
        String::from_utf8_lossy(&by_format.body),
        "module_id,type,channel,value,unit,timestamp,received_at,reason,time_source\r\n\
         temp-sensor-01,temperature,,2.5,celsius,1795473000.5,1795473000,,module\r\n"
    );
    assert!(!by_format.header("x-next-cursor").is_empty());
    assert_eq!(by_accept.body.iter().filter(|b| **b == b'\n').count(), 3);
    api.stop().await;
}

#[tokio::test]
async fn an_unknown_query_parameter_is_rejected_and_not_ignored() {
    let api = Api::start().await;

    for query in [
        "limit=0",
        "limit=1001",
        "limit=ten",
        "order=up",
        "since=yesterday",
        "cursor=made-up",
        "module_id=A",
        "modul_id=a",
        "limit=1&limit=2",
        "format=xml",
    ] {
        let (status, kind, _) = api.get(&format!("/api/sensors/temperature?{query}")).problem().await;

        assert_eq!((status, kind.as_str()), (400, "invalid_argument"), "{query}");
    }
    assert_eq!(api.get("/api/sensors/temperature?since=0").problem().await.0, 422);
    api.stop().await;
}

#[tokio::test]
async fn a_module_delivers_and_reads_its_own_series_only() {
    let api = Api::start().await;
    let token = api.module("temp-sensor-01").await;
    let theirs = json!({"module_id": "other", "value": 1});

    let own = api.post("/api/sensors/temperature", reading(1.0, NOW_SECS)).token(&token).send().await;
    let foreign = api.post("/api/sensors/temperature", theirs).token(&token).problem().await;
    let read_own = api.get("/api/sensors/temperature?module_id=temp-sensor-01").token(&token).send().await;
    let read_all = api.get("/api/sensors/temperature").token(&token).problem().await;
    let viewer = api.token(Role::Viewer).await;
    let by_viewer =
        api.post("/api/sensors/temperature", reading(1.0, NOW_SECS)).token(&viewer).problem().await;

    assert_eq!((own.status, read_own.status), (200, 200));
    assert_eq!(foreign, (403, "permission_denied".to_owned(), "/module_id".to_owned()));
    assert_eq!((read_all.0, by_viewer.0), (403, 403));
    api.stop().await;
}
