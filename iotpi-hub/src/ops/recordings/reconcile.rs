//! At the start of the hub, the files and the index are reconciled.
//!
//! | found | action |
//! |---|---|
//! | a file with a tombstone (its camera was removed, or it expired) | the file is removed |
//! | a file as long as its index says | none; the file is not read |
//! | a file longer than its index says | every intact frame after the indexed part is indexed; a torn end is truncated |
//! | a file without an index | the same from its beginning; its module is registered if it is not known |
//! | a file without an intact frame | the file is removed |
//! | a file shorter than its index says | the file is indexed again |
//! | an index without a file | the index is removed, and an error is logged |
//!
//! A file of an unknown camera is kept: the database may have been restored from a backup or created anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use iotpi_core::ModuleId;
use tokio::task::spawn_blocking;

use crate::{
    Hub,
    error::Result,
    recording::{
        remove_files,
        segment::{self, ENDING, Origin},
    },
    store::{IndexedFrames, Pages, SegmentRecord, StoreError},
};

/// A segment file that existed when the hub started.
#[derive(Debug)]
pub(super) struct SegmentFile {
    module_id: ModuleId,
    name: String,
    path: PathBuf,
    length: u64,
}

/// Lists all segment files. Blocks.
pub(super) fn list_segment_files(folder: &Path) -> io::Result<Vec<SegmentFile>> {
    let mut found = Vec::new();
    for camera in fs::read_dir(folder)? {
        let camera = camera?;
        let module_id = camera.file_name().to_str().and_then(|name| ModuleId::new(name).ok());
        let Some(module_id) = module_id.filter(|_| camera.path().is_dir()) else { continue };
        for file in fs::read_dir(camera.path())? {
            let (path, length) = file.and_then(|file| Ok((file.path(), file.metadata()?.len())))?;
            let name = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
            if let Some(name) = name.filter(|_| path.extension().is_some_and(|ending| ending == ENDING)) {
                found.push(SegmentFile { module_id: module_id.clone(), name, path, length });
            }
        }
    }
    Ok(found)
}

/// Counts of the reconciliation.
#[derive(Debug, Default)]
struct Reconciled {
    recovered: u64,
    damaged: u64,
    removed: u64,
    dropped: u64,
}

impl Reconciled {
    /// Counts damaged places, before the intact frames become visible.
    fn damaged(&mut self, hub: &Hub, places: u64) {
        self.damaged += places;
        hub.inner.metrics.recording_errors.inc_by(places);
    }
}

/// Reconciles the files with the index. Segments created since the start are not in `files`.
pub(super) async fn reconcile(hub: &Hub, folder: &Path, files: Vec<SegmentFile>) -> Result<()> {
    let store = &hub.inner.store;
    let mut outcome = Reconciled::default();
    let tombstones = store.tombstones().await?;
    let (at, names) = (folder.to_owned(), tombstones.clone());
    let gone = spawn_blocking(move || remove_files(&at, names)).await?;
    store.remove_tombstones(&gone).await?;
    outcome.removed += gone.len() as u64;
    let tombstones: BTreeSet<_> = tombstones.into_iter().collect();

    let mut cameras: BTreeMap<ModuleId, Vec<SegmentFile>> = BTreeMap::new();
    for file in files {
        if !tombstones.contains(&(file.module_id.clone(), file.name.clone())) {
            cameras.entry(file.module_id.clone()).or_default().push(file);
        }
    }
    let mut pages = Pages::new();
    while let Some(page) = pages.next() {
        for module in pages.take(store.modules(&page).await?) {
            cameras.entry(module.id).or_default();
        }
    }
    for (module_id, files) in cameras {
        if hub.stopping().is_cancelled() {
            return Ok(());
        }
        reconcile_camera(hub, &module_id, files, &mut outcome).await?;
    }
    let Reconciled { recovered, damaged, removed, dropped } = outcome;
    if damaged + dropped > 0 {
        tracing::error!(recovered, damaged, removed, dropped, "recordings are damaged or missing");
    } else if recovered + removed > 0 {
        tracing::info!(recovered, removed, "recordings were reconciled");
    }
    Ok(())
}

