//! The newest picture of each camera, and who watches it.
//!
//! Newest wins: a frame is shown to whoever is ready for it and forgotten when the next one comes. Its bytes are shared by
//! all viewers, never copied. Deliberately absent: a queue, decoding, anything on disk.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use iotpi_core::{CameraInfo, Frame, FrameReceipt, ModuleId, Timestamp};
use tokio::sync::watch;

use crate::{
    error::{HubError, Result},
    lock::lock,
    metrics::Metrics,
};

/// Frame rates are counted over so long.
const RATE_WINDOW: Duration = Duration::from_secs(5);
/// A camera is announced at most so often.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(1);

/// A frame as it is shown.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The picture.
    pub frame: Frame,
    /// Its number: how many frames of this camera the hub has taken.
    pub seq: u64,
    /// When the hub got it.
    pub received_at: Timestamp,
}

/// The cameras.
#[derive(Debug)]
pub(crate) struct Frames {
    slots: Mutex<HashMap<ModuleId, Arc<Slot>>>,
    max_cameras: u64,
    metrics: Arc<Metrics>,
}

#[derive(Debug)]
struct Slot {
    newest: watch::Sender<Option<Arc<Shown>>>,
    viewers: AtomicU32,
    skipped: AtomicU64,
    /// Its module was removed.
    gone: AtomicBool,
    pace: Mutex<Pace>,
}

/// When frames came, in monotonic time.
#[derive(Debug, Default)]
struct Pace {
    frames: u64,
    arrivals: VecDeque<Duration>,
    announced: Option<Duration>,
}

/// What showing a frame led to.
pub(crate) struct Showing {
    pub(crate) receipt: FrameReceipt,
    /// Whether it is time to tell everybody about the camera.
    pub(crate) announce: bool,
}

impl Frames {
    pub(crate) fn new(max_cameras: u64, metrics: Arc<Metrics>) -> Self {
        Self { slots: Mutex::default(), max_cameras, metrics }
    }

    /// Shows a frame to all who watch that camera. `now` is monotonic.
    ///
    /// # Errors
    /// `RateLimited` when there are as many cameras as there may be.
    pub(crate) fn show(
        &self,
        module_id: &ModuleId,
        frame: Frame,
        received_at: Timestamp,
        now: Duration,
    ) -> Result<Showing> {
        let slot = self.slot(module_id)?;
        let (seq, announce) = {
            let mut pace = lock(&slot.pace);
            pace.frames += 1;
            pace.arrivals.push_back(now);
            pace.forget_before(now);
            let announce = pace.announced.is_none_or(|last| now.saturating_sub(last) >= ANNOUNCE_EVERY);
            if announce {
                pace.announced = Some(now);
            }
            let seq = pace.frames;
            // Still under the lock, so that viewers see numbers rise.
            slot.newest.send_replace(Some(Arc::new(Shown { frame, seq, received_at })));
            (seq, announce)
        };
        self.metrics.frames_in.add(1);
        Ok(Showing { receipt: FrameReceipt { viewers: slot.viewers.load(Relaxed), seq }, announce })
    }

    /// Begins to watch a camera, which may not have delivered yet.
    ///
    /// # Errors
    /// `RateLimited` when there are as many cameras as there may be.
    pub(crate) fn watch(self: &Arc<Self>, module_id: &ModuleId) -> Result<Viewer> {
        let slot = self.slot(module_id)?;
        slot.viewers.fetch_add(1, Relaxed);
        let newest = slot.newest.subscribe();
        Ok(Viewer {
            frames: Arc::clone(self),
            module_id: module_id.clone(),
            newest,
            slot: Some(slot),
            last_seq: None,
        })
    }

    /// A camera's newest frame.
    pub(crate) fn newest(&self, module_id: &ModuleId) -> Option<Arc<Shown>> {
        lock(&self.slots).get(module_id)?.newest.borrow().clone()
    }

