//! Memory for pictures, used again: a fresh half megabyte costs more in page faults than reading it in.

use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::lock::lock;

/// So many bytes are kept for later, in so many buffers, whatever the cameras.
const MOST_IDLE_BYTES: usize = 4 * 1024 * 1024;
const MOST_IDLE: usize = 16;
/// A buffer this many times larger than needed would be a waste.
const MOST_WASTE: usize = 4;

/// The buffers that wait for a picture.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// A buffer on loan; goes back with the last one who sees its bytes.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl Buffers {
    /// An empty buffer with room for at least so many bytes.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Buffer {
        let mut idle = lock(&self.0);
        let fits = |buffer: &Vec<u8>| (bytes..=bytes.saturating_mul(MOST_WASTE)).contains(&buffer.capacity());
        // The last one that came back is still in the caches.
        let found = idle.iter().rposition(fits).map(|at| idle.swap_remove(at));
        drop(idle);
        Buffer { bytes: found.unwrap_or_else(|| Vec::with_capacity(bytes)), home: Arc::clone(self) }
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut idle = lock(&self.0);
        let kept: usize = idle.iter().map(Vec::capacity).sum();
        if idle.len() < MOST_IDLE && kept + buffer.capacity() <= MOST_IDLE_BYTES {
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

    /// To be read into, behind what is there.
    pub(crate) fn vec(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// What is in it, shared from now on.
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
    fn neither_too_much_nor_too_large_ones_are_kept() {
        let buffers = Arc::new(Buffers::default());
        drop(buffers.take(1000));
        assert_eq!(buffers.take(100).bytes.capacity(), 100);
        drop(buffers.take(MOST_IDLE_BYTES + 1));
        let loans: Vec<_> = (0..100).map(|_| buffers.take(MOST_IDLE_BYTES / 4)).collect();

        drop(loans);

        let idle = lock(&buffers.0);
        assert!(idle.iter().map(Vec::capacity).sum::<usize>() <= MOST_IDLE_BYTES && idle.len() <= MOST_IDLE);
    }
}
