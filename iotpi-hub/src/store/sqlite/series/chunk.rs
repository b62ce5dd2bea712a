//! The encoding of a chunk of compacted records: up to [`MAX_POINTS`] of one series, by columns, each column
//! compressed by [pco](https://github.com/pcodec/pcodec), with a CRC-32 of the whole.
//!
//! A chunk is a version byte, the number of points, the columns (time taken, time received, values, time
//! sources, reasons), each with its length, and the checksum. Numeric columns are lossless to the last bit.

use iotpi_core::Outcome;
use pco::{
    ChunkConfig, FULL_BATCH_N,
    data_types::Number,
    standalone::{ChunkDecompressor, DecompressorItem, FileDecompressor, simple_compress, simple_decompress},
};

use super::point::{Point, source_code, source_of};
use crate::store::sqlite::{
    failure::{EngineResult, Failure},
    varint::{put, take, take_bytes},
};

/// The maximum number of points of a chunk: enough for good compression, and few enough to be decoded in
/// under 0.1 ms.
pub(crate) const MAX_POINTS: usize = 4096;

/// The time partition of a chunk: 30 days. Chunks of a sparse series are small, so that retention is not off
/// by years.
pub(crate) const PARTITION_US: i64 = 30 * 86_400 * 1_000_000;

const VERSION: u8 = 1;
/// One level below pco's default: half the time for under 2 % more bytes.
const LEVEL: usize = 7;

/// A chunk that cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a chunk of records is damaged")]
pub(crate) struct Damaged;

/// Encodes ordered points as the body of a chunk.
///
/// # Errors
/// The codec's, which do not occur for numbers.
pub(crate) fn encode(points: &[Point]) -> Result<Vec<u8>, pco::errors::PcoError> {
    let taken: Vec<i64> = points.iter().map(|point| point.taken_us).collect();
    let received: Vec<i64> = points.iter().map(|point| point.received_ms).collect();
    let values: Vec<f64> = points.iter().filter_map(|point| point.outcome.value()).collect();

    let mut bytes = vec![VERSION];
    put(&mut bytes, points.len() as u64);
    put_numbers(&mut bytes, &taken)?;
    put_numbers(&mut bytes, &received)?;
    put_numbers(&mut bytes, &values)?;
    put_column(&mut bytes, &sources(points));
    put_column(&mut bytes, &reasons(points));
    Ok(sealed(bytes))
}

/// Appends a compressed column of numbers.
pub(crate) fn put_numbers<T: Number>(
    bytes: &mut Vec<u8>,
    numbers: &[T],
) -> Result<(), pco::errors::PcoError> {
    let config = ChunkConfig::default().with_compression_level(LEVEL);
    put_column(bytes, &simple_compress(numbers, &config)?);
    Ok(())
}

fn put_column(bytes: &mut Vec<u8>, column: &[u8]) {
    put(bytes, column.len() as u64);
    bytes.extend(column);
}

/// Takes the next column off the front.
pub(crate) fn take_column<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take(bytes)?;
    take_bytes(bytes, length)
}

/// Appends the CRC-32 of the bytes.
pub(crate) fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// The bytes without their CRC-32.
///
/// # Errors
/// [`Damaged`] if the checksum is wrong.
pub(crate) fn unsealed(body: &[u8]) -> Result<&[u8], Damaged> {
    let (bytes, sum) = body.split_last_chunk::<4>().ok_or(Damaged)?;
    if crc32fast::hash(bytes).to_le_bytes() == *sum { Ok(bytes) } else { Err(Damaged) }
}

/// The time sources, run-length encoded.
fn sources(points: &[Point]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for run in points.chunk_by(|a, b| a.source == b.source) {
        put(&mut bytes, run.len() as u64);
        bytes.push(source_code(run[0].source));
    }
    bytes
}

/// The points without a value: the number of points before each, and its reason.
fn reasons(points: &[Point]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, reason) in points.iter().enumerate().filter_map(|(i, p)| Some((i, p.outcome.reason()?))) {
        put(&mut bytes, index as u64);
        put(&mut bytes, reason.len() as u64);
        bytes.extend(reason.as_bytes());
    }
    bytes
}

/// Decodes the body of a chunk.
///
/// # Errors
/// [`Damaged`] if it differs from the encoded bytes.
pub(crate) fn decode(body: &[u8]) -> Result<Vec<Point>, Damaged> {
    read(unsealed(body)?).ok_or(Damaged)
}

/// The records in the body of a chunk.
///
/// # Errors
/// Damage.
pub(crate) fn decode_points(body: &[u8]) -> EngineResult<Vec<Point>> {
    decode(body).map_err(|damaged| Failure::damaged(&damaged.to_string()).into())
}

/// Takes the version and the number of points; the columns follow.
fn take_count(bytes: &mut &[u8]) -> Option<usize> {
    let (version, rest) = bytes.split_first()?;
    *bytes = rest;
    if *version != VERSION {
        return None;
    }
    usize::try_from(take(bytes)?).ok()
}