    /// The cameras that have delivered, by id.
    pub(crate) fn names(&self) -> Vec<ModuleId> {
        let mut names: Vec<ModuleId> = lock(&self.slots)
            .iter()
            .filter(|(_, slot)| slot.newest.borrow().is_some())
            .map(|(id, _)| id.clone())
            .collect();
        names.sort();
        names
    }

    /// A camera that has delivered, as it now is. `now` is monotonic.
    pub(crate) fn info(&self, module_id: &ModuleId, now: Duration) -> Option<CameraInfo> {
        let slot = lock(&self.slots).get(module_id).cloned()?;
        let shown = slot.newest.borrow().clone()?;
        let mut pace = lock(&slot.pace);
        pace.forget_before(now);
        Some(CameraInfo {
            module_id: module_id.clone(),
            width: shown.frame.width(),
            height: shown.frame.height(),
            bytes: shown.frame.jpeg().len() as u64,
            fps: pace.per_second(now),
            viewers: slot.viewers.load(Relaxed),
            frames: pace.frames,
            skipped: slot.skipped.load(Relaxed),
            taken_at: shown.frame.taken_at(),
            received_at: shown.received_at,
        })
    }

    /// Forgets a camera; who watches it sees the end.
    pub(crate) fn remove(&self, module_id: &ModuleId) {
        if let Some(slot) = lock(&self.slots).remove(module_id) {
            slot.gone.store(true, Relaxed);
            slot.newest.send_replace(None);
        }
    }

    fn slot(&self, module_id: &ModuleId) -> Result<Arc<Slot>> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.get(module_id) {
            return Ok(Arc::clone(slot));
        }
        if slots.len() as u64 >= self.max_cameras {
            return Err(HubError::rate_limited(format!("there are {} cameras already", self.max_cameras)));
        }
        let slot = Arc::new(Slot {
            newest: watch::Sender::new(None),
            viewers: AtomicU32::new(0),
            skipped: AtomicU64::new(0),
            gone: AtomicBool::new(false),
            pace: Mutex::default(),
        });
        slots.insert(module_id.clone(), Arc::clone(&slot));
        Ok(slot)
    }
}

impl Pace {
    fn forget_before(&mut self, now: Duration) {
        while self.arrivals.front().is_some_and(|t| now.saturating_sub(*t) > RATE_WINDOW) {
            self.arrivals.pop_front();
        }
    }

    /// Intervals per second: two frames are one interval.
    #[allow(clippy::cast_precision_loss)]
    fn per_second(&self, now: Duration) -> f64 {
        let Some(first) = self.arrivals.front() else { return 0.0 };
        let span = now.saturating_sub(*first).as_secs_f64();
        let intervals = self.arrivals.len() - 1;
        if intervals == 0 || span <= 0.0 { 0.0 } else { (intervals as f64 / span * 10.0).round() / 10.0 }
    }
}

/// Somebody who watches a camera; counted until dropped.
#[derive(Debug)]
pub(crate) struct Viewer {
    frames: Arc<Frames>,
    module_id: ModuleId,
    newest: watch::Receiver<Option<Arc<Shown>>>,
    slot: Option<Arc<Slot>>,
    last_seq: Option<u64>,
}

