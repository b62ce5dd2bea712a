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
    ErrorKind, Frame, HubClient, Live, LiveFrame, LiveMessage, LiveStream, Subscription, Timestamp,
    WatchRequest,
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
    wait::until,
};

impl Api {
    async fn takes(&self, camera: &str, filling: usize) -> Value {
        let jpeg = jpeg(8, 8, filling);
        self.call(Method::POST, &format!("/api/camera/frame?module_id={camera}")).jpeg(jpeg).ok().await
    }

    /// A live connection that receives frames only.
    async fn line(&self) -> LiveStream {
        self.line_of(&self.admin, Subscription { kinds: Some(Vec::new()), ..Subscription::default() }).await
    }

    async fn line_of(&self, token: &str, subscription: Subscription) -> LiveStream {
        let client = HubClient::new(&self.hub.url()).unwrap().with_token(token.to_owned());
        let mut line = client.live(&subscription).await.unwrap();
        assert!(matches!(said(&mut line).await, LiveMessage::Hello { .. }));
        assert!(matches!(said(&mut line).await, LiveMessage::Recent { .. }));
        line
    }

    /// The live viewers of a camera.
    async fn watching(&self, camera: &str) -> Vec<Value> {
        let cameras = self.get("/api/cameras").ok().await;
        let cameras = cameras["items"].as_array().unwrap();
        let camera = cameras.iter().find(|item| item["module_id"] == camera).unwrap();
        assert_eq!(camera["viewers"], camera["watching"].as_array().unwrap().len());
        camera["watching"].as_array().unwrap().iter().filter(|one| one["via"] == "live").cloned().collect()
    }

    /// Waits until the camera has this many live viewers.
    async fn until_watched_by(&self, camera: &str, viewers: usize) {
        until("the viewers are counted", async || self.watching(camera).await.len() == viewers).await;
    }
}

fn watch(cameras: &[&str]) -> Vec<WatchRequest> {
    cameras.iter().map(|name| WatchRequest { module_id: id(name), max_fps: None }).collect()
}

async fn said(line: &mut LiveStream) -> LiveMessage {
    match line.receive().await.unwrap().expect("the hub hung up") {
        Live::Said(message) => message,
        Live::Frame(frame) => panic!("a picture: {frame:?}"),
    }
}

async fn picture(line: &mut LiveStream) -> LiveFrame {
    match line.receive().await.unwrap().expect("the hub hung up") {
        Live::Frame(frame) => frame,
        Live::Said(message) => panic!("{message:?}"),
    }
}

async fn acknowledged(line: &mut LiveStream) -> LiveFrame {
    let frame = picture(line).await;
    line.acknowledge(&frame.module_id, frame.seq).await.unwrap();
    frame
}

/// Sends two requests and expects their responses with no frame in between: the hub had time to send a frame,
/// but had none.
async fn nothing_comes(line: &mut LiveStream) {
    for client_time in [1.5, -2.5] {
        line.ask_time(client_time).await.unwrap();
        let answer = said(line).await;
        assert!(
            matches!(answer, LiveMessage::Time { client_time: same, .. } if same == client_time),
            "{answer:?}"
        );
    }
}

