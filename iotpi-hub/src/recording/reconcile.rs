//! After a start: files and index are brought together.
//!
//! | found | done |
//! |---|---|
//! | a file that is to go (its camera was removed, it was too old) | removed |
//! | a file as long as it is indexed | nothing, it is not read |
//! | a file that goes on behind what is indexed | every whole frame there is indexed; a torn end is cut off |
//! | a file that is not indexed | the same from its beginning; its camera is made known if it is not |
//! | a file without a whole frame | removed |
//! | a file shorter than it is indexed | indexed anew |
//! | an index without a file | dropped, and told |
//!
//! A file of a camera nobody knows is not removed as such: the database may have been replaced by a backup or a new one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use iotpi_core::ModuleId;
use tokio::task::spawn_blocking;

use super::segment::{self, ENDING, Origin};
use crate::{
    Hub,
    error::{HubError, Result},
    store::{IndexedFrames, PageRequest, SegmentRecord, StoreError},
};

/// A file that was there when the hub started.
#[derive(Debug)]
pub(crate) struct FoundFile {
    module_id: ModuleId,
    name: String,
    path: PathBuf,
    length: u64,
}

/// The segments there are. Blocks.
pub(crate) fn leftovers(folder: &Path) -> io::Result<Vec<FoundFile>> {
    let mut found = Vec::new();
    for camera in fs::read_dir(folder)? {
        let camera = camera?;
        let module_id = camera.file_name().to_str().and_then(|name| ModuleId::new(name).ok());
        let Some(module_id) = module_id.filter(|_| camera.path().is_dir()) else { continue };
        for file in fs::read_dir(camera.path())? {
            let (path, length) = file.and_then(|file| Ok((file.path(), file.metadata()?.len())))?;
            let name = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
            if let Some(name) = name.filter(|_| path.extension().is_some_and(|ending| ending == ENDING)) {
                found.push(FoundFile { module_id: module_id.clone(), name, path, length });
            }
        }
    }
    Ok(found)
}

/// What became of it.
#[derive(Debug, Default)]
struct Reconciled {
    recovered: u64,
    damaged: u64,
    removed: u64,
    dropped: u64,
}

impl Reconciled {
    /// So many places are damaged: counted before anybody sees what is whole.
    fn damaged(&mut self, hub: &Hub, places: u64) {
        self.damaged += places;
        hub.inner.metrics.recording_errors.add(places);
    }
}

/// Brings files and index together. Segments that were begun since the start are not among these.
pub(crate) async fn sweep(hub: &Hub, folder: &Path, leftovers: Vec<FoundFile>) -> Result<()> {
    let store = hub.store();
    let mut swept = Reconciled::default();
    let doomed = store.doomed_segments().await?;
    let (at, names) = (folder.to_owned(), doomed.clone());
    let gone = spawn_blocking(move || super::remove_files(&at, names)).await.map_err(failed)?;
    store.forget_doomed(&gone).await?;
    swept.removed += gone.len() as u64;
    let doomed: BTreeSet<_> = doomed.into_iter().collect();

    let mut cameras: BTreeMap<ModuleId, Vec<FoundFile>> = BTreeMap::new();
    for file in leftovers {
        if !doomed.contains(&(file.module_id.clone(), file.name.clone())) {
            cameras.entry(file.module_id.clone()).or_default().push(file);
        }
    }
    let mut page = PageRequest { limit: 1000, cursor: None };
    loop {
        let modules = store.modules(&page).await?;
        for module in modules.items {
            cameras.entry(module.id).or_default();
        }
        match modules.next {
            Some(cursor) => page.cursor = Some(cursor),
            None => break,
        }
    }
    for (module_id, files) in cameras {
        if hub.stopping().is_cancelled() {
            return Ok(());
        }
        sweep_camera(hub, &module_id, files, &mut swept).await?;
    }
    let Reconciled { recovered, damaged, removed, dropped } = swept;
    if damaged + dropped > 0 {
        tracing::error!(recovered, damaged, removed, dropped, "recordings are damaged or missing");
    } else if recovered + removed > 0 {
        tracing::info!(recovered, removed, "recordings were swept");
    }
    Ok(())
}

