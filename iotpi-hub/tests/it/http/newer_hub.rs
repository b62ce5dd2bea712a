//! The client with the answers of a hub of a later version: a server between both adds a field to every object,
//! replaces words by unknown ones, and sends messages of unknown types.

use std::sync::Arc;

use axum::{Router, extract::State, response::IntoResponse as _, routing::any};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, StatusCode};
use http_body_util::BodyExt as _;
use iotpi_core::{
    Frame, HubClient, Manifest, NewCommand, ReadingFilter,
    client::BucketWidth,
    model::{
        camera::ViewerKind,
        command::{Command, CommandOutcome, CommandReport, CommandState, StatusReport},
        error::ErrorKind,
        event::{LiveMessage, Subscription},
        gap::GapReason,
        manifest::Health,
        reading::{NewReading, TimeSource},
        recording::{Recording, RecordingMode},
    },
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{accept_async, client_async, tungstenite::Message};

use crate::support::{
    api::{Api, NOW, NOW_SECS, id, jpeg},
    live::request,
    wait::bounded,
};

#[derive(Clone, Copy, PartialEq)]
enum Change {
    Fields,
    Words,
}

const WORD: &str = "of_a_later_version";

/// Changes an answer as a later version may. Parameters, states and results are free-form.
fn changed(mut value: Value, change: Change) -> Value {
    match &mut value {
        Value::Array(items) => items.iter_mut().for_each(|item| *item = changed(item.take(), change)),
        Value::Object(fields) => {
            for (name, field) in fields.iter_mut() {
                let is_word = match (name.as_str(), &*field) {
                    ("health" | "via" | "mode" | "time_source" | "kind", Value::String(_)) => true,
                    ("state", Value::String(_)) => true,
                    ("reason", Value::String(word)) => {
                        GapReason::ALL.iter().any(|known| known.as_str() == word)
                    }
                    _ => false,
                };
                if is_word && change == Change::Words {
                    *field = json!(WORD);
                } else if !matches!(name.as_str(), "params" | "result" | "state") {
                    *field = changed(field.take(), change);
                }
            }
            if change == Change::Fields {
                fields.insert(WORD.to_owned(), json!({"nested": [1, null]}));
            }
        }
        _ => {}
    }
    value
}

/// Forwards requests to the hub and changes its answers; returns the URL.
async fn newer_hub(api: &Arc<Api>, change: Change) -> String {
    async fn forward(
        State((api, change)): State<(Arc<Api>, Change)>,
        request: axum::extract::Request,
    ) -> axum::response::Response {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let mut call = api.open(head.method, head.uri.path_and_query().unwrap().as_str()).body(body);
        for name in ["content-type", "authorization", "x-timestamp"] {
            if let Some(value) = head.headers.get(name) {
                call = call.header(name, value.to_str().unwrap());
            }
        }
        let answer = call.send().await;
        let status = StatusCode::from_u16(answer.status).unwrap();
        if answer.body.is_empty() {
            return status.into_response();
        }
        (status, changed(answer.json(), change).to_string()).into_response()
    }

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(any(forward)).with_state((api.clone(), change));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// A hub that has one of everything: a lamp with a finished command, a camera with a viewer, readings, a gap.
async fn filled() -> (Arc<Api>, String, Command) {
    let api = Arc::new(Api::with_manual_clock().await);
    let manifest = json!({"version": "1", "measures": [{"type": "soil", "unit": "bunches", "every_secs": 1}],
        "camera": {"width": 8, "height": 8, "fps": 5}, "heartbeat_secs": 5,
        "actions": [{"name": "set", "description": "Set it", "absolute": true, "hazardous": true, "while_alive": 5}]});
    let token = api.register("led", manifest).await;
    let reading =
        |seq: u64| json!({"module_id": "led", "value": seq, "unit": "bunches", "epoch": 7, "seq": seq});
    api.post("/api/sensors/soil", json!([reading(1), reading(4)])).ok().await;
    let gap = json!({"epoch": 7, "first_seq": 2, "last_seq": 3, "reason": "full",
                     "series": [{"type": "soil", "lost": 2, "since": NOW_SECS, "until": NOW_SECS}]});
    assert_eq!(api.post("/api/modules/led/gaps", gap).send().await.status, 204);
    api.call(Method::POST, "/api/camera/frame?module_id=led").jpeg(jpeg(8, 8, 9)).ok().await;
    let hub = client(&api.hub.url(), &api);
    let command = hub.control(&id("led"), &NewCommand::new("set".parse().unwrap())).await.unwrap();
    let module = hub.clone().with_token(token.clone());
    let leased = module.claim(&id("led"), std::time::Duration::ZERO, 1).await.unwrap().remove(0);
    let outcome = CommandOutcome::Failed { error: "stuck".to_owned() };
    let report = CommandReport::new(leased.command.id, leased.lease, outcome);
    module.report(&id("led"), &StatusReport::new().with_command(report)).await.unwrap();
    (api, token, command)
}

fn client(url: &str, api: &Api) -> HubClient {
    HubClient::new(url).unwrap().with_token(api.admin.clone())
}

#[tokio::test]
async fn unknown_fields_in_every_object_of_an_answer_change_nothing() {
    let (api, token, command) = filled().await;
    let (today, later) = (client(&api.hub.url(), &api), client(&newer_hub(&api, Change::Fields).await, &api));
    let (led, soil, all) = (id("led"), "soil".parse().unwrap(), ReadingFilter::default());
    let _stream = today.frames(Some(&led)).await.unwrap();

    assert_eq!(later.health().await.unwrap(), today.health().await.unwrap());
    assert_eq!(later.modules().await.unwrap(), today.modules().await.unwrap());
    assert_eq!(later.module(&led).await.unwrap(), today.module(&led).await.unwrap());
    assert_eq!(later.newest(None).await.unwrap(), today.newest(None).await.unwrap());
    assert_eq!(later.readings(&soil, &all).await.unwrap(), today.readings(&soil, &all).await.unwrap());
    let day = BucketWidth::Day;
    assert_eq!(
        later.buckets(&soil, day, &all).await.unwrap(),
        today.buckets(&soil, day, &all).await.unwrap()
    );
    assert_eq!(later.gaps(None, &all).await.unwrap(), today.gaps(None, &all).await.unwrap());
    assert_eq!(later.delivery(&led).await.unwrap(), today.delivery(&led).await.unwrap());
    assert_eq!(later.cameras().await.unwrap(), today.cameras().await.unwrap());
    assert_eq!(later.command(&command.id).await.unwrap(), today.command(&command.id).await.unwrap());
    assert_eq!(later.time().await.unwrap(), today.time().await.unwrap());

    let manifest = later.module(&led).await.unwrap().manifest.unwrap();
    assert_eq!(later.register(&led, &manifest).await.unwrap().manifest, Some(manifest));
    let readings = [NewReading::new(led.clone(), Some(2.0))];
    assert_eq!(later.record_new(&soil, &readings).await.unwrap().stored, 1);
    let frame = Frame::from_jpeg(jpeg(8, 8, 9).into(), NOW).unwrap();
    assert_eq!(later.publish(&led, &frame).await.unwrap().viewers, 1);
    later.control(&led, &NewCommand::new("set".parse().unwrap())).await.unwrap();
    let module = later.clone().with_token(token);
    let leased = module.claim(&led, std::time::Duration::ZERO, 1).await.unwrap().remove(0);
    assert!(leased.hazardous);
    let report = CommandReport::new(leased.command.id, leased.lease, CommandOutcome::Started);
    let receipt = module.report(&led, &StatusReport::new().with_command(report)).await;
    assert_eq!(receipt.unwrap().command.unwrap().state, CommandState::Leased);
    later.jwt().await.unwrap();
}

#[tokio::test]
async fn unknown_words_in_answers_are_other_and_an_unknown_problem_is_judged_by_its_status() {
    let (api, _, command) = filled().await;
    let (today, later) = (client(&api.hub.url(), &api), client(&newer_hub(&api, Change::Words).await, &api));
    let (led, all) = (id("led"), ReadingFilter::default());
    let _stream = today.frames(Some(&led)).await.unwrap();

    let module = later.modules().await.unwrap().remove(0);
    assert_eq!((module.health, module.manifest.is_some()), (Health::Other, true));
    assert_eq!(later.newest(None).await.unwrap()[0].time_source, TimeSource::Other);
    assert_eq!(later.gaps(None, &all).await.unwrap().items[0].reason, GapReason::Other);
    assert_eq!(later.cameras().await.unwrap()[0].watching[0].via, ViewerKind::Other);
    let finished = later.command(&command.id).await.unwrap();
    assert_eq!((finished.state, finished.is_finished()), (CommandState::Other, true));
    let error = later.module(&id("nobody")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_transient()), (ErrorKind::Other, false));

    let settings = json!({"mode": "off", "triggers": [{"module_id": "led", "action": "set"}]});
    let recording = api.put("/api/cameras/led/recording", settings).send().await.json();
    let both = changed(changed(recording, Change::Words), Change::Fields);
    if both.get("mode").is_some() {
        let recording: Recording = serde_json::from_value(both).unwrap();
        assert_eq!((recording.mode, recording.triggers.len()), (RecordingMode::Other, 1));
    }
}

#[tokio::test]
async fn requests_with_unknown_fields_or_words_are_refused() {
    let (api, ..) = filled().await;

    for (method, path, body) in [
        (Method::PUT, "/api/modules/led", json!({"colour": 1})),
        (Method::PUT, "/api/modules/led", json!({"actions": [{"name": "set", "colour": 1}]})),
        (Method::POST, "/api/sensors/soil", json!({"module_id": "led", "value": 1, "colour": 1})),
        (Method::POST, "/api/sensors/soil", json!({"module_id": "led", "value": 1, "time_source": WORD})),
        (
            Method::POST,
            "/api/modules/led/gaps",
            json!({"epoch": 7, "first_seq": 5, "last_seq": 5, "reason": WORD}),
        ),
        (Method::POST, "/api/modules/led/control", json!({"action": "set", "colour": 1})),
        (Method::POST, "/api/modules/led/status", json!({"colour": 1})),
        (Method::PUT, "/api/cameras/led/recording", json!({"mode": WORD})),
    ] {
        let (status, kind, _) = api.call(method, path).json(body.clone()).problem().await;

        assert_eq!((status, kind.as_str()), (400, "invalid_argument"), "{path} {body}");
    }
}

/// Accepts one live client and changes the hub's messages; before each it sends two of unknown types.
async fn newer_live(api: &Arc<Api>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let api = api.clone();
    tokio::spawn(async move {
        let (mut to_client, mut from_client) =
            accept_async(listener.accept().await.unwrap().0).await.unwrap().split();
        let stream = TcpStream::connect(api.hub.address()).await.unwrap();
        let (mut to_hub, mut from_hub) =
            client_async(request(&api, &api.admin), stream).await.unwrap().0.split();
        let requests = async {
            while let Some(Ok(message)) = from_client.next().await {
                let _ = to_hub.send(message).await;
            }
        };
        let messages = async {
            while let Some(Ok(message)) = from_hub.next().await {
                let Message::Text(text) = message else { continue };
                let unknown = json!({"type": WORD, "seq": 1, "module": {"id": "led"}});
                let known = changed(serde_json::from_str(&text).unwrap(), Change::Fields);
                let _ = to_client.send(Message::Binary(vec![200; 40].into())).await;
                let _ = to_client.send(Message::text(unknown.to_string())).await;
                let _ = to_client.send(Message::text(known.to_string())).await;
            }
        };
        tokio::join!(requests, messages)
    });
    url
}

#[tokio::test]
async fn messages_of_unknown_types_do_not_end_a_live_connection() {
    let (api, ..) = filled().await;
    let hub = client(&newer_live(&api).await, &api);
    let mut live = hub.live(&Subscription::default()).await.unwrap();
    let mut next = async || bounded("a message", live.next()).await.unwrap().unwrap();

    for expected in ["hello", "recent", "module"] {
        if expected == "module" {
            api.put("/api/modules/led", serde_json::to_value(Manifest::default()).unwrap()).ok().await;
        }
        let unknown = next().await;
        let LiveMessage::Unknown(unknown) = unknown else { panic!("{unknown:?}") };
        assert_eq!((unknown.kind.as_str(), &unknown.fields["module"]), (WORD, &json!({"id": "led"})));
        let known = next().await;
        assert_eq!(serde_json::to_value(&known).unwrap()["type"], expected, "{known:?}");
    }
}
