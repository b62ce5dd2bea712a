//! Taking MJPEG apart: JPEG after JPEG, as a file holds them or a program writes them.
//!
//! Deliberately absent: containers, and multipart, which a boundary tells apart.

use bytes::{Buf, Bytes, BytesMut};
use iotpi_core::{InvalidFrame, MAX_FRAME_BYTES};

/// Start-of-image, and the first byte of the marker that follows it.
const BEGIN: [u8; 3] = [0xFF, 0xD8, 0xFF];

/// How far a walk along the markers of a picture has come (ITU-T T.81 annex B).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum MarkerScan {
    /// It goes on when there are more bytes.
    Unfinished,
    /// The picture ends before this byte.
    End(usize),
    /// Another picture begins at this byte, and this one never ended.
    CutOff(usize),
}

/// Walks on from `at`, at first the byte behind start-of-image, and leaves there where to go on. Segments are stepped over,
/// so a thumbnail in one of them does not end the picture. No byte is looked at twice.
pub(super) fn walk(bytes: &[u8], at: &mut usize) -> MarkerScan {
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

/// Cuts pictures out of bytes that come piece by piece. What lies between two is left out.
#[derive(Debug, Default)]
pub(super) struct Splitter {
    bytes: BytesMut,
    /// Where the walk through the picture the bytes begin with goes on; `None` before a picture begins.
    walk: Option<usize>,
}

impl Splitter {
    /// Where the next bytes are put.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    /// The next picture that is whole; `None` until there are more bytes.
    ///
    /// # Errors
    /// [`InvalidFrame::TooLarge`] when one does not end within [`MAX_FRAME_BYTES`]: it is let go, and the next looked for.
    pub fn next(&mut self) -> Result<Option<Bytes>, InvalidFrame> {
        loop {
            let Some(at) = &mut self.walk else {
                let Some(begin) = find_begin(&self.bytes) else {
                    // The last two may be the beginning of one.
                    self.bytes.advance(self.bytes.len().saturating_sub(BEGIN.len() - 1));
                    return Ok(None);
                };
                self.bytes.advance(begin);
                self.walk = Some(2);
                continue;
            };
            let walked = walk(&self.bytes, at);
            let length = match walked {
                MarkerScan::End(length) | MarkerScan::CutOff(length) => length,
                MarkerScan::Unfinished => self.bytes.len(),
            };
            if length > MAX_FRAME_BYTES {
                self.bytes.advance(length);
                self.walk = None;
                return Err(InvalidFrame::TooLarge(length));
            }
            match walked {
                MarkerScan::Unfinished => return Ok(None),
                MarkerScan::End(end) => {
                    self.walk = None;
                    return Ok(Some(self.bytes.split_to(end).freeze()));
                }
                MarkerScan::CutOff(begin) => {
                    self.bytes.advance(begin);
                    self.walk = None;
                }
            }
        }
    }
}

/// The picture some bytes begin with, without what lies behind it; `None` when it does not end.
#[cfg(feature = "v4l")]
pub(super) fn first(bytes: &[u8]) -> Option<&[u8]> {
    let mut at = 2;
    match bytes.starts_with(&BEGIN).then(|| walk(bytes, &mut at))? {
        MarkerScan::End(end) => bytes.get(..end),
        MarkerScan::Unfinished | MarkerScan::CutOff(_) => None,
    }
}

/// The pictures of a whole file. A last one that is cut off is left out.
pub(super) fn split(file: &Bytes) -> Vec<Bytes> {
    let mut pictures = Vec::new();
    let mut from = 0;
    while let Some(begin) = find_begin(&file[from..]) {
        let begin = from + begin;
        let mut at = begin + 2;
        match walk(file, &mut at) {
            MarkerScan::Unfinished => break,
            MarkerScan::CutOff(next) => from = next,
            MarkerScan::End(end) => {
                pictures.push(file.slice(begin..end));
                from = end;
            }
        }
    }
    pictures
}

fn find_begin(bytes: &[u8]) -> Option<usize> {
    bytes.windows(BEGIN.len()).position(|window| window == BEGIN)
}

#[cfg(test)]
mod tests {
    use iotpi_core::{CameraSpec, ManualClock, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::camera::testcard::TestCard;

    fn picture(number: usize) -> Bytes {
        let spec = CameraSpec { width: 160, height: 120, fps: 1.0 };
        let mut card = TestCard::new(spec, ManualClock::at(Timestamp::MIN)).unwrap();
        (0..=number).map(|_| card.paint(Timestamp::MIN).unwrap().jpeg().clone()).last().unwrap()
    }

    /// A picture with a thumbnail, itself a whole JPEG, in an APP1 segment.
    fn with_thumbnail(picture: &[u8], thumbnail: &[u8]) -> Bytes {
        let length = u16::try_from(thumbnail.len() + 2).unwrap().to_be_bytes();
        [&[0xFF, 0xD8, 0xFF, 0xE1], &length[..], thumbnail, &picture[2..]].concat().into()
    }

    /// What a splitter makes of bytes that come in pieces.
    fn pieces(bytes: &[u8], size: usize) -> Vec<Bytes> {
        let mut splitter = Splitter::default();
        let mut pictures = Vec::new();
        for piece in bytes.chunks(size) {
            splitter.buffer().extend_from_slice(piece);
            while let Ok(Some(picture)) = splitter.next() {
                pictures.push(picture);
            }
        }
        pictures
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn however_the_bytes_come_the_same_pictures_are_cut_out(
            size in 1_usize..9000, between in "[a-z\0]{0,9}", cut in 3_usize..400,
        ) {
            let (first, second) = (picture(0), with_thumbnail(&picture(1), &picture(2)[..]));
            let film = Bytes::from(
                [b"\xFFpadding", &first[..], between.as_bytes(), &second, &first[..first.len() - cut], &second].concat(),
            );

            let expected = vec![first, second.clone(), second];
            prop_assert_eq!(&pieces(&film, size), &expected);
            prop_assert_eq!(split(&film), expected);
        }

        #[test]
        fn any_bytes_are_walked_to_their_end(bytes in proptest::collection::vec(
            prop_oneof![Just(0xFF_u8), Just(0xD8), Just(0xD9), any::<u8>()], 0..600), size in 1_usize..50,
        ) {
            let film = Bytes::from(bytes);

            let cut: Vec<_> = pieces(&film, size);

            prop_assert_eq!(cut, split(&film));
        }
    }

    #[test]
    fn a_thumbnail_in_a_picture_that_is_cut_off_is_no_picture() {
        let whole = with_thumbnail(&picture(1), &picture(0));

        assert!(split(&whole.slice(..whole.len() - 9)).is_empty());
    }

    #[test]
    fn a_picture_without_end_is_let_go_at_8_mib_and_the_next_is_found() {
        let mut splitter = Splitter::default();
        splitter.buffer().extend_from_slice(&[0xFF, 0xD8, 0xFF, 0xDA, 0, 2]);
        let mut refused = 0;
        for _ in 0..200 {
            splitter.buffer().extend_from_slice(&[1; 65_536]);
            refused += usize::from(splitter.next().is_err());
            assert!(splitter.buffer().len() <= MAX_FRAME_BYTES);
        }

        splitter.buffer().extend_from_slice(&picture(0));

        assert_eq!(refused, 1);
        assert_eq!(splitter.next(), Ok(Some(picture(0))));
    }
}
