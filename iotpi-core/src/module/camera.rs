//! A module that shows what a camera sees.

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

/// How long to wait after a camera failed before it is asked again.
const CAMERA_RETRY: Duration = Duration::from_secs(1);
/// How long the last picture may take when the module is told to stop.
const LAST_PICTURE: Duration = Duration::from_millis(300);

/// Shows the pictures of a [`Camera`]. Newest wins: pictures taken while the hub is away or the line is slow are let go.
///
/// While somebody watches, the camera sets the pace. While nobody does, it is asked for one picture a second, so that
/// neither camera nor processor nor network works for nobody; the first viewer has a new picture as soon as the camera has
/// one. So a camera must not give a picture that waited in it since it was last asked, but its newest.
#[derive(Debug)]
pub struct CameraModule<C> {
    camera: C,
    description: Option<String>,
}

impl<C: Camera> CameraModule<C> {
    /// The pictures of `camera`, which sets the pace: its `capture` waits until there is a new one.
    #[must_use]
    pub fn new(camera: C) -> Self {
        Self { camera, description: None }
    }

    /// The same with a sentence for people in its manifest.
    #[must_use]
    pub fn described(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Captures what is wanted.
    async fn capture(&mut self, film: &FramePublisher, up: &dyn Uplink) -> Infallible {
        let mut failing = false;
        let mut refused = false;
        loop {
            film.demand().await;
            match self.camera.capture().await {
                Ok(frame) => {
                    failing = false;
                    film.publish(frame);
                }
                Err(error) => {
                    if !failing {
                        tracing::warn!(module = %up.module_id(), %error, "the camera gave no picture");
                    }
                    failing = true;
                    tokio::time::sleep(CAMERA_RETRY).await;
                }
            }
            if !refused && film.state().refused > 0 {
                refused = true;
                let error = film.state().error.map(|error| error.to_string());
                tracing::warn!(module = %up.module_id(), error, "the hub refuses pictures; said once");
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
        let (film, frames) = FramePublisher::channel();
        let line = up.clone();
        // A task of its own: a camera that computes does not hold up the picture before.
        let sending = tokio::spawn(async move { frames.forward_to(&*line).await });
        let mut sending = AbortOnDropHandle::new(sending);
        let ended = tokio::select! {
            () = stop.cancelled() => None,
            ended = &mut sending => Some(ended),
            never = self.capture(&film, &*up) => match never {},
        };
        // The line is ended in order, if it can be.
        drop(film);
        match ended {
            Some(Err(panicked)) => Err(ModuleError::Other(format!("sending pictures ended: {panicked}"))),
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
