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

const PICTURE_BYTES: usize = 60_000;

/// A client that watches a camera and reads as slowly as it likes, on a clock that runs ahead whenever all wait.
struct Slow {
    line: WebSocketStream<DuplexStream>,
    serving: JoinHandle<()>,
    hub: Hub,
}

impl Slow {
    async fn watching() -> Self {
        let hub =
            Hub::open(Config { store: "sqlite::memory:".to_owned(), ..Config::default() }).await.unwrap();
        let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11];
        jpeg.extend([1, 0xFF, 0xDA, 0, 2]);
        jpeg.resize(PICTURE_BYTES, 0x55);
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
        let mut line = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
        let watch = r#"{"type":"watch","cameras":[{"module_id":"porch"}]}"#;
        line.send(Message::text(watch)).await.unwrap();
        Self { line, serving, hub }
    }

    /// Takes so many bytes, without looking at them: no ping is answered.
    async fn take(&mut self, bytes: usize) {
        self.line.get_mut().read_exact(&mut vec![0; bytes]).await.unwrap();
    }

    /// How long the hub keeps a client from which nothing comes any more.
    async fn kept_for(self) -> Duration {
        let begun = Instant::now();
        self.serving.await.unwrap();
        let kept = begun.elapsed();
        self.hub.shutdown().await.unwrap();
        kept
    }
}

#[tokio::test]
async fn who_takes_a_picture_slowly_is_there_and_who_then_answers_no_ping_is_not() {
    let mut slow = Slow::watching().await;
    let begun = Instant::now();

    for _ in 0..PICTURE_BYTES / 1000 {
        sleep(Duration::from_secs(19)).await;
        slow.take(1000).await;
    }

    assert!(begun.elapsed() > Duration::from_secs(1000) && !slow.serving.is_finished());
    let kept = slow.kept_for().await.as_secs();
    assert!((40..=61).contains(&kept), "{kept}");
}

#[tokio::test]
async fn who_takes_nothing_of_a_picture_is_gone_after_two_pings() {
    let mut slow = Slow::watching().await;
    slow.take(5000).await;

    let kept = slow.kept_for().await.as_secs();

    assert!((40..=81).contains(&kept), "{kept}");
}

#[tokio::test]
async fn who_sends_and_reads_nothing_is_gone_within_a_minute() {
    let mut slow = Slow::watching().await;
    let begun = Instant::now();

    // Pings, made-up pongs and requests, every second; of the picture nothing is taken.
    while !slow.serving.is_finished() && begun.elapsed() < Duration::from_secs(600) {
        sleep(Duration::from_secs(1)).await;
        for message in [
            Message::Ping(Bytes::from_static(b"?")),
            Message::Pong(Bytes::new()),
            Message::text(r#"{"type":"time","client_time":1}"#),
        ] {
            // What the hub does not read fills the line.
            let _ = timeout(Duration::from_millis(1), slow.line.send(message)).await;
        }
    }

    assert!(begun.elapsed() <= Duration::from_secs(81), "{:?}", begun.elapsed());
    slow.kept_for().await;
}
