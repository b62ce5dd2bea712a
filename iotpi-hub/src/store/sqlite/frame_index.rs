//! Recording settings and the frame index.
//!
//! Frames indexed together share a row. Its body has three numbers a frame ([`super::varint`]): microseconds
//! since the previous frame (for the first: since the row's `first_us`), bytes between the end of the
//! previous JPEG and this record (for the first: since the beginning of the file), bytes of the JPEG. This
//! takes some 8 bytes a frame.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use async_trait::async_trait;
use iotpi_core::{
    ModuleId, Timestamp,
    model::recording::{Clip, FrameSelection, RecordingSettings},
};
use rusqlite::{Connection, OptionalExtension as _, Row, params};

use super::{
    Sqlite,
    columns::{json_as, maybe_moment, moment, parsed},
    failure::{EngineResult, Failure},
    modules, varint,
    writer::WriteContext,
};
use crate::store::{
    ClipQuery, FoundFrame, FrameLocation, IndexedFrames, Page, PageRequest, ReadFrameIndex, RecordingTotals,
    Result, SegmentRecord, StoreError, WriteFrameIndex,
    cursor::{self, List},
};

/// Maximum time span of a row.
const SPAN_US: i64 = 60_000_000;
/// Maximum frames of a row: a body of some 8 KiB.
const MAX_FRAMES_PER_ROW: usize = 1024;

/// See [`WriteFrameIndex::set_recording`](crate::store::WriteFrameIndex::set_recording).
pub(super) fn set_recording(
    db: &Connection,
    module: &ModuleId,
    settings: &RecordingSettings,
) -> EngineResult<()> {
    known(db, module)?;
    let sql = "INSERT INTO recording_settings (module_id, settings) VALUES (?1, ?2)
               ON CONFLICT DO UPDATE SET settings = excluded.settings";
    db.prepare_cached(sql)?.execute(params![module.as_str(), modules::json(settings)?])?;
    Ok(())
}

fn known(db: &Connection, module: &ModuleId) -> EngineResult<()> {
    let known = db.prepare_cached("SELECT 1 FROM modules WHERE id = ?1")?.exists([module.as_str()])?;
    if known { Ok(()) } else { Err(StoreError::NotFound("module").into()) }
}

/// Settings as this hub or a newer one stored them.
fn stored_settings(row: &Row<'_>, column: usize) -> rusqlite::Result<RecordingSettings> {
    json_as(row, column, RecordingSettings::from_stored_json)
}

/// See [`ReadFrameIndex::recording`](crate::store::ReadFrameIndex::recording).
pub(super) fn recording(db: &Connection, module: &ModuleId) -> EngineResult<Option<RecordingSettings>> {
    let sql = "SELECT settings FROM recording_settings WHERE module_id = ?1";
    Ok(db.prepare_cached(sql)?.query_row([module.as_str()], |row| stored_settings(row, 0)).optional()?)
}

/// See [`ReadFrameIndex::all_recording`](crate::store::ReadFrameIndex::all_recording).
pub(super) fn all_recording(db: &Connection) -> EngineResult<Vec<(ModuleId, RecordingSettings)>> {
    let mut all =
        db.prepare_cached("SELECT module_id, settings FROM recording_settings ORDER BY module_id")?;
    let all = all.query_map([], |row| Ok((parsed(row, 0)?, stored_settings(row, 1)?)))?;
    Ok(all.collect::<Result<_, _>>()?)
}

