//! Frames on the live connection.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::Method;
use iotpi_core::{
    Frame, HubClient, Timestamp,
    client::{Live, LiveStream},
    model::{
        error::ErrorKind,
        event::{LiveMessage, Subscription, WatchRequest},
        frame::LiveFrame,
    },
};
use iotpi_hub::auth::{Caller, Role};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tokio_tungstenite::tungstenite::Message;

use crate::support::{
    api::{Api, NOW_SECS, id, jpeg},
    live::Live as Raw,
    wait::{bounded, until},
};

impl Api {
    async fn publish_bytes(&self, camera: &str, content_bytes: usize) -> Value {
        let jpeg = jpeg(8, 8, content_bytes);
        self.call(Method::POST, &format!("/api/camera/frame?module_id={camera}")).jpeg(jpeg).ok().await
    }

    /// A live connection that receives frames only.
    async fn connect(&self) -> LiveStream {
        self.connect_with(&self.admin, Subscription::new().with_kinds([])).await
    }

    async fn connect_with(&self, token: &str, subscription: Subscription) -> LiveStream {
        let client = HubClient::new(&self.hub.url()).unwrap().with_token(token.to_owned());
        let mut live = client.live(&subscription).await.unwrap();
        assert!(matches!(receive_message(&mut live).await, LiveMessage::Hello { .. }));
        assert!(matches!(receive_message(&mut live).await, LiveMessage::Recent { .. }));
        live
    }

    /// The live viewers of a camera.
    async fn live_viewers(&self, camera: &str) -> Vec<Value> {
        let cameras = self.get("/api/cameras").ok().await;
        let cameras = cameras["items"].as_array().unwrap();
        let camera = cameras.iter().find(|item| item["module_id"] == camera).unwrap();
        assert_eq!(camera["viewers"], camera["watching"].as_array().unwrap().len());
        camera["watching"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|viewer| viewer["via"] == "live")
            .cloned()
            .collect()
    }

    /// Waits until the camera has this many live viewers.
    async fn wait_for_viewers(&self, camera: &str, viewers: usize) {
        until("the number of viewers", async || self.live_viewers(camera).await.len() == viewers).await;
    }
}

fn watch(cameras: &[&str]) -> Vec<WatchRequest> {
    cameras.iter().map(|name| WatchRequest::new(id(name))).collect()
}

async fn receive_message(live: &mut LiveStream) -> LiveMessage {
    match bounded("a message", live.receive()).await.unwrap().expect("the hub closed the connection") {
        Live::Message(message) => message,
        other => panic!("{other:?}"),
    }
}

async fn receive_frame(live: &mut LiveStream) -> LiveFrame {
    match bounded("a message", live.receive()).await.unwrap().expect("the hub closed the connection") {
        Live::Frame(frame) => frame,
        other => panic!("{other:?}"),
    }
}

async fn receive_and_acknowledge(live: &mut LiveStream) -> LiveFrame {
    let frame = receive_frame(live).await;
    live.acknowledge(&frame.module_id, frame.seq).await.unwrap();
    frame
}

/// Sends two requests and expects their responses with no frame in between, although the hub had time to send
/// one.
async fn assert_no_frame(live: &mut LiveStream) {
    for client_time in [1.5, -2.5] {
        live.ask_time(client_time).await.unwrap();
        let answer = receive_message(live).await;
        assert!(
            matches!(answer, LiveMessage::Time { client_time: same, .. } if same == client_time),
            "{answer:?}"
        );
    }
}

