//! The slot of one camera: its newest frame, its viewers and its counters.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use iotpi_core::{
    Frame, ModuleId, Timestamp,
    model::camera::{CameraInfo, FrameReceipt, ViewerInfo, ViewerKind},
};
use tokio::sync::watch;

use super::{Moment, PublishOutcome, PublishedFrame, arrival_stats::ArrivalStats, no_signal};
use crate::lock::lock;

/// Minimum interval between two events about a camera.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);
/// A larger jump of the camera's sequence number, some hours of frames, is a restart and not a loss.
const MAX_SEQUENCE_JUMP: u64 = 1_000_000;
/// Maximum number of viewers that are listed.
const MAX_LISTED_VIEWERS: usize = 256;

/// The slot of one camera.
#[derive(Debug)]
pub(crate) struct Slot {
    newest: watch::Sender<Option<Arc<PublishedFrame>>>,
    viewers: watch::Sender<u32>,
    watching: Mutex<BTreeMap<u64, Arc<ViewerCounts>>>,
    delivered: AtomicU64,
    skipped: AtomicU64,
    refused: AtomicU64,
    /// Whether a capture time of this camera was ignored before.
    ignored_time: AtomicBool,
    /// Whether the camera counts towards the maximum number of delivering cameras.
    is_delivering: AtomicBool,
    /// Whether the module was removed.
    removed: AtomicBool,
    created: Moment,
    lost_after: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Sequence number of the newest frame, "no signal" frames included.
    seq: u64,
    /// Number of frames the camera delivered.
    frames: u64,
    missing: u64,
    last_number: Option<u64>,
    last_good: Option<Arc<PublishedFrame>>,
    /// The "no signal" frame of the current silence.
    no_signal: Option<Frame>,
    was_online: bool,
    viewers_added: u64,
    arrival_stats: ArrivalStats,
}

/// The counters of one viewer.
#[derive(Debug)]
pub(super) struct ViewerCounts {
    id: u64,
    via: ViewerKind,
    since: Timestamp,
    delivered: AtomicU64,
    skipped: AtomicU64,
    /// Sequence number of the newest frame delivered to the viewer; 0 before the first.
    last_seq: AtomicU64,
}

impl Slot {
    pub(super) fn new(created: Moment, lost_after: Duration) -> Self {
        Self {
            newest: watch::Sender::new(None),
            viewers: watch::Sender::new(0),
            watching: Mutex::default(),
            delivered: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            ignored_time: AtomicBool::new(false),
            is_delivering: AtomicBool::new(false),
            removed: AtomicBool::new(false),
            created,
            lost_after,
            state: Mutex::default(),
        }
    }

    /// Publishes a frame to all viewers.
    pub(crate) fn publish(&self, frame: Frame, now: Moment) -> PublishOutcome {
        let captured_at = frame.captured_at().min(now.wall).max(Timestamp::MIN);
        let mut state = lock(&self.state);
        state.frames += 1;
        // A number that is not higher, or much higher, means that the camera restarted.
        if let (Some(last), Some(number)) = (state.last_number, frame.sequence())
            && let Some(skipped @ ..MAX_SEQUENCE_JUMP) =
                number.checked_sub(last).and_then(|step| step.checked_sub(1))
        {
            state.missing += skipped;
        }
        state.last_number = frame.sequence();
        state.no_signal = None;
        state.arrival_stats.record(now.uptime, captured_at, now.wall);
        let announce = state.arrival_stats.announce(now.uptime, ANNOUNCE_EVERY);
        state.seq += 1;
        let seq = state.seq;
        let part_head = OnceLock::new();
        let published = Arc::new(PublishedFrame {
            frame,
            seq,
            captured_at,
            received_at: now.wall,
            no_signal: false,
            part_head,
        });
        state.last_good = Some(Arc::clone(&published));
        // Sent under the lock, so that viewers see rising numbers. The previous frame is freed with its last
        // viewer.
        self.newest.send_replace(Some(published));
        drop(state);
        PublishOutcome { receipt: FrameReceipt::new(self.viewers(), seq), announce }
    }

    /// Publishes a "no signal" frame to the viewers if the camera is lost. Called once a second.
    pub(super) fn publish_if_lost(&self, now: Moment) {
        let mut state = lock(&self.state);
        if self.is_online(&state, now) || (self.viewers() == 0 && state.no_signal.is_some()) {
            return;
        }
        let last = state.last_good.as_ref();
        let size = last.map_or((640, 360), |published| (published.frame.width(), published.frame.height()));
        let since = last.map(|published| published.received_at);
        let drawn = match state.no_signal.take() {
            Some(drawn) => Some(drawn),
            None => no_signal::draw(size, since, now.wall),
        };
        let Some(frame) = drawn else { return };
        state.seq += 1;
        let published = PublishedFrame {
            frame: frame.clone(),
            seq: state.seq,
            captured_at: now.wall,
            received_at: now.wall,
            no_signal: true,
            part_head: OnceLock::new(),
        };
        state.no_signal = Some(frame);
        self.newest.send_replace(Some(Arc::new(published)));
    }

    /// Whether the camera was lost or came back since the last call.
    pub(super) fn take_online_change(&self, now: Moment) -> bool {
        let mut state = lock(&self.state);
        let online = self.is_online(&state, now);
        state.last_good.is_some() && std::mem::replace(&mut state.was_online, online) != online
    }

