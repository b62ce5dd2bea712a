//! A camera's pictures on their way to a hub: always the newest one, and what the hub says of them.
//!
//! Deliberately absent: a queue. A picture that was not sent when the next one came is let go; its number is missing at the
//! hub, which counts it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    client::backoff::{Backoff, pause, with_source},
    model::{camera::FrameReceipt, error::ErrorKind, frame::Frame},
    uplink::{Uplink, UplinkError},
};

/// How far apart pictures are while nobody watches.
const IDLE_PERIOD: Duration = Duration::from_secs(1);
/// A line that lasted so long was a good one: when it breaks, the next one is tried soon, and it is said.
const STEADY: Duration = Duration::from_secs(10);

/// The camera's end: pictures go in, and who watches comes out. Dropping it ends the film.
///
/// ```
/// use iotpi_core::{Film, Frame, ModuleId, Timestamp, testing::RecordingUplink};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 1, 0, 1, 0xFF, 0xD9];
/// let hub = RecordingUplink::new("porch".parse()?);
/// let (film, pictures) = Film::begin();
/// let line = hub.clone();
/// let sending = tokio::spawn(async move { pictures.send_over(&line).await });
///
/// film.wanted().await;
/// film.show(Frame::from_jpeg(jpeg.into(), Timestamp::MIN)?);
/// drop(film);
/// sending.await?;
///
/// assert_eq!(hub.frames()[0].sequence(), Some(1));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Film {
    slot: watch::Sender<Option<Frame>>,
    state: watch::Receiver<FilmState>,
    shown: Mutex<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    number: u64,
    at: Option<Instant>,
}

/// What is known of a film.
#[derive(Debug, Clone, Default)]
pub struct FilmState {
    /// Whether a hub takes the pictures.
    pub online: bool,
    /// How many want them, as the hub last said; 0 while there is no line.
    pub viewers: u32,
    /// Pictures the hub refused since the film began.
    pub refused: u64,
    /// What went wrong last, a refused picture or a line that broke; nothing once the hub has said something good since.
    pub error: Option<Arc<UplinkError>>,
}

impl Film {
    /// Both ends of a film.
    #[must_use]
    pub fn begin() -> (Self, Pictures) {
        let (slot, newest) = watch::channel(None);
        let (told, state) = watch::channel(FilmState::default());
        (Self { slot, state, shown: Mutex::default() }, Pictures { newest, told })
    }

    /// Shows a picture. It replaces one that was not sent yet, and is numbered 1, 2, 3, ... unless it has a number. Never
    /// waits.
    pub fn show(&self, frame: Frame) {
        let mut shown = self.lock();
        shown.number = frame.sequence().unwrap_or(shown.number + 1);
        shown.at = Some(Instant::now());
        self.slot.send_replace(Some(frame.numbered(shown.number)));
    }

    /// Returns when the next picture is wanted: at once while somebody watches, else a second after the one before, or as
    /// soon as somebody begins to watch.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wanted(&self) {
        let Some(last) = self.lock().at else { return };
        let mut state = self.state.clone();
        let watched = async {
            // Without the other end nobody will ever watch.
            if state.wait_for(|state| state.viewers > 0).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = watched => {}
            () = sleep_until(last + IDLE_PERIOD) => {}
        }
        // A camera that never waits leaves its line a turn, too.
        tokio::task::yield_now().await;
    }

    /// What is known now.
    #[must_use]
    pub fn state(&self) -> FilmState {
        self.state.borrow().clone()
    }

    /// What is known, to be awaited when it changes.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<FilmState> {
        self.state.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The line's end: what an [`Uplink`] takes pictures from, and tells what the hub said.
#[derive(Debug)]
pub struct Pictures {
    newest: watch::Receiver<Option<Frame>>,
    told: watch::Sender<FilmState>,
}

impl Pictures {
    /// The newest picture not yet taken, as soon as there is one; nothing when the film is over.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<Frame> {
        next(&mut self.newest).await
    }

    /// Says what the hub answered to a picture.
    ///
    /// # Errors
    /// The same one when it is not about that picture alone: the line is of no more use. A picture that was refused is
    /// counted, and the film goes on.
    pub fn settle(&self, answer: Result<FrameReceipt, UplinkError>) -> Result<(), UplinkError> {
        match answer {
            Ok(receipt) => self.accepted(receipt),
            Err(error) if is_about_the_picture(&error) => self.refused(error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Says that the hub takes the pictures, and how many want them.
    pub fn accepted(&self, receipt: FrameReceipt) {
        self.told.send_modify(|state| {
            state.online = true;
            state.viewers = receipt.viewers;
            state.error = None;
        });
    }

    /// Says that the hub refused a picture and takes others.
    pub fn refused(&self, why: UplinkError) {
        self.told.send_modify(|state| {
            state.refused += 1;
            state.error = Some(Arc::new(why));
        });
    }

    /// Sends the pictures over an uplink until the film is over. A line that breaks is opened again, after a pause with full
    /// jitter of up to 250 ms at first and up to 5 s in the end; then the newest picture is sent again, because nobody knows
    /// whether it arrived. The camera is never held up.
    ///
    /// # Cancel safety
    /// Not cancel safe: a picture under way is cut off. Drop the film to end it in order.
    pub async fn send_over(mut self, up: &dyn Uplink) {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(5));
        let mut failing = false;
        loop {
            let opened = Instant::now();
            let Err(error) = up.film(&mut self).await else { return };
            if opened.elapsed() >= STEADY && self.told.borrow().online {
                backoff.succeeded();
                failing = false;
            }
            let pause = pause(&mut backoff, &error);
            let (module, text) = (up.module_id(), with_source(&error));
            if failing {
                tracing::debug!(%module, error = %text, "pictures still do not reach the hub");
            } else {
                tracing::warn!(%module, error = %text, "pictures do not reach the hub");
            }
            failing = true;
            self.told.send_modify(|state| {
                state.online = false;
                state.viewers = 0;
                state.error = Some(Arc::new(error));
            });
            let mut film = self.newest.clone();
            tokio::select! {
                () = sleep(pause) => {}
                () = async { while film.changed().await.is_ok() {} } => return,
            }
            self.again();
        }
    }

    /// The slot of the newest picture, for a body that outlives a borrow. What is in it counts as new.
    pub(crate) fn slot(&self) -> watch::Receiver<Option<Frame>> {
        let mut slot = self.newest.clone();
        slot.mark_changed();
        slot
    }

    /// Lets the newest picture, if there is one, count as not yet taken.
    pub(crate) fn again(&mut self) {
        self.newest.mark_changed();
    }
}

/// The newest picture of a slot not yet seen; nothing when there will be none.
pub(crate) async fn next(slot: &mut watch::Receiver<Option<Frame>>) -> Option<Frame> {
    loop {
        // What was shown last is still given when the film is over.
        slot.changed().await.ok()?;
        if let Some(frame) = slot.borrow_and_update().clone() {
            return Some(frame);
        }
    }
}

/// Whether another picture may be taken all the same.
fn is_about_the_picture(error: &UplinkError) -> bool {
    matches!(error.kind(), ErrorKind::Unprocessable | ErrorKind::TooLarge)
}
