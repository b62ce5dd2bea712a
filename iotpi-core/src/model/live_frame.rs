//! A frame on the live connection: a binary header, then the JPEG file. `docs/ref/live.md` is the reference.
//!
//! Deliberately absent: copies. The header is written separately, and a received frame shares the message's
//! bytes.

use bytes::Bytes;

use crate::{model::id::ModuleId, time::Timestamp};

/// The first byte of a message with a frame.
const KIND: u8 = 1;
/// The flag of a "no signal" frame, which the hub drew.
const NO_SIGNAL: u8 = 1;
/// The size of the header without the module id, in bytes.
const FIXED_BYTES: usize = 32;

/// A frame of a camera as the hub sends it on the live connection.
///
/// ```
/// use bytes::Bytes;
/// use iotpi_core::{Timestamp, model::frame::LiveFrame};
///
/// let captured_at = Timestamp::parse("2026-11-24T12:00:00Z")?;
/// let received_at = Timestamp::parse("2026-11-24T12:00:00.05Z")?;
/// let jpeg = Bytes::from_static(b"\xFF\xD8...");
/// let frame = LiveFrame::new("front".parse()?, 123, captured_at, received_at, jpeg);
/// let message = [&frame.head()[..], &frame.jpeg].concat();
/// assert_eq!(LiveFrame::read(message.into())?, frame);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LiveFrame {
    /// The camera's module.
    pub module_id: ModuleId,
    /// The number of the frame, for its acknowledgement. A camera's numbers rise from the hub's start.
    pub seq: u64,
    /// The capture time by the hub's clock.
    pub captured_at: Timestamp,
    /// The time at which the frame arrived at the hub.
    pub received_at: Timestamp,
    /// Whether the hub drew the frame, because the camera delivers nothing.
    pub no_signal: bool,
    /// The JPEG file.
    pub jpeg: Bytes,
}

/// The reasons why bytes are not a frame of the live connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidLiveFrame {
    /// The message is of another kind, from a newer hub.
    #[error("a binary message of kind {0}; only frames (1) are known")]
    Kind(u8),
    /// The message ends within its header.
    #[error("a frame of the live connection ends within its header, after {0} bytes")]
    Short(usize),
    /// The header has an impossible value.
    #[error("the header of a frame of the live connection has no valid {0}")]
    Head(&'static str),
}

impl LiveFrame {
    /// A frame with the time of its capture by the hub's clock and of its arrival at the hub.
    #[must_use]
    pub fn new(
        module_id: ModuleId,
        seq: u64,
        captured_at: Timestamp,
        received_at: Timestamp,
        jpeg: Bytes,
    ) -> Self {
        Self { module_id, seq, captured_at, received_at, no_signal: false, jpeg }
    }

    /// The header, which precedes the JPEG file in the message.
    #[must_use]
    pub fn head(&self) -> Vec<u8> {
        let id = self.module_id.as_str().as_bytes();
        let mut head = Vec::with_capacity(FIXED_BYTES + id.len());
        head.extend([KIND, if self.no_signal { NO_SIGNAL } else { 0 }]);
        // An id has up to 64 bytes.
        head.extend(u16::try_from(id.len()).unwrap_or(u16::MAX).to_be_bytes());
        head.extend([0; 4]);
        head.extend(self.seq.to_be_bytes());
        head.extend(self.captured_at.as_secs_f64().to_be_bytes());
        head.extend(self.received_at.as_secs_f64().to_be_bytes());
        head.extend(id);
        head
    }

