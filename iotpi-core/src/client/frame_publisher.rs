//! The upload of a camera's frames to a hub: always the newest frame, and the hub's demand for more.
//!
//! Deliberately absent: a queue. A frame that was not sent when the next one is published is dropped. Its number is missing
//! at the hub, which counts it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    any_error::error_chain,
    client::backoff::{Backoff, pause},
    model::{camera::FrameReceipt, error::ErrorKind, frame::Frame},
    uplink::{Uplink, UplinkError},
};

/// The interval between frames while the camera has no viewer.
const IDLE_PERIOD: Duration = Duration::from_secs(1);
/// A connection that lasted this long was good: after it breaks, the first retry is early and the break is logged.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// The camera's end: publishes frames and learns the demand for them. Dropping it ends the upload.
///
/// ```
/// use iotpi_core::{Frame, ModuleId, Timestamp, client::FramePublisher, testing::RecordingUplink};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 1, 0, 1, 0xFF, 0xD9];
/// let hub = RecordingUplink::new("porch".parse()?);
/// let (publisher, frames) = FramePublisher::channel();
/// let uplink = hub.clone();
/// let upload = tokio::spawn(async move { frames.forward_to(&uplink).await });
///
/// publisher.demand().await;
/// publisher.publish(Frame::from_jpeg(jpeg.into(), Timestamp::MIN)?);
/// drop(publisher);
/// upload.await?;
///
/// assert_eq!(hub.frames()[0].sequence(), Some(1));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct FramePublisher {
    slot: watch::Sender<Option<Frame>>,
    state: watch::Receiver<PublisherState>,
    last: Mutex<LastPublished>,
}

#[derive(Debug, Default)]
struct LastPublished {
    number: u64,
    at: Option<Instant>,
}

/// The state of an upload, as far as the camera's end knows it.
///
/// ```
/// use iotpi_core::client::FramePublisher;
///
/// let (publisher, _receiver) = FramePublisher::channel();
/// let state = publisher.state();
/// assert_eq!((state.online, state.viewers), (false, 0));
/// ```
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct PublisherState {
    /// Whether a hub accepts the frames.
    pub online: bool,
    /// The number of viewers in the hub's last answer; 0 while there is no connection.
    pub viewers: u32,
    /// The number of frames that the hub refused since the upload began.
    pub refused: u64,
    /// The last error, a refused frame or a broken connection; cleared by the next success.
    pub error: Option<Arc<UplinkError>>,
}

impl FramePublisher {
    /// Creates both ends of an upload.
    #[must_use]
    pub fn channel() -> (Self, FrameReceiver) {
        let (slot, newest) = watch::channel(None);
        let (sender, state) = watch::channel(PublisherState::default());
        (Self { slot, state, last: Mutex::default() }, FrameReceiver { newest, state: sender })
    }

    /// Publishes a frame. It replaces a frame that was not sent yet, and gets the next number, beginning with 1, unless it
    /// has a number already. Never waits.
    pub fn publish(&self, frame: Frame) {
        let mut last = self.lock();
        last.number = frame.sequence().unwrap_or(last.number + 1);
        last.at = Some(Instant::now());
        self.slot.send_replace(Some(frame.numbered(last.number)));
    }

    /// Waits until the next frame is wanted: returns at once while the camera has a viewer, otherwise a second after the
    /// last frame or when the first viewer connects.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn demand(&self) {
        let Some(last) = self.lock().at else { return };
        let mut state = self.state.clone();
        let viewer = async {
            // Without the receiver there will never be a viewer.
            if state.wait_for(|state| state.viewers > 0).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = viewer => {}
            () = sleep_until(last + IDLE_PERIOD) => {}
        }
        // A camera that never awaits must still let the upload run.
        tokio::task::yield_now().await;
    }

    /// The current state.
    #[must_use]
    pub fn state(&self) -> PublisherState {
        self.state.borrow().clone()
    }

    /// The state, with notification of its changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<PublisherState> {
        self.state.clone()
    }

    fn lock(&self) -> MutexGuard<'_, LastPublished> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The uplink's end: an [`Uplink`] takes the frames from it and reports the hub's answers to it.
