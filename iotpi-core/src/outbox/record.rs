//! The encoding of a reading in a segment: some 35 bytes, against 150 as JSON.
//!
//! ```text
//! 0xA5 | length of the payload: u16 | CRC-32 of the payload: u32 | payload
//! payload: flags: u8 | seq: varint | quantity | channel | value: f64, or the reason: text | wall: i64 us | monotonic: varint us
//! quantity: its code: u8, or (with the flag) its name and unit: text, text
//! channel: with the flag: text
//! text: length: varint | UTF-8
//! ```
//! All numbers are little endian. After damaged bytes the next record is found by its first byte and its checksum.

use std::time::Duration;

use super::{
    crc32::crc32,
    queued_reading::{QueuedReading, TakenAt},
};
use crate::{
    model::{
        id::{Channel, SensorType},
        reading::{Outcome, Quantity, SeqNo},
        unit::Unit,
    },
    time::Timestamp,
};

/// The first byte of every record.
pub(super) const MARK: u8 = 0xA5;
/// The size of marker, length and checksum in bytes.
const HEAD: usize = 7;
/// The maximum payload in bytes: a reason of 200 characters and three custom names fit.
const MAX_PAYLOAD: usize = 2048;

const HAS_VALUE: u8 = 1;
const HAS_WALL: u8 = 2;
const HAS_MONOTONIC: u8 = 4;
const SPELLED: u8 = 8;
const HAS_CHANNEL: u8 = 16;

/// The quantities with a code, which is their index. New ones are appended; the order never changes.
static CODES: [Quantity; 10] = [
    Quantity::Temperature,
    Quantity::Humidity,
    Quantity::Pressure,
    Quantity::Illuminance,
    Quantity::Voltage,
    Quantity::Current,
    Quantity::Power,
    Quantity::Distance,
    Quantity::Co2,
    Quantity::Motion,
];

/// Appends a record to `bytes`.
#[allow(clippy::cast_possible_truncation)] // No payload comes near 64 KiB.
pub(super) fn encode(kept: &QueuedReading, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.extend([MARK, 0, 0, 0, 0, 0, 0]);
    let code = CODES.iter().position(|quantity| *quantity == kept.quantity);
    let flags = if kept.outcome.value().is_some() { HAS_VALUE } else { 0 }
        | if kept.taken.wall.is_some() { HAS_WALL } else { 0 }
        | if kept.taken.monotonic.is_some() { HAS_MONOTONIC } else { 0 }
        | if code.is_none() { SPELLED } else { 0 }
        | if kept.channel.is_some() { HAS_CHANNEL } else { 0 };
    bytes.push(flags);
    put_varint(kept.number.seq, bytes);
    match code {
        Some(code) => bytes.push(code as u8),
        None => {
            put_text(kept.quantity.name().as_str(), bytes);
            put_text(kept.quantity.unit().as_str(), bytes);
        }
    }
    if let Some(channel) = &kept.channel {
        put_text(channel.as_str(), bytes);
    }
    match &kept.outcome {
        Outcome::Value(value) => bytes.extend(value.to_le_bytes()),
        Outcome::NoData(reason) => put_text(reason, bytes),
    }
    if let Some(wall) = kept.taken.wall {
        bytes.extend(wall.as_micros().to_le_bytes());
    }
    if let Some(monotonic) = kept.taken.monotonic {
        put_varint(u64::try_from(monotonic.as_micros()).unwrap_or(u64::MAX), bytes);
    }
    let payload = &bytes[start + HEAD..];
    let (length, sum) = (payload.len() as u16, crc32(payload));
    bytes[start + 1..start + 3].copy_from_slice(&length.to_le_bytes());
    bytes[start + 3..start + HEAD].copy_from_slice(&sum.to_le_bytes());
}

/// Decodes the record at the beginning of `bytes` and returns its length; `None` if there is none.
pub(super) fn decode(bytes: &[u8], epoch: u64) -> Option<(QueuedReading, usize)> {
    let (head, rest) = bytes.split_at_checked(HEAD)?;
    let [mark, l0, l1, c0, c1, c2, c3] = *head else { return None };
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    if mark != MARK || length > MAX_PAYLOAD {
        return None;
    }
    let payload = rest.get(..length)?;
    if crc32(payload) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return None;
    }
    let kept = read(&mut Reader(payload), epoch)?;
    Some((kept, HEAD + length))
}

