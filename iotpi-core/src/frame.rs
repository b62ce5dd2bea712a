//! One picture: JPEG bytes that were looked at once, without decoding, and are then shared, never copied.
//!
//! Deliberately absent: decoding, scaling, any other format.

use std::time::Duration;

use bytes::Bytes;

use crate::Timestamp;

/// The most bytes a frame may have: 8 MiB.
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;
/// The most pixels a side of a frame may have.
pub const MAX_FRAME_SIDE: u32 = 8192;
/// The frame header of a JPEG has to come within so many bytes: profiles and thumbnails fit, and who fills 8 MiB with empty
/// segments is refused after this much.
const MAX_HEADER_BYTES: usize = 1024 * 1024;
/// The farthest two clocks that are compared may be apart.
const MAX_CLOCK_OFFSET: Duration = Duration::from_secs(200 * 365 * 24 * 3600);

/// A JPEG picture and when it was taken. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    jpeg: Bytes,
    width: u32,
    height: u32,
    taken_at: Timestamp,
    sequence: Option<u64>,
    /// The hub's clock less the camera's.
    clock_offset_micros: i64,
}

/// Why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFrame {
    /// More than [`MAX_FRAME_BYTES`].
    #[error("a frame may have 8 MiB, this has {0} bytes")]
    TooLarge(usize),
    /// It does not begin with a start-of-image marker, or its markers do not hang together.
    #[error("not a JPEG: {0}")]
    NotJpeg(&'static str),
    /// A side of zero, or of more than [`MAX_FRAME_SIDE`].
    #[error("a frame may have 1 to 8192 pixels a side, this says {0} x {1}")]
    Dimensions(u32, u32),
}

impl Frame {
    /// Looks at the markers of a JPEG (ITU-T T.81 annex B) and takes it as a frame.
    ///
    /// # Errors
    /// [`InvalidFrame`] when it is too large, not whole (start-of-image to end-of-image), or says impossible dimensions.
    pub fn from_jpeg(jpeg: Bytes, taken_at: Timestamp) -> Result<Self, InvalidFrame> {
        if jpeg.len() > MAX_FRAME_BYTES {
            return Err(InvalidFrame::TooLarge(jpeg.len()));
        }
        let (width, height) = dimensions(&jpeg)?;
        if !(1..=MAX_FRAME_SIDE).contains(&width) || !(1..=MAX_FRAME_SIDE).contains(&height) {
            return Err(InvalidFrame::Dimensions(width, height));
        }
        Ok(Self { jpeg, width, height, taken_at, sequence: None, clock_offset_micros: 0 })
    }

    /// The same with the camera's own number of it: one more than the frame before, so that missing ones are seen.
    #[must_use]
    pub fn numbered(self, sequence: u64) -> Self {
        Self { sequence: Some(sequence), ..self }
    }

    /// The same with how far the hub's clock is ahead of the camera's, in seconds; negative when it is behind. What is not a
    /// number counts as none.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub fn with_clock_offset(self, secs: f64) -> Self {
        let most = MAX_CLOCK_OFFSET.as_secs_f64();
        let secs = if secs.is_finite() { secs.clamp(-most, most) } else { 0.0 };
        Self { clock_offset_micros: (secs * 1e6).round() as i64, ..self }
    }

    /// The JPEG file.
    #[must_use]
    pub fn jpeg(&self) -> &Bytes {
        &self.jpeg
    }

    /// Pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// When it was taken, by the camera's clock.
    #[must_use]
    pub fn taken_at(&self) -> Timestamp {
        self.taken_at
    }

    /// The camera's own number of it, if it numbers.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// How far the hub's clock is ahead of the camera's, in seconds, as the camera's side estimated it; else 0.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn clock_offset_secs(&self) -> f64 {
        self.clock_offset_micros as f64 / 1e6
    }

    /// When it was taken, by the hub's clock.
    #[must_use]
    pub fn captured_at(&self) -> Timestamp {
        let by = Duration::from_micros(self.clock_offset_micros.unsigned_abs());
        if self.clock_offset_micros < 0 { self.taken_at.minus(by) } else { self.taken_at.plus(by) }
    }
}

