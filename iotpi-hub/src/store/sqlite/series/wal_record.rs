//! How readings lie in the journal: one frame holds what one commit brought.
//!
//! A frame is its length (a varint, never 0), a CRC-32 of its body (4 bytes, little-endian), and its body: how many
//! entries, the arrival all others are relative to (Unix milliseconds), and the entries. A reading of one sensor with a
//! number takes 9 to 12 bytes.

use iotpi_core::Outcome;

use super::point::{Point, source_code, source_of};
use crate::store::sqlite::varint::{put, put_signed, take, take_bytes, take_signed};

/// One reading on its way into a series.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// Which series, by its row.
    pub(crate) series: i64,
    /// The record.
    pub(crate) point: Point,
    /// Which count of which module, by its row, and the number.
    pub(crate) number: Option<(i64, u64)>,
}

/// What a frame's value is: the bits of an entry's first byte, beside three for the time source and one for a number.
const NUMBERED: u8 = 0b100;
const SOURCE: u8 = 0b011;
/// The time source's third bit.
const SOURCE_HIGH: u8 = 0b10_0000;
const KIND: u8 = 0b11000;
/// Eight bytes of a double.
const DOUBLE: u8 = 0;
/// A varint of thousandths: most sensors have no more digits.
const THOUSANDTHS: u8 = 0b01000;
/// No value: the reason's length and text.
const ABSENT: u8 = 0b10000;

/// The greatest value, in thousandths, that is written as such: shorter than a double, and exact.
const MAX_THOUSANDTHS: f64 = 281_474_976_710_655.0;

/// Appends a frame of these entries, of which there is at least one.
pub(crate) fn encode(entries: &[Entry], bytes: &mut Vec<u8>) {
    let Some(base_ms) = entries.first().map(|entry| entry.point.received_ms) else { return };
    let mut body = Vec::with_capacity(16 + entries.len() * 14);
    put(&mut body, entries.len() as u64);
    put_signed(&mut body, base_ms);
    for Entry { series, point, number } in entries {
        let thousandths = point.outcome.value().and_then(thousandths);
        let kind = match (&point.outcome, thousandths) {
            (Outcome::NoData(_), _) => ABSENT,
            (Outcome::Value(_), Some(_)) => THOUSANDTHS,
            (Outcome::Value(_), None) => DOUBLE,
        };
        let source = source_code(point.source);
        let source = source & SOURCE | if source > SOURCE { SOURCE_HIGH } else { 0 };
        body.push(kind | source | if number.is_some() { NUMBERED } else { 0 });
        put_signed(&mut body, *series);
        put_signed(&mut body, point.received_ms.wrapping_sub(base_ms));
        put_signed(&mut body, point.taken_us.wrapping_sub(point.received_ms.wrapping_mul(1000)));
        if let Some((delivery, seq)) = number {
            put_signed(&mut body, *delivery);
            put(&mut body, *seq);
        }
        match (&point.outcome, thousandths) {
            (Outcome::NoData(reason), _) => {
                put(&mut body, reason.len() as u64);
                body.extend(reason.as_bytes());
            }
            (Outcome::Value(_), Some(thousandths)) => put_signed(&mut body, thousandths),
            (Outcome::Value(value), None) => body.extend(value.to_le_bytes()),
        }
    }
    put(bytes, body.len() as u64);
    bytes.extend(crc32fast::hash(&body).to_le_bytes());
    bytes.extend(body);
}

/// The value in thousandths, if that says exactly the same number.
#[allow(clippy::cast_possible_truncation)]
fn thousandths(value: f64) -> Option<i64> {
    let whole = (value * 1000.0).round();
    let same = whole.abs() <= MAX_THOUSANDTHS && (whole / 1000.0).to_bits() == value.to_bits();
    same.then_some(whole as i64)
}

/// What stands at the front of a stretch of journal.
#[derive(Debug, PartialEq)]
pub(crate) enum Front {
    /// A frame, and how many bytes it takes.
    Frame(Vec<Entry>, usize),
    /// The end of what was written.
    End,
    /// Neither: it was written by nobody, or has rotted.
    Damaged,
}

/// Reads the frame at the front of `bytes`.
pub(crate) fn front(bytes: &[u8]) -> Front {
    let mut rest = bytes;
    let length = match take(&mut rest) {
        None | Some(0) => return Front::End,
        Some(length) => length,
    };
    let body = take_bytes(&mut rest, 4).zip(take_bytes(&mut rest, length));
    let Some((sum, body)) = body else { return Front::Damaged };
    if crc32fast::hash(body).to_le_bytes() != *sum {
        return Front::Damaged;
    }
    match entries(body) {
        Some(entries) => Front::Frame(entries, bytes.len() - rest.len()),
        None => Front::Damaged,
    }
}

fn entries(mut body: &[u8]) -> Option<Vec<Entry>> {
    let body = &mut body;
    let count = take(body)?;
    let base_ms = take_signed(body)?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let (head, rest) = body.split_first()?;
        *body = rest;
        let series = take_signed(body)?;
        let received_ms = base_ms.wrapping_add(take_signed(body)?);
        let taken_us = received_ms.wrapping_mul(1000).wrapping_add(take_signed(body)?);
        let number = if head & NUMBERED == 0 { None } else { Some((take_signed(body)?, take(body)?)) };
        #[allow(clippy::cast_precision_loss)] // At most 2^48.
        let outcome = match head & KIND {
            THOUSANDTHS => Outcome::Value(take_signed(body)? as f64 / 1000.0),
            ABSENT => {
                let length = take(body)?;
                Outcome::NoData(String::from_utf8(take_bytes(body, length)?.to_vec()).ok()?)
            }
            _ => Outcome::Value(f64::from_le_bytes(take_bytes(body, 8)?.try_into().ok()?)),
        };
        let source = source_of(head & SOURCE | if head & SOURCE_HIGH == 0 { 0 } else { SOURCE + 1 })?;
        let numbered = number.is_some();
        entries.push(Entry {
            series,
            point: Point { taken_us, received_ms, outcome, source, numbered },
            number,
        });
    }
    body.is_empty().then_some(entries)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::point::tests::any_point, *};

    fn any_entry() -> impl Strategy<Value = Entry> {
        (1_i64..1000, any_point(), 1_i64..100, 1..=iotpi_core::MAX_SEQ).prop_map(
            |(series, point, of, seq)| {
                let number = point.numbered.then_some((of, seq));
                Entry { series, point, number }
            },
        )
    }

    proptest! {
        #[test]
        fn a_frame_comes_back_as_it_was(entries in prop::collection::vec(any_entry(), 1..20), tail in any::<[u8; 3]>()) {
            let mut bytes = Vec::new();
            encode(&entries, &mut bytes);
            let length = bytes.len();

            bytes.extend(tail);

            prop_assert_eq!(front(&bytes), Front::Frame(entries, length));
        }

        #[test]
        fn a_changed_frame_is_damaged(entries in prop::collection::vec(any_entry(), 1..5), at: prop::sample::Index, by in 1_u8..=255) {
            let mut bytes = Vec::new();
            encode(&entries, &mut bytes);
            let at = at.index(bytes.len());

            bytes[at] ^= by;

            prop_assert!(!matches!(front(&bytes), Front::Frame(..)));
        }

        #[test]
        fn any_other_bytes_are_read_without_harm(bytes: Vec<u8>) {
            front(&bytes);
        }
    }

    #[test]
    fn behind_the_last_frame_is_the_end() {
        assert_eq!(front(&[]), Front::End);
        assert_eq!(front(&[0, 0, 0]), Front::End);
    }
}
