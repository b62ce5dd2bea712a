//! Frames with a stamp: their number and the time they were sent, in a comment segment (COM, ITU-T T.81
//! B.2.4.5).

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

/// The origin of all times of this process.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The start-of-image marker, the comment marker and the length of the comment.
const BEFORE_STAMP: [u8; 6] = [0xFF, 0xD8, 0xFF, 0xFE, 0, 18];
const STAMP_BYTES: usize = 16;
/// The number of bytes at the start of a frame that contain its stamp.
pub const HEAD_BYTES: usize = BEFORE_STAMP.len() + STAMP_BYTES;

/// The time since [`START`].
pub fn now() -> Duration {
    START.elapsed()
}

/// The stamp of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The number of the frame, counted by its camera.
    pub seq: u64,
    /// The time just before its first byte was sent; see [`now`].
    pub sent_at: Duration,
}

impl Stamp {
    /// Writes it into the frame that begins at `from`.
    pub fn write(self, bytes: &mut [u8], from: usize) {
        let at = from + BEFORE_STAMP.len();
        let nanos = u64::try_from(self.sent_at.as_nanos()).unwrap_or(u64::MAX);
        bytes[at..at + 8].copy_from_slice(&self.seq.to_be_bytes());
        bytes[at + 8..at + STAMP_BYTES].copy_from_slice(&nanos.to_be_bytes());
    }

    /// Reads it from the first [`HEAD_BYTES`] of a frame; `None` if the frame has no stamp.
    pub fn read(head: &[u8]) -> Option<Self> {
        let stamp = head.strip_prefix(&BEFORE_STAMP)?;
        let (seq, rest) = stamp.split_first_chunk()?;
        let (nanos, _) = rest.split_first_chunk()?;
        Some(Self {
            seq: u64::from_be_bytes(*seq),
            sent_at: Duration::from_nanos(u64::from_be_bytes(*nanos)),
        })
    }
}

/// A frame with the header of a JPEG of 1280 x 720 pixels and exactly this size. The server does not decode
/// it.
pub fn jpeg(bytes: usize) -> Vec<u8> {
    let mut jpeg = BEFORE_STAMP.to_vec();
    jpeg.extend([0; STAMP_BYTES]);
    jpeg.extend([0xFF, 0xC0, 0, 17, 8, 0x02, 0xD0, 0x05, 0x00, 3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1]);
    jpeg.extend([0xFF, 0xDA, 0, 2]);
    let content = bytes.saturating_sub(jpeg.len() + 2);
    jpeg.extend((0..content).map(|i| u8::try_from(i * 31 % 251).unwrap_or(0)));
    jpeg.extend([0xFF, 0xD9]);
    jpeg
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_a_stamp_is_the_inverse_of_writing_and_the_frame_stays_valid() {
        let mut bytes = b"head".to_vec();
        bytes.extend(jpeg(1000));
        let stamp = Stamp { seq: 7, sent_at: Duration::from_nanos(123_456_789) };

        stamp.write(&mut bytes, 4);

        assert_eq!(bytes.len(), 1004);
        assert_eq!(Stamp::read(&bytes[4..4 + HEAD_BYTES]), Some(stamp));
        assert!(iotpi_core::Frame::from_jpeg(bytes.split_off(4).into(), iotpi_core::Timestamp::MIN).is_ok());
    }
}
