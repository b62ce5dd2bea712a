//! Frames buffered in memory: before an event, or until they are written. Limited in bytes; the oldest frames
//! are dropped first.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use crate::frames::PublishedFrame;

/// Maximum bytes of JPEG in one buffer. A camera has two: the pre-event buffer and the write buffer.
pub(crate) const MAX_BYTES: u64 = 32 << 20;
/// Maximum bytes in the buffers of all cameras.
const MAX_TOTAL_BYTES: u64 = 128 << 20;

/// Bytes in the buffers of all cameras.
#[derive(Debug, Default)]
pub(crate) struct Budget(AtomicU64);

impl Budget {
    fn take(&self, bytes: u64) -> bool {
        let take = |buffered: u64| Some(buffered + bytes).filter(|buffered| *buffered <= MAX_TOTAL_BYTES);
        self.0.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    fn give(&self, bytes: u64) {
        self.0.fetch_sub(bytes, Relaxed);
    }
}

/// A frame in a buffer.
#[derive(Debug)]
pub(crate) struct BufferedFrame<T> {
    pub(crate) published: Arc<PublishedFrame>,
    /// Arrival, in the hub's uptime.
    pub(crate) came: Duration,
    /// The recording session the frame belongs to.
    pub(crate) session: T,
}

impl<T> BufferedFrame<T> {
    fn bytes(&self) -> u64 {
        self.published.frame.jpeg().len() as u64
    }
}

/// A buffer of frames, oldest first. Its bytes are returned to the budget when frames leave it and when it is
/// dropped.
#[derive(Debug)]
pub(crate) struct FrameBuffer<T> {
    frames: VecDeque<BufferedFrame<T>>,
    bytes: u64,
    most: u64,
    budget: Arc<Budget>,
}

impl<T> FrameBuffer<T> {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, most: MAX_BYTES, budget }
    }

    /// Appends a frame and drops the oldest ones if there is not enough space. Returns the number of dropped
    /// frames; the new frame is one of them if even an empty buffer has no space for it.
    pub(crate) fn push(&mut self, frame: BufferedFrame<T>) -> u64 {
        let bytes = frame.bytes();
        let mut gone = 0;
        while self.bytes + bytes > self.most || !self.budget.take(bytes) {
            gone += 1;
            if self.pop().is_none() {
                return gone;
            }
        }
        self.bytes += bytes;
        self.frames.push_back(frame);
        gone
    }

    /// Removes the oldest frame.
    pub(crate) fn pop(&mut self) -> Option<BufferedFrame<T>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.bytes();
        self.budget.give(frame.bytes());
        Some(frame)
    }

    /// Drops the frames that arrived before the given uptime.
    pub(crate) fn forget_before(&mut self, then: Duration) {
        while self.frames.front().is_some_and(|frame| frame.came < then) {
            self.pop();
        }
    }

    /// Bytes of JPEG in the buffer.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of frames in the buffer.
    pub(crate) fn len(&self) -> usize {
        self.frames.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

impl<T> Drop for FrameBuffer<T> {
    fn drop(&mut self) {
        self.budget.give(self.bytes);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use iotpi_core::{Frame, ModuleId, Timestamp};

    use super::*;
    use crate::frames::{Frames, Moment};

    fn frame(secs: u64, bytes: usize) -> BufferedFrame<()> {
        let mut jpeg = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8, 0, 8, 0, 8, 3];
        jpeg.resize(bytes - 2, 0x55);
        jpeg.extend([0xFF, 0xD9]);
        let at = Timestamp::MIN;
        let frame = Frame::from_jpeg(jpeg.into(), at).unwrap();
        BufferedFrame { published: published(frame, at), came: Duration::from_secs(secs), session: () }
    }

    /// A frame as a camera's slot publishes it.
    pub(in super::super) fn published(frame: Frame, wall: Timestamp) -> Arc<PublishedFrame> {
        let frames = Frames::new(1, Duration::MAX, Arc::default());
        let camera = ModuleId::new("porch").unwrap();
        frames.publish(&camera, frame, Moment { wall, uptime: Duration::ZERO }).unwrap();
        frames.newest(&camera).unwrap()
    }

    const MIB: usize = 1 << 20;

    #[test]
    fn the_oldest_go_when_a_camera_holds_too_much() {
        let mut waiting = FrameBuffer::new(Arc::default());

        let gone: u64 = (0..40).map(|n| waiting.push(frame(n, MIB))).sum();

        assert_eq!((gone, waiting.len(), waiting.bytes()), (8, 32, MAX_BYTES));
        assert_eq!(waiting.pop().map(|frame| frame.came), Some(Duration::from_secs(8)));
    }

    #[test]
    fn frames_that_are_too_old_are_dropped() {
        let mut waiting = FrameBuffer::new(Arc::default());
        (0..10).for_each(|n| {
            waiting.push(frame(n, 100));
        });

        waiting.forget_before(Duration::from_secs(6));

        assert_eq!(waiting.len(), 4);
    }

    #[test]
    fn all_cameras_together_stay_within_their_budget_and_return_it() {
        let budget = Arc::new(Budget::default());
        let mut cameras: Vec<_> = (0..5).map(|_| FrameBuffer::new(Arc::clone(&budget))).collect();

        let gone: Vec<u64> =
            cameras.iter_mut().map(|camera| (0..32).map(|n| camera.push(frame(n, MIB))).sum()).collect();
        assert_eq!(gone, [0, 0, 0, 0, 32]);

        cameras.pop();
        cameras.pop();
        let mut other = FrameBuffer::new(Arc::clone(&budget));
        assert_eq!((0..32).map(|n| other.push(frame(n, MIB))).sum::<u64>(), 0);
        drop((cameras, other));
        assert_eq!(budget.0.load(Relaxed), 0);
    }
}
