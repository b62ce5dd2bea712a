//! Splits an MJPEG stream into frames: concatenated JPEG files, as in a file or in the output of a program.
//!
//! Deliberately absent: containers, and multipart streams, whose frames are separated by a boundary.

use bytes::{Buf, Bytes, BytesMut};
use iotpi_core::model::frame::{InvalidFrame, MAX_FRAME_BYTES};

/// Start-of-image, and the first byte of the marker that follows it.
const BEGIN: [u8; 3] = [0xFF, 0xD8, 0xFF];

/// The result of a scan along the markers of a frame (ITU-T T.81 annex B).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MarkerScan {
    /// The scan continues when there are more bytes.
    Unfinished,
    /// The frame ends before this byte.
    End(usize),
    /// Another frame begins at this byte; the present one has no end.
    CutOff(usize),
}

/// Scans from `at`, initially the byte after start-of-image, and stores in it where the next scan continues.
/// Skips whole segments, so a thumbnail in one of them does not end the frame. Reads no byte twice.
pub(super) fn scan_markers(bytes: &[u8], at: &mut usize) -> MarkerScan {
    loop {
        // In a scan, FF 00 is data and FF D0..D7 are restarts: neither is a marker with a segment.
        let rest = bytes.get(*at..).unwrap_or_default();
        let Some(marker) = rest.iter().position(|&byte| byte == 0xFF) else {
            *at = (*at).max(bytes.len());
            return MarkerScan::Unfinished;
        };
        *at += marker;
        match rest.get(marker + 1) {
            None => return MarkerScan::Unfinished,
            Some(0xD9) => return MarkerScan::End(*at + 2),
            Some(0xD8) => return MarkerScan::CutOff(*at),
            Some(0xFF) => *at += 1,
            Some(0x00 | 0x01 | 0xD0..=0xD7) => *at += 2,
            Some(_) => match rest.get(marker + 2..marker + 4) {
                Some(&[high, low]) => *at += 2 + usize::from(u16::from_be_bytes([high, low])),
                _ => return MarkerScan::Unfinished,
            },
        }
    }
}

/// Extracts frames from a stream of bytes. Drops the bytes between two frames.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    bytes: BytesMut,
    /// Where the scan of the frame at the start of the buffer continues; `None` before a frame begins.
    scan_from: Option<usize>,
}

impl Splitter {
    /// The buffer that takes the next bytes.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// The next complete frame; `None` until there are more bytes.
    ///
    /// # Errors
    /// [`InvalidFrame::TooLarge`] when a frame does not end within [`MAX_FRAME_BYTES`]. The splitter drops it
    /// and searches for the next.
    pub fn next(&mut self) -> Result<Option<Bytes>, InvalidFrame> {
        loop {
            let Some(at) = &mut self.scan_from else {
                let Some(begin) = find_begin(&self.bytes) else {
                    // The last two bytes may be the beginning of a frame.
                    self.bytes.advance(self.bytes.len().saturating_sub(BEGIN.len() - 1));
                    return Ok(None);
                };
                self.bytes.advance(begin);
                self.scan_from = Some(2);
                continue;
            };
            let scan = scan_markers(&self.bytes, at);
            let length = match scan {
                MarkerScan::End(length) | MarkerScan::CutOff(length) => length,
                MarkerScan::Unfinished => self.bytes.len(),
            };
            if length > MAX_FRAME_BYTES {
                self.bytes.advance(length);
                self.scan_from = None;
                return Err(InvalidFrame::TooLarge(length));
            }
            match scan {
                MarkerScan::Unfinished => return Ok(None),
                MarkerScan::End(end) => {
                    self.scan_from = None;
                    return Ok(Some(self.bytes.split_to(end).freeze()));
                }
                MarkerScan::CutOff(begin) => {
                    self.bytes.advance(begin);
                    self.scan_from = None;
                }
            }
        }
    }
}

/// The frame at the start of the bytes, without the bytes after it; `None` when it has no end.
#[cfg(feature = "v4l")]
pub(super) fn first(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 2;
    match bytes.starts_with(&BEGIN).then(|| scan_markers(bytes, &mut at))? {
        MarkerScan::End(end) => bytes.get(..end),
        MarkerScan::Unfinished | MarkerScan::CutOff(_) => None,
    }
}

