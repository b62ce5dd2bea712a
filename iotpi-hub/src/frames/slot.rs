//! The place of one camera: its newest picture, and what is counted of it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use iotpi_core::{CameraInfo, Frame, FrameReceipt, ModuleId, Timestamp, ViewerInfo, ViewerKind};
use tokio::sync::watch;

use super::{Moment, PublishOutcome, PublishedFrame, no_signal, pace::Pace};
use crate::lock::lock;

/// A camera is announced at most so often.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);
/// A camera that skips more numbers than these, some hours of frames, did not lose them.
const MOST_MISSED: u64 = 1_000_000;
/// So many viewers are named.
const MOST_NAMED: usize = 256;

/// One camera.
#[derive(Debug)]
pub(crate) struct Slot {
    newest: watch::Sender<Option<Arc<PublishedFrame>>>,
    viewers: watch::Sender<u32>,
    watching: Mutex<BTreeMap<u64, Arc<ViewerCounts>>>,
    delivered: AtomicU64,
    skipped: AtomicU64,
    refused: AtomicU64,
    /// A frame had a capture time that was ignored.
    ignored_time: AtomicBool,
    /// It is one of the cameras that deliver, of which there is a limited number.
    has_place: AtomicBool,
    /// Its module was removed.
    gone: AtomicBool,
    made: Moment,
    lost_after: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The number of the newest picture, drawn ones included.
    seq: u64,
    /// How many the camera delivered.
    frames: u64,
    missing: u64,
    last_number: Option<u64>,
    last_good: Option<Arc<PublishedFrame>>,
    /// The drawn picture of the present silence.
    no_signal: Option<Frame>,
    was_online: bool,
    viewers_made: u64,
    pace: Pace,
}

/// What is counted of one viewer.
#[derive(Debug)]
pub(super) struct ViewerCounts {
    id: u64,
    via: ViewerKind,
    since: Timestamp,
    delivered: AtomicU64,
    skipped: AtomicU64,
    /// The number of the picture it got last; 0 before the first.
    last_seq: AtomicU64,
}

impl Slot {
    pub(super) fn new(made: Moment, lost_after: Duration) -> Self {
        Self {
            newest: watch::Sender::new(None),
            viewers: watch::Sender::new(0),
            watching: Mutex::default(),
            delivered: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            ignored_time: AtomicBool::new(false),
            has_place: AtomicBool::new(false),
            gone: AtomicBool::new(false),
            made,
            lost_after,
            state: Mutex::default(),
        }
    }

    /// Shows a frame to all who watch.
    pub(crate) fn publish(&self, frame: Frame, now: Moment) -> PublishOutcome {
        let captured_at = frame.captured_at().min(now.wall).max(Timestamp::MIN);
        let mut state = lock(&self.state);
        state.frames += 1;
        // A number that is not higher, or much higher, is a camera that began anew.
        if let (Some(last), Some(number)) = (state.last_number, frame.sequence())
            && let Some(skipped @ ..MOST_MISSED) =
                number.checked_sub(last).and_then(|step| step.checked_sub(1))
        {
            state.missing += skipped;
        }
        state.last_number = frame.sequence();
        state.no_signal = None;
        state.pace.came(now.uptime, captured_at, now.wall);
        let announce = state.pace.announce(now.uptime, ANNOUNCE_EVERY);
        state.seq += 1;
        let seq = state.seq;
        let part_head = OnceLock::new();
        let shown = Arc::new(PublishedFrame {
            frame,
            seq,
            captured_at,
            received_at: now.wall,
            no_signal: false,
            part_head,
        });
        state.last_good = Some(Arc::clone(&shown));
        // Still under the lock, so that viewers see numbers rise. The frame before goes with its last viewer.
        self.newest.send_replace(Some(shown));
        drop(state);
        PublishOutcome { receipt: FrameReceipt { viewers: self.viewers(), seq }, announce }
    }

    /// Draws the picture that says so for those who watch while nothing comes; at most one a second is due.
    pub(super) fn tell_if_lost(&self, now: Moment) {
        let mut state = lock(&self.state);
        if self.is_online(&state, now) || (self.viewers() == 0 && state.no_signal.is_some()) {
            return;
        }
        let last = state.last_good.as_ref();
        let size = last.map_or((640, 360), |shown| (shown.frame.width(), shown.frame.height()));
        let since = last.map(|shown| shown.received_at);
        let drawn = match state.no_signal.take() {
            Some(drawn) => Some(drawn),
            None => no_signal::draw(size, since, now.wall),
        };
        let Some(frame) = drawn else { return };
        state.seq += 1;
        let shown = PublishedFrame {
            frame: frame.clone(),
            seq: state.seq,
            captured_at: now.wall,
            received_at: now.wall,
            no_signal: true,
            part_head: OnceLock::new(),
        };
        state.no_signal = Some(frame);
        self.newest.send_replace(Some(Arc::new(shown)));
    }