async fn sweep_camera(
    hub: &Hub,
    module_id: &ModuleId,
    files: Vec<FoundFile>,
    swept: &mut Reconciled,
) -> Result<()> {
    let open = hub.inner.recordings.camera(module_id).and_then(|camera| camera.open());
    let mut indexed: BTreeMap<String, SegmentRecord> = BTreeMap::new();
    let mut page = PageRequest { limit: 1000, cursor: None };
    loop {
        let segments = hub.store().segments(module_id, &page).await?;
        indexed.extend(segments.items.into_iter().map(|segment| (segment.name.clone(), segment)));
        match segments.next {
            Some(cursor) => page.cursor = Some(cursor),
            None => break,
        }
    }
    for file in files {
        if hub.stopping().is_cancelled() {
            return Ok(());
        }
        match indexed.remove(&file.name) {
            Some(segment) if segment.bytes == file.length => {}
            Some(segment) if segment.bytes < file.length => take_in(hub, file, segment.bytes, swept).await?,
            Some(segment) => {
                swept.damaged(hub, 1);
                drop_from_index(hub, module_id, vec![segment.name]).await?;
                take_in(hub, file, 0, swept).await?;
            }
            None => take_in(hub, file, 0, swept).await?,
        }
    }
    // What was begun since the start is no leftover. Names tell the time they were given at, but a clock may jump.
    let exists = |name: &String| {
        let folder = hub.inner.recordings.folder.as_deref();
        folder.is_some_and(|folder| segment::path(folder, module_id, name).exists())
    };
    let missing: Vec<_> =
        indexed.into_keys().filter(|name| open.as_ref() != Some(name) && !exists(name)).collect();
    if !missing.is_empty() {
        swept.dropped += missing.len() as u64;
        hub.inner.metrics.recording_errors.add(missing.len() as u64);
        tracing::error!(module = %module_id, files = ?missing, "files of recordings are missing");
        drop_from_index(hub, module_id, missing).await?;
    }
    Ok(())
}

async fn drop_from_index(hub: &Hub, module_id: &ModuleId, names: Vec<String>) -> Result<()> {
    hub.store().doom_segments(module_id, &names).await?;
    let gone: Vec<_> = names.into_iter().map(|name| (module_id.clone(), name)).collect();
    Ok(hub.store().forget_doomed(&gone).await?)
}

/// Indexes what is whole in a file from there on; 0 is from its beginning.
async fn take_in(hub: &Hub, file: FoundFile, from: u64, swept: &mut Reconciled) -> Result<()> {
    let FoundFile { module_id, name, path, .. } = file;
    let (shown, id, stem) = (path.display().to_string(), module_id.clone(), name.clone());
    let found = spawn_blocking(move || look(&path, &id, &stem, from)).await.map_err(failed)?;
    let (origin, scanned) = match found {
        Ok(found) => found,
        // Removed meanwhile, with its camera.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            tracing::error!(file = shown, %error, "a recording cannot be read");
            swept.damaged(hub, 1);
            return Ok(());
        }
    };
    swept.damaged(hub, scanned.damaged);
    swept.recovered += scanned.frames.len() as u64;
    if scanned.damaged > 0 {
        tracing::error!(
            file = shown,
            places = scanned.damaged,
            "a recording is damaged there, and whole elsewhere"
        );
    }
    if scanned.frames.is_empty() {
        swept.removed += u64::from(from == 0);
        return Ok(());
    }
    let now = hub.now();
    if hub.store().module(&module_id).await?.is_none() {
        // Removed since the start.
        if hub.store().doomed_segments().await?.iter().any(|(of, doomed)| *of == module_id && *doomed == name)
        {
            return Ok(());
        }
        let seen = scanned.frames.last().map_or(now.wall, |spot| spot.at);
        hub.store().touch(&[(module_id.clone(), seen)], now).await?;
        if let Some(record) = hub.store().module(&module_id).await? {
            hub.inner.presence.restore(&record, now);
        }
    }
    let Origin { stretch, reason, .. } = origin;
    let footage =
        IndexedFrames { module_id, segment: name, stretch, reason, frames: scanned.frames, end: scanned.end };
    match hub.store().index_footage(&footage).await {
        Err(StoreError::NotFound(_)) => Ok(()),
        indexed => Ok(indexed?),
    }
}

/// Looks through a file, cuts a torn end off, and removes it when there is no frame in it.
fn look(path: &Path, id: &ModuleId, name: &str, from: u64) -> io::Result<(Origin, segment::Scanned)> {
    let file = File::options().read(true).write(true).open(path)?;
    let said = segment::origin(&file)?;
    let begin = said.as_ref().map_or(0, |(_, begin)| *begin);
    // A copy of another camera's file is what its folder says.
    let origin = said.map(|(origin, _)| origin).filter(|origin| origin.module_id == *id);
    let origin = origin.unwrap_or_else(|| Origin {
        module_id: id.clone(),
        stretch: name.to_owned(),
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
    // Not all of it need be on the disk: the process that wrote it did not get so far.
    file.sync_all()?;
    Ok((origin, scanned))
}

fn failed(error: tokio::task::JoinError) -> HubError {
    HubError::internal("recordings could not be looked through").caused_by(error)
}
