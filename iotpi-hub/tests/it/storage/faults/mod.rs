//! The store on a disk that fails: power cuts, I/O errors, no room.
//!
//! `disk.rs` is the disk, `vfs.rs` the way SQLite reaches it, `workload.rs` what is done meanwhile,
//! `ledger.rs` what must be there afterwards. They know the `Store` trait and no table of it.

mod disk;
mod full_disk;
mod io_errors;
mod ledger;
mod power_cut;
mod vfs;
mod workload;

use std::{path::PathBuf, sync::Arc};

use iotpi_hub::store::{self, Store, StoreOptions};
use rusqlite::Connection;

use self::{
    disk::{Disk, Image},
    vfs::Mounted,
};

/// A disk with a place for one database.
struct Rig {
    mounted: Mounted,
    path: PathBuf,
    /// Holds the file the hub makes before SQLite opens it; what is in it is on the disk in memory.
    /// See `StoreOptions`.
    compact_at: Option<usize>,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new(image: &Image) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().canonicalize().unwrap();
        let mounted = vfs::mount(Disk::new(at.clone(), image));
        Self { mounted, path: at.join("hub.db"), compact_at: None, _folder: folder }
    }

    fn disk(&self) -> &Disk {
        self.mounted.disk()
    }

    async fn open(&self) -> store::Result<Arc<dyn Store>> {
        let options = StoreOptions { compact_at: self.compact_at, ..StoreOptions::default() };
        store::open_with(&format!("sqlite://{}", self.path.display()), options).await
    }

    /// SQLite finds nothing wrong with the database. Nobody else has it open.
    fn check_integrity(&self) {
        let db = Connection::open(&self.path).unwrap();
        let said: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(said, "ok");
        let orphans = db.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap();
        assert!(!orphans, "a row refers to one that is not there");
    }
}

/// Everything on one thread: what happens is a matter of the seed alone.
fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}