fn read(mut bytes: &[u8]) -> Option<Vec<Point>> {
    let count = take_count(&mut bytes)?;
    let mut next = || take_column(&mut bytes);
    let taken = simple_decompress::<i64>(next()?).ok()?;
    let received = simple_decompress::<i64>(next()?).ok()?;
    let values = simple_decompress::<f64>(next()?).ok()?;
    let (mut sources, mut reasons) = (next()?, next()?);
    if taken.len() != count || received.len() != count || values.len() > count {
        return None;
    }
    let mut values = values.into_iter();
    let mut absent_at = next_reason(&mut reasons)?;
    let mut run = (0, 0);
    let mut points = Vec::with_capacity(count);
    for (index, (taken_us, received_ms)) in taken.into_iter().zip(received).enumerate() {
        if run.0 == 0 {
            let length = take(&mut sources)?;
            let (code, rest) = sources.split_first()?;
            sources = rest;
            run = (length, *code);
        }
        run.0 = run.0.checked_sub(1)?;
        let outcome = match absent_at.take_if(|(at, _)| *at == index as u64) {
            Some((_, reason)) => {
                absent_at = next_reason(&mut reasons)?;
                Outcome::NoData(reason)
            }
            None => Outcome::Value(values.next()?),
        };
        points.push(Point { taken_us, received_ms, outcome, source: source_of(run.1)?, numbered: false });
    }
    Some(points)
}

/// Decodes only the time and the value of each record, in order, until `next` returns false. Decompresses in
/// batches, and no more than needed.
///
/// # Errors
/// [`Damaged`] as [`decode`], within the part that was read.
pub(crate) fn values(body: &[u8], next: impl FnMut(i64, Option<f64>) -> bool) -> Result<(), Damaged> {
    read_values(unsealed(body)?, next).ok_or(Damaged)
}

fn read_values(mut bytes: &[u8], mut next: impl FnMut(i64, Option<f64>) -> bool) -> Option<()> {
    let count = take_count(&mut bytes)?;
    let mut column = || take_column(&mut bytes);
    let mut taken = Numbers::<i64>::new(column()?)?;
    let _received = column()?;
    let mut values = Numbers::<f64>::new(column()?)?;
    let (_sources, mut reasons) = (column()?, column()?);
    let mut absent_at = skip_reason(&mut reasons)?;
    for index in 0..count as u64 {
        let taken_us = taken.next()?;
        let value = match absent_at.take_if(|at| *at == index) {
            Some(_) => {
                absent_at = skip_reason(&mut reasons)?;
                None
            }
            None => Some(values.next()?),
        };
        if !next(taken_us, value) {
            break;
        }
    }
    Some(())
}

/// The numbers of a column, decompressed in batches.
struct Numbers<'a, T: Number> {
    source: Option<ChunkDecompressor<T, &'a [u8]>>,
    batch: Box<[T]>,
    at: usize,
    end: usize,
}

impl<'a, T: Number + Default> Numbers<'a, T> {
    fn new(column: &'a [u8]) -> Option<Self> {
        let (file, column) = FileDecompressor::new(column).ok()?;
        let source = match file.chunk_decompressor(column).ok()? {
            DecompressorItem::Chunk(source) => Some(source),
            DecompressorItem::EndOfData(_) => None,
        };
        let batch = vec![T::default(); FULL_BATCH_N].into_boxed_slice();
        Some(Self { source, batch, at: 0, end: 0 })
    }

    /// The next number; `None` at the end, or if the rest cannot be decoded.
    fn next(&mut self) -> Option<T> {
        if self.at == self.end {
            self.end = self.source.as_mut()?.read(&mut self.batch).ok()?.n_processed;
            self.at = 0;
        }
        let number = *self.batch.get(self.at..self.end)?.first()?;
        self.at += 1;
        Some(number)
    }
}

/// Like [`next_reason`], without the reason.
#[allow(clippy::option_option)]
fn skip_reason(reasons: &mut &[u8]) -> Option<Option<u64>> {
    if reasons.is_empty() {
        return Some(None);
    }
    let index = take(reasons)?;
    take_column(reasons)?;
    Some(Some(index))
}

/// The next point without a value and its reason, if there is one; the outer `None` if the column cannot be
/// decoded.
#[allow(clippy::option_option)]
fn next_reason(reasons: &mut &[u8]) -> Option<Option<(u64, String)>> {
    if reasons.is_empty() {
        return Some(None);
    }
    let index = take(reasons)?;
    let length = take(reasons)?;
    let reason = String::from_utf8(take_bytes(reasons, length)?.to_vec()).ok()?;
    Some(Some((index, reason)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::point::tests::any_point, *};

    proptest! {
        #[test]
        fn a_chunk_decodes_to_its_points(points in prop::collection::vec(any_point(), 0..300)) {
            let body = encode(&points).unwrap();

            let decoded = decode(&body).unwrap();

            let expected: Vec<_> = points.into_iter().map(|point| Point { numbered: false, ..point }).collect();
            prop_assert_eq!(decoded, expected);
        }

        #[test]
        fn values_of_a_chunk_are_decoded_until_the_callback_stops(
            points in prop::collection::vec(any_point(), 0..600), limit in 0_usize..700,
        ) {
            let body = encode(&points).unwrap();
            let mut decoded = Vec::new();

            values(&body, |taken_us, value| {
                decoded.push((taken_us, value.map(f64::to_bits)));
                decoded.len() < limit
            }).unwrap();

            let expected = points.iter().map(|point| (point.taken_us, point.outcome.value().map(f64::to_bits)));
            prop_assert_eq!(decoded, expected.take(limit.max(1)).collect::<Vec<_>>());
        }

        #[test]
        fn a_changed_chunk_is_damaged(
            points in prop::collection::vec(any_point(), 1..20), at: prop::sample::Index, mask in 1_u8..=255,
        ) {
            let mut body = encode(&points).unwrap();
            let at = at.index(body.len());

            body[at] ^= mask;

            prop_assert_eq!(decode(&body), Err(Damaged));
        }
    }
}