/// The frames of a whole file, without a truncated last one.
pub(super) fn split(file: &Bytes) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut from = 0;
    while let Some(begin) = find_begin(&file[from..]) {
        let begin = from + begin;
        let mut at = begin + 2;
        match scan_markers(file, &mut at) {
            MarkerScan::Unfinished => break,
            MarkerScan::CutOff(next) => from = next,
            MarkerScan::End(end) => {
                frames.push(file.slice(begin..end));
                from = end;
            }
        }
    }
    frames
}

fn find_begin(bytes: &[u8]) -> Option<usize> {
    bytes.windows(BEGIN.len()).position(|window| window == BEGIN)
}

#[cfg(test)]
mod tests {
    use iotpi_core::{CameraSpec, Timestamp, time::ManualClock};
    use proptest::prelude::*;

    use super::*;
    use crate::camera::testcard::TestCard;

    fn frame(number: usize) -> Bytes {
        let spec = CameraSpec::new(160, 120, 1.0);
        let mut card = TestCard::new(spec, ManualClock::at(Timestamp::MIN)).unwrap();
        (0..=number).map(|_| card.paint(Timestamp::MIN).unwrap().jpeg().clone()).last().unwrap()
    }

    /// A frame with a thumbnail, itself a complete JPEG, in an APP1 segment.
    fn with_thumbnail(picture: &[u8], thumbnail: &[u8]) -> Bytes {
        let length = u16::try_from(thumbnail.len() + 2).unwrap().to_be_bytes();
        [&[0xFF, 0xD8, 0xFF, 0xE1], &length[..], thumbnail, &picture[2..]].concat().into()
    }

    /// The frames a splitter extracts when the bytes arrive in pieces.
    fn pieces(bytes: &[u8], size: usize) -> Vec<Bytes> {
        let mut splitter = Splitter::default();
        let mut frames = Vec::new();
        for piece in bytes.chunks(size) {
            splitter.buffer().extend_from_slice(piece);
            while let Ok(Some(frame)) = splitter.next() {
                frames.push(frame);
            }
        }
        frames
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn the_same_frames_are_found_however_the_bytes_are_split(
            size in 1_usize..9000, between in "[a-z\0]{0,9}", cut in 3_usize..400,
        ) {
            let (first, second) = (frame(0), with_thumbnail(&frame(1), &frame(2)[..]));
            let stream = Bytes::from(
                [b"\xFFpadding", &first[..], between.as_bytes(), &second, &first[..first.len() - cut], &second].concat(),
            );

            let expected = vec![first, second.clone(), second];
            prop_assert_eq!(&pieces(&stream, size), &expected);
            prop_assert_eq!(split(&stream), expected);
        }

        #[test]
        fn any_bytes_can_be_scanned(bytes in proptest::collection::vec(
            prop_oneof![Just(0xFF_u8), Just(0xD8), Just(0xD9), any::<u8>()], 0..600), size in 1_usize..50,
        ) {
            let stream = Bytes::from(bytes);

            let cut: Vec<_> = pieces(&stream, size);

            prop_assert_eq!(cut, split(&stream));
        }
    }

    #[test]
    fn a_thumbnail_in_a_truncated_frame_is_no_frame() {
        let whole = with_thumbnail(&frame(1), &frame(0));

        assert!(split(&whole.slice(..whole.len() - 9)).is_empty());
    }

    #[test]
    fn a_frame_without_end_is_dropped_at_8_mib_and_the_next_is_found() {
        let mut splitter = Splitter::default();
        splitter.buffer().extend_from_slice(&[0xFF, 0xD8, 0xFF, 0xDA, 0, 2]);
        let mut refused = 0;
        for _ in 0..200 {
            splitter.buffer().extend_from_slice(&[1; 65_536]);
            refused += usize::from(splitter.next().is_err());
            assert!(splitter.buffer().len() <= MAX_FRAME_BYTES);
        }

        splitter.buffer().extend_from_slice(&frame(0));

        assert_eq!(refused, 1);
        assert_eq!(splitter.next(), Ok(Some(frame(0))));
    }
}