    /// Counts a rejected frame.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(super) fn is_first_ignored_time(&self) -> bool {
        !self.ignored_time.swap(true, Relaxed)
    }

    /// The demand: the number of viewers and recorders, and its changes.
    pub(crate) fn watch_demand(&self) -> watch::Receiver<u32> {
        self.viewers.subscribe()
    }

    /// Number of open streams and recorders.
    pub(super) fn viewers(&self) -> u32 {
        *self.viewers.borrow()
    }

    /// Number of open streams, without recorders.
    fn streams(&self) -> u32 {
        let recorders =
            lock(&self.watching).values().filter(|counts| counts.via == ViewerKind::Recording).count();
        self.viewers().saturating_sub(u32::try_from(recorders).unwrap_or(u32::MAX))
    }

    pub(super) fn is_delivering(&self) -> bool {
        self.is_delivering.load(Relaxed)
    }

    pub(super) fn mark_delivering(&self) {
        self.is_delivering.store(true, Relaxed);
    }

    /// Whether the module was removed.
    pub(crate) fn is_gone(&self) -> bool {
        self.removed.load(Relaxed)
    }

    pub(super) fn remove(&self) {
        self.removed.store(true, Relaxed);
        self.newest.send_replace(None);
        // Wakes the publishers.
        self.viewers.send_modify(|_| {});
    }

    pub(super) fn last_good(&self) -> Option<Arc<PublishedFrame>> {
        lock(&self.state).last_good.clone()
    }

    pub(super) fn info(&self, module_id: &ModuleId, now: Moment) -> Option<CameraInfo> {
        let mut state = lock(&self.state);
        let published = state.last_good.clone()?;
        let newest = state.seq;
        let missed: u64 = lock(&self.watching).values().map(|counts| counts.missed(newest)).sum();
        let (frame, module_id) = (&published.frame, module_id.clone());
        let mut info =
            CameraInfo::new(module_id, frame.taken_at(), published.captured_at, published.received_at);
        info.online = self.is_online(&state, now);
        (info.width, info.height) = (frame.width(), frame.height());
        info.bytes = frame.jpeg().len() as u64;
        info.fps = state.arrival_stats.per_second(now.uptime);
        info.viewers = self.streams();
        info.frames = state.frames;
        info.delivered = self.delivered.load(Relaxed);
        info.skipped = self.skipped.load(Relaxed) + missed;
        info.missing = state.missing;
        info.refused = self.refused.load(Relaxed);
        info.latency = state.arrival_stats.latency(now.uptime);
        Some(info)
    }

    /// The viewers, in the order in which they connected.
    pub(super) fn watching(&self) -> Vec<ViewerInfo> {
        let newest = lock(&self.state).seq;
        lock(&self.watching).values().take(MAX_LISTED_VIEWERS).map(|counts| counts.info(newest)).collect()
    }

    fn is_online(&self, state: &State, now: Moment) -> bool {
        !state.arrival_stats.is_silent(now.uptime, self.created.uptime, self.lost_after)
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Arc<PublishedFrame>>> {
        self.newest.subscribe()
    }

    pub(super) fn add_viewer(&self, via: ViewerKind, since: Timestamp) -> Arc<ViewerCounts> {
        let id = {
            let mut state = lock(&self.state);
            state.viewers_added += 1;
            state.viewers_added
        };
        let (delivered, skipped, last_seq) = Default::default();
        let counts = Arc::new(ViewerCounts { id, via, since, delivered, skipped, last_seq });
        lock(&self.watching).insert(id, Arc::clone(&counts));
        self.viewers.send_modify(|viewers| *viewers += 1);
        counts
    }

    /// Removes a viewer. Returns the number of frames it missed that are not counted yet.
    pub(super) fn remove_viewer(&self, counts: &ViewerCounts) -> u64 {
        let missed = counts.missed(lock(&self.state).seq);
        self.skipped.fetch_add(missed, Relaxed);
        lock(&self.watching).remove(&counts.id);
        self.viewers.send_modify(|viewers| *viewers -= 1);
        missed
    }

    /// Counts a frame delivered to a viewer, and the frames skipped before it.
    pub(super) fn count_delivery(&self, counts: &ViewerCounts, seq: u64, skipped: u64) {
        counts.last_seq.store(seq, Relaxed);
        let counted = [
            (&self.delivered, 1),
            (&counts.delivered, 1),
            (&self.skipped, skipped),
            (&counts.skipped, skipped),
        ];
        for (counter, by) in counted {
            counter.fetch_add(by, Relaxed);
        }
    }
}

impl ViewerCounts {
    /// Frames the viewer has missed since the last delivery: all but the newest.
    fn missed(&self, newest: u64) -> u64 {
        match self.last_seq.load(Relaxed) {
            0 => 0,
            last => newest.saturating_sub(last).saturating_sub(1),
        }
    }

    fn info(&self, newest: u64) -> ViewerInfo {
        let mut info = ViewerInfo::new(self.id, self.via, self.since);
        info.delivered = self.delivered.load(Relaxed);
        info.skipped = self.skipped.load(Relaxed) + self.missed(newest);
        info
    }
}