fn read(payload: &mut Reader<'_>, epoch: u64) -> Option<QueuedReading> {
    let flags = payload.take(1)?[0];
    let seq = payload.varint()?;
    let quantity = if flags & SPELLED == 0 {
        CODES.get(usize::from(payload.take(1)?[0]))?.clone()
    } else {
        let name = SensorType::new(payload.text()?).ok()?;
        Quantity::new(name, Unit::parse(payload.text()?).ok()?)
    };
    let channel = match flags & HAS_CHANNEL {
        0 => None,
        _ => Some(Channel::new(payload.text()?).ok()?),
    };
    let outcome = if flags & HAS_VALUE == 0 {
        Outcome::NoData(payload.text()?.to_owned())
    } else {
        Outcome::Value(f64::from_le_bytes(payload.take(8)?.try_into().ok()?))
    };
    let wall = match flags & HAS_WALL {
        0 => None,
        _ => Some(Timestamp::from_micros(i64::from_le_bytes(payload.take(8)?.try_into().ok()?))),
    };
    let monotonic = match flags & HAS_MONOTONIC {
        0 => None,
        _ => Some(Duration::from_micros(payload.varint()?)),
    };
    Some(QueuedReading {
        number: SeqNo { epoch, seq },
        quantity,
        channel,
        outcome,
        taken: TakenAt { wall, monotonic },
    })
}

fn put_varint(mut number: u64, bytes: &mut Vec<u8>) {
    while number >= 0x80 {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn put_text(text: &str, bytes: &mut Vec<u8>) {
    put_varint(text.len() as u64, bytes);
    bytes.extend(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = usize::try_from(self.varint()?).ok()?;
        std::str::from_utf8(self.take(length)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quantities() -> impl Strategy<Value = Quantity> {
        let spelled = ("[a-z][a-z0-9-]{0,20}", prop::sample::select(vec!["lux", "percent", "volt"]))
            .prop_map(|(name, unit)| Quantity::new(name.parse().unwrap(), Unit::parse(unit).unwrap()));
        prop_oneof![prop::sample::select(CODES.to_vec()), spelled]
    }

    fn outcomes() -> impl Strategy<Value = Outcome> {
        prop_oneof![(-1e300..1e300).prop_map(Outcome::of), "\\PC{0,200}".prop_map(Outcome::no_data)]
    }

    prop_compose! {
        pub fn readings()(
            seq in 1..=crate::model::reading::MAX_SEQ,
            quantity in quantities(),
            channel in prop::option::of("[a-z0-9][a-z0-9_-]{0,63}"),
            outcome in outcomes(),
            wall in prop::option::of(Timestamp::MIN.as_micros()..Timestamp::END.as_micros()),
            monotonic in prop::option::of(0..u64::MAX / 2),
        ) -> QueuedReading {
            let taken = TakenAt {
                wall: wall.map(Timestamp::from_micros),
                monotonic: monotonic.map(Duration::from_micros),
            };
            let channel = channel.map(|text| Channel::new(text).unwrap());
            QueuedReading { number: SeqNo { epoch: 7, seq }, quantity, channel, outcome, taken }
        }
    }

    proptest! {
        #[test]
        fn decoding_a_record_is_the_inverse_of_encoding(kept in readings()) {
            let mut bytes = Vec::new();

            encode(&kept, &mut bytes);

            prop_assert_eq!(decode(&bytes, 7), Some((kept, bytes.len())));
        }

        #[test]
        fn a_changed_byte_is_detected(kept in readings(), place in any::<prop::sample::Index>(), change in 1..=255_u8) {
            let mut bytes = Vec::new();
            encode(&kept, &mut bytes);
            let place = place.index(bytes.len());

            bytes[place] ^= change;

            prop_assert_eq!(decode(&bytes, 7), None);
        }
    }

    #[test]
    fn an_ordinary_reading_takes_less_than_40_bytes() {
        let taken = TakenAt {
            wall: Some(Timestamp::FIRST_POSSIBLE),
            monotonic: Some(Duration::from_secs(86_400 * 30)),
        };
        let number = SeqNo { epoch: 7, seq: 10_000_000 };
        let (quantity, outcome) = (Quantity::Temperature, Outcome::of(21.5));
        let kept = QueuedReading { number, quantity, channel: None, outcome, taken };
        let mut bytes = Vec::new();

        encode(&kept, &mut bytes);

        assert!(bytes.len() < 40, "{}", bytes.len());
    }

    #[test]
    fn every_quantity_has_a_code() {
        let named: Vec<_> = CODES.iter().map(|quantity| quantity.name().to_string()).collect();

        let expected = [
            "temperature",
            "humidity",
            "pressure",
            "illuminance",
            "voltage",
            "current",
            "power",
            "distance",
            "co2",
            "motion",
        ];
        assert_eq!(named, expected);
    }
}
