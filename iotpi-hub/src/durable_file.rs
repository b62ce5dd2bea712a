//! Files that are complete and on disk when the function returns. Only their owner may read them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// Replaces a file. After a power cut it has the old content or the new.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    sync_folder_of(path)
}

/// Renames a file, never over another one where the file system supports that.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::{fs as raw, io::Errno};
    match raw::renameat_with(raw::CWD, from, raw::CWD, to, raw::RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) if !to.exists() => fs::rename(from, to),
        renamed => Ok(renamed?),
    }
}

/// Syncs the folder of a file: only then is its name on disk.
pub(crate) fn sync_folder_of(file: &Path) -> io::Result<()> {
    File::open(folder_of(file))?.sync_all()
}

/// The folder of a file; for a name without a folder, the current one.
pub(crate) fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
