//! The files as they are read and removed. Everything here blocks.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use bytes::Bytes;
use iotpi_core::ModuleId;

use super::segment;
use crate::store::FoundFrame;

/// What reading a frame came to.
#[derive(Debug)]
pub(crate) enum ReadFrame {
    /// The JPEG.
    Whole(Bytes),
    /// It is not what was recorded.
    Damaged,
    /// Its file is gone.
    Gone,
}

/// Reads one frame.
pub(crate) fn open_and_read(
    folder: &Path,
    module_id: &ModuleId,
    found: &FoundFrame,
) -> io::Result<ReadFrame> {
    let file = match File::open(segment::path(folder, module_id, &found.segment)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ReadFrame::Gone),
        Err(error) => return Err(error),
    };
    let read = segment::read_frame(&file, found.spot)?;
    Ok(read.map_or(ReadFrame::Damaged, |(_, jpeg)| ReadFrame::Whole(jpeg)))
}

/// Removes segments' files; answers those that are gone now.
pub(crate) fn remove_files(folder: &Path, doomed: Vec<(ModuleId, String)>) -> Vec<(ModuleId, String)> {
    let gone = |(module_id, name): &(ModuleId, String)| {
        let path = segment::path(folder, module_id, name);
        match fs::remove_file(&path) {
            Ok(()) => true,
            // A disk that is not there has not lost its files.
            Err(error) if error.kind() == io::ErrorKind::NotFound => folder.is_dir(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a recording could not be removed");
                false
            }
        }
    };
    doomed.into_iter().filter(gone).collect()
}

/// Removes a camera's folder with all its segments; what else somebody put there stays.
pub(crate) fn remove_folder(folder: &Path, module_id: &ModuleId) {
    let folder = folder.join(module_id.as_str());
    let Ok(files) = fs::read_dir(&folder) else { return };
    for file in files.flatten() {
        if file.path().extension().is_some_and(|ending| ending == segment::ENDING) {
            // What stays is tried again at the next start.
            let _ = fs::remove_file(file.path());
        }
    }
    // Only when it is empty.
    let _ = fs::remove_dir(&folder);
}
