//! A module that publishes the frames of a camera.

use std::{convert::Infallible, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    any_error::error_chain,
    client::frame_publisher::FramePublisher,
    device::{Camera, DeviceError},
    model::{frame::Frame, manifest::Manifest},
    module::{Module, ModuleError},
    outage::{Outage, REPORT_EVERY, report},
    uplink::{Uplink, UplinkError},
};

/// The pause after a failed capture.
const CAMERA_RETRY: Duration = Duration::from_secs(1);
/// The time that sending the last frame may take when the module stops.
const LAST_PICTURE: Duration = Duration::from_millis(300);

/// Publishes the frames of a [`Camera`]. Frames captured while the hub is unreachable or the connection is
/// slow are dropped.
///
/// While there is a viewer, the camera sets the pace. Otherwise one frame a second is captured, which spares
/// the camera, the processor and the network; the first viewer gets a new frame as soon as the camera has
/// one. A camera must therefore return its newest frame, not one that was waiting since the last capture.
///
/// ```
/// use iotpi_core::{Camera, CameraModule};
///
/// fn module(camera: impl Camera) -> CameraModule<impl Camera> {
///     CameraModule::new(camera).described("The porch")
/// }
/// ```
#[derive(Debug)]
pub struct CameraModule<C> {
    camera: C,
    description: Option<String>,
}

impl<C: Camera> CameraModule<C> {
    /// Creates a module for `camera`, whose `capture` waits for the next frame.
    #[must_use]
    pub fn new(camera: C) -> Self {
        Self { camera, description: None }
    }

    /// Sets the description in the manifest.
    #[must_use]
    pub fn described(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Captures frames on demand.
    async fn capture(&mut self, publisher: &FramePublisher, up: &dyn Uplink) -> Infallible {
        let outage = Outage::default();
        let mut refused = false;
        loop {
            publisher.demand().await;
            match self.next_frame(&outage, up).await {
                Ok(frame) => {
                    outage.ended(up.module_id(), "the camera delivers frames again");
                    publisher.publish(frame);
                }
                Err(error) => {
                    let text = format!("the camera delivers no frames: {}", error_chain(&error));
                    outage.failed(up.module_id(), &text);
                    tokio::time::sleep(CAMERA_RETRY).await;
                }
            }
            if !refused && let Some(error) = refusal(publisher) {
                refused = true;
                let text = format!("the hub refuses frames (reported once): {}", error_chain(&*error));
                report(up.module_id(), &text);
            }
        }
    }

    /// Waits for a frame, and reports a long wait.
    async fn next_frame(&mut self, outage: &Outage, up: &dyn Uplink) -> Result<Frame, DeviceError> {
        let mut frame = self.camera.capture();
        loop {
            tokio::select! {
                frame = &mut frame => return frame,
                () = tokio::time::sleep(REPORT_EVERY) => {
                    outage.failed(up.module_id(), "the camera delivers no frames: a capture takes longer than a minute");
                }
            }
        }
    }
}

/// The error of the last refused frame, if one was refused.
fn refusal(publisher: &FramePublisher) -> Option<Arc<UplinkError>> {
    let state = publisher.state();
    state.error.filter(|_| state.refused > 0)
}

#[async_trait]
impl<C: Camera> Module for CameraModule<C> {
    fn manifest(&self) -> Manifest {
        Manifest {
            description: self.description.clone(),
            camera: Some(self.camera.spec()),
            ..Manifest::default()
        }
    }

    async fn run(
        mut self: Box<Self>,
        up: Arc<dyn Uplink>,
        stop: CancellationToken,
    ) -> Result<(), ModuleError> {
        let (publisher, frames) = FramePublisher::channel();
        let line = up.clone();
        // A separate task, so that a camera that computes does not delay the frame before.
        let sending = tokio::spawn(async move { frames.forward_to(&*line).await });
        let mut sending = AbortOnDropHandle::new(sending);
        let ended = tokio::select! {
            () = stop.cancelled() => None,
            ended = &mut sending => Some(ended),
            never = self.capture(&publisher, &*up) => match never {},
        };
        // Ends the upload in order, if possible.
        drop(publisher);
        match ended {
            Some(Err(panicked)) => Err(ModuleError::Other(format!("sending frames ended: {panicked}"))),
            Some(Ok(())) => Ok(()),
            None => {
                let _ = tokio::time::timeout(LAST_PICTURE, sending).await;
                Ok(())
            }
        }
    }

    async fn run_once(mut self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        let frame = self.camera.capture().await?;
        up.publish(frame).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;
    use crate::{model::manifest::CameraSpec, testing::RecordingUplink};

    struct StuckCamera;

    #[async_trait]
    impl Camera for StuckCamera {
        fn spec(&self) -> CameraSpec {
            CameraSpec { width: 1, height: 1, fps: 1.0 }
        }

        async fn capture(&mut self) -> Result<Frame, DeviceError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_capture_that_does_not_end_is_reported() {
        let up = RecordingUplink::new("porch".parse().unwrap());
        let (mut module, outage) = (CameraModule::new(StuckCamera), Outage::default());

        let waited = timeout(REPORT_EVERY + Duration::from_secs(1), module.next_frame(&outage, &up)).await;

        assert!(waited.is_err());
        assert!(outage.due(Instant::now()).is_none(), "the report was a second ago");
    }
}