/// Finds the dimensions in the frame header; nothing behind it is read but the end-of-image marker.
fn dimensions(jpeg: &[u8]) -> Result<(u32, u32), InvalidFrame> {
    use InvalidFrame::NotJpeg;

    if !jpeg.starts_with(&[0xFF, 0xD8]) {
        return Err(NotJpeg("it does not begin with a start-of-image marker"));
    }
    // Some cameras pad the file with zeros behind the end-of-image marker.
    let end = jpeg.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
    if !jpeg[..end].ends_with(&[0xFF, 0xD9]) {
        return Err(NotJpeg("it does not end with an end-of-image marker"));
    }
    let mut at = 2;
    loop {
        if at > MAX_HEADER_BYTES {
            return Err(NotJpeg("there is no frame header within the first MiB"));
        }
        let (Some(0xFF), Some(&marker)) = (jpeg.get(at), jpeg.get(at + 1)) else {
            return Err(NotJpeg("a marker is missing before the frame header"));
        };
        match marker {
            // Fill bytes may stand before any marker (B.1.1.2).
            0xFF => at += 1,
            // Markers without a segment: TEM, RSTn.
            0x01 | 0xD0..=0xD7 => at += 2,
            // SOFn: all of C0..CF but DHT (C4), JPG (C8) and DAC (CC).
            0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) => {
                let side = |i: usize| match (jpeg.get(i), jpeg.get(i + 1)) {
                    (Some(&high), Some(&low)) => Ok(u32::from(u16::from_be_bytes([high, low]))),
                    _ => Err(NotJpeg("the frame header is cut off")),
                };
                return Ok((side(at + 7)?, side(at + 5)?));
            }
            0xD8..=0xDA => return Err(NotJpeg("there is no frame header before the picture")),
            _ => {
                let (Some(&high), Some(&low)) = (jpeg.get(at + 2), jpeg.get(at + 3)) else {
                    return Err(NotJpeg("a segment is cut off"));
                };
                let length = usize::from(u16::from_be_bytes([high, low]));
                if length < 2 {
                    return Err(NotJpeg("a segment has an impossible length"));
                }
                at += 2 + length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn jpeg(width: u16, height: u16) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE0, 0, 4, 1, 2, 0xFF, 0xC0, 0, 17, 8];
        bytes.extend(height.to_be_bytes());
        bytes.extend(width.to_be_bytes());
        bytes.extend([3, 0xFF, 0xDA, 0, 2, 0xFF, 0xD9]);
        bytes
    }

    fn frame(bytes: Vec<u8>) -> Result<Frame, InvalidFrame> {
        Frame::from_jpeg(bytes.into(), Timestamp::MIN)
    }

    #[test]
    fn dimensions_are_read_from_the_frame_header() {
        let frame = frame(jpeg(640, 480)).unwrap();

        assert_eq!((frame.width(), frame.height()), (640, 480));
    }

    #[test]
    fn zeros_behind_the_end_are_padding() {
        let mut bytes = jpeg(8, 8);
        bytes.extend([0; 100]);

        assert!(frame(bytes).is_ok());
    }

    #[test]
    fn impossible_dimensions_are_refused() {
        for (width, height) in [(0, 480), (640, 0), (8193, 10), (u16::MAX, u16::MAX)] {
            assert_eq!(
                frame(jpeg(width, height)),
                Err(InvalidFrame::Dimensions(width.into(), height.into()))
            );
        }
    }

    #[test]
    fn a_header_without_end_is_refused_after_its_first_mebibyte() {
        for segment in [&[0xFF, 0xE0, 0, 2][..], &[0xFF, 0xFF], &[0xFF, 0xD0]] {
            let mut bomb = vec![0xFF, 0xD8];
            bomb.extend(segment.repeat(MAX_FRAME_BYTES / segment.len() - 2));
            bomb.extend([0xFF, 0xD9]);

            let refusal = frame(bomb).unwrap_err();

            assert_eq!(refusal, InvalidFrame::NotJpeg("there is no frame header within the first MiB"));
        }
    }

    #[test]
    fn the_offset_of_the_clocks_brings_its_time_to_that_of_the_hub() {
        let at = Timestamp::parse("2026-06-01T12:00:00Z").unwrap();
        let frame = Frame::from_jpeg(jpeg(8, 8).into(), at).unwrap();

        let ahead = frame.clone().numbered(7).with_clock_offset(1.5);
        let behind = frame.clone().with_clock_offset(-2.0);

        assert_eq!(ahead.captured_at(), at.plus(Duration::from_millis(1500)));
        assert_eq!((ahead.sequence(), ahead.clock_offset_secs()), (Some(7), 1.5));
        assert_eq!(behind.captured_at(), at.minus(Duration::from_secs(2)));
        for nonsense in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(frame.clone().with_clock_offset(nonsense).captured_at(), at);
        }
        assert!(frame.clone().with_clock_offset(f64::MAX).captured_at() > at);
        assert!(frame.with_clock_offset(f64::MIN).captured_at() < at);
    }

    #[test]
    fn what_is_not_a_whole_jpeg_is_refused() {
        let whole = jpeg(8, 8);

        for cut in 0..whole.len() {
            assert!(frame(whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        assert!(frame(b"\x89PNG\r\n\x1a\n".to_vec()).is_err());
        assert_eq!(frame(vec![0; MAX_FRAME_BYTES + 1]), Err(InvalidFrame::TooLarge(MAX_FRAME_BYTES + 1)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), framed: bool) {
            if framed {
                bytes.splice(0..0, [0xFF, 0xD8]);
                bytes.extend([0xFF, 0xD9]);
            }

            if let Ok(frame) = frame(bytes) {
                prop_assert!(frame.width() <= MAX_FRAME_SIDE && frame.height() <= MAX_FRAME_SIDE);
            }
        }
    }
}