/// See [`WriteFrameIndex::index_frames`](crate::store::WriteFrameIndex::index_frames).
pub(super) fn index(db: &Connection, batch: &IndexedFrames) -> EngineResult<()> {
    known(db, &batch.module_id)?;
    let module = batch.module_id.as_str();
    let sql = "SELECT 1 FROM segment_tombstones WHERE module_id = ?1 AND name = ?2";
    if db.prepare_cached(sql)?.exists(params![module, batch.segment])? {
        return Err(StoreError::NotFound("segment").into());
    }
    let sql = "SELECT id, bytes FROM segments WHERE module_id = ?1 AND name = ?2";
    let found = db
        .prepare_cached(sql)?
        .query_row(params![module, batch.segment], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, u64>(1)?)))
        .optional()?;
    let indexed = found.map_or(0, |(_, bytes)| bytes);
    let new: Vec<FrameLocation> =
        batch.frames.iter().filter(|location| location.offset >= indexed).copied().collect();
    let times = || new.iter().map(|location| location.at.as_micros());
    let (Some(first), Some(last)) = (times().min(), times().max()) else { return Ok(()) };
    let sql = "INSERT INTO segments (module_id, name, clip, reason, first_us, last_us, frames, bytes)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
               ON CONFLICT (module_id, name) DO UPDATE SET first_us = min(first_us, excluded.first_us),
                   last_us = max(last_us, excluded.last_us), frames = frames + excluded.frames, bytes = excluded.bytes
               RETURNING id";
    let segment: i64 = db.prepare_cached(sql)?.query_row(
        params![module, batch.segment, batch.clip, batch.reason, first, last, new.len(), batch.end],
        |row| row.get(0),
    )?;
    let mut insert = db.prepare_cached(
        "INSERT INTO frame_index (segment_id, module_id, first_us, last_us, body) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    for row in rows(&new) {
        let times = || row.iter().map(|location| location.at.as_micros());
        let first = times().min().unwrap_or_default();
        let last = times().max().unwrap_or_default();
        insert.execute(params![segment, module, first, last, encode(first, row)])?;
    }
    Ok(())
}

/// Splits frames into rows within the limits.
fn rows(mut frames: &[FrameLocation]) -> Vec<&[FrameLocation]> {
    let mut rows = Vec::new();
    while !frames.is_empty() {
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        let fits = frames.iter().take(MAX_FRAMES_PER_ROW).take_while(|location| {
            first = first.min(location.at.as_micros());
            last = last.max(location.at.as_micros());
            last.saturating_sub(first) <= SPAN_US
        });
        let (row, rest) = frames.split_at(fits.count().max(1));
        rows.push(row);
        frames = rest;
    }
    rows
}

fn encode(first: i64, frames: &[FrameLocation]) -> Vec<u8> {
    let mut body = Vec::with_capacity(frames.len() * 8);
    let (mut at, mut end) = (first, 0);
    for location in frames {
        varint::put_signed(&mut body, location.at.as_micros().wrapping_sub(at));
        varint::put(&mut body, location.offset.wrapping_sub(end));
        varint::put(&mut body, location.length.into());
        at = location.at.as_micros();
        end = location.offset.wrapping_add(location.length.into());
    }
    body
}

fn decode(first: i64, mut body: &[u8]) -> EngineResult<Vec<FrameLocation>> {
    let unreadable = || Failure::damaged("an index of a recording cannot be read");
    let (mut frames, mut at, mut end) = (Vec::new(), first, 0_u64);
    while !body.is_empty() {
        let after = varint::take_signed(&mut body).ok_or_else(unreadable)?;
        let behind = varint::take(&mut body).ok_or_else(unreadable)?;
        let length = varint::take(&mut body).and_then(|length| u32::try_from(length).ok());
        let length = length.ok_or_else(unreadable)?;
        at = at.wrapping_add(after);
        let offset = end.wrapping_add(behind);
        end = offset.wrapping_add(length.into());
        frames.push(FrameLocation { at: Timestamp::from_micros(at), offset, length });
    }
    Ok(frames)
}

/// See [`ReadFrameIndex::recording_totals`](crate::store::ReadFrameIndex::recording_totals).
pub(super) fn totals(db: &Connection, module: &ModuleId) -> EngineResult<RecordingTotals> {
    let sql = "SELECT coalesce(sum(frames), 0), coalesce(sum(bytes), 0), min(first_us), max(last_us)
               FROM segments WHERE module_id = ?1";
    let totals = |row: &Row<'_>| {
        Ok(RecordingTotals {
            frames: row.get(0)?,
            bytes: row.get(1)?,
            oldest_at: maybe_moment(row, 2)?,
            newest_at: maybe_moment(row, 3)?,
        })
    };
    Ok(db.prepare_cached(sql)?.query_row([module.as_str()], totals)?)
}

fn since(query: &ClipQuery) -> i64 {
    query.since.map_or(i64::MIN, Timestamp::as_micros)
}

fn until(query: &ClipQuery) -> i64 {
    query.until.map_or(i64::MAX, Timestamp::as_micros)
}

