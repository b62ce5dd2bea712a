//! Viewers that stop reading, beside viewers that read.

use std::{path::Path, process::Command};

use iotpi_core::{Frame, FrameStream, HubClient, Timestamp};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use crate::process::{DEADLINE, Running};

const READING: usize = 100;
const STALLED: usize = 100;
const FRAME_BYTES: usize = 100_000;
const FRAMES: usize = 100;
/// The memory the hub may use for a stalled viewer, in addition to the one frame.
const EACH_BYTES: usize = 256 * 1024;

/// A frame that contains its number.
fn frame(number: usize) -> Frame {
    let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1];
    jpeg.extend([0xFF, 0xDA, 0, 2]);
    jpeg.extend(u32::try_from(number).unwrap().to_be_bytes());
    jpeg.resize(FRAME_BYTES - 2, 0x55);
    jpeg.extend([0xFF, 0xD9]);
    Frame::from_jpeg(jpeg.into(), Timestamp::MIN).unwrap()
}

async fn viewer_token(data: &Path) -> String {
    let added = Command::new(env!("CARGO_BIN_EXE_iotpi-hub"))
        .args(["token", "add", "viewer", "--role", "viewer", "--data"])
        .arg(data)
        .output()
        .unwrap();
    String::from_utf8(added.stdout).unwrap().trim().to_owned()
}

/// The resident memory of the hub in bytes.
pub fn resident(hub: &Running) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", hub.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

async fn see(viewer: &mut FrameStream, number: usize) {
    let jpeg = viewer.next().await.unwrap().unwrap();
    assert_eq!(jpeg, frame(number).jpeg(), "a frame was lost on the way to a viewer that reads");
}

#[tokio::test]
async fn a_hundred_viewers_that_never_read_cost_little_and_the_others_lose_nothing() {
    tokio::time::timeout(DEADLINE, stalled_viewers()).await.expect("it comes to an end");
}

async fn stalled_viewers() {
    let data = tempfile::tempdir().unwrap();
    let hub = Running::start(data.path()).await;
    let token = viewer_token(data.path()).await;
    let viewing = HubClient::new(hub.client.url()).unwrap().with_token(&token);
    let camera = "camera".parse().unwrap();
    hub.client.publish(&camera, &frame(0)).await.unwrap();
    let mut reading = Vec::new();
    for _ in 0..READING {
        let mut viewer = viewing.frames(None).await.unwrap();
        see(&mut viewer, 0).await;
        reading.push(viewer);
    }
    let before = resident(&hub);

    let mut stalled = Vec::new();
    for _ in 0..STALLED {
        let mut stream = TcpStream::connect(hub.client.url().trim_start_matches("http://")).await.unwrap();
        let request = format!(
            "GET /api/camera/stream HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stalled.push(stream);
    }
    for number in 1..=FRAMES {
        hub.client.publish(&camera, &frame(number)).await.unwrap();
        for viewer in &mut reading {
            see(viewer, number).await;
        }
    }

    let cameras = viewing.cameras().await.unwrap();
    // On a slow machine the viewers that have not read for 20 s may be disconnected by now.
    assert!(cameras[0].camera.viewers as usize >= READING);
    assert!(cameras[0].camera.skipped > 0, "nobody stalled");
    let grown = resident(&hub).saturating_sub(before);
    assert!(grown <= FRAME_BYTES + STALLED * EACH_BYTES, "the hub grew by {grown} bytes");
    drop((reading, stalled));
    let (status, _) = hub.end().await;
    assert!(status.success());
}
