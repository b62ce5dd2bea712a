//! The V4L2 camera with the virtual camera `vivid`.
//!
//! `make test-vm` runs this; `IOTPI_VM` is the folder with the kernel and the initramfs of its guest.

use std::{path::Path, time::Duration};

use iotpi_core::{HubClient, ModuleId, NewCommand, model::command::CommandState};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};
use zune_jpeg::{JpegDecoder, zune_core::bytestream::ZCursor};

use crate::{
    machine::{DEADLINE, Guest, HOST_ADDRESS, Machine, until},
    programs::{HubProcess, add_token},
};

/// Plugs in a camera: a webcam with a few sizes.
async fn plug_in(guest: &mut Guest) {
    let options = "n_devs=1 node_types=1 num_inputs=1 input_types=0";
    guest.run(&format!("insmod /drivers/vivid.ko {options} && [ -c /dev/video0 ]")).await;
}

/// Removes the camera from the bus, and its driver from the kernel, which waits until no process has it
/// open.
async fn unplug(guest: &mut Guest) {
    guest.run("echo vivid.0 >/sys/bus/platform/drivers/vivid/unbind").await;
    let unloading = async {
        while !guest.try_run("rmmod vivid 2>/dev/null").await.1 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(DEADLINE, unloading).await.expect("the module does not close the camera");
    guest.run("[ ! -e /dev/video0 ]").await;
}

fn camera() -> ModuleId {
    ModuleId::new("camera").unwrap()
}

/// The number of frames so far, and the size of the newest.
async fn newest_frame(hub: &HubClient) -> (u64, (u32, u32)) {
    let cameras = hub.cameras().await.unwrap();
    cameras.first().map_or((0, (0, 0)), |info| (info.camera.frames, (info.camera.width, info.camera.height)))
}

/// Waits for `more` further frames; returns the size of the newest.
async fn more_frames(hub: &HubClient, more: u64) -> (u32, u32) {
    let before = newest_frame(hub).await.0;
    until("more frames", async || {
        let (frames, size) = newest_frame(hub).await;
        (frames >= before + more).then_some(size)
    })
    .await
}

/// The brightness of the newest frame: the mean of all its bytes, 0 to 255.
async fn brightness(hub: &HubClient) -> f64 {
    let jpeg = hub.snapshot(Some(&camera())).await.unwrap();
    let pixels = JpegDecoder::new(ZCursor::new(jpeg.to_vec())).decode().unwrap();
    pixels.iter().map(|&byte| f64::from(byte)).sum::<f64>() / pixels.len() as f64
}

/// Sends the command that sets a control; returns its outcome.
async fn set(hub: &HubClient, control: &str, value: Value) -> iotpi_core::model::command::Command {
    let params = json!({"control": control, "value": value});
    let set = NewCommand::new("set".parse().unwrap()).with_params(params).unwrap();
    let command = hub.control(&camera(), &set).await.unwrap();
    until("the end of the command", async || {
        let command = hub.command(&command.id).await.unwrap();
        command.state.is_final().then_some(command)
    })
    .await
}

#[tokio::test]
#[ignore = "needs the guest that `make test-vm` builds"]
async fn a_kernel_camera_streams_is_adjusted_unplugged_and_recovers() {
    let image = std::env::var("IOTPI_VM").expect("IOTPI_VM is the folder that `make test-vm` builds");
    let data = TempDir::new().unwrap();
    let process = HubProcess::start(data.path(), "127.0.0.1:0").await;
    let operator = add_token(data.path(), &["--role", "operator", "test"]).await;
    let hub = HubClient::new(&process.url).unwrap().with_token(operator);
    let token = add_token(data.path(), &["--role", "module", "--module", "camera"]).await;
    let url_in_guest = process.url.replace("127.0.0.1", HOST_ADDRESS);
    let settings = |width: u32, height: u32| {
        format!(
            "id = \"camera\"\ntoken = \"{token}\"\nheartbeat_secs = 1\n\
             [[device]]\ndriver = \"v4l\"\nwidth = {width}\nheight = {height}\nfps = 10\ncontrols = {{ brightness = 60 }}\n\
             [[device]]\ndriver = \"v4l-controls\"\n"
        )
    };
    let mut guest = Guest::boot(Machine::Pc, Path::new(&image)).await;

    // Frames arrive in the requested size.
    plug_in(&mut guest).await;
    guest.start_module(&settings(640, 360), &url_in_guest).await;
    assert_eq!(more_frames(&hub, 5).await, (640, 360));

    // Controls: the value of the settings is set, a command changes it, and the frame shows the change.
    let state = async || hub.module(&camera()).await.unwrap().state.unwrap_or_default();
    until("the state of the controls", async || {
        (state().await.get("brightness") == Some(&json!(60))).then_some(())
    })
    .await;
    let dim = brightness(&hub).await;
    let command = set(&hub, "brightness", json!(200)).await;
    assert_eq!(command.state, CommandState::Succeeded, "{command:?}");
    until("a brighter frame", async || (brightness(&hub).await > dim + 40.0).then_some(())).await;
    until("the state", async || (state().await.get("brightness") == Some(&json!(200))).then_some(())).await;
    let command = set(&hub, "warp_drive", json!(9)).await;
    assert_eq!(command.state, CommandState::Rejected, "{command:?}");

    // The camera delivers no frame for more than 5 s: the module keeps running. At the next frame the module
    // has opened it again, with the controls of the settings.
    let last_seen = async || hub.module(&camera()).await.unwrap().last_seen_at.unwrap();
    let heartbeats_for = async |secs| {
        let first = last_seen().await;
        until("a heartbeat", async || {
            (last_seen().await.since(first) >= Duration::from_secs(secs)).then_some(())
        })
        .await;
    };
    let no_frame_for = async |secs| {
        // The last frame may still be in transit.
        heartbeats_for(3).await;
        let frames = newest_frame(&hub).await.0;
        heartbeats_for(secs).await;
        assert_eq!(newest_frame(&hub).await.0, frames);
    };
    let drop_rate = "percentage_of_dropped_buffers";
    let command = set(&hub, drop_rate, json!(100)).await;
    assert_eq!(command.state, CommandState::Succeeded, "{command:?}");
    no_frame_for(8).await;
    guest.run("kill -0 $module").await;
    let command = set(&hub, drop_rate, json!(0)).await;
    assert_eq!(command.state, CommandState::Succeeded, "{command:?}");
    more_frames(&hub, 3).await;
    let as_configured = async || {
        until("the brightness of the settings", async || (brightness(&hub).await < dim + 15.0).then_some(()))
            .await;
    };
    as_configured().await;
    set(&hub, "brightness", json!(200)).await;

    // Unplugged: the module keeps running and no frame arrives.
    unplug(&mut guest).await;
    guest.run("kill -0 $module").await;
    no_frame_for(3).await;

    // Plugged in again: the camera recovers without help, with the controls of the settings.
    plug_in(&mut guest).await;
    assert_eq!(more_frames(&hub, 3).await, (640, 360));
    as_configured().await;
    guest.run("kill -0 $module").await;

    // A size the camera does not have: the nearest is used.
    guest.run("kill $module; wait $module").await;
    guest.start_module(&settings(300, 190), &url_in_guest).await;
    until("the other size", async || (newest_frame(&hub).await.1 == (320, 180)).then_some(())).await;

    guest.shut_down().await;
    process.kill().await;
}