async fn problem(line: &mut LiveStream) -> (ErrorKind, String) {
    match said(line).await {
        LiveMessage::Problem { problem } => (problem.kind, problem.pointer.unwrap_or_default()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn frames_of_three_cameras_arrive_on_one_connection() {
    let api = Api::with_manual_clock().await;
    let mut line = api.line().await;
    let names = ["attic", "cellar", "porch"];
    for (i, name) in names.into_iter().enumerate() {
        api.takes(name, 100 + i).await;
    }
    line.watch(&watch(&names)).await.unwrap();

    for round in 0..20 {
        let mut came = Vec::new();
        for _ in names {
            came.push(acknowledged(&mut line).await);
        }
        came.sort_by(|a, b| a.module_id.cmp(&b.module_id));
        for (i, (frame, name)) in came.iter().zip(names).enumerate() {
            assert_eq!((frame.module_id.as_str(), frame.seq, frame.no_signal), (name, 1 + round, false));
            assert_eq!(frame.jpeg, jpeg(8, 8, 100 * usize::try_from(round).unwrap() + 100 + i));
        }
        for (i, name) in names.into_iter().enumerate() {
            let receipt = api.takes(name, 100 * usize::try_from(round + 1).unwrap() + 100 + i).await;
            assert_eq!(receipt, json!({"viewers": 1, "seq": 2 + round}));
        }
    }
    api.stop().await;
}

#[tokio::test]
async fn a_frame_has_its_capture_and_arrival_times_by_the_hubs_clock() {
    let api = Api::with_manual_clock().await;
    let mut line = api.line().await;
    line.ask_time(12.25).await.unwrap();
    let time = said(&mut line).await;
    let path = format!("/api/camera/frame?module_id=porch&timestamp={}", NOW_SECS - 0.75);
    api.call(Method::POST, &path).jpeg(jpeg(8, 8, 1)).ok().await;

    line.watch(&watch(&["porch"])).await.unwrap();
    let frame = picture(&mut line).await;

    let now = Timestamp::from_secs_f64(NOW_SECS).unwrap();
    assert_eq!(time, LiveMessage::Time { client_time: 12.25, hub_time: now });
    assert_eq!((frame.captured_at, frame.received_at), (now.minus(Duration::from_millis(750)), now));
    api.stop().await;
}

#[tokio::test]
async fn a_client_that_does_not_acknowledge_gets_two_frames_and_later_the_newest() {
    let api = Api::start().await;
    let mut line = api.line().await;
    api.takes("porch", 1).await;
    line.watch(&watch(&["porch"])).await.unwrap();
    assert_eq!(picture(&mut line).await.seq, 1);
    api.takes("porch", 2).await;
    assert_eq!(picture(&mut line).await.seq, 2);

    for i in 3..=9 {
        api.takes("porch", i).await;
    }
    nothing_comes(&mut line).await;
    for (camera, seq) in [("porch", 0), ("porch", 9), ("porch", u64::MAX), ("nobody", 1)] {
        line.acknowledge(&id(camera), seq).await.unwrap();
    }
    nothing_comes(&mut line).await;
    // All frames except the newest are skipped.
    let before = api.watching("porch").await;
    line.acknowledge(&id("porch"), 2).await.unwrap();

    assert_eq!(picture(&mut line).await.jpeg, jpeg(8, 8, 9));
    assert_eq!((&before[0]["delivered"], &before[0]["skipped"]), (&json!(2), &json!(6)));
    let after = api.watching("porch").await;
    assert_eq!((&after[0]["delivered"], &after[0]["skipped"]), (&json!(3), &json!(6)));
    nothing_comes(&mut line).await;
    api.stop().await;
}

#[tokio::test]
async fn a_client_gets_no_more_than_its_own_maximum_rate_beside_a_camera_without_one() {
    let api = Api::start().await;
    let mut line = api.line().await;
    for name in ["porch", "attic"] {
        api.takes(name, 1).await;
    }
    let mut cameras = watch(&["porch", "attic"]);
    cameras[0].max_fps = Some(20.0);
    let begun = Instant::now();
    line.watch(&cameras).await.unwrap();

    let (mut limited, mut others) = (0, 0);
    let camera = async {
        loop {
            for name in ["porch", "attic"] {
                api.takes(name, 1).await;
            }
        }
    };
    let viewer = async {
        while limited < 8 {
            let frame = acknowledged(&mut line).await;
            *if frame.module_id == id("porch") { &mut limited } else { &mut others } += 1;
        }
    };
    tokio::select! {
        () = camera => {}
        () = viewer => {}
    }

    // Eight frames take seven intervals of 50 ms, the first of which may be half. A slow machine only takes
    // longer.
    assert!(begun.elapsed() >= Duration::from_millis(325), "{:?}", begun.elapsed());
    assert!(others >= 8, "{others}");
    api.stop().await;
}

#[tokio::test]
async fn an_unknown_camera_is_a_problem_and_the_others_are_watched() {
    let api = Api::start().await;
    let mut line = api.line().await;
    api.takes("porch", 1).await;
    api.put("/api/modules/attic", json!({})).ok().await;

    line.watch(&watch(&["nobody", "porch", "attic"])).await.unwrap();

    assert_eq!(problem(&mut line).await, (ErrorKind::NotFound, "/cameras/0/module_id".to_owned()));
    assert_eq!(acknowledged(&mut line).await.module_id, id("porch"));
    // The hub waits for the first frame of a registered module.
    assert_eq!(api.takes("attic", 2).await, json!({"viewers": 1, "seq": 1}));
    assert_eq!(acknowledged(&mut line).await.module_id, id("attic"));
    api.stop().await;
}

#[tokio::test]
async fn a_list_over_its_limits_is_a_problem_and_the_previous_one_stays() {
    let api = Api::start().await;
    let mut line = api.line().await;
    api.takes("porch", 1).await;
    line.watch(&watch(&["porch"])).await.unwrap();
    acknowledged(&mut line).await;
    let rate = |max_fps| vec![WatchRequest { module_id: id("attic"), max_fps: Some(max_fps) }];
    let names: Vec<_> = (0..65).map(|i| format!("{i:x<64}")).collect();
    let many: Vec<_> = names.iter().map(String::as_str).collect();

    for (cameras, kind, pointer) in [
        (rate(0.0), ErrorKind::InvalidArgument, "/cameras/0/max_fps"),
        (rate(-1.0), ErrorKind::InvalidArgument, "/cameras/0/max_fps"),
        (rate(60.5), ErrorKind::InvalidArgument, "/cameras/0/max_fps"),
        (watch(&["attic", "porch", "attic"]), ErrorKind::InvalidArgument, "/cameras/2/module_id"),
        (watch(&many), ErrorKind::TooLarge, "/cameras"),
    ] {
        line.watch(&cameras).await.unwrap();
        assert_eq!(problem(&mut line).await, (kind, pointer.to_owned()));
    }
    assert_eq!(api.takes("porch", 2).await["viewers"], 1);
    assert_eq!(acknowledged(&mut line).await.seq, 2);
    // The maximum number of ids with the maximum length, all unknown.
    line.watch(&watch(&many[..64])).await.unwrap();
    for i in 0..64 {
        assert_eq!(problem(&mut line).await, (ErrorKind::NotFound, format!("/cameras/{i}/module_id")));
    }
    assert_eq!(api.watching("porch").await, [json!(null); 0]);
    api.stop().await;
}

#[tokio::test]
async fn the_removal_of_a_camera_is_reported_and_the_others_continue() {
    let api = Api::start().await;
    let mut line = api.line().await;
    for name in ["attic", "porch"] {
        api.takes(name, 1).await;
    }
    line.watch(&watch(&["attic", "porch"])).await.unwrap();
    acknowledged(&mut line).await;
    acknowledged(&mut line).await;

    api.delete("/api/modules/attic").ok().await;

    assert_eq!(problem(&mut line).await.0, ErrorKind::NotFound);
    api.takes("porch", 2).await;
    assert_eq!(acknowledged(&mut line).await.module_id, id("porch"));
    // A camera that is added again is a new one.
    assert_eq!(api.takes("attic", 1).await, json!({"viewers": 0, "seq": 1}));
    nothing_comes(&mut line).await;
    line.watch(&watch(&["attic", "porch"])).await.unwrap();
    assert_eq!(acknowledged(&mut line).await.module_id, id("attic"));
    nothing_comes(&mut line).await;
    api.stop().await;
}

#[tokio::test]
async fn a_lost_camera_shows_no_signal_and_recovers() {
    let api = Api::with_manual_clock().await;
    let mut line = api.line().await;
    api.takes("porch", 1).await;
    line.watch(&watch(&["porch"])).await.unwrap();
    assert!(!acknowledged(&mut line).await.no_signal);

    api.hub.advance(Duration::from_secs(6));
    let lost = acknowledged(&mut line).await;
    api.takes("porch", 2).await;
    let mut back = acknowledged(&mut line).await;
    while back.no_signal {
        back = acknowledged(&mut line).await;
    }

    assert!(lost.no_signal && lost.seq == 2 && lost.jpeg.starts_with(&[0xFF, 0xD8]), "{lost:?}");
    assert_eq!(back.jpeg, jpeg(8, 8, 2));
    api.stop().await;
}

#[tokio::test]
async fn a_new_list_ends_the_cameras_it_omits_and_does_not_interrupt_the_others() {
    let api = Api::start().await;
    let mut line = api.line().await;
    for name in ["attic", "porch"] {
        assert_eq!(api.takes(name, 1).await["viewers"], 0);
    }
    line.watch(&watch(&["attic", "porch"])).await.unwrap();
    acknowledged(&mut line).await;
    acknowledged(&mut line).await;
    let before = api.watching("porch").await;
    assert_eq!((before.len(), api.watching("attic").await.len()), (1, 1));

    line.watch(&watch(&["porch"])).await.unwrap();
    nothing_comes(&mut line).await;

    assert_eq!(api.watching("attic").await, [json!(null); 0]);
    assert_eq!(api.watching("porch").await, before);
    assert_eq!(api.takes("attic", 2).await["viewers"], 0);
    assert_eq!(api.takes("porch", 2).await["viewers"], 1);
    assert_eq!(acknowledged(&mut line).await.module_id, id("porch"));
    drop(line);
    api.until_watched_by("porch", 0).await;
    api.stop().await;
}

#[tokio::test]
async fn events_are_sent_between_the_frames_of_a_busy_camera() {
    let api = Api::start().await;
    let mut line = api.line_of(&api.admin, Subscription::default()).await;
    api.takes("porch", 1).await;
    line.watch(&watch(&["porch"])).await.unwrap();
    let camera = async {
        loop {
            api.takes("porch", 50_000).await;
        }
    };
    let viewer = async {
        for value in 0..10 {
            let body = json!({"module_id": "shed", "value": value});
            api.post("/api/sensors/temperature", body).ok().await;
            loop {
                match line.receive().await.unwrap().unwrap() {
                    Live::Frame(frame) => line.acknowledge(&frame.module_id, frame.seq).await.unwrap(),
                    Live::Said(LiveMessage::Event(event)) if event.event.module_id() == &id("shed") => {
                        if matches!(event.event, iotpi_core::Event::Reading { .. }) {
                            break;
                        }
                    }
                    Live::Said(_) => {}
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
    let take = async |filling| {
        held.fetch_add(1, Relaxed);
        let bytes = Bytes::from_owner(Held(jpeg(8, 8, filling), Arc::clone(&held)));
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
    api.until_watched_by("porch", 3).await;
    let mut line = api.line().await;
    line.watch(&watch(&["porch"])).await.unwrap();
    assert_eq!(acknowledged(&mut line).await.seq, 1);

    for seq in 2..=30 {
        assert_eq!(take(4_000_000).await.seq, seq);
        assert_eq!(acknowledged(&mut line).await.seq, seq);
    }

    let watching = api.watching("porch").await;
    let delivered: Vec<_> = watching.iter().map(|one| one["delivered"].as_u64().unwrap()).collect();
    assert_eq!((&watching[3]["delivered"], &watching[3]["skipped"]), (&json!(30), &json!(0)));
    assert!(delivered[..3].iter().all(|&delivered| delivered <= 2), "{delivered:?}");
    // The newest frame, and for each stalled client the frame it stalled in.
    assert!(held.load(Relaxed) <= 1 + stalled.len(), "{held:?}");
    drop(stalled);
    api.until_watched_by("porch", 1).await;
    until("the frames are released", async || held.load(Relaxed) <= 1).await;
    drop(line);
    api.stop().await;
}

#[tokio::test]
async fn a_client_stalled_within_a_frame_can_still_send_requests() {
    let api = Api::start().await;
    api.takes("porch", 4_000_000).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut raw = Raw::over(&api, socket.connect(api.hub.address()).await.unwrap()).await;
    raw.send(json!({"type": "watch", "cameras": [{"module_id": "porch"}]})).await;
    until("the first frame is being sent", async || {
        api.watching("porch").await.first().is_some_and(|one| one["delivered"] == 1)
    })
    .await;

    raw.send(json!({"type": "watch", "cameras": []})).await;
    api.until_watched_by("porch", 0).await;

    // The frame that was begun is sent completely, and the next message follows.
    raw.send(json!({"type": "time", "client_time": 1})).await;
    let Message::Binary(bytes) = raw.0.next().await.unwrap().unwrap() else { panic!("no picture") };
    assert_eq!(LiveFrame::read(bytes).unwrap().jpeg, jpeg(8, 8, 4_000_000));
    assert_eq!(raw.receive().await["type"], "time");
    api.stop().await;
}

#[tokio::test]
async fn a_binary_message_from_a_client_is_a_problem_and_its_frames_continue() {
    let api = Api::start().await;
    api.takes("porch", 1).await;
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
    assert!(matches!(raw.0.next().await, Some(Ok(Message::Binary(_)))));
    api.stop().await;
}

#[tokio::test]
async fn a_viewer_watches_and_a_module_does_not() {
    let api = Api::start().await;
    api.takes("porch", 1).await;
    let viewer = api.token(Role::Viewer).await;
    let module = api.module("porch").await;

    let mut line = api.line_of(&viewer, Subscription::default()).await;
    line.watch(&watch(&["porch"])).await.unwrap();

    assert_eq!(picture(&mut line).await.seq, 1);
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
