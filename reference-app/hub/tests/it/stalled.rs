//! Viewers that stop reading, beside viewers that read.

use iotpi_core::{Frame, HubClient, Timestamp, client::FrameStream};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::support::{
    hub_process::HubProcess,
    jpeg::{HEADER_BYTES, jpeg},
    program::add_token,
    wait::bounded,
};

const READING: usize = 100;
const STALLED: usize = 100;
const FRAME_BYTES: usize = 100_000;
const FRAMES: usize = 100;
/// The memory the hub may use for a stalled viewer, in addition to the one frame.
const EACH_BYTES: usize = 256 * 1024;

/// A frame that contains its number.
fn frame(number: usize) -> Frame {
    let number = u32::try_from(number).unwrap().to_be_bytes();
    let filler = std::iter::repeat_n(0x55, FRAME_BYTES - HEADER_BYTES - number.len() - 2);
    Frame::from_jpeg(jpeg(number.into_iter().chain(filler)).into(), Timestamp::MIN).unwrap()
}

async fn assert_next_frame(viewer: &mut FrameStream, number: usize) {
    let jpeg = viewer.next().await.unwrap().unwrap();
    assert_eq!(jpeg, frame(number).jpeg(), "a viewer that reads lost a frame");
}

#[tokio::test]
async fn viewers_that_never_read_use_little_memory_and_other_viewers_lose_no_frame() {
    bounded("every frame reaches every viewer that reads", stalled_viewers()).await;
}

async fn stalled_viewers() {
    let data = tempfile::tempdir().unwrap();
    let hub = HubProcess::start(data.path()).await;
    let token = add_token(data.path(), &["--role", "viewer", "viewer"]);
    let viewer = HubClient::new(hub.client.url()).unwrap().with_token(&token);
    let camera = "camera".parse().unwrap();
    hub.client.publish(&camera, &frame(0)).await.unwrap();
    let mut reading = Vec::new();
    for _ in 0..READING {
        let mut frames = viewer.frames(None).await.unwrap();
        assert_next_frame(&mut frames, 0).await;
        reading.push(frames);
    }
    let before = hub.resident_bytes();

    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut stream = TcpStream::connect(hub.address()).await.unwrap();
        let request = format!(
            "GET /api/camera/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    for number in 1..=FRAMES {
        hub.client.publish(&camera, &frame(number)).await.unwrap();
        for frames in &mut reading {
            assert_next_frame(frames, number).await;
        }
    }

    let cameras = viewer.cameras().await.unwrap();
    // On a slow machine the viewers that have not read for 20 s may be disconnected by now.
    assert!(cameras[0].camera.viewers as usize >= READING);
    assert!(cameras[0].camera.skipped > 0, "no viewer stalled");
    let grown = hub.resident_bytes().saturating_sub(before);
    assert!(grown <= FRAME_BYTES + STALLED * EACH_BYTES, "the hub grew by {grown} bytes");
    drop((reading, stalled));
    let (status, _) = hub.stop().await;
    assert!(status.success());
}