    /// Whether it fell silent or came back since this was last asked.
    pub(super) fn turned(&self, now: Moment) -> bool {
        let mut state = lock(&self.state);
        let online = self.is_online(&state, now);
        state.last_good.is_some() && std::mem::replace(&mut state.was_online, online) != online
    }

    /// A delivery was refused.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn is_first_ignored_time(&self) -> bool {
        !self.ignored_time.swap(true, Relaxed)
    }

    /// How many want its frames, now and whenever that changes.
    pub(crate) fn viewers_changing(&self) -> watch::Receiver<u32> {
        self.viewers.subscribe()
    }

    /// How many want its frames: open streams and the recorder.
    pub(super) fn viewers(&self) -> u32 {
        *self.viewers.borrow()
    }

    /// How many streams are open, without the recorder.
    fn streams(&self) -> u32 {
        let recorders =
            lock(&self.watching).values().filter(|tally| tally.via == ViewerKind::Recording).count();
        self.viewers().saturating_sub(u32::try_from(recorders).unwrap_or(u32::MAX))
    }

    pub(super) fn has_place(&self) -> bool {
        self.has_place.load(Relaxed)
    }

    pub(super) fn take_place(&self) {
        self.has_place.store(true, Relaxed);
    }

    /// Whether its module was removed.
    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Relaxed)
    }

    pub(super) fn end(&self) {
        self.gone.store(true, Relaxed);
        self.newest.send_replace(None);
        // Wakes who pushes.
        self.viewers.send_modify(|_| {});
    }

    pub(super) fn last_good(&self) -> Option<Arc<PublishedFrame>> {
        lock(&self.state).last_good.clone()
    }

    pub(super) fn info(&self, module_id: &ModuleId, now: Moment) -> Option<CameraInfo> {
        let mut state = lock(&self.state);
        let shown = state.last_good.clone()?;
        let newest = state.seq;
        let missed: u64 = lock(&self.watching).values().map(|tally| tally.missed(newest)).sum();
        Some(CameraInfo {
            module_id: module_id.clone(),
            online: self.is_online(&state, now),
            width: shown.frame.width(),
            height: shown.frame.height(),
            bytes: shown.frame.jpeg().len() as u64,
            fps: state.pace.per_second(now.uptime),
            viewers: self.streams(),
            frames: state.frames,
            delivered: self.delivered.load(Relaxed),
            skipped: self.skipped.load(Relaxed) + missed,
            missing: state.missing,
            refused: self.refused.load(Relaxed),
            taken_at: shown.frame.taken_at(),
            captured_at: shown.captured_at,
            received_at: shown.received_at,
            latency: state.pace.latency(now.uptime),
        })
    }

    /// Who watches, the longest first.
    pub(super) fn watching(&self) -> Vec<ViewerInfo> {
        let newest = lock(&self.state).seq;
        lock(&self.watching).values().take(MOST_NAMED).map(|tally| tally.told(newest)).collect()
    }

    fn is_online(&self, state: &State, now: Moment) -> bool {
        !state.pace.is_silent(now.uptime, self.made.uptime, self.lost_after)
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Arc<PublishedFrame>>> {
        self.newest.subscribe()
    }

    pub(super) fn enter(&self, via: ViewerKind, since: Timestamp) -> Arc<ViewerCounts> {
        let id = {
            let mut state = lock(&self.state);
            state.viewers_made += 1;
            state.viewers_made
        };
        let (delivered, skipped, last_seq) = Default::default();
        let tally = Arc::new(ViewerCounts { id, via, since, delivered, skipped, last_seq });
        lock(&self.watching).insert(id, Arc::clone(&tally));
        self.viewers.send_modify(|viewers| *viewers += 1);
        tally
    }

    /// A viewer is gone; how many pictures it had missed and not been asked about.
    pub(super) fn leave(&self, tally: &ViewerCounts) -> u64 {
        let missed = tally.missed(lock(&self.state).seq);
        self.skipped.fetch_add(missed, Relaxed);
        lock(&self.watching).remove(&tally.id);
        self.viewers.send_modify(|viewers| *viewers -= 1);
        missed
    }

    /// A viewer got a picture, and not so many before it.
    pub(super) fn gave(&self, tally: &ViewerCounts, seq: u64, skipped: u64) {
        tally.last_seq.store(seq, Relaxed);
        let counted = [
            (&self.delivered, 1),
            (&tally.delivered, 1),
            (&self.skipped, skipped),
            (&tally.skipped, skipped),
        ];
        for (counter, by) in counted {
            counter.fetch_add(by, Relaxed);
        }
    }
}

impl ViewerCounts {
    /// What it has already missed for good, though it took nothing since: all but the newest.
    fn missed(&self, newest: u64) -> u64 {
        match self.last_seq.load(Relaxed) {
            0 => 0,
            last => newest.saturating_sub(last).saturating_sub(1),
        }
    }

    fn told(&self, newest: u64) -> ViewerInfo {
        ViewerInfo {
            id: self.id,
            via: self.via,
            since: self.since,
            delivered: self.delivered.load(Relaxed),
            skipped: self.skipped.load(Relaxed) + self.missed(newest),
        }
    }
}
