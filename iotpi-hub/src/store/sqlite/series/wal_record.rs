//! The encoding of a WAL record, which holds the readings of one commit.
//!
//! A record is a CRC-32 of its body (4 bytes, little-endian), and the body: the number of entries, and the entries. Series, arrival,
//! epoch and sequence number are differences from the previous entry, which are short in a batch of one module and among modules that
//! measure at the same rate. A reading with a sequence number takes 8 to 11 bytes.

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
/// A varint of thousandths.
const THOUSANDTHS: u8 = 0b01000;
/// A varint of hundredths: most sensors have no more decimal places.
const HUNDREDTHS: u8 = 0b11000;
/// No value: the length and the text of the reason.
const ABSENT: u8 = 0b10000;

/// The greatest number of hundredths or thousandths: shorter than a double, and exact.
const MAX_DECIMAL: f64 = 281_474_976_710_655.0;

/// The fields of the previous entry; zero before the first.
#[derive(Default)]
struct Previous {
    series: Field,
    received_ms: Field,
    epoch: Field,
    seq: Field,
}

#[derive(Default)]
struct Field(i64);

impl Field {
    /// Returns the difference.
    fn replace_by(&mut self, value: i64) -> i64 {
        value.wrapping_sub(std::mem::replace(&mut self.0, value))
    }

    /// Returns the sum.
    fn add(&mut self, difference: i64) -> i64 {
        self.0 = self.0.wrapping_add(difference);
        self.0
    }
}

/// Encodes entries as one record.
pub(crate) fn encode(entries: &[WalEntry]) -> Vec<u8> {
    let mut previous = Previous::default();
    let mut body = Vec::with_capacity(16 + entries.len() * 14);
    body.extend([0; CHECKSUM_BYTES]);
    put(&mut body, entries.len() as u64);
    for WalEntry { series, point, number } in entries {
        let decimal = point.outcome.value().and_then(decimal);
        let kind = match (&point.outcome, decimal) {
            (Outcome::NoData(_), _) => ABSENT,
            (Outcome::Value(_), Some((kind, _))) => kind,
            (Outcome::Value(_), None) => DOUBLE,
        };
        let source = source_code(point.source);
        let source = source & SOURCE | if source > SOURCE { SOURCE_HIGH } else { 0 };
        body.push(kind | source | if number.is_some() { NUMBERED } else { 0 });
        put_signed(&mut body, previous.series.replace_by(*series));
        put_signed(&mut body, previous.received_ms.replace_by(point.received_ms));
        put_signed(&mut body, point.taken_us.wrapping_sub(point.received_ms.wrapping_mul(1000)));
        if let Some((epoch, seq)) = number {
            put_signed(&mut body, previous.epoch.replace_by(*epoch));
            put_signed(&mut body, previous.seq.replace_by(seq.cast_signed()));
        }
        match (&point.outcome, decimal) {
            (Outcome::NoData(reason), _) => {
                put(&mut body, reason.len() as u64);
                body.extend(reason.as_bytes());
            }
            (Outcome::Value(_), Some((_, number))) => put_signed(&mut body, number),
            (Outcome::Value(value), None) => body.extend(value.to_le_bytes()),
        }
    }
    let checksum = crc32fast::hash(&body[CHECKSUM_BYTES..]).to_le_bytes();
    body[..CHECKSUM_BYTES].copy_from_slice(&checksum);
    body
}

/// The value in hundredths or thousandths, with its kind, if that is exactly the same number.
#[allow(clippy::cast_possible_truncation)]
fn decimal(value: f64) -> Option<(u8, i64)> {
    [(HUNDREDTHS, 100.0), (THOUSANDTHS, 1000.0)].into_iter().find_map(|(kind, scale)| {
        let whole = (value * scale).round();
        let same = whole.abs() <= MAX_DECIMAL && (whole / scale).to_bits() == value.to_bits();
        same.then_some((kind, whole as i64))
    })
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
    let mut previous = Previous::default();
    let mut entries = Vec::new();
    for _ in 0..count {
        let (head, rest) = body.split_first()?;
        *body = rest;
        let series = previous.series.add(take_signed(body)?);
        let received_ms = previous.received_ms.add(take_signed(body)?);
        let taken_us = received_ms.wrapping_mul(1000).wrapping_add(take_signed(body)?);
        let number = if head & NUMBERED == 0 {
            None
        } else {
            let epoch = previous.epoch.add(take_signed(body)?);
            Some((epoch, previous.seq.add(take_signed(body)?).cast_unsigned()))
        };
        #[allow(clippy::cast_precision_loss)] // At most 2^48.
        let outcome = match head & KIND {
            HUNDREDTHS => Outcome::Value(take_signed(body)? as f64 / 100.0),
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
        (1_i64..1000, any_point(), 1_i64..100, 1..=iotpi_core::model::reading::MAX_SEQ).prop_map(
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
