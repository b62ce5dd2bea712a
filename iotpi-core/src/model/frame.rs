//! A frame: JPEG bytes whose markers were checked once, without decoding. They are shared, never copied.
//!
//! Deliberately absent: decoding, scaling, any other format.

pub use super::live_frame::{InvalidLiveFrame, LiveFrame};

use std::time::Duration;

use bytes::Bytes;

use crate::{
    model::jpeg::{HUFFMAN_TABLES, Layout},
    time::Timestamp,
};

/// The maximum size of a frame: 8 MiB.
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;
/// The maximum width and height of a frame in pixels.
pub const MAX_FRAME_SIDE: u32 = 8192;
/// The maximum offset between two clocks.
const MAX_CLOCK_OFFSET: Duration = Duration::from_secs(200 * 365 * 24 * 3600);

/// A JPEG image with its capture time. Cloning shares the bytes.
///
/// ```
/// use iotpi_core::{Frame, Timestamp, model::frame::InvalidFrame};
///
/// let result = Frame::from_jpeg("not an image".into(), Timestamp::MIN);
/// assert!(matches!(result, Err(InvalidFrame::NotJpeg(_))));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    jpeg: Bytes,
    width: u32,
    height: u32,
    taken_at: Timestamp,
    sequence: Option<u64>,
    /// The hub's clock minus the camera's.
    clock_offset_micros: i64,
}

/// The reasons why bytes are not a frame.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidFrame {
    /// The frame exceeds [`MAX_FRAME_BYTES`].
    #[error("a frame may have 8 MiB, this has {0} bytes")]
    TooLarge(usize),
    /// There is no image from a start-of-image to an end-of-image marker, or its segments are damaged.
    #[error("not a JPEG: {0}")]
    NotJpeg(&'static str),
    /// A side is zero or exceeds [`MAX_FRAME_SIDE`].
    #[error("a frame may have 1 to 8192 pixels a side, this says {0} x {1}")]
    Dimensions(u32, u32),
}

impl Frame {
    /// Checks the markers of a JPEG (ITU-T T.81 annex B) and creates a frame.
    ///
    /// Up to 1 KiB before the start-of-image marker and everything after the end-of-image marker is cut off
    /// without a copy. Two consecutive JPEG files (multi-picture format) are kept as they are. An image
    /// without Huffman tables, as Motion JPEG cameras send it, gets the standard ones; only in that case are
    /// the bytes copied.
    ///
    /// # Errors
    /// [`InvalidFrame`] if the image is too large, incomplete (start-of-image to end-of-image), or has
    /// impossible dimensions.
    pub fn from_jpeg(jpeg: Bytes, taken_at: Timestamp) -> Result<Self, InvalidFrame> {
        if jpeg.len() > MAX_FRAME_BYTES {
            return Err(InvalidFrame::TooLarge(jpeg.len()));
        }
        let Layout { start, end, width, height, tables_at } = Layout::of(&jpeg)?;
        if !(1..=MAX_FRAME_SIDE).contains(&width) || !(1..=MAX_FRAME_SIDE).contains(&height) {
            return Err(InvalidFrame::Dimensions(width, height));
        }
        let jpeg = match tables_at {
            None => jpeg.slice(start..end),
            Some(at) => Bytes::from([&jpeg[start..at], &HUFFMAN_TABLES, &jpeg[at..end]].concat()),
        };
        if jpeg.len() > MAX_FRAME_BYTES {
            return Err(InvalidFrame::TooLarge(jpeg.len()));
        }
        Ok(Self { jpeg, width, height, taken_at, sequence: None, clock_offset_micros: 0 })
    }

    /// Sets the camera's own number of the frame: one more than that of the frame before, so that missing
    /// frames are counted.
    #[must_use]
    pub fn numbered(self, sequence: u64) -> Self {
        Self { sequence: Some(sequence), ..self }
    }

    /// Sets the offset of the hub's clock ahead of the camera's, in seconds; negative if it is behind. A
    /// value that is not finite counts as 0.
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

    /// The width in pixels.
    #[must_use]
    pub fn width(&self) -> u32 {
        self.width
    }

    /// The height in pixels.
    #[must_use]
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The capture time by the camera's clock.
    #[must_use]
    pub fn taken_at(&self) -> Timestamp {
        self.taken_at
    }

