//! Readings in the forms that devices and scripts send: units, values, times, bodies.

use http::Method;
use serde_json::{Value, json};

use crate::support::api::{Api, NOW_SECS};

/// The detail and pointer of a problem.
async fn refused(api: &Api, sensor: &str, body: impl Into<String>) -> (u16, String, String, Value) {
    let call = api.call(Method::POST, &format!("/api/sensors/{sensor}"));
    let answer = call.header("content-type", "application/json").body(body.into()).send().await;
    let problem = answer.problem();
    let text = |name: &str| problem[name].as_str().unwrap_or_default().to_owned();
    (answer.status, text("detail"), text("pointer"), problem["choices"].clone())
}

async fn newest(api: &Api, module: &str) -> (Value, Value) {
    let items = api.get(&format!("/api/sensors?module_id={module}")).ok().await["items"].clone();
    (items[0]["value"].clone(), items[0]["unit"].clone())
}

#[tokio::test]
async fn a_conversion_keeps_the_decimals_that_were_sent() {
    let api = Api::start().await;

    for (module, sensor, value, unit, expected) in [
        ("a", "temperature", 32.0, "F", 0.0),
        ("b", "temperature", 212.0, "°F", 100.0),
        ("c", "temperature", -40.0, "[degF]", -40.0),
        ("d", "voltage", 3300.0, "mV", 3.3),
        ("e", "pressure", 1013.25, "hPa", 101_325.0),
        ("f", "pressure", 29.92, "inHg", 101_320.748_119_002_72),
        ("g", "distance", 12.0, "inch", 0.3048),
        ("h", "humidity", 0.57, "1", 57.0),
    ] {
        let body = json!({"module_id": module, "value": value, "unit": unit});
        api.post(&format!("/api/sensors/{sensor}"), body).ok().await;

        assert_eq!(newest(&api, module).await.0, json!(expected), "{value} {unit}");
    }
    api.stop().await;
}