///
/// ```no_run
/// # async fn example(hub: iotpi_core::HubClient) -> Result<(), iotpi_core::AnyError> {
/// use iotpi_core::client::FramePublisher;
///
/// let (publisher, mut receiver) = FramePublisher::channel();
/// let camera = "porch".parse()?;
/// let upload = tokio::spawn(async move { hub.stream_frames(&camera, &mut receiver).await });
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct FrameReceiver {
    newest: watch::Receiver<Option<Frame>>,
    state: watch::Sender<PublisherState>,
}

impl FrameReceiver {
    /// Waits for the newest frame that was not taken yet. Returns `None` when the publisher was dropped.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Frame> {
        next(&mut self.newest).await
    }

    /// Records the hub's answer to a frame.
    ///
    /// # Errors
    /// Returns the error if it concerns the connection and not only that frame: the connection is of no more use. A refused
    /// frame is counted, and the upload continues.
    pub fn record(&self, answer: Result<FrameReceipt, UplinkError>) -> Result<(), UplinkError> {
        match answer {
            Ok(receipt) => self.accepted(receipt),
            Err(error) if concerns_one_frame(&error) => self.refused(error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Records that the hub accepts the frames, and the number of viewers.
    pub fn accepted(&self, receipt: FrameReceipt) {
        self.state.send_modify(|state| {
            state.online = true;
            state.viewers = receipt.viewers;
            state.error = None;
        });
    }

    /// Records that the hub refused one frame; it may accept others.
    pub fn refused(&self, reason: UplinkError) {
        self.state.send_modify(|state| {
            state.refused += 1;
            state.error = Some(Arc::new(reason));
        });
    }

    /// Sends the frames over an uplink until the publisher is dropped. A broken connection is opened again after a pause
    /// with full jitter, of up to 250 ms at first and 5 s at most. The newest frame is then sent again, because it is unknown
    /// whether it arrived. The camera is never delayed.
    ///
    /// # Cancel safety
    /// Not cancel safe: a frame being sent is cut off. Drop the publisher to end the upload in order.
    pub async fn forward_to(mut self, uplink: &dyn Uplink) {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        let mut failing = false;
        loop {
            let opened = Instant::now();
            let Err(error) = uplink.stream_frames(&mut self).await else { return };
            if opened.elapsed() >= STABLE_AFTER && self.state.borrow().online {
                backoff.succeeded();
                failing = false;
            }
            let pause = pause(&mut backoff, &error);
            let (module, text) = (uplink.module_id(), error_chain(&error));
            if failing {
                tracing::debug!(%module, error = %text, "frames still do not reach the hub");
            } else {
                tracing::warn!(%module, error = %text, "frames do not reach the hub");
            }
            failing = true;
            self.state.send_modify(|state| {
                state.online = false;
                state.viewers = 0;
                state.error = Some(Arc::new(error));
            });
            let mut newest = self.newest.clone();
            tokio::select! {
                () = sleep(pause) => {}
                () = async { while newest.changed().await.is_ok() {} } => return,
            }
            self.mark_unsent();
        }
    }

    /// The slot of the newest frame, for a request body that outlives a borrow. Its frame counts as not yet taken.
    pub(crate) fn slot(&self) -> watch::Receiver<Option<Frame>> {
        let mut slot = self.newest.clone();
        slot.mark_changed();
        slot
    }

    /// Marks the newest frame, if there is one, as not yet taken.
    pub(crate) fn mark_unsent(&mut self) {
        self.newest.mark_changed();
    }
}

/// Waits for the newest frame of a slot that was not taken yet; `None` when the publisher was dropped.
pub(crate) async fn next(slot: &mut watch::Receiver<Option<Frame>>) -> Option<Frame> {
    loop {
        // The last frame is still returned after the publisher was dropped.
        slot.changed().await.ok()?;
        if let Some(frame) = slot.borrow_and_update().clone() {
            return Some(frame);
        }
    }
}

/// Whether another frame may be accepted after this error.
fn concerns_one_frame(error: &UplinkError) -> bool {
    matches!(error.kind(), ErrorKind::Unprocessable | ErrorKind::TooLarge)
}
