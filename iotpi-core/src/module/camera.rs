//! A module that publishes the frames of a camera.

use std::{convert::Infallible, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    client::frame_publisher::FramePublisher,
    device::Camera,
    model::manifest::Manifest,
    module::{Module, ModuleError},
    uplink::Uplink,
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
        let mut failing = false;
        let mut refused = false;
        loop {
            publisher.demand().await;
            match self.camera.capture().await {
                Ok(frame) => {
                    failing = false;
                    publisher.publish(frame);
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(module = %up.module_id(), %error, "the camera delivered no frame");
                    }
                    failing = true;
                    tokio::time::sleep(CAMERA_RETRY).await;
                }
            }
            if !refused && publisher.state().refused > 0 {
                refused = true;
                let error = publisher.state().error.map(|error| error.to_string());
                tracing::warn!(module = %up.module_id(), error, "the hub refuses frames; said once");
            }
        }
    }
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
