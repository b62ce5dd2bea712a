//! The encoding of a WAL record, which holds the readings of one commit.
//!
//! A record is a CRC-32 of its body (4 bytes, little-endian), and the body: the number of entries, the arrival to which all others are
//! relative (Unix milliseconds), and the entries. A reading of one sensor with a sequence number takes 9 to 12 bytes.

use iotpi_core::Outcome;

use super::point::{Point, source_code, source_of};
use crate::store::sqlite::varint::{put, put_signed, take, take_bytes, take_signed};

/// The bytes of the checksum.
const CHECKSUM_BYTES: usize = 4;

/// One reading of a commit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct WalEntry {
    /// The id of the series.
    pub(crate) series: i64,
    /// The reading.
    pub(crate) point: Point,
    /// The id of the epoch, and the sequence number.
    pub(crate) number: Option<(i64, u64)>,
}

/// The first byte of an entry: bit 2 is set if the entry has a sequence number.
const NUMBERED: u8 = 0b100;
/// The lower two bits of the time source.
const SOURCE: u8 = 0b011;
/// The third bit of the time source.
const SOURCE_HIGH: u8 = 0b10_0000;
/// How the value is encoded.
const KIND: u8 = 0b11000;
/// Eight bytes of a double, little-endian.
const DOUBLE: u8 = 0;
/// A varint of thousandths: most sensors have no more decimal places.
const THOUSANDTHS: u8 = 0b01000;
/// No value: the length and the text of the reason.
const ABSENT: u8 = 0b10000;

/// The greatest value that is encoded in thousandths: shorter than a double, and exact.
const MAX_THOUSANDTHS: f64 = 281_474_976_710_655.0;

/// Encodes entries as one record.
pub(crate) fn encode(entries: &[WalEntry]) -> Vec<u8> {
    let base_ms = entries.first().map_or(0, |entry| entry.point.received_ms);
    let mut body = Vec::with_capacity(16 + entries.len() * 14);
    body.extend([0; CHECKSUM_BYTES]);
    put(&mut body, entries.len() as u64);
    put_signed(&mut body, base_ms);
    for WalEntry { series, point, number } in entries {
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
        if let Some((epoch, seq)) = number {
            put_signed(&mut body, *epoch);
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
    let checksum = crc32fast::hash(&body[CHECKSUM_BYTES..]).to_le_bytes();
    body[..CHECKSUM_BYTES].copy_from_slice(&checksum);
    body
}

/// The value in thousandths, if that is exactly the same number.
#[allow(clippy::cast_possible_truncation)]
fn thousandths(value: f64) -> Option<i64> {
    let whole = (value * 1000.0).round();
    let same = whole.abs() <= MAX_THOUSANDTHS && (whole / 1000.0).to_bits() == value.to_bits();
    same.then_some(whole as i64)
}

/// Decodes a record; `None` when it is not, to the last bit, what was encoded.
pub(crate) fn decode(record: &[u8]) -> Option<Vec<WalEntry>> {
    let (checksum, body) = record.split_at_checked(CHECKSUM_BYTES)?;
    if crc32fast::hash(body).to_le_bytes() != *checksum {
        return None;
    }
    entries(body)
}

fn entries(mut body: &[u8]) -> Option<Vec<WalEntry>> {
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
        entries.push(WalEntry {
            series,
            point: Point { taken_us, received_ms, outcome, source, numbered },
            number,
        });
    }
    body.is_empty().then_some(entries)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::{super::point::tests::any_point, *};

    /// An arbitrary entry.
    pub(in crate::store::sqlite::series) fn any_entry() -> impl Strategy<Value = WalEntry> {
        (1_i64..1000, any_point(), 1_i64..100, 1..=iotpi_core::MAX_SEQ).prop_map(
            |(series, point, epoch, seq)| {
                let number = point.numbered.then_some((epoch, seq));
                WalEntry { series, point, number }
            },
        )
    }

    proptest! {
        #[test]
        fn a_record_decodes_to_its_entries(entries in prop::collection::vec(any_entry(), 0..20)) {
            prop_assert_eq!(decode(&encode(&entries)), Some(entries));
        }

        #[test]
        fn a_changed_record_is_damaged(
            entries in prop::collection::vec(any_entry(), 1..5), at: prop::sample::Index, mask in 1_u8..=255,
        ) {
            let mut record = encode(&entries);
            let at = at.index(record.len());

            record[at] ^= mask;

            prop_assert_eq!(decode(&record), None);
        }

        #[test]
        fn decoding_arbitrary_bytes_does_not_panic(bytes: Vec<u8>) {
            entries(&bytes);
        }
    }
}