/// See [`ReadFrameIndex::clips`](crate::store::ReadFrameIndex::clips).
pub(super) fn clips(db: &Connection, query: &ClipQuery, page: &PageRequest) -> EngineResult<Page<Clip>> {
    let list = List::new("clips", query);
    let (after, after_id) = list.key::<(i64, String)>(page)?.unwrap_or((i64::MIN, String::new()));
    let mut statement = db.prepare_cached(
        "SELECT clip, min(first_us) AS first, max(last_us) AS last, sum(frames), sum(bytes), min(reason)
         FROM segments WHERE module_id = ?1 GROUP BY clip
         HAVING last >= ?2 AND first < ?3 AND (first, clip) > (?4, ?5)
         ORDER BY first, clip LIMIT ?6",
    )?;
    let wanted = params![
        query.module_id.as_str(),
        since(query),
        until(query),
        after,
        after_id,
        cursor::limit(page) + 1
    ];
    let clip = |row: &Row<'_>| {
        let mut clip = Clip::new(row.get(0)?, moment(row, 1)?, moment(row, 2)?, row.get::<_, String>(5)?);
        (clip.frames, clip.bytes) = (row.get(3)?, row.get(4)?);
        Ok(clip)
    };
    let rows = statement.query_map(wanted, clip)?.collect::<Result<_, _>>()?;
    Ok(list.page(rows, page, |clip: &Clip| (clip.begun_at.as_micros(), clip.id.clone())))
}

/// The order of frames: capture time, segment, offset.
type Key = (i64, i64, u64);

/// See [`ReadFrameIndex::recorded_frames`](crate::store::ReadFrameIndex::recorded_frames).
pub(super) fn recorded_frames(
    db: &Connection,
    query: &ClipQuery,
    page: &PageRequest,
) -> EngineResult<Page<FoundFrame>> {
    let list = List::new("recorded_frames", query);
    let after = list.key::<Key>(page)?;
    let from = after.map_or(since(query), |(at, ..)| at.max(since(query)));
    let until = until(query);
    let mut statement = db.prepare_cached(
        "SELECT segment_id, name, frame_index.first_us, body
         FROM frame_index JOIN segments ON segments.id = segment_id
         WHERE frame_index.module_id = ?1 AND frame_index.first_us >= ?2 AND frame_index.first_us < ?3 AND frame_index.last_us >= ?4
         ORDER BY frame_index.first_us, frame_index.id",
    )?;
    let wanted = params![query.module_id.as_str(), from.saturating_sub(SPAN_US), until, from];
    let mut rows = statement.query(wanted)?;
    let most = cursor::limit(page) + 1;
    let mut found: Vec<(Key, FoundFrame)> = Vec::new();
    // Rows may overlap where a clock was set back. A frame is final when no later row can have an earlier
    // one.
    let mut waiting: BinaryHeap<Reverse<(Key, u32, Arc<str>)>> = BinaryHeap::new();
    loop {
        let row = rows.next()?;
        let before = row.map_or(Ok(i64::MAX), |row| row.get(2))?;
        while found.len() < most
            && waiting.peek().is_some_and(|Reverse((key, ..))| row.is_none() || key.0 < before)
        {
            let Some(Reverse((key, length, segment))) = waiting.pop() else { break };
            let location = FrameLocation { at: Timestamp::from_micros(key.0), offset: key.2, length };
            found.push((key, FoundFrame { segment, location }));
        }
        let Some(row) = row.filter(|_| found.len() < most) else { break };
        let (segment, name): (i64, Arc<str>) = (row.get(0)?, row.get::<_, String>(1)?.into());
        for location in decode(before, row.get_ref(3)?.as_blob()?)? {
            let key = (location.at.as_micros(), segment, location.offset);
            if (from..until).contains(&key.0) && after.is_none_or(|after| key > after) {
                waiting.push(Reverse((key, location.length, Arc::clone(&name))));
            }
        }
    }
    Ok(list.page(found, page, |(key, _)| *key).map(|(_, frame)| frame))
}

