//! The store on a simulated disk that fails: power cuts, I/O errors, a full disk.
//!
//! `disk.rs` simulates the disk, `vfs.rs` connects SQLite to it, `workload.rs` makes calls to the store, and
//! `ledger.rs` checks its contents afterwards. They use the `Store` trait and no table.

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

/// A simulated disk with one database.
struct TestDatabase {
    mounted: Mounted,
    path: PathBuf,
    /// See `StoreOptions`.
    compact_at: Option<usize>,
    /// Has the file that the hub creates before SQLite opens it. Its content is on the simulated disk.
    _folder: tempfile::TempDir,
}

impl TestDatabase {
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

    /// Checks the integrity of the database, which must not be open.
    fn check_integrity(&self) {
        let db = Connection::open(&self.path).unwrap();
        let integrity: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(integrity, "ok");
        let orphans = db.prepare("PRAGMA foreign_key_check").unwrap().exists([]).unwrap();
        assert!(!orphans, "a row references a missing one");
    }
}

/// Runs a test on one thread, so that its events depend on the seed only.
fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}
