//! A small tmpfs for tests that fill a disk. Mounting one requires root.

use std::{path::Path, process::Command};

/// A directory on its own file system, which is unmounted when dropped.
pub struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    /// Mounts a tmpfs of the given size in MiB. Prints a note if this is not possible.
    pub fn mount(mebibytes: u32) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let size = format!("size={mebibytes}m");
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder.path()).output();
        if mount.as_ref().is_ok_and(|mount| mount.status.success()) {
            return Some(Self(folder));
        }
        eprintln!("\nNOT TESTED: a full tmpfs. It cannot be mounted here (root is needed): {mount:?}\n");
        None
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