/// See [`ReadFrameIndex::recorded_frame`](crate::store::ReadFrameIndex::recorded_frame).
pub(super) fn recorded_frame(
    db: &Connection,
    module: &ModuleId,
    at: Timestamp,
    pick: FrameSelection,
) -> EngineResult<Option<FoundFrame>> {
    let at = at.as_micros();
    let columns =
        "SELECT name, frame_index.first_us, body FROM frame_index JOIN segments ON segments.id = segment_id
                   WHERE frame_index.module_id = ?1";
    let look = |rest: &str, wanted: &[&dyn rusqlite::ToSql]| -> EngineResult<Vec<FoundFrame>> {
        let mut statement = db.prepare_cached(&format!("{columns} {rest}"))?;
        let mut rows = statement.query(wanted)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let segment: Arc<str> = row.get::<_, String>(0)?.into();
            let frames = decode(row.get(1)?, row.get_ref(2)?.as_blob()?)?;
            found.extend(
                frames.into_iter().map(|location| FoundFrame { segment: Arc::clone(&segment), location }),
            );
        }
        Ok(found)
    };
    let module = module.as_str();
    // All rows that may contain the time, the last row that begins before it, and the first row that begins
    // after it.
    let mut frames =
        look("AND frame_index.first_us BETWEEN ?2 AND ?3", params![module, at.saturating_sub(SPAN_US), at])?;
    frames.extend(look(
        "AND frame_index.first_us < ?2 ORDER BY frame_index.first_us DESC, frame_index.id DESC LIMIT 1",
        params![module, at],
    )?);
    frames.extend(look(
        "AND frame_index.first_us > ?2 ORDER BY frame_index.first_us, frame_index.id LIMIT 1",
        params![module, at],
    )?);
    let micros = |frame: &FoundFrame| frame.location.at.as_micros();
    Ok(match pick {
        FrameSelection::Nearest => frames.into_iter().min_by_key(|frame| micros(frame).abs_diff(at)),
        FrameSelection::Next => frames.into_iter().filter(|frame| micros(frame) > at).min_by_key(micros),
        FrameSelection::Previous => frames.into_iter().filter(|frame| micros(frame) < at).max_by_key(micros),
    })
}

/// See [`ReadFrameIndex::segments`](crate::store::ReadFrameIndex::segments).
pub(super) fn segments(
    db: &Connection,
    module: &ModuleId,
    page: &PageRequest,
) -> EngineResult<Page<SegmentRecord>> {
    let list = List::new("segments", module);
    let (after, after_id) = list.key::<(i64, i64)>(page)?.unwrap_or((i64::MIN, i64::MIN));
    let mut statement = db.prepare_cached(
        "SELECT id, module_id, name, clip, reason, first_us, last_us, frames, bytes FROM segments
         WHERE module_id = ?1 AND (first_us, id) > (?2, ?3) ORDER BY first_us, id LIMIT ?4",
    )?;
    let segment = |row: &Row<'_>| {
        let record = SegmentRecord {
            module_id: parsed(row, 1)?,
            name: row.get(2)?,
            clip: row.get(3)?,
            reason: row.get(4)?,
            first_at: moment(row, 5)?,
            last_at: moment(row, 6)?,
            frames: row.get(7)?,
            bytes: row.get(8)?,
        };
        Ok((row.get::<_, i64>(0)?, record))
    };
    let wanted = params![module.as_str(), after, after_id, cursor::limit(page) + 1];
    let rows = statement.query_map(wanted, segment)?.collect::<Result<Vec<_>, _>>()?;
    Ok(list.page(rows, page, |(id, segment)| (segment.first_at.as_micros(), *id)).map(|(_, segment)| segment))
}

/// See [`WriteFrameIndex::add_tombstones`](crate::store::WriteFrameIndex::add_tombstones).
pub(super) fn add_tombstones(db: &Connection, module: &ModuleId, names: &[String]) -> EngineResult<()> {
    let mut note = db.prepare_cached(
        "INSERT INTO segment_tombstones (module_id, name) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
    )?;
    let mut remove = db.prepare_cached("DELETE FROM segments WHERE module_id = ?1 AND name = ?2")?;
    for name in names {
        note.execute(params![module.as_str(), name])?;
        remove.execute(params![module.as_str(), name])?;
    }
    Ok(())
}

/// See [`ReadFrameIndex::tombstones`](crate::store::ReadFrameIndex::tombstones).
pub(super) fn tombstones(db: &Connection) -> EngineResult<Vec<(ModuleId, String)>> {
    let mut list =
        db.prepare_cached("SELECT module_id, name FROM segment_tombstones ORDER BY module_id, name")?;
    let list = list.query_map([], |row| Ok((parsed(row, 0)?, row.get(1)?)))?;
    Ok(list.collect::<Result<_, _>>()?)
}

/// See [`WriteFrameIndex::remove_tombstones`](crate::store::WriteFrameIndex::remove_tombstones).
pub(super) fn remove_tombstones(db: &Connection, gone: &[(ModuleId, String)]) -> EngineResult<()> {
    let mut forget =
        db.prepare_cached("DELETE FROM segment_tombstones WHERE module_id = ?1 AND name = ?2")?;
    for (module, name) in gone {
        forget.execute(params![module.as_str(), name])?;
    }
    Ok(())
}