#[tokio::test]
async fn one_unit_has_many_spellings_and_a_series_takes_all_of_them() {
    let api = Api::start().await;

    for (sensor, word, spellings) in [
        ("pm25", "microgram_per_cubic_metre", &["µg/m³", "μg/m³", "ug/m3", "µg/m^3"][..]),
        ("water", "cubic_metre", &["m³", "m3", "cubic meters"]),
        ("gas-resistance", "kiloohm", &["kΩ", "k\u{2126}", "kOhm"]),
        ("soil-temp", "celsius", &["Celsius", "°C", "℃", "degC", "CELSIUS"]),
        ("wind", "mile_per_hour", &["mph", "MPH", "miles per hour"]),
        ("par", "umol/m2/s", &["µmol/m²/s", "umol/m2/s", "μmol·m⁻²·s⁻¹"]),
    ] {
        for spelling in spellings {
            let body = json!({"module_id": sensor, "value": 12.5, "unit": spelling});
            api.post(&format!("/api/sensors/{sensor}"), body).ok().await;

            assert_eq!(newest(&api, sensor).await, (json!(12.5), json!(word)), "{spelling}");
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn imperial_units_are_converted_in_custom_series_too() {
    let api = Api::start().await;

    api.post("/api/sensors/rain", json!({"module_id": "roof", "value": 2.54, "unit": "mm"})).ok().await;
    api.post("/api/sensors/rain", json!({"module_id": "roof", "value": 1, "unit": "in"})).ok().await;
    assert_eq!(newest(&api, "roof").await, (json!(25.4), json!("millimetre")));
    api.post("/api/sensors/weight", json!({"module_id": "hive", "value": 30, "unit": "kg"})).ok().await;
    api.post("/api/sensors/weight", json!({"module_id": "hive", "value": 100, "unit": "lb"})).ok().await;
    assert_eq!(newest(&api, "hive").await, (json!(45.359_237), json!("kilogram")));
    api.stop().await;
}

#[tokio::test]
async fn a_value_that_is_impossible_in_the_canonical_unit_needs_its_unit() {
    let api = Api::start().await;

    for (sensor, value, choice) in [
        ("pressure", 1013.25, "hectopascal"),
        ("pressure", 101.3, "kilopascal"),
        ("pressure", 29.92, "inch_of_mercury"),
        ("humidity", 0.45, "ratio"),
        ("voltage", 3300.0, "millivolt"),
        ("distance", 150.0, "centimetre"),
        ("temperature", 21_437.0, "fahrenheit"),
        ("co2", 0.0415, "ppb"),
    ] {
        let body = json!({"module_id": "a", "value": value}).to_string();
        let (status, detail, pointer, choices) = refused(&api, sensor, body).await;

        assert_eq!((status, pointer.as_str()), (422, "/unit"), "{sensor} {value}");
        assert!(choices.as_array().unwrap().contains(&json!(choice)), "{detail}");
    }
    for (sensor, value) in
        [("pressure", 101_325.0), ("temperature", 21.5), ("humidity", 45.0), ("voltage", 3.3)]
    {
        api.post(&format!("/api/sensors/{sensor}"), json!({"module_id": "b", "value": value})).ok().await;
    }
    api.post("/api/sensors/pressure", json!({"module_id": "c", "value": 3.5, "unit": "Pa"})).ok().await;
    assert_eq!(newest(&api, "c").await.0, json!(3.5));
    api.stop().await;
}

#[tokio::test]
async fn true_and_false_are_one_and_zero_without_a_physical_unit() {
    let api = Api::start().await;
    let post = |sensor: &str, body: Value| api.post(&format!("/api/sensors/{sensor}"), body);

    post("motion", json!({"module_id": "pir", "value": true})).ok().await;
    post("door", json!({"module_id": "reed", "value": false})).ok().await;
    post("door", json!({"module_id": "reed", "value": 1})).ok().await;
    post("leak", json!({"module_id": "probe", "value": 0, "unit": "1"})).ok().await;
    post("leak", json!({"module_id": "probe", "value": true})).ok().await;

    assert_eq!(newest(&api, "pir").await, (json!(1.0), json!("boolean")));
    assert_eq!(newest(&api, "reed").await, (json!(1.0), json!("boolean")));
    assert_eq!(newest(&api, "probe").await, (json!(1.0), json!("none")));
    let (status, detail, pointer, _) =
        refused(&api, "temperature", r#"{"module_id":"a","value":true}"#).await;
    assert_eq!((status, pointer.as_str()), (422, "/value"));
    assert!(detail.contains("true or false") && detail.contains("celsius"), "{detail}");
    let both = r#"[{"module_id":"a","value":true,"unit":"celsius"}]"#;
    let (status, detail, pointer, _) = refused(&api, "soil-temp", both).await;
    assert_eq!((status, pointer.as_str()), (400, "/0/value"), "{detail}");
    api.stop().await;
}

#[tokio::test]
async fn the_first_reading_of_a_custom_type_without_a_unit_is_rejected_with_the_known_units() {
    let api = Api::start().await;

    let (status, detail, pointer, choices) = refused(&api, "door", r#"{"module_id":"a","value":1}"#).await;

    assert_eq!((status, pointer.as_str()), (422, "/unit"));
    assert!(detail.contains("boolean") && detail.contains("\"1\"") && detail.contains("pH"), "{detail}");
    assert!(choices.as_array().unwrap().contains(&json!("boolean")));
    api.post("/api/sensors/door", json!({"module_id": "a", "value": 1, "unit": "1"})).ok().await;
    api.post("/api/sensors/ph", json!({"module_id": "pool", "value": 7.2})).ok().await;
    assert_eq!(newest(&api, "pool").await, (json!(7.2), json!("none")));
    api.stop().await;
}

#[tokio::test]
async fn an_invalid_time_is_rejected_with_a_correction() {
    let api = Api::start().await;

    for (timestamp, status, expected) in [
        (json!(1_795_473_000_123_u64), 422, "milliseconds: send Unix seconds, 1795473000.123"),
        (json!(1_795_473_000_123_456_u64), 422, "microseconds"),
        (json!(1_795_473_000_000_000_000_u64), 422, "nanoseconds"),
        (json!("2026-11-26T19:20:43"), 400, "offset from UTC is missing: append Z"),
        (json!("2026-11-26 19:20:43"), 400, "offset from UTC is missing: append Z"),
        (json!("2026-11-26"), 400, "a date without a time"),
        (json!("1795473000"), 400, "without quotation marks"),
        (json!("yesterday"), 400, "RFC 3339"),
        (json!(0), 422, "2000 to 2099"),
        (json!(-1), 422, "omits `timestamp`"),
        (json!(12_345.678), 422, "omits `timestamp`"),
    ] {
        let body = json!({"module_id": "a", "value": 1, "timestamp": timestamp}).to_string();
        let (got, detail, pointer, _) = refused(&api, "temperature", body).await;

        assert_eq!((got, pointer.as_str()), (status, "/timestamp"), "{timestamp}: {detail}");
        assert!(detail.contains(expected), "{timestamp}: {detail}");
    }
    api.stop().await;
}

#[tokio::test]
async fn an_invalid_time_in_a_query_is_rejected_with_a_correction() {
    let api = Api::start().await;

    for (query, expected) in [
        ("since=2026-11-26T20:00:00+01:00", "write %2B"),
        ("until=2026-11-26T20:00:00+0100", "write %2B"),
        ("since=2026-11-26T20:00:00", "append Z"),
        ("since=1795473000123", "milliseconds"),
        ("until=2026-11-26", "a date without a time"),
    ] {
        let answer = api.get(&format!("/api/sensors/temperature?{query}")).send().await;
        let detail = answer.problem()["detail"].as_str().unwrap().to_owned();

        assert!(detail.contains(expected), "{query}: {detail}");
    }
    api.get("/api/sensors/temperature?since=2026-11-26T20:00:00%2B01:00").ok().await;
    api.stop().await;
}

#[tokio::test]
async fn a_body_that_is_not_json_is_rejected_with_an_explanation() {
    let api = Api::start().await;

    for (body, expected) in [
        ("", "`Content-Length` is present"),
        (r#"{"module_id":"a","value":NaN}"#, "NaN is not JSON: send null"),
        (r#"{"module_id":"a","value":-Infinity}"#, "Infinity is not JSON: send null"),
        (r#"[{"module_id":"a","value":nan}]"#, "nan is not JSON: send null"),
        (r#"{"module_id":"a","value":True}"#, "send true"),
        (r#"{'module_id':'a','value':1}"#, "double quotation marks"),
        (r#"{"module_id":"a","value":1,}"#, "comma before the closing bracket"),
        (r#"{"module_id":"a","value":21,5}"#, "decimal point"),
        ("module_id=a&value=1", "form"),
        (r#"{"module_id":"a","value""#, "ends too early"),
    ] {
        let (status, detail, ..) = refused(&api, "temperature", body).await;

        assert_eq!(status, 400, "{body}");
        assert!(detail.contains(expected), "{body}: {detail}");
    }
    let (status, detail, pointer, _) =
        refused(&api, "temperature", r#"{"module_id":"a","value":"21,5"}"#).await;
    assert_eq!((status, pointer.as_str()), (400, "/value"));
    assert!(detail.contains("without quotation marks, 21.5"), "{detail}");
    api.stop().await;
}

#[tokio::test]
async fn json_is_accepted_with_a_byte_order_mark_and_with_any_default_content_type_of_devices() {
    let api = Api::start().await;
    let body = "\u{feff}{\"module_id\":\"a\",\"value\":21.5}";
    let post = |content_type: &str| {
        let call = api.call(Method::POST, "/api/sensors/temperature").body(body);
        if content_type.is_empty() { call } else { call.header("content-type", content_type) }
    };

    for content_type in [
        "",
        "application/json",
        "application/json; charset=utf-8",
        "text/plain",
        "text/plain;charset=UTF-8",
        "application/x-www-form-urlencoded",
        "application/octet-stream",
    ] {
        post(content_type).ok().await;
    }
    for content_type in ["image/jpeg", "application/xml", "multipart/form-data; boundary=x"] {
        assert_eq!(post(content_type).problem().await.0, 400, "{content_type}");
    }
    api.stop().await;
}

#[tokio::test]
async fn a_reading_from_a_clock_ahead_is_stored_at_its_arrival_and_hides_nothing() {
    let api = Api::with_manual_clock().await;
    let post = |value: f64, timestamp: f64| {
        api.post(
            "/api/sensors/temperature",
            json!({"module_id": "a", "value": value, "timestamp": timestamp}),
        )
    };

    post(99.0, 2_085_978_496.0).ok().await;
    post(98.0, NOW_SECS + 300.001).ok().await;
    post(20.0, NOW_SECS + 300.0).ok().await;

    let items = api.get("/api/sensors/temperature?module_id=a").ok().await["items"].clone();
    let seen: Vec<_> =
        items.as_array().unwrap().iter().map(|r| (&r["value"], &r["timestamp"], &r["time_source"])).collect();
    let (at, arrival) = (json!(NOW_SECS), json!("arrival"));
    assert_eq!(
        seen,
        [
            (&json!(20.0), &json!(NOW_SECS + 300.0), &Value::Null),
            (&json!(98.0), &at, &arrival),
            (&json!(99.0), &at, &arrival),
        ]
    );
    let csv = api.get("/api/sensors/temperature?module_id=a&format=csv").send().await;
    assert_eq!(String::from_utf8_lossy(&csv.body).matches(",arrival\r\n").count(), 2);
    let metrics = api.get("/metrics").send().await;
    assert!(String::from_utf8_lossy(&metrics.body).contains("iotpi_readings_clock_ahead_total 2\n"));
    api.hub.advance(std::time::Duration::from_secs(1));
    api.post("/api/sensors/temperature", items[1].clone()).ok().await;
    let metrics = api.get("/metrics").send().await;
    assert!(String::from_utf8_lossy(&metrics.body).contains("iotpi_readings_clock_ahead_total 2\n"));
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_begin_a_series_in_different_units_at_once_end_with_one_unit() {
    let api = Api::start().await;
    let post = async |value: f64, unit: &str| {
        let body = json!({"module_id": "pipe", "value": value, "unit": unit});
        // Refused if another request was first: the second attempt finds the unit of the series.
        let answer = api.post("/api/sensors/length", body.clone()).send().await;
        if answer.status == 503 {
            assert_ne!(answer.header("retry-after"), "");
            api.post("/api/sensors/length", body).ok().await;
        } else {
            assert_eq!(answer.status, 200, "{}", answer.json());
        }
    };

    tokio::join!(post(1.5, "m"), post(150.0, "cm"), post(1500.0, "mm"), post(0.0015, "km"));

    let page = api.get("/api/sensors/length").ok().await;
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 4);
    assert!(items.iter().all(|item| item["unit"] == items[0]["unit"]), "{items:?}");
    let values: Vec<_> = items.iter().map(|item| item["value"].as_f64().unwrap()).collect();
    assert!(values.iter().all(|value| (value / values[0] - 1.0).abs() < 1e-9), "{values:?}");
    api.stop().await;
}
