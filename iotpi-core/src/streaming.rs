//! A module that shows what a camera sees.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{Backoff, Camera, Manifest, Module, ModuleError, Uplink};

/// How long to wait after a camera failed before it is asked again.
const CAMERA_RETRY: Duration = Duration::from_secs(1);

/// Shows each picture of a [`Camera`] as it is taken. Newest wins: pictures taken while the hub is away are let go.
#[derive(Debug)]
pub struct Streaming<C> {
    camera: C,
    description: Option<String>,
}

impl<C: Camera> Streaming<C> {
    /// The pictures of `camera`, which sets the pace.
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

    async fn stream(&mut self, up: &Arc<dyn Uplink>) -> std::convert::Infallible {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        let mut silent_until: Option<Instant> = None;
        let mut failing = false;
        loop {
            let frame = match self.camera.capture().await {
                Ok(frame) => frame,
                Err(error) => {
                    if !failing {
                        tracing::warn!(module = %up.module_id(), %error, "the camera gave no picture");
                    }
                    failing = true;
                    tokio::time::sleep(CAMERA_RETRY).await;
                    continue;
                }
            };
            failing = false;
            if silent_until.is_some_and(|until| Instant::now() < until) {
                continue;
            }
            silent_until = match up.show(frame).await {
                Ok(_) => {
                    backoff.succeeded();
                    None
                }
                Err(error) => {
                    tracing::debug!(module = %up.module_id(), %error, "a picture was not taken");
                    Some(Instant::now() + backoff.failed())
                }
            };
        }
    }
}

#[async_trait]
impl<C: Camera> Module for Streaming<C> {
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
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            never = self.stream(&up) => match never {},
        }
    }

    async fn run_once(mut self: Box<Self>, up: Arc<dyn Uplink>) -> Result<(), ModuleError> {
        let frame = self.camera.capture().await?;
        up.show(frame).await?;
        Ok(())
    }
}