#[async_trait]
impl ReadFrameIndex for Sqlite {
    async fn recording(&self, module_id: &ModuleId) -> Result<Option<RecordingSettings>> {
        let module_id = module_id.clone();
        self.read("read a recording's settings", move |db| recording(db, &module_id)).await
    }

    async fn all_recording(&self) -> Result<Vec<(ModuleId, RecordingSettings)>> {
        self.read("list recordings' settings", all_recording).await
    }

    async fn recording_totals(&self, module_id: &ModuleId) -> Result<RecordingTotals> {
        let module_id = module_id.clone();
        self.read("compute the totals of recordings", move |db| totals(db, &module_id)).await
    }

    async fn clips(&self, query: &ClipQuery, page: &PageRequest) -> Result<Page<Clip>> {
        let (query, page) = (query.clone(), page.clone());
        self.read("list recordings", move |db| clips(db, &query, &page)).await
    }

    async fn recorded_frames(&self, query: &ClipQuery, page: &PageRequest) -> Result<Page<FoundFrame>> {
        let (query, page) = (query.clone(), page.clone());
        self.read("list recorded frames", move |db| recorded_frames(db, &query, &page)).await
    }

    async fn recorded_frame(
        &self,
        module_id: &ModuleId,
        at: Timestamp,
        pick: FrameSelection,
    ) -> Result<Option<FoundFrame>> {
        let module_id = module_id.clone();
        self.read("find a recorded frame", move |db| recorded_frame(db, &module_id, at, pick)).await
    }

    async fn segments(&self, module_id: &ModuleId, page: &PageRequest) -> Result<Page<SegmentRecord>> {
        let (module_id, page) = (module_id.clone(), page.clone());
        self.read("list segments", move |db| segments(db, &module_id, &page)).await
    }

    async fn tombstones(&self) -> Result<Vec<(ModuleId, String)>> {
        self.read("list tombstones", tombstones).await
    }
}

#[async_trait]
impl WriteFrameIndex for Sqlite {
    async fn set_recording(&self, module_id: &ModuleId, settings: &RecordingSettings) -> Result<()> {
        let (module_id, settings) = (module_id.clone(), settings.clone());
        self.write("store a recording's settings", move |db| set_recording(db, &module_id, &settings)).await
    }

    async fn index_frames(&self, indexed: &IndexedFrames) -> Result<()> {
        let indexed = indexed.clone();
        self.write("index frames", move |db| index(db, &indexed)).await
    }

    async fn add_tombstones(&self, module_id: &ModuleId, names: &[String]) -> Result<()> {
        let (module_id, names) = (module_id.clone(), names.to_vec());
        self.free("add tombstones", move |db: &mut WriteContext<'_>| add_tombstones(db, &module_id, &names))
            .await
    }

    async fn remove_tombstones(&self, gone: &[(ModuleId, String)]) -> Result<()> {
        let gone = gone.to_vec();
        self.free("remove tombstones", move |db: &mut WriteContext<'_>| remove_tombstones(db, &gone)).await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_decodes_to_its_frames(
            frames in proptest::collection::vec((any::<i64>(), any::<u64>(), any::<u32>()), 1..50),
            first: i64,
        ) {
            let location = |(at, offset, length)| FrameLocation { at: Timestamp::from_micros(at), offset, length };
            let frames: Vec<_> = frames.into_iter().map(location).collect();

            let body = encode(first, &frames);

            prop_assert_eq!(decode(first, &body).unwrap_or_default(), frames);
        }

        #[test]
        fn no_row_exceeds_its_limits(
            steps in proptest::collection::vec(-40_000_000_i64..40_000_000, 0..3000),
        ) {
            let mut at = 0;
            let frames: Vec<_> = steps
                .into_iter()
                .map(|step| {
                    at += step;
                    FrameLocation { at: Timestamp::from_micros(at), offset: 0, length: 0 }
                })
                .collect();

            let rows = rows(&frames);

            prop_assert_eq!(rows.concat(), frames.clone());
            for row in rows {
                let times = || row.iter().map(|location| location.at.as_micros());
                prop_assert!(row.len() <= MAX_FRAMES_PER_ROW && times().max().unwrap_or(0) - times().min().unwrap_or(0) <= SPAN_US);
            }
        }
    }
}
