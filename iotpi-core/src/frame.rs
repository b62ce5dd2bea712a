//! One picture: JPEG bytes that were looked at once, without decoding, and are then shared, never copied.
//!
//! Deliberately absent: decoding, scaling, any other format.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{ModuleId, Timestamp};

/// The most bytes a frame may have: 8 MiB.
pub const MAX_FRAME_BYTES: usize = 8 * 1024 * 1024;
/// The most pixels a side of a frame may have.
pub const MAX_FRAME_SIDE: u32 = 8192;

/// A JPEG picture and when it was taken. Cloning shares the bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    jpeg: Bytes,
    width: u32,
    height: u32,
    taken_at: Timestamp,
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
        Ok(Self { jpeg, width, height, taken_at })
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

/// The hub's answer to a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FrameReceipt {
    /// How many watch this camera now.
    pub viewers: u32,
    /// How many frames of this camera the hub has taken since it started.
    pub seq: u64,
}

/// A camera as the hub knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CameraInfo {
    /// Whose camera it is.
    pub module_id: ModuleId,
    /// Pixels of the newest frame.
    pub width: u32,
    /// Pixels of the newest frame.
    pub height: u32,
    /// Size of the newest frame.
    pub bytes: u64,
    /// Frames a second over the last seconds.
    pub fps: f64,
    /// How many watch it.
    pub viewers: u32,
    /// Frames taken since the hub started.
    pub frames: u64,
    /// Frames some viewer did not get because a newer one was there, summed over viewers.
    pub skipped: u64,
    /// When the newest frame was taken, by the camera's clock.
    pub taken_at: Timestamp,
    /// When the hub got it.
    pub received_at: Timestamp,
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