impl Viewer {
    /// The newest frame this viewer has not seen, as soon as there is one; nothing when the camera is removed.
    ///
    /// # Cancel safety
    /// A cancelled wait has missed nothing.
    pub(crate) async fn next(&mut self) -> Option<Arc<Shown>> {
        loop {
            let newest = self.newest.borrow_and_update().clone();
            match newest {
                Some(shown) if self.last_seq.is_none_or(|last| shown.seq > last) => {
                    let skipped = self.last_seq.map_or(0, |last| shown.seq - last - 1);
                    self.last_seq = Some(shown.seq);
                    if let Some(slot) = &self.slot {
                        slot.skipped.fetch_add(skipped, Relaxed);
                    }
                    self.frames.metrics.frames_skipped.add(skipped);
                    self.frames.metrics.frames_out.add(1);
                    return Some(shown);
                }
                None if self.slot.as_ref().is_some_and(|slot| slot.gone.load(Relaxed)) => return None,
                _ => self.newest.changed().await.ok()?,
            }
        }
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let mut slots = lock(&self.frames.slots);
        // A camera that was waited for and never came leaves nothing behind.
        if slot.viewers.fetch_sub(1, Relaxed) == 1
            && slot.newest.borrow().is_none()
            && slots.get(&self.module_id).is_some_and(|kept| Arc::ptr_eq(kept, &slot))
        {
            slots.remove(&self.module_id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame() -> Frame {
        let jpeg: &[u8] = &[
            0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1, 0xFF, 0xDA,
            0, 2, 0xFF, 0xD9,
        ];
        Frame::from_jpeg(jpeg.into(), Timestamp::MIN).unwrap()
    }

    fn frames() -> Arc<Frames> {
        Arc::new(Frames::new(2, Arc::default()))
    }

    fn id(text: &str) -> ModuleId {
        ModuleId::new(text).unwrap()
    }

    fn show(frames: &Frames, camera: &str, at: Duration) -> Showing {
        frames.show(&id(camera), frame(), Timestamp::MIN, at).unwrap()
    }

    #[tokio::test]
    async fn a_slow_viewer_gets_the_newest_frame_and_its_skips_are_counted() {
        let frames = frames();
        let mut viewer = frames.watch(&id("a")).unwrap();
        for i in 1..=5 {
            assert_eq!(
                show(&frames, "a", Duration::from_millis(100 * i)).receipt,
                FrameReceipt { viewers: 1, seq: i }
            );
        }
        assert_eq!(viewer.next().await.unwrap().seq, 5);
        for i in 6..=9 {
            show(&frames, "a", Duration::from_millis(100 * i));
        }

        assert_eq!(viewer.next().await.unwrap().seq, 9);

        let info = frames.info(&id("a"), Duration::from_millis(900)).unwrap();
        assert_eq!((info.frames, info.skipped, info.viewers, info.fps), (9, 3, 1, 10.0));
        drop(viewer);
        assert_eq!(frames.info(&id("a"), Duration::from_secs(60)).unwrap().fps, 0.0);
        assert_eq!(frames.info(&id("a"), Duration::from_secs(60)).unwrap().viewers, 0);
    }

    #[tokio::test]
    async fn viewers_of_a_camera_share_the_bytes() {
        let frames = frames();
        show(&frames, "a", Duration::ZERO);
        let (mut one, mut two) = (frames.watch(&id("a")).unwrap(), frames.watch(&id("a")).unwrap());

        let (one, two) = (one.next().await.unwrap(), two.next().await.unwrap());

        assert_eq!(one.frame.jpeg().as_ptr(), two.frame.jpeg().as_ptr());
    }

    #[test]
    fn a_camera_is_announced_at_most_once_a_second() {
        let frames = frames();

        let announced: Vec<bool> = [0, 400, 999, 1000, 1500, 2100]
            .map(|ms| show(&frames, "a", Duration::from_millis(ms)).announce)
            .into();

        assert_eq!(announced, [true, false, false, true, false, true]);
    }

    #[tokio::test]
    async fn a_camera_nobody_saw_leaves_nothing_behind_and_a_removed_one_ends_its_viewers() {
        let frames = frames();
        drop(frames.watch(&id("never")).unwrap());
        assert!(lock(&frames.slots).is_empty());
        show(&frames, "a", Duration::ZERO);
        let mut viewer = frames.watch(&id("a")).unwrap();
        viewer.next().await.unwrap();
        let mut waiting = frames.watch(&id("b")).unwrap();

        frames.remove(&id("a"));
        frames.remove(&id("b"));

        assert!(viewer.next().await.is_none());
        assert!(waiting.next().await.is_none());
        show(&frames, "b", Duration::ZERO);
        show(&frames, "c", Duration::ZERO);
        assert!(frames.watch(&id("d")).is_err());
    }
}
