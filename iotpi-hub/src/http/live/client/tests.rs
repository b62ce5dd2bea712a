use futures_util::SinkExt as _;
use iotpi_core::{Frame, Timestamp};
use tokio::{
    io::{AsyncReadExt as _, DuplexStream, duplex},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_tungstenite::{WebSocketStream, tungstenite::protocol::Role};

use super::*;
use crate::{
    Config,
    auth::{self, Caller},
};

const FRAME_BYTES: usize = 60_000;

/// A client that watches a camera and reads slowly, on a paused clock that advances when all tasks wait.
struct SlowClient {
    stream: WebSocketStream<DuplexStream>,
    serving: JoinHandle<()>,
    hub: Hub,
}

impl SlowClient {
    async fn watching() -> Self {
        let hub =
            Hub::open(Config { store: "sqlite::memory:".to_owned(), ..Config::default() }).await.unwrap();
        let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11];
        jpeg.extend([1, 0xFF, 0xDA, 0, 2]);
        jpeg.resize(FRAME_BYTES, 0x55);
        jpeg.extend([0xFF, 0xD9]);
        let frame = Frame::from_jpeg(jpeg.into(), Timestamp::FIRST_POSSIBLE).unwrap();
        let caller = Caller::known("camera".parse().unwrap(), crate::auth::Role::Operator, None);
        hub.publish_frame(&caller, &"porch".parse().unwrap(), frame).await.unwrap();
        tokio::time::pause();
        let (ours, theirs) = duplex(1000);
        let client = Client::new(
            hub.clone(),
            Caller::known("viewer".parse().unwrap(), auth::Role::Viewer, None),
            Socket::new(ours).await,
            None,
            Box::pin(std::future::pending()),
        );
        let serving = tokio::spawn(client.run());
        let mut stream = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let watch = r#"{"type":"watch","cameras":[{"module_id":"porch"}]}"#;
        stream.send(Message::text(watch)).await.unwrap();
        Self { stream, serving, hub }
    }

    /// Reads this number of bytes and ignores them, so that no ping is answered.
    async fn read(&mut self, bytes: usize) {
        self.stream.get_mut().read_exact(&mut vec![0; bytes]).await.unwrap();
    }

    /// Time after which the hub disconnects a client that sends nothing more.
    async fn disconnected_after(self) -> Duration {
        let started = Instant::now();
        self.serving.await.unwrap();
        let kept = started.elapsed();
        self.hub.shutdown().await.unwrap();
        kept
    }
}

#[tokio::test]
async fn a_client_that_reads_a_frame_slowly_is_kept_until_it_answers_no_ping() {
    let mut slow = SlowClient::watching().await;
    let started = Instant::now();

    for _ in 0..FRAME_BYTES / 1000 {
        sleep(Duration::from_secs(19)).await;
        slow.read(1000).await;
    }

    assert!(started.elapsed() > Duration::from_secs(1000) && !slow.serving.is_finished());
    let kept = slow.disconnected_after().await.as_secs();
    assert!((40..=61).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_client_that_reads_nothing_of_a_frame_is_disconnected_after_two_pings() {
    let mut slow = SlowClient::watching().await;
    slow.read(5000).await;

    let kept = slow.disconnected_after().await.as_secs();

    assert!((40..=81).contains(&kept), "{kept}");
}

#[tokio::test]
async fn a_client_that_sends_and_reads_nothing_is_disconnected_within_81_seconds() {
    let mut slow = SlowClient::watching().await;
    let started = Instant::now();

    // Pings, made-up pongs and requests, every second. The frame is not read.
    while !slow.serving.is_finished() && started.elapsed() < Duration::from_secs(600) {
        sleep(Duration::from_secs(1)).await;
        for message in [
            Message::Ping(Bytes::from_static(b"?")),
            Message::Pong(Bytes::new()),
            Message::text(r#"{"type":"time","client_time":1}"#),
        ] {
            // Messages that the hub does not read fill the buffer.
            let _ = timeout(Duration::from_millis(1), slow.stream.send(message)).await;
        }
    }

    assert!(started.elapsed() <= Duration::from_secs(81), "{:?}", started.elapsed());
    slow.disconnected_after().await;
}