    /// The camera's own number of the frame, if it has one.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.sequence
    }

    /// The offset of the hub's clock ahead of the camera's in seconds, as estimated by the camera's side;
    /// otherwise 0.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn clock_offset_secs(&self) -> f64 {
        self.clock_offset_micros as f64 / 1e6
    }

    /// The capture time by the hub's clock.
    #[must_use]
    pub fn captured_at(&self) -> Timestamp {
        let by = Duration::from_micros(self.clock_offset_micros.unsigned_abs());
        if self.clock_offset_micros < 0 { self.taken_at.minus(by) } else { self.taken_at.plus(by) }
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
        bytes.extend([3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1, 0xFF, 0xDA, 0, 2, 0xFF, 0xD9]);
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

    /// A decodable image of 16 by 8 pixels: a baseline scan with an `FF` in its coded data.
    fn baseline(tables: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xE1, 0, 6, 0xFF, 0xD8, 0xFF, 0xD9, 0xFF, 0xDB, 0, 67, 0];
        bytes.extend([1; 64]);
        bytes.extend([0xFF, 0xC0, 0, 11, 8, 0, 8, 0, 16, 1, 1, 0x11, 0]);
        bytes.extend(tables);
        bytes.extend([0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0, 0x2A, 0xFF, 0, 0x3F, 0xFF, 0xD9]);
        bytes
    }

    #[test]
    fn bytes_around_the_jpeg_are_removed() {
        let picture = baseline(&HUFFMAN_TABLES);
        let video = [&b"ftypisom"[..], &[0xFF, 0xD9, 1, 2, 3]].concat();
        let long = vec![0x55; 100_000];
        for behind in
            [&b""[..], b"\r\n", &[0; 100], &[0xFF; 6], b" \n\0\xFF", b"--frame--\r\n", &video, &long]
        {
            for before in [&b""[..], b"\r\n", &[0; 16], b"--x\r\nContent-Type: image/jpeg\r\n\r\n"] {
                let frame = frame([before, &picture, behind].concat()).unwrap();

                assert!(frame.jpeg()[..] == picture, "{before:?} {:?}", &behind[..behind.len().min(20)]);
                assert_eq!((frame.width(), frame.height()), (16, 8));
            }
        }
    }

    #[test]
    fn the_bytes_of_a_complete_jpeg_are_not_copied() {
        let bytes = Bytes::from([&baseline(&HUFFMAN_TABLES)[..], b"\r\n"].concat());

        let frame = Frame::from_jpeg(bytes.clone(), Timestamp::MIN).unwrap();

        assert_eq!(frame.jpeg().as_ptr(), bytes.as_ptr());
    }

    #[test]
    fn two_consecutive_jpegs_stay_together_and_a_truncated_one_is_not_completed_by_the_next() {
        let picture = baseline(&HUFFMAN_TABLES);
        let both = picture.repeat(2);
        let cut = [&picture[..picture.len() - 3], &picture, b"rest"].concat();

        assert_eq!(frame(both.clone()).unwrap().jpeg()[..], both);
        assert_eq!(frame([&both[..], b"rest"].concat()).unwrap().jpeg()[..], picture);
        assert!(frame(cut).is_err());
    }

    #[test]
    fn a_jpeg_without_huffman_tables_gets_the_standard_ones_once() {
        let complete = baseline(&HUFFMAN_TABLES);

        let first = frame([&b"\r\n"[..], &baseline(&[]), b"\0\0"].concat()).unwrap();
        let again = frame(first.jpeg().to_vec()).unwrap();

        assert_eq!(first.jpeg()[..], complete);
        assert_eq!(again.jpeg()[..], complete);
    }

    #[test]
    fn a_progressive_or_arithmetic_jpeg_gets_no_tables() {
        for kind in [0xC2, 0xC9] {
            let mut picture = baseline(&[]);
            let at = picture.windows(2).position(|w| w == [0xFF, 0xC0]).unwrap();
            picture[at + 1] = kind;

            assert_eq!(frame(picture.clone()).unwrap().jpeg()[..], picture);
        }
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
    fn the_clock_offset_converts_the_time_of_a_frame_to_that_of_the_hub() {
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
    fn an_incomplete_jpeg_is_refused() {
        let whole = jpeg(8, 8);

        for cut in 0..whole.len() {
            assert!(frame(whole[..cut].to_vec()).is_err(), "cut at {cut}");
        }
        assert!(frame(b"\x89PNG\r\n\x1a\n".to_vec()).is_err());
        assert_eq!(frame(vec![0; MAX_FRAME_BYTES + 1]), Err(InvalidFrame::TooLarge(MAX_FRAME_BYTES + 1)));
    }

    proptest! {
        #[test]
        fn checking_any_bytes_does_not_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..400), framed: bool) {
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
