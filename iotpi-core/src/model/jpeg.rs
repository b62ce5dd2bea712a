//! The markers of a JPEG file (ITU-T T.81 annex B), as far as they are needed to show the image without
//! decoding it.
//!
//! Cameras and scripts send more and less than the standard allows: bytes before the start-of-image marker,
//! padding or a second file after the end-of-image marker, and Motion JPEG without Huffman tables. [`Layout`]
//! locates the image in the bytes and detects missing tables. Deliberately absent: decoding.

use crate::model::frame::InvalidFrame::{self, NotJpeg};

/// The headers of a JPEG, up to its first scan, must be within this many bytes. Profiles and thumbnails fit,
/// and 8 MiB of empty segments are refused after this much.
const MAX_HEADER_BYTES: usize = 1024 * 1024;
/// The maximum number of bytes before the start-of-image marker.
const MAX_LEADING_BYTES: usize = 1024;

const SOF0: u8 = 0xC0;
const SOF1: u8 = 0xC1;
const DHT: u8 = 0xC4;
const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;

/// The location of the image in the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The position of the start-of-image marker.
    pub(crate) start: usize,
    /// One past the end-of-image marker.
    pub(crate) end: usize,
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// The position at which [`HUFFMAN_TABLES`] must be inserted, if the image has none.
    pub(crate) tables_at: Option<usize>,
}

impl Layout {
    /// Finds the first image in the bytes.
    ///
    /// Only the headers are read if the bytes end with an end-of-image marker, or with one and padding
    /// (zeros, `FF`, spaces, line ends). Other bytes after the image, such as the video of a motion photo, are
    /// detected by skipping over the scans.
    pub(crate) fn of(bytes: &[u8]) -> Result<Self, InvalidFrame> {
        let start = start(bytes).ok_or(NotJpeg("there is no start-of-image marker in the first KiB"))?;
        let header = FrameHeader::of(bytes, start + 2)?;
        let scan = FirstScan::of(bytes, header.end);
        let end = padded_end(bytes).or_else(|| end_of_scans(bytes, scan.as_ref()?.at));
        // Motion JPEG omits the tables that all its images share. Only baseline and extended sequential
        // images can.
        let lacks_tables = matches!(header.marker, SOF0 | SOF1) && !header.has_tables;
        Ok(Self {
            start,
            end: end.ok_or(NotJpeg("it does not end with an end-of-image marker"))?,
            width: header.width,
            height: header.height,
            tables_at: scan
                .filter(|scan| lacks_tables && !scan.has_tables && scan.is_whole)
                .map(|scan| scan.at),
        })
    }
}

/// The start of the image: the first start-of-image marker that is followed by another marker.
fn start(bytes: &[u8]) -> Option<usize> {
    if bytes.starts_with(&[0xFF, SOI]) {
        return Some(0);
    }
    let searched = &bytes[..bytes.len().min(MAX_LEADING_BYTES + 3)];
    memchr::memmem::find(searched, &[0xFF, SOI, 0xFF])
}

/// One past the end-of-image marker, if only padding follows it.
fn padded_end(bytes: &[u8]) -> Option<usize> {
    let padding = |byte: &u8| matches!(byte, 0 | 0xFF | b'\r' | b'\n' | b' ');
    let end = bytes.iter().rposition(|byte| !padding(byte))? + 1;
    bytes[..end].ends_with(&[0xFF, EOI]).then_some(end)
}

/// The frame header (B.2.2).
struct FrameHeader {
    /// The marker of the coding process.
    marker: u8,
    width: u32,
    height: u32,
    /// Whether Huffman tables precede it.
    has_tables: bool,
    end: usize,
}

impl FrameHeader {
    fn of(bytes: &[u8], mut at: usize) -> Result<Self, InvalidFrame> {
        let first = at;
        let mut has_tables = false;
        loop {
            if at > first + MAX_HEADER_BYTES {
                return Err(NotJpeg("there is no frame header within the first MiB"));
            }
            let (Some(0xFF), Some(&marker)) = (bytes.get(at), bytes.get(at + 1)) else {
                return Err(NotJpeg("a marker is missing before the frame header"));
            };
            match marker {
                // Fill bytes may precede any marker (B.1.1.2).
                0xFF => at += 1,
                // Markers without a segment: TEM, RSTn.
                0x01 | 0xD0..=0xD7 => at += 2,
                // SOFn: all of C0..CF but DHT (C4), JPG (C8) and DAC (CC).
                0xC0..=0xCF if !matches!(marker, DHT | 0xC8 | 0xCC) => {
                    let number = |at| u16_at(bytes, at).ok_or(NotJpeg("the frame header is cut off"));
                    let (height, width) = (number(at + 5)?.into(), number(at + 7)?.into());
                    let end = at + 2 + usize::from(number(at + 2)?);
                    return Ok(Self { marker, width, height, has_tables, end });
                }
                SOI | EOI | SOS => return Err(NotJpeg("there is no frame header before the picture")),
                _ => {
                    let length = u16_at(bytes, at + 2).ok_or(NotJpeg("a segment is cut off"))?;
                    if length < 2 {
                        return Err(NotJpeg("a segment has an impossible length"));
                    }
                    has_tables |= marker == DHT;
                    at += 2 + usize::from(length);
                }
            }
        }
    }
}

/// The first scan, if one follows the frame header. An image with damaged segments after that header is
/// accepted as it is.
struct FirstScan {
    at: usize,
    /// Whether Huffman tables are between the frame header and the scan.
    has_tables: bool,
    /// Whether the scan header has 1 to 4 components and the matching length (B.2.3).
    is_whole: bool,
}

