//! Several sensors of one type in a module: the `channel` of readings, queries, manifests and exports.

use serde_json::{Value, json};

use crate::support::api::{Api, NOW_SECS};

fn on(channel: &str, value: f64) -> Value {
    json!({"module_id": "boiler", "channel": channel, "value": value, "unit": "celsius", "timestamp": NOW_SECS})
}

/// Three series of one module, and one of another module on a channel of the same name.
async fn with_channels() -> Api {
    let api = Api::with_manual_clock().await;
    let mut without = on("", 20.0);
    without.as_object_mut().unwrap().remove("channel");
    let mut other = on("supply", 30.0);
    other["module_id"] = "solar".into();
    let readings = json!([without, on("supply", 55.0), on("28-0316a2790c1b", 42.0), other]);
    api.post("/api/sensors/temperature", readings).ok().await;
    api
}

fn values(page: &Value) -> Vec<f64> {
    page["items"].as_array().unwrap().iter().map(|item| item["value"].as_f64().unwrap()).collect()
}

#[tokio::test]
async fn a_query_returns_all_channels_or_the_one_it_names() {
    let api = with_channels().await;

    for (query, expected) in [
        ("order=asc", vec![20.0, 42.0, 55.0, 30.0]),
        ("order=asc&module_id=boiler", vec![20.0, 42.0, 55.0]),
        ("module_id=boiler&channel=supply", vec![55.0]),
        ("module_id=boiler&channel=", vec![20.0]),
        ("order=asc&channel=supply", vec![55.0, 30.0]),
        ("channel=return", vec![]),
    ] {
        let page = api.get(&format!("/api/sensors/temperature?{query}")).ok().await;
        assert_eq!(values(&page), expected, "{query}");
    }
    let invalid = api.get("/api/sensors/temperature?channel=A.b").problem().await;
    assert_eq!((invalid.0, invalid.1.as_str()), (400, "invalid_argument"));
    let series = api.get("/api/sensors?module_id=boiler").ok().await;
    assert_eq!(values(&series), [20.0, 42.0, 55.0]);
    assert_eq!(series["items"][2]["channel"], "supply");
    assert!(series["items"][0].get("channel").is_none());
    let buckets = api.get("/api/sensors/temperature?bucket=1m&agg=max&module_id=boiler").ok().await;
    let channels: Vec<_> =
        buckets["items"].as_array().unwrap().iter().map(|b| b["channel"].clone()).collect();
    assert_eq!(channels, [Value::Null, "28-0316a2790c1b".into(), "supply".into()]);
    api.stop().await;
}

#[tokio::test]
async fn a_reading_on_a_channel_may_be_sent_again_as_it_was_returned() {
    let api = with_channels().await;
    let page = api.get("/api/sensors/temperature?channel=supply&module_id=boiler").ok().await;

    api.post("/api/sensors/temperature", page["items"][0].clone()).ok().await;

    let page = api.get("/api/sensors/temperature?channel=supply&module_id=boiler").ok().await;
    assert_eq!(values(&page), [55.0, 55.0]);
    let refused = api.post("/api/sensors/temperature", on("Supply", 1.0)).problem().await;
    assert_eq!(refused, (400, "invalid_argument".to_owned(), "/channel".to_owned()));
    api.stop().await;
}

#[tokio::test]
async fn an_export_has_a_column_for_the_channel() {
    let api = with_channels().await;

    let readings =
        api.get("/api/sensors/temperature?format=csv&module_id=boiler&order=asc&limit=2").send().await;
    let buckets =
        api.get("/api/sensors/temperature?format=csv&channel=supply&module_id=boiler&bucket=1m").send().await;

    assert_eq!(
        String::from_utf8_lossy(&readings.body),
        "module_id,type,channel,value,unit,timestamp,received_at,reason,time_source\r\n\
         boiler,temperature,,20,celsius,1795473000,1795473000,,module\r\n\
         boiler,temperature,28-0316a2790c1b,42,celsius,1795473000,1795473000,,module\r\n"
    );
    assert_eq!(
        String::from_utf8_lossy(&buckets.body),
        "module_id,type,channel,unit,start,avg,min,max,count,missing\r\n\
         boiler,temperature,supply,celsius,1795473000,55,55,55,1,0\r\n"
    );
    api.stop().await;
}

#[tokio::test]
async fn a_manifest_lists_a_type_once_for_each_channel() {
    let api = Api::start().await;
    let manifest = |channels: [Value; 2]| {
        let measures = channels.map(|channel| match channel {
            Value::Null => json!({"type": "temperature", "unit": "celsius"}),
            channel => json!({"type": "temperature", "unit": "celsius", "channel": channel}),
        });
        json!({"version": "1.0.0", "measures": measures})
    };

    let module = api.put("/api/modules/boiler", manifest([Value::Null, "supply".into()])).ok().await;
    let twice = api.put("/api/modules/boiler", manifest(["supply".into(), "supply".into()])).problem().await;

    assert_eq!(module["manifest"]["measures"][1]["channel"], "supply");
    assert_eq!(twice, (422, "unprocessable".to_owned(), "/measures/1/type".to_owned()));
    api.stop().await;
}
