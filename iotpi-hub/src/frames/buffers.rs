//! A pool of frame buffers: the page faults of a new buffer of 500 KB cost more than reading a frame into it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::lock::lock;

/// Maximum bytes and number of idle buffers, independent of the number of cameras.
const MAX_IDLE_BYTES: usize = 4 * 1024 * 1024;
const MAX_IDLE_BUFFERS: usize = 16;
/// A buffer is not used for a frame that needs less than this fraction of its capacity.
const MAX_CAPACITY_FACTOR: usize = 4;

/// The idle buffers.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// A buffer taken from the pool. It returns to the pool when the last view of its bytes is dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl Buffers {
    /// Takes an empty buffer with a capacity of at least `bytes`.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Buffer {
        let mut idle = lock(&self.0);
        let fits = |buffer: &Vec<u8>| {
            (bytes..=bytes.saturating_mul(MAX_CAPACITY_FACTOR)).contains(&buffer.capacity())
        };
        // The buffer returned last is probably still in the CPU caches.
        let found = idle.iter().rposition(fits).map(|at| idle.swap_remove(at));
        drop(idle);
        Buffer { bytes: found.unwrap_or_else(|| Vec::with_capacity(bytes)), home: Arc::clone(self) }
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut idle = lock(&self.0);
        let kept: usize = idle.iter().map(Vec::capacity).sum();
        if idle.len() < MAX_IDLE_BUFFERS && kept + buffer.capacity() <= MAX_IDLE_BYTES {
            idle.push(buffer);
        }
    }
}

impl Buffer {
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The buffer as a vector, to read more bytes into it.
    pub(crate) fn vec(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Turns the buffer into shared, immutable bytes.
    pub(crate) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.home.put(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_when_the_last_view_of_it_is_gone() {
        let buffers = Arc::new(Buffers::default());
        let mut buffer = buffers.take(1000);
        buffer.extend(b"picture");
        let bytes = buffer.freeze();
        let part = bytes.slice(2..);
        drop(bytes);
        assert!(lock(&buffers.0).is_empty());

        drop(part);

        let again = buffers.take(900);
        assert_eq!((again.len(), again.bytes.capacity()), (0, 1000));
        assert!(lock(&buffers.0).is_empty());
    }

    #[test]
    fn only_a_limited_number_of_buffers_of_a_limited_size_is_kept() {
        let buffers = Arc::new(Buffers::default());
        drop(buffers.take(1000));
        assert_eq!(buffers.take(100).bytes.capacity(), 100);
        drop(buffers.take(MAX_IDLE_BYTES + 1));
        let loans: Vec<_> = (0..100).map(|_| buffers.take(MAX_IDLE_BYTES / 4)).collect();

        drop(loans);

        let idle = lock(&buffers.0);
        assert!(
            idle.iter().map(Vec::capacity).sum::<usize>() <= MAX_IDLE_BYTES && idle.len() <= MAX_IDLE_BUFFERS
        );
    }
}