impl FirstScan {
    fn of(bytes: &[u8], mut at: usize) -> Option<Self> {
        let first = at;
        let mut has_tables = false;
        while at <= first + MAX_HEADER_BYTES && *bytes.get(at)? == 0xFF {
            match *bytes.get(at + 1)? {
                0xFF => at += 1,
                0x01 | 0xD0..=0xD7 => at += 2,
                SOS => {
                    let components = *bytes.get(at + 4)?;
                    let is_whole = (1..=4).contains(&components)
                        && u16_at(bytes, at + 2)? == 6 + 2 * u16::from(components);
                    return Some(Self { at, has_tables, is_whole });
                }
                SOI | EOI => return None,
                marker => {
                    has_tables |= marker == DHT;
                    at += 2 + usize::from(u16_at(bytes, at + 2)?);
                }
            }
        }
        None
    }
}

/// One past the end-of-image marker that follows the scan at `at` and all further scans.
fn end_of_scans(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr::memchr(0xFF, bytes.get(at..)?)?;
        match *bytes.get(at + 1)? {
            // Fill bytes.
            0xFF => at += 1,
            // Coded data (B.1.1.5), and markers without a segment.
            0x00 | 0x01 | 0xD0..=0xD7 => at += 2,
            EOI => return Some(at + 2),
            // Another image begins: this one was cut off.
            SOI => return None,
            _ => at += 2 + usize::from(u16_at(bytes, at + 2)?),
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]))
}

/// The Huffman tables of ITU-T T.81 annex K.3 as one segment, which Motion JPEG omits (OpenDML AVI file
/// format extensions, version 1.02, "Motion JPEG DIB").
#[rustfmt::skip]
pub(crate) static HUFFMAN_TABLES: [u8; 420] = [
    0xFF, 0xC4, 0x01, 0xA2,
    // luminance DC: class and destination, the number of codes of each length, their values.
    0x00,
    0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0,
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B,
    // luminance AC: class and destination, the number of codes of each length, their values.
    0x10,
    0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125,
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07, 0x22, 0x71, 0x14, 0x32,
    0x81, 0x91, 0xA1, 0x08, 0x23, 0x42, 0xB1, 0xC1, 0x15, 0x52, 0xD1, 0xF0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0A, 0x16,
    0x17, 0x18, 0x19, 0x1A, 0x25, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x43, 0x44, 0x45,
    0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69,
    0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92, 0x93, 0x94,
    0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4, 0xB5, 0xB6,
    0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6, 0xD7, 0xD8,
    0xD9, 0xDA, 0xE1, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF1, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8,
    0xF9, 0xFA,
    // chrominance DC: class and destination, the number of codes of each length, their values.
    0x01,
    0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    0x00, 0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B,
    // chrominance AC: class and destination, the number of codes of each length, their values.
    0x11,
    0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 119,
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71, 0x13, 0x22, 0x32, 0x81,
    0x08, 0x14, 0x42, 0x91, 0xA1, 0xB1, 0xC1, 0x09, 0x23, 0x33, 0x52, 0xF0, 0x15, 0x62, 0x72, 0xD1, 0x0A, 0x16, 0x24, 0x34,
    0xE1, 0x25, 0xF1, 0x17, 0x18, 0x19, 0x1A, 0x26, 0x27, 0x28, 0x29, 0x2A, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3A, 0x43, 0x44,
    0x45, 0x46, 0x47, 0x48, 0x49, 0x4A, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5A, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
    0x69, 0x6A, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7A, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x92,
    0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9A, 0xA2, 0xA3, 0xA4, 0xA5, 0xA6, 0xA7, 0xA8, 0xA9, 0xAA, 0xB2, 0xB3, 0xB4,
    0xB5, 0xB6, 0xB7, 0xB8, 0xB9, 0xBA, 0xC2, 0xC3, 0xC4, 0xC5, 0xC6, 0xC7, 0xC8, 0xC9, 0xCA, 0xD2, 0xD3, 0xD4, 0xD5, 0xD6,
    0xD7, 0xD8, 0xD9, 0xDA, 0xE2, 0xE3, 0xE4, 0xE5, 0xE6, 0xE7, 0xE8, 0xE9, 0xEA, 0xF2, 0xF3, 0xF4, 0xF5, 0xF6, 0xF7, 0xF8,
    0xF9, 0xFA,
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of codes and their values are those of the standard: each table is complete.
    #[test]
    fn the_standard_tables_are_a_complete_segment_of_four_tables() {
        let mut tables = &HUFFMAN_TABLES[4..];
        let mut classes = Vec::new();

        assert_eq!(&HUFFMAN_TABLES[..4], [0xFF, DHT, 0x01, 0xA2]);
        while let [class, rest @ ..] = tables {
            let codes: usize = rest[..16].iter().map(|count| usize::from(*count)).sum();
            // The Kraft sum of a prefix code that keeps the all-ones code free (C.2).
            let used: u32 =
                (1..).zip(&rest[..16]).map(|(length, count)| u32::from(*count) << (16 - length)).sum();
            assert!(used < 1 << 16, "{class:#x}");
            classes.push((*class, codes));
            tables = &rest[16 + codes..];
        }
        assert_eq!(classes, [(0x00, 12), (0x10, 162), (0x01, 12), (0x11, 162)]);
    }
}
