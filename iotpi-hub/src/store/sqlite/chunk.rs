//! How folded records lie on the disk: up to [`MAX_POINTS`] of one series, column by column, each column compressed by
//! [pco](https://github.com/pcodec/pcodec), with a CRC-32 over all of it.
//!
//! A chunk is a version byte, how many points, the columns (when taken, when received, values, time sources, reasons),
//! each with its length, and the sum. Numeric columns are lossless to the last bit.

use iotpi_core::Outcome;
use pco::{
    ChunkConfig,
    standalone::{simple_compress, simple_decompress},
};

use super::{
    point::{Point, source_code, source_of},
    varint::{put, take, take_bytes},
};

/// The most points of a chunk: enough for the codec to be at its best, few enough to be decoded in under 0.1 ms.
pub(super) const MAX_POINTS: usize = 4096;

const VERSION: u8 = 1;
/// One step below pco's default: half the time for under 2 % more bytes.
const LEVEL: usize = 7;

/// Why a chunk cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a chunk of records is damaged")]
pub(super) struct Damaged;

/// Writes points, in order, as a chunk's body.
///
/// # Errors
/// The codec's, which has no reason to fail on numbers.
pub(super) fn encode(points: &[Point]) -> Result<Vec<u8>, pco::errors::PcoError> {
    let config = ChunkConfig::default().with_compression_level(LEVEL);
    let taken: Vec<i64> = points.iter().map(|point| point.taken_us).collect();
    let received: Vec<i64> = points.iter().map(|point| point.received_ms).collect();
    let values: Vec<f64> = points.iter().filter_map(|point| point.outcome.value()).collect();

    let mut bytes = vec![VERSION];
    put(&mut bytes, points.len() as u64);
    column(&mut bytes, &simple_compress(&taken, &config)?);
    column(&mut bytes, &simple_compress(&received, &config)?);
    column(&mut bytes, &simple_compress(&values, &config)?);
    column(&mut bytes, &sources(points));
    column(&mut bytes, &reasons(points));
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    Ok(bytes)
}

fn column(bytes: &mut Vec<u8>, column: &[u8]) {
    put(bytes, column.len() as u64);
    bytes.extend(column);
}

/// Time sources as runs: how many, which.
fn sources(points: &[Point]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for run in points.chunk_by(|a, b| a.source == b.source) {
        put(&mut bytes, run.len() as u64);
        bytes.push(source_code(run[0].source));
    }
    bytes
}

/// The points without a value: how many points lie before each, and its reason.
fn reasons(points: &[Point]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (index, reason) in points.iter().enumerate().filter_map(|(i, p)| Some((i, p.outcome.reason()?))) {
        put(&mut bytes, index as u64);
        put(&mut bytes, reason.len() as u64);
        bytes.extend(reason.as_bytes());
    }
    bytes
}

/// Reads a chunk's body.
///
/// # Errors
/// [`Damaged`] when it is not, to the last bit, what was written.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Point>, Damaged> {
    let (rest, sum) = body.split_last_chunk::<4>().ok_or(Damaged)?;
    if crc32fast::hash(rest).to_le_bytes() != *sum {
        return Err(Damaged);
    }
    read(rest).ok_or(Damaged)
}

fn read(bytes: &[u8]) -> Option<Vec<Point>> {
    let (version, mut rest) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    let rest = &mut rest;
    let count = usize::try_from(take(rest)?).ok()?;
    let mut next = || {
        let length = take(rest)?;
        take_bytes(rest, length)
    };
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

/// The next absent point and its reason, if there is one more; nothing at all when the column cannot be read.
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
        fn a_chunk_comes_back_as_it_was(points in prop::collection::vec(any_point(), 0..300)) {
            let body = encode(&points).unwrap();

            let read = decode(&body).unwrap();

            let kept: Vec<_> = points.into_iter().map(|point| Point { numbered: false, ..point }).collect();
            prop_assert_eq!(read, kept);
        }

        #[test]
        fn a_changed_chunk_is_damaged(
            points in prop::collection::vec(any_point(), 1..20), at: prop::sample::Index, by in 1_u8..=255,
        ) {
            let mut body = encode(&points).unwrap();
            let at = at.index(body.len());

            body[at] ^= by;

            prop_assert_eq!(decode(&body), Err(Damaged));
        }
    }
}