async fn reconcile_camera(
    hub: &Hub,
    module_id: &ModuleId,
    files: Vec<SegmentFile>,
    outcome: &mut Reconciled,
) -> Result<()> {
    let open = hub.inner.recordings.camera(module_id).and_then(|camera| camera.open());
    let mut indexed: BTreeMap<String, SegmentRecord> = BTreeMap::new();
    let mut pages = Pages::new();
    while let Some(page) = pages.next() {
        let segments = pages.take(hub.inner.store.segments(module_id, &page).await?);
        indexed.extend(segments.into_iter().map(|segment| (segment.name.clone(), segment)));
    }
    for file in files {
        if hub.stopping().is_cancelled() {
            return Ok(());
        }
        match indexed.remove(&file.name) {
            Some(segment) if segment.bytes == file.length => {}
            Some(segment) if segment.bytes < file.length => {
                index_file(hub, file, segment.bytes, outcome).await?
            }
            Some(segment) => {
                outcome.damaged(hub, 1);
                drop_from_index(hub, module_id, vec![segment.name]).await?;
                index_file(hub, file, 0, outcome).await?;
            }
            None => index_file(hub, file, 0, outcome).await?,
        }
    }
    // A segment created since the start has a file that is not in the list. The time in its name cannot tell:
    // a clock may jump.
    let exists = |name: &String| {
        let folder = hub.inner.recordings.folder.as_deref();
        folder.is_some_and(|folder| segment::path(folder, module_id, name).exists())
    };
    let missing: Vec<_> =
        indexed.into_keys().filter(|name| open.as_ref() != Some(name) && !exists(name)).collect();
    if !missing.is_empty() {
        outcome.dropped += missing.len() as u64;
        hub.inner.metrics.recording_errors.inc_by(missing.len() as u64);
        tracing::error!(module = %module_id, files = ?missing, "files of recordings are missing");
        drop_from_index(hub, module_id, missing).await?;
    }
    Ok(())
}

async fn drop_from_index(hub: &Hub, module_id: &ModuleId, names: Vec<String>) -> Result<()> {
    hub.inner.store.add_tombstones(module_id, &names).await?;
    let gone: Vec<_> = names.into_iter().map(|name| (module_id.clone(), name)).collect();
    Ok(hub.inner.store.remove_tombstones(&gone).await?)
}

/// Indexes the intact frames of a file from an offset on; 0 means from the beginning.
async fn index_file(hub: &Hub, file: SegmentFile, from: u64, outcome: &mut Reconciled) -> Result<()> {
    let SegmentFile { module_id, name, path, .. } = file;
    let (file_path, id, stem) = (path.display().to_string(), module_id.clone(), name.clone());
    let found = spawn_blocking(move || recover(&path, &id, &stem, from)).await?;
    let (origin, scanned) = match found {
        Ok(found) => found,
        // Removed in the meantime, together with its camera.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            tracing::error!(file = file_path, %error, "a recording cannot be read");
            outcome.damaged(hub, 1);
            return Ok(());
        }
    };
    outcome.damaged(hub, scanned.damaged);
    outcome.recovered += scanned.frames.len() as u64;
    if scanned.damaged > 0 {
        tracing::error!(file = file_path, places = scanned.damaged, "a recording is partly damaged");
    }
    if scanned.frames.is_empty() {
        outcome.removed += u64::from(from == 0);
        return Ok(());
    }
    let now = hub.now();
    if hub.inner.store.module(&module_id).await?.is_none() {
        // Removed since the start.
        if hub
            .inner
            .store
            .tombstones()
            .await?
            .iter()
            .any(|(of, tombstones)| *of == module_id && *tombstones == name)
        {
            return Ok(());
        }
        let seen = scanned.frames.last().map_or(now.wall, |location| location.at);
        hub.inner.store.touch(&[(module_id.clone(), seen)], now).await?;
        if let Some(record) = hub.inner.store.module(&module_id).await? {
            hub.inner.presence.restore(&record, now);
        }
    }
    let Origin { clip, reason, .. } = origin;
    let indexed =
        IndexedFrames { module_id, segment: name, clip, reason, frames: scanned.frames, end: scanned.end };
    match hub.inner.store.index_frames(&indexed).await {
        Err(StoreError::NotFound(_)) => Ok(()),
        indexed => Ok(indexed?),
    }
}

/// Scans a file, truncates a torn end, and removes the file if it has no frame.
fn recover(path: &Path, id: &ModuleId, name: &str, from: u64) -> io::Result<(Origin, segment::Scanned)> {
    let file = File::options().read(true).write(true).open(path)?;
    let header = segment::origin(&file)?;
    let begin = header.as_ref().map_or(0, |(_, begin)| *begin);
    // A file copied from another camera belongs to the camera of its folder.
    let origin = header.map(|(origin, _)| origin).filter(|origin| origin.module_id == *id);
    let origin = origin.unwrap_or_else(|| Origin {
        module_id: id.clone(),
        clip: name.to_owned(),
        reason: "unknown".to_owned(),
    });
    let scanned = segment::scan(&file, from.max(begin))?;
    if scanned.frames.is_empty() && from == 0 {
        fs::remove_file(path)?;
        return Ok((origin, scanned));
    }
    if file.metadata()?.len() > scanned.end {
        file.set_len(scanned.end)?;
    }
    // The process that wrote the file may have ended before it synced.
    file.sync_all()?;
    Ok((origin, scanned))
}