async fn problem(live: &mut LiveStream) -> (ErrorKind, String) {
    match receive_message(live).await {
        LiveMessage::Problem { problem } => (problem.kind, problem.pointer.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn frames_of_three_cameras_arrive_on_one_connection() {
    let api = Api::with_manual_clock().await;
    let mut live = api.connect().await;
    let names = ["attic", "cellar", "porch"];
    for (i, name) in names.into_iter().enumerate() {
        api.publish_bytes(name, 100 + i).await;
    }
    live.watch(&watch(&names)).await.unwrap();

    for round in 0..20 {
        let mut came = Vec::new();
        for _ in names {
            came.push(receive_and_acknowledge(&mut live).await);
        }
        came.sort_by(|a, b| a.module_id.cmp(&b.module_id));
        for (i, (frame, name)) in came.iter().zip(names).enumerate() {
            assert_eq!((frame.module_id.as_str(), frame.seq, frame.no_signal), (name, 1 + round, false));
            assert_eq!(frame.jpeg, jpeg(8, 8, 100 * usize::try_from(round).unwrap() + 100 + i));
        }
        for (i, name) in names.into_iter().enumerate() {
            let receipt = api.publish_bytes(name, 100 * usize::try_from(round + 1).unwrap() + 100 + i).await;
            assert_eq!(receipt, json!({"viewers": 1, "seq": 2 + round}));
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a_frame_has_its_capture_and_arrival_times_by_the_hubs_clock() {
    let api = Api::with_manual_clock().await;
    let mut live = api.connect().await;
    live.ask_time(12.25).await.unwrap();
    let time = receive_message(&mut live).await;
    let path = format!("/api/camera/frame?module_id=porch&timestamp={}", NOW_SECS - 0.75);
    api.call(Method::POST, &path).jpeg(jpeg(8, 8, 1)).ok().await;

    live.watch(&watch(&["porch"])).await.unwrap();
    let frame = receive_frame(&mut live).await;

    let now = Timestamp::from_secs_f64(NOW_SECS).unwrap();
    assert_eq!(time, LiveMessage::Time { client_time: 12.25, hub_time: now });
    assert_eq!((frame.captured_at, frame.received_at), (now.minus(Duration::from_millis(750)), now));
    api.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_acknowledge_gets_two_frames_and_later_the_newest() {
    let api = Api::start().await;
    let mut live = api.connect().await;
    api.publish_bytes("porch", 1).await;
    live.watch(&watch(&["porch"])).await.unwrap();
    assert_eq!(receive_frame(&mut live).await.seq, 1);
    api.publish_bytes("porch", 2).await;
    assert_eq!(receive_frame(&mut live).await.seq, 2);

    for i in 3..=9 {
        api.publish_bytes("porch", i).await;
    }
    assert_no_frame(&mut live).await;
    for (camera, seq) in [("porch", 0), ("porch", 9), ("porch", u64::MAX), ("unknown", 1)] {
        live.acknowledge(&id(camera), seq).await.unwrap();
    }
    assert_no_frame(&mut live).await;
    // All frames except the newest are skipped.
    let before = api.live_viewers("porch").await;
    live.acknowledge(&id("porch"), 2).await.unwrap();

    assert_eq!(receive_frame(&mut live).await.jpeg, jpeg(8, 8, 9));
    assert_eq!((&before[0]["delivered"], &before[0]["skipped"]), (&json!(2), &json!(6)));
    let after = api.live_viewers("porch").await;
    assert_eq!((&after[0]["delivered"], &after[0]["skipped"]), (&json!(3), &json!(6)));
    assert_no_frame(&mut live).await;
    api.stop().await;
}

#[tokio::test]
async fn a_client_gets_no_more_than_its_own_maximum_rate_beside_a_camera_without_one() {
    let api = Api::start().await;
    let mut live = api.connect().await;
    for name in ["porch", "attic"] {
        api.publish_bytes(name, 1).await;
    }
    let mut cameras = watch(&["porch", "attic"]);
    cameras[0].max_fps = Some(20.0);
    let begun = Instant::now();
    live.watch(&cameras).await.unwrap();

    let (mut limited, mut others) = (0, 0);
    let camera = async {
        loop {
            for name in ["porch", "attic"] {
                api.publish_bytes(name, 1).await;
            }
        }
    };
    let viewer = async {
        while limited < 8 {
            let frame = receive_and_acknowledge(&mut live).await;
            *if frame.module_id == id("porch") { &mut limited } else { &mut others } += 1;
        }
    };
    tokio::select! {
        () = camera => {}
        () = viewer => {}
    }

    // Eight frames take seven intervals of 50 ms, the first of which may be half. This is a lower bound,
    // which a slow machine cannot miss.
    assert!(begun.elapsed() >= Duration::from_millis(325), "{:?}", begun.elapsed());
    assert!(others >= 8, "{others}");
    api.stop().await;
}

#[tokio::test]
async fn an_unknown_camera_is_a_problem_and_the_others_are_watched() {
    let api = Api::start().await;
    let mut live = api.connect().await;
    api.publish_bytes("porch", 1).await;
    api.put("/api/modules/attic", json!({})).ok().await;

    live.watch(&watch(&["unknown", "porch", "attic"])).await.unwrap();

    assert_eq!(problem(&mut live).await, (ErrorKind::NotFound, "/cameras/0/module_id".to_owned()));
    assert_eq!(receive_and_acknowledge(&mut live).await.module_id, id("porch"));
    // The hub waits for the first frame of a registered module.
    assert_eq!(api.publish_bytes("attic", 2).await, json!({"viewers": 1, "seq": 1}));
    assert_eq!(receive_and_acknowledge(&mut live).await.module_id, id("attic"));
    api.stop().await;
}

#[tokio::test]
async fn a_list_over_its_limits_is_a_problem_and_the_previous_one_stays() {
    let api = Api::start().await;
    let mut live = api.connect().await;
    api.publish_bytes("porch", 1).await;
    live.watch(&watch(&["porch"])).await.unwrap();
    receive_and_acknowledge(&mut live).await;
    let rate = |max_fps| vec![WatchRequest::new(id("attic")).with_max_fps(max_fps)];
    let names: Vec<_> = (0..65).map(|i| format!("{i:x<64}")).collect();
    let many: Vec<_> = names.iter().map(String::as_str).collect();

    for (cameras, kind, pointer) in [
        (rate(0.0), ErrorKind::InvalidArgument, "/cameras/0/max_fps"),
        (rate(-1.0), ErrorKind::InvalidArgument, "/cameras/0/max_fps"),
        (rate(60.5), ErrorKind::InvalidArgument, "/cameras/0/max_fps"),
        (watch(&["attic", "porch", "attic"]), ErrorKind::InvalidArgument, "/cameras/2/module_id"),
        (watch(&many), ErrorKind::TooLarge, "/cameras"),
    ] {
        live.watch(&cameras).await.unwrap();
        assert_eq!(problem(&mut live).await, (kind, pointer.to_owned()));
    }
    assert_eq!(api.publish_bytes("porch", 2).await["viewers"], 1);
    assert_eq!(receive_and_acknowledge(&mut live).await.seq, 2);
    // The maximum number of ids with the maximum length, all unknown.
    live.watch(&watch(&many[..64])).await.unwrap();
    for i in 0..64 {
        assert_eq!(problem(&mut live).await, (ErrorKind::NotFound, format!("/cameras/{i}/module_id")));
    }
    assert_eq!(api.live_viewers("porch").await, [json!(null); 0]);
    api.stop().await;
}

#[tokio::test]
async fn the_removal_of_a_camera_is_reported_and_the_others_continue() {
    let api = Api::start().await;
    let mut live = api.connect().await;
    for name in ["attic", "porch"] {
        api.publish_bytes(name, 1).await;
    }
    live.watch(&watch(&["attic", "porch"])).await.unwrap();
    receive_and_acknowledge(&mut live).await;
    receive_and_acknowledge(&mut live).await;

    api.delete("/api/modules/attic").ok().await;

    assert_eq!(problem(&mut live).await.0, ErrorKind::NotFound);
    api.publish_bytes("porch", 2).await;
    assert_eq!(receive_and_acknowledge(&mut live).await.module_id, id("porch"));
    // A camera that is added again is a new one.
    assert_eq!(api.publish_bytes("attic", 1).await, json!({"viewers": 0, "seq": 1}));
    assert_no_frame(&mut live).await;
    live.watch(&watch(&["attic", "porch"])).await.unwrap();
    assert_eq!(receive_and_acknowledge(&mut live).await.module_id, id("attic"));
    assert_no_frame(&mut live).await;
    api.stop().await;
}

#[tokio::test]
async fn a_lost_camera_shows_no_signal_and_recovers() {
    let api = Api::with_manual_clock().await;
    let mut live = api.connect().await;
    api.publish_bytes("porch", 1).await;
    live.watch(&watch(&["porch"])).await.unwrap();
    assert!(!receive_and_acknowledge(&mut live).await.no_signal);

    api.hub.advance(Duration::from_secs(6));
    let lost = receive_and_acknowledge(&mut live).await;
    api.publish_bytes("porch", 2).await;
    let mut back = receive_and_acknowledge(&mut live).await;
    while back.no_signal {
        back = receive_and_acknowledge(&mut live).await;
    }

    assert!(lost.no_signal && lost.seq == 2 && lost.jpeg.starts_with(&[0xFF, 0xD8]), "{lost:?}");
    assert_eq!(back.jpeg, jpeg(8, 8, 2));
    api.stop().await;
}

#[tokio::test]
async fn a_new_list_ends_the_cameras_it_omits_and_does_not_interrupt_the_others() {
    let api = Api::start().await;
    let mut live = api.connect().await;
    for name in ["attic", "porch"] {
        assert_eq!(api.publish_bytes(name, 1).await["viewers"], 0);
    }
    live.watch(&watch(&["attic", "porch"])).await.unwrap();
    receive_and_acknowledge(&mut live).await;
    receive_and_acknowledge(&mut live).await;
    let before = api.live_viewers("porch").await;
    assert_eq!((before.len(), api.live_viewers("attic").await.len()), (1, 1));

    live.watch(&watch(&["porch"])).await.unwrap();
    assert_no_frame(&mut live).await;

    assert_eq!(api.live_viewers("attic").await, [json!(null); 0]);
    assert_eq!(api.live_viewers("porch").await, before);
    assert_eq!(api.publish_bytes("attic", 2).await["viewers"], 0);
    assert_eq!(api.publish_bytes("porch", 2).await["viewers"], 1);
    assert_eq!(receive_and_acknowledge(&mut live).await.module_id, id("porch"));
    drop(live);
    api.wait_for_viewers("porch", 0).await;
    api.stop().await;
}

#[tokio::test]
async fn events_are_sent_between_the_frames_of_a_busy_camera() {
    let api = Api::start().await;
    let mut live = api.connect_with(&api.admin, Subscription::default()).await;
    api.publish_bytes("porch", 1).await;
    live.watch(&watch(&["porch"])).await.unwrap();
    let camera = async {
        loop {
            api.publish_bytes("porch", 50_000).await;
        }
    };
    let viewer = async {
        for value in 0..10 {
            let body = json!({"module_id": "shed", "value": value});
            api.post("/api/sensors/temperature", body).ok().await;
            loop {
                match live.receive().await.unwrap().unwrap() {
                    Live::Frame(frame) => live.acknowledge(&frame.module_id, frame.seq).await.unwrap(),
                    Live::Message(LiveMessage::Event(event)) if event.event.module_id() == &id("shed") => {
                        if matches!(event.event, iotpi_core::model::event::Event::Reading { .. }) {
                            break;
                        }
                    }
                    _ => {}
                }
            }
        }
    };

    tokio::select! {
        () = camera => {}
        () = viewer => {}
    }

    api.stop().await;
}

/// A JPEG that is counted while its bytes are in memory.
struct Held(Vec<u8>, Arc<AtomicUsize>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.1.fetch_sub(1, Relaxed);
    }
}

#[tokio::test]
async fn a_client_that_never_reads_holds_one_frame_and_the_others_lose_none() {
    let api = Api::start().await;
    let caller = Caller::known("camera".parse().unwrap(), Role::Operator, None);
    let held = Arc::new(AtomicUsize::new(0));
    let take = async |content_bytes| {
        held.fetch_add(1, Relaxed);
        let bytes = Bytes::from_owner(Held(jpeg(8, 8, content_bytes), Arc::clone(&held)));
        let frame = Frame::from_jpeg(bytes, Timestamp::FIRST_POSSIBLE).unwrap();
        api.hub.hub().publish_frame(&caller, &id("porch"), frame).await.unwrap()
    };
    take(1).await;
    // Connections with small buffers, so that the hub stalls within a frame of 4 MiB.
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        let mut raw = Raw::over(&api, socket.connect(api.hub.address()).await.unwrap()).await;
        raw.send(json!({"type": "watch", "cameras": [{"module_id": "porch"}]})).await;
        stalled.push(raw);
    }
    api.wait_for_viewers("porch", 3).await;
    let mut live = api.connect().await;
    live.watch(&watch(&["porch"])).await.unwrap();
    assert_eq!(receive_and_acknowledge(&mut live).await.seq, 1);

    for seq in 2..=30 {
        assert_eq!(take(4_000_000).await.seq, seq);
        assert_eq!(receive_and_acknowledge(&mut live).await.seq, seq);
    }

    let watching = api.live_viewers("porch").await;
    let delivered: Vec<_> = watching.iter().map(|one| one["delivered"].as_u64().unwrap()).collect();
    assert_eq!((&watching[3]["delivered"], &watching[3]["skipped"]), (&json!(30), &json!(0)));
    assert!(delivered[..3].iter().all(|&delivered| delivered <= 2), "{delivered:?}");
    // The newest frame, and for each stalled client the frame it stalled in.
    assert!(held.load(Relaxed) <= 1 + stalled.len(), "{held:?}");
    drop(stalled);
    api.wait_for_viewers("porch", 1).await;
    until("the frames are released", async || held.load(Relaxed) <= 1).await;
    drop(live);
    api.stop().await;
}

#[tokio::test]
async fn a_client_stalled_within_a_frame_can_still_send_requests() {
    let api = Api::start().await;
    api.publish_bytes("porch", 4_000_000).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut raw = Raw::over(&api, socket.connect(api.hub.address()).await.unwrap()).await;
    raw.send(json!({"type": "watch", "cameras": [{"module_id": "porch"}]})).await;
    until("the first frame is being sent", async || {
        api.live_viewers("porch").await.first().is_some_and(|one| one["delivered"] == 1)
    })
    .await;

    raw.send(json!({"type": "watch", "cameras": []})).await;
    api.wait_for_viewers("porch", 0).await;

    // The frame that was begun is sent completely, and the next message follows.
    raw.send(json!({"type": "time", "client_time": 1})).await;
    let Message::Binary(bytes) = bounded("a message", raw.0.next()).await.unwrap().unwrap() else {
        panic!("not a frame")
    };
    assert_eq!(LiveFrame::read(bytes).unwrap().jpeg, jpeg(8, 8, 4_000_000));
    assert_eq!(raw.receive().await["type"], "time");
    api.stop().await;
}

#[tokio::test]
async fn a_binary_message_from_a_client_is_a_problem_and_its_frames_continue() {
    let api = Api::start().await;
    api.publish_bytes("porch", 1).await;
    let mut raw = Raw::connect(&api).await;

    for bytes in [Vec::new(), vec![1; 40], vec![0xFF; 10_000]] {
        raw.0.send(Message::binary(bytes)).await.unwrap();
        let answer = raw.receive().await;
        assert_eq!(
            (&answer["type"], &answer["problem"]["kind"]),
            (&json!("problem"), &json!("invalid_argument"))
        );
    }

    raw.send(json!({"type": "watch", "cameras": [{"module_id": "porch", "max_fps": 60}]})).await;
    assert!(matches!(bounded("a message", raw.0.next()).await, Some(Ok(Message::Binary(_)))));
    api.stop().await;
}

#[tokio::test]
async fn a_viewer_watches_and_a_module_does_not() {
    let api = Api::start().await;
    api.publish_bytes("porch", 1).await;
    let viewer = api.token(Role::Viewer).await;
    let module = api.module("porch").await;

    let mut live = api.connect_with(&viewer, Subscription::default()).await;
    live.watch(&watch(&["porch"])).await.unwrap();

    assert_eq!(receive_frame(&mut live).await.seq, 1);
    let client = HubClient::new(&api.hub.url()).unwrap().with_token(module);
    let refused = client.live(&Subscription::default()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    api.stop().await;
}

#[tokio::test]
async fn a_request_without_websocket_headers_is_rejected_with_the_missing_ones() {
    let api = Api::start().await;
    let headers = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "WebSocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    for missing in 0..headers.len() {
        let mut call = api.get("/api/live");
        for (i, (name, value)) in headers.into_iter().enumerate() {
            if i != missing {
                call = call.header(name, value);
            }
        }
        assert_eq!(call.problem().await.0, 400, "{}", headers[missing].0);
    }
    let mut stream = TcpStream::connect(api.hub.address()).await.unwrap();
    let lines: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let request = format!(
        "GET /api/live HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n{lines}\r\n",
        api.admin
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    while !answer.contains("\r\n\r\n") {
        let byte = stream.read_u8().await.unwrap();
        answer.push(char::from(byte).to_ascii_lowercase());
    }
    assert!(answer.starts_with("http/1.1 101 "), "{answer}");
    // The key and the accept value are those of RFC 6455, section 1.3.
    assert!(answer.contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="), "{answer}");
    api.stop().await;
}