    /// Parses a binary message. The frame shares its bytes. The JPEG is not checked.
    ///
    /// # Errors
    /// [`InvalidLiveFrame`].
    pub fn read(message: Bytes) -> Result<Self, InvalidLiveFrame> {
        let short = InvalidLiveFrame::Short(message.len());
        let Some((head, rest)) = message.split_first_chunk::<FIXED_BYTES>() else {
            return Err(match message.first() {
                Some(&kind) if kind != KIND => InvalidLiveFrame::Kind(kind),
                _ => short,
            });
        };
        let [kind, flags, n0, n1, _, _, _, _, numbers @ ..] = *head;
        if kind != KIND {
            return Err(InvalidLiveFrame::Kind(kind));
        }
        let (numbers, _) = numbers.as_chunks::<8>();
        let [seq, captured_at, received_at] = *numbers else { return Err(short) };
        let id_bytes = usize::from(u16::from_be_bytes([n0, n1]));
        let id = rest.get(..id_bytes).ok_or(short)?;
        let id = std::str::from_utf8(id).map_err(|_| InvalidLiveFrame::Head("module id"))?;
        let at = |bytes, what| {
            Timestamp::from_secs_f64(f64::from_be_bytes(bytes)).map_err(|_| InvalidLiveFrame::Head(what))
        };
        Ok(Self {
            module_id: ModuleId::new(id).map_err(|_| InvalidLiveFrame::Head("module id"))?,
            seq: u64::from_be_bytes(seq),
            captured_at: at(captured_at, "time of capture")?,
            received_at: at(received_at, "time of arrival")?,
            no_signal: flags & NO_SIGNAL != 0,
            jpeg: message.slice(FIXED_BYTES + id_bytes..),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame() -> LiveFrame {
        LiveFrame {
            module_id: ModuleId::new("front").unwrap(),
            seq: 0x0102_0304_0506_0708,
            captured_at: Timestamp::parse("2026-11-24T12:00:00.25Z").unwrap(),
            received_at: Timestamp::parse("2026-11-24T12:00:00.5Z").unwrap(),
            no_signal: true,
            jpeg: Bytes::from_static(b"jpeg"),
        }
    }

    #[test]
    fn each_field_of_the_head_is_at_its_position_in_the_protocol() {
        let head = frame().head();

        assert_eq!(head[..8], [1, 1, 0, 5, 0, 0, 0, 0]);
        assert_eq!(head[8..16], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(head[16..24], frame().captured_at.as_secs_f64().to_be_bytes());
        assert_eq!(head[24..32], frame().received_at.as_secs_f64().to_be_bytes());
        assert_eq!(head[32..], *b"front");
    }

    #[test]
    fn a_truncated_head_or_another_kind_is_refused() {
        let head = frame().head();

        for cut in 0..head.len() {
            let refused = LiveFrame::read(Bytes::copy_from_slice(&head[..cut]));
            assert_eq!(refused, Err(InvalidLiveFrame::Short(cut)));
        }
        assert_eq!(LiveFrame::read(Bytes::from_static(&[2])), Err(InvalidLiveFrame::Kind(2)));
        assert_eq!(LiveFrame::read(vec![7; 100].into()), Err(InvalidLiveFrame::Kind(7)));
        let with = |at: usize, byte: u8| {
            let mut head = head.clone();
            head[at] = byte;
            LiveFrame::read(head.into())
        };
        assert_eq!(with(32, b'/'), Err(InvalidLiveFrame::Head("module id")));
        assert_eq!(with(32, 0xFF), Err(InvalidLiveFrame::Head("module id")));
        assert_eq!(with(16, 0x7F), Err(InvalidLiveFrame::Head("time of capture")));
        assert_eq!(with(24, 0x00), Err(InvalidLiveFrame::Head("time of arrival")));
        // Flags that this version does not know are ignored.
        assert_eq!(with(1, 0xFF), Ok(LiveFrame { jpeg: Bytes::new(), ..frame() }));
    }

    proptest! {
        #[test]
        fn parsing_a_frame_is_the_inverse_of_serializing(
            id in "[a-z0-9][a-z0-9_-]{0,63}", seq: u64, captured in 946_684_800_000_000..4_102_444_790_000_000_i64,
            later in 0..10_000_000_i64, no_signal: bool, jpeg in proptest::collection::vec(any::<u8>(), 0..100)
        ) {
            let at = Timestamp::from_micros;
            let frame = LiveFrame {
                module_id: ModuleId::new(id).unwrap(), seq, captured_at: at(captured), received_at: at(captured + later),
                no_signal, jpeg: jpeg.into(),
            };

            let message = [&frame.head()[..], &frame.jpeg].concat();

            prop_assert_eq!(LiveFrame::read(message.into()), Ok(frame));
        }

        #[test]
        fn parsing_any_bytes_does_not_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..150), framed: bool) {
            if framed && bytes.len() > 3 {
                bytes[0] = KIND;
                bytes[2] = 0;
            }

            if let Ok(frame) = LiveFrame::read(bytes.clone().into()) {
                prop_assert!(bytes.ends_with(&frame.jpeg));
            }
        }
    }
}
