//! The uplink of a module to a hub over HTTP.

use std::time::Duration;

use async_trait::async_trait;

use super::HubClient;
use crate::{
    client::frame_publisher::FrameReceiver,
    model::{
        camera::FrameReceipt,
        command::{LeasedCommand, StatusReceipt, StatusReport},
        frame::Frame,
        gap::NewGap,
        id::ModuleId,
        manifest::{Manifest, ModuleInfo},
        new_reading::{NewReading, Stored},
    },
    uplink::{Uplink, UplinkError},
};

/// A [`HubClient`] bound to one module id. Created by [`HubClient::uplink`].
///
/// ```no_run
/// # async fn example(hub: iotpi_core::HubClient) -> Result<(), iotpi_core::AnyError> {
/// use iotpi_core::Runner;
///
/// let runner = Runner::new(hub.uplink("attic".parse()?));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct HubUplink {
    hub: HubClient,
    module_id: ModuleId,
}

impl HubUplink {
    pub(super) fn new(hub: HubClient, module_id: ModuleId) -> Self {
        Self { hub, module_id }
    }
}

#[async_trait]
impl Uplink for HubUplink {
    fn module_id(&self) -> &ModuleId {
        &self.module_id
    }

    async fn register(&self, manifest: &Manifest) -> Result<ModuleInfo, UplinkError> {
        self.hub.register(&self.module_id, manifest).await
    }

    async fn deliver(&self, readings: Vec<NewReading>) -> Result<Stored, UplinkError> {
        self.hub.deliver(&readings).await
    }

    async fn report_gap(&self, gap: NewGap) -> Result<(), UplinkError> {
        self.hub.report_gap(&self.module_id, &gap).await
    }

    async fn publish(&self, frame: Frame) -> Result<FrameReceipt, UplinkError> {
        self.hub.publish(&self.module_id, &frame).await
    }

    async fn stream_frames(&self, frames: &mut FrameReceiver) -> Result<(), UplinkError> {
        self.hub.stream_frames(&self.module_id, frames).await
    }

    async fn claim(&self, wait: Duration) -> Result<Vec<LeasedCommand>, UplinkError> {
        self.hub.claim(&self.module_id, wait, 1).await
    }

    async fn report(&self, report: StatusReport) -> Result<StatusReceipt, UplinkError> {
        self.hub.report(&self.module_id, &report).await
    }
}
