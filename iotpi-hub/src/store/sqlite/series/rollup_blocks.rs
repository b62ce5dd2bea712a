//! Blocks: the sums of expired records without rollups, as many as a chunk had, compressed like a chunk.
//!
//! A block is created when a chunk expires, from sums of the narrowest width that is still kept; sums of
//! wider widths are computed from those, as they were from the chunk. When that width expires too, a block of
//! the next one replaces it.

use std::ops::Range;

use pco::standalone::simple_decompress;
use rusqlite::{Connection, OptionalExtension as _, params};

use super::{
    chunk::{Damaged, PARTITION_US, put_numbers, sealed, take_column, unsealed},
    sum::{SECOND, Sum, WIDTHS},
};
use crate::store::sqlite::{
    failure::{EngineResult, Failure},
    varint::{put, take},
};

const VERSION: u8 = 1;

/// The maximum time span of a block: that of a chunk, and the unit of its last record.
const MAX_SPAN_US: i64 = PARTITION_US + WIDTHS[0] * SECOND;

/// Stores ordered sums of `width` seconds, each with the number of its unit. No rollup up to `unrolled_width`
/// includes them.
///
/// # Errors
/// SQLite's.
pub(crate) fn insert(
    db: &Connection,
    series: i64,
    width: i64,
    unrolled_width: i64,
    sums: &[(i64, Sum)],
) -> EngineResult<()> {
    let (Some((first, _)), Some((last, _))) = (sums.first(), sums.last()) else { return Ok(()) };
    let body = encode(sums).map_err(|error| Failure::transient(&format!("compress sums: {error}")))?;
    let unit = width * SECOND;
    db.prepare_cached(
        "INSERT INTO rollup_blocks (series_id, width, unrolled_width, first_us, last_us, body)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?
    .execute(params![
        series,
        width,
        unrolled_width,
        first.saturating_mul(unit),
        last.saturating_mul(unit),
        body
    ])?;
    Ok(())
}

/// The blocks of a series in a time range that count for a width, by start.
pub(crate) const BLOCKS: &str = "SELECT first_us, width, body FROM rollup_blocks
     WHERE series_id = ?1 AND first_us >= ?3 - ?5 AND first_us < ?4 AND last_us >= ?3
       AND width <= ?2 AND unrolled_width >= ?2
     ORDER BY first_us, id";

/// Reads the blocks of a series in a time range of whole units of `width` seconds, as far as they count for
/// that width: the start of each, and its sums by the start of their units. Ends when `next` returns false.
///
/// # Errors
/// SQLite's; damage.
pub(crate) fn stored(
    db: &Connection,
    series: i64,
    width: i64,
    time: Range<i64>,
    mut next: impl FnMut(i64, &mut dyn Iterator<Item = (i64, Sum)>) -> bool,
) -> EngineResult<()> {
    let mut blocks = db.prepare_cached(BLOCKS)?;
    let mut rows = blocks.query(params![series, width, time.start, time.end, MAX_SPAN_US])?;
    while let Some(row) = rows.next()? {
        let unit = row.get::<_, i64>(1)? * SECOND;
        let sums = decoded(row.get_ref(2)?.as_blob()?)?;
        let sums = sums.into_iter().map(|(start, sum)| (start.saturating_mul(unit), sum));
        if !next(row.get(0)?, &mut sums.filter(|(start, _)| time.contains(start))) {
            break;
        }
    }
    Ok(())
}

/// Removes the oldest block of sums of `width` seconds that are all before this unit: sums of the next wider
/// width replace it, unless rollups have them. Returns false if there was none.
///
/// # Errors
/// SQLite's; damage.
pub(crate) fn expire(db: &Connection, series: i64, width: i64, before: i64) -> EngineResult<bool> {
    let sql = "SELECT id, unrolled_width, body FROM rollup_blocks
               WHERE series_id = ?1 AND width = ?2 AND first_us < ?3 AND last_us < ?3 ORDER BY first_us, id LIMIT 1";
    let ends_before = before.saturating_mul(width * SECOND);
    let block = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    let found = db.prepare_cached(sql)?.query_row(params![series, width, ends_before], block).optional()?;
    let Some((id, unrolled_width, body)): Option<(i64, i64, Vec<u8>)> = found else { return Ok(false) };
    if let Some(wider) = WIDTHS.into_iter().rev().find(|wider| *wider > width)
        && wider <= unrolled_width
    {
        let sums = decoded(&body)?;
        let mut wide: Vec<(i64, Sum)> = Vec::new();
        for (start, sum) in sums {
            let start = start.div_euclid(wider / width);
            match wide.last_mut() {
                Some((last, total)) if *last == start => total.merge(&sum),
                _ => wide.push((start, sum)),
            }
        }
        insert(db, series, wider, unrolled_width, &wide)?;
    }
    db.prepare_cached("DELETE FROM rollup_blocks WHERE id = ?1")?.execute([id])?;
    Ok(true)
}

fn decoded(body: &[u8]) -> EngineResult<Vec<(i64, Sum)>> {
    decode(body).map_err(|_| Failure::damaged("a block of sums is damaged").into())
}

/// Encodes sums by columns: units, values, records without a value, sums; minima and maxima only where they
/// differ from the sum, as they do not for a single value.
fn encode(sums: &[(i64, Sum)]) -> Result<Vec<u8>, pco::errors::PcoError> {
    let column = |number: fn(&Sum) -> u64| sums.iter().map(|(_, sum)| number(sum)).collect::<Vec<_>>();
    let starts: Vec<i64> = sums.iter().map(|(start, _)| *start).collect();
    let totals: Vec<f64> = sums.iter().filter(|(_, sum)| sum.present > 0).map(|(_, sum)| sum.sum).collect();
    let several = sums.iter().filter(|(_, sum)| sum.present > 1);
    let (mins, maxes): (Vec<f64>, Vec<f64>) = several.filter_map(|(_, sum)| sum.range).unzip();

    let mut bytes = vec![VERSION];
    put(&mut bytes, sums.len() as u64);
    put_numbers(&mut bytes, &starts)?;
    put_numbers(&mut bytes, &column(|sum| sum.present))?;
    put_numbers(&mut bytes, &column(|sum| sum.missing))?;
    for numbers in [totals, mins, maxes] {
        put_numbers(&mut bytes, &numbers)?;
    }
    Ok(sealed(bytes))
}

/// Decodes the body of a block: the sums by the numbers of their units.
///
/// # Errors
/// [`Damaged`] if it differs from the encoded bytes.
pub(crate) fn decode(body: &[u8]) -> Result<Vec<(i64, Sum)>, Damaged> {
    read(unsealed(body)?).ok_or(Damaged)
}

fn read(bytes: &[u8]) -> Option<Vec<(i64, Sum)>> {
    let (version, mut rest) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    let count = usize::try_from(take(&mut rest)?).ok()?;
    let starts = simple_decompress::<i64>(take_column(&mut rest)?).ok()?;
    let mut counts = || simple_decompress::<u64>(take_column(&mut rest)?).ok();
    let (present, missing) = (counts()?, counts()?);
    let mut numbers = || Some(simple_decompress::<f64>(take_column(&mut rest)?).ok()?.into_iter());
    let (mut totals, mut mins, mut maxes) = (numbers()?, numbers()?, numbers()?);
    if [starts.len(), present.len(), missing.len()] != [count; 3] {
        return None;
    }
    let sum = |((start, present), missing)| {
        let sum = if present > 0 { totals.next()? } else { 0.0 };
        let range = match present {
            0 => None,
            1 => Some((sum, sum)),
            _ => Some((mins.next()?, maxes.next()?)),
        };
        Some((start, Sum { present, missing, sum, range }))
    };
    starts.into_iter().zip(present).zip(missing).map(sum).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{point::tests::any_point, sum::units},
        *,
    };

    proptest! {
        #[test]
        fn a_block_decodes_to_its_sums(
            mut points in prop::collection::vec(any_point(), 0..300), width in prop::sample::select(WIDTHS.to_vec()),
        ) {
            points.sort_by_key(|point| point.taken_us);
            let sums: Vec<_> = units(&points, width).collect();

            let decoded = decode(&encode(&sums).unwrap()).unwrap();

            prop_assert_eq!(decoded, sums);
        }

        #[test]
        fn a_changed_block_is_damaged(
            points in prop::collection::vec(any_point(), 1..20), at: prop::sample::Index, mask in 1_u8..=255,
        ) {
            let mut body = encode(&units(&points, 60).collect::<Vec<_>>()).unwrap();
            let at = at.index(body.len());

            body[at] ^= mask;

            prop_assert_eq!(decode(&body), Err(Damaged));
        }
    }
}
