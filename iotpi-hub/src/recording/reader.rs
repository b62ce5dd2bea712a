//! Reading and removing segment files. All functions block.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use bytes::Bytes;
use iotpi_core::ModuleId;

use super::segment;
use crate::store::FoundFrame;

/// Result of reading a frame.
#[derive(Debug)]
pub(crate) enum ReadFrame {
    /// The intact JPEG.
    Whole(Bytes),
    /// The bytes differ from the recorded ones.
    Damaged,
    /// The file does not exist any more.
    Gone,
}

/// Reads one frame from its segment.
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
    let read = segment::read_frame(&file, found.location)?;
    Ok(read.map_or(ReadFrame::Damaged, |(_, jpeg)| ReadFrame::Whole(jpeg)))
}

/// Removes the files of segments with tombstones. Returns the ones that do not exist any more.
pub(crate) fn remove_files(folder: &Path, tombstones: Vec<(ModuleId, String)>) -> Vec<(ModuleId, String)> {
    let gone = |(module_id, name): &(ModuleId, String)| {
        let path = segment::path(folder, module_id, name);
        match fs::remove_file(&path) {
            Ok(()) => true,
            // A missing file proves nothing while the disk is not mounted.
            Err(error) if error.kind() == io::ErrorKind::NotFound => folder.is_dir(),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a recording could not be removed");
                false
            }
        }
    };
    tombstones.into_iter().filter(gone).collect()
}

/// Removes the folder of a camera with all its segments. Files of other kinds stay.
pub(crate) fn remove_folder(folder: &Path, module_id: &ModuleId) {
    let folder = folder.join(module_id.as_str());
    let Ok(files) = fs::read_dir(&folder) else { return };
    for file in files.flatten() {
        if file.path().extension().is_some_and(|ending| ending == segment::ENDING) {
            // Files that cannot be removed now are removed at the next start.
            let _ = fs::remove_file(file.path());
        }
    }
    // Fails, as intended, when the folder is not empty.
    let _ = fs::remove_dir(&folder);
}
