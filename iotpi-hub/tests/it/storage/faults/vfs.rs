//! A SQLite VFS on a [`Disk`]. The files in a folder that was [`mount`]ed are on that disk; all other files
//! of the process use the VFS of SQLite.
//!
//! This is the one file with `unsafe`: the interface of SQLite to a file system is a table of C functions.
//! Each function converts its arguments to Rust and calls the disk. Locks and the index of the WAL are kept
//! here too, because they are in the memory of the process and not on the disk.
#![allow(unsafe_code, reason = "SQLite reaches a file system through C function pointers")]
// Only SQLite calls the functions below, with the pointers that its documentation promises (sqlite3_vfs,
// sqlite3_io_methods). No pointer outlives the call, except for the handle inside the file.
#![allow(clippy::undocumented_unsafe_blocks)]

use std::{
    collections::HashMap,
    ffi::{CStr, c_char, c_int, c_void},
    path::{Path, PathBuf},
    ptr,
    sync::{
        Arc, Mutex, MutexGuard, Once, PoisonError,
        atomic::{AtomicPtr, AtomicU64, Ordering, fence},
    },
};

use rusqlite::ffi;

use super::disk::{Disk, DiskError, Node};

/// The bytes of one region of the index of the WAL.
const REGION: usize = 32 * 1024;
const SLOTS: usize = ffi::SQLITE_SHM_NLOCK as usize;

/// The VFS of SQLite, which all other files use.
static BELOW: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(ptr::null_mut());

static MOUNTED: Mutex<Vec<(PathBuf, Arc<Shared>)>> = Mutex::new(Vec::new());

/// A mounted disk. Dropping it unmounts the disk.
#[derive(Debug)]
pub struct Mounted(Arc<Shared>);

/// Mounts a disk at its folder.
pub fn mount(disk: Disk) -> Mounted {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(register);
    let shared = Arc::new(Shared { disk, files: Mutex::default() });
    lock(&MOUNTED).push((shared.disk.folder.clone(), Arc::clone(&shared)));
    Mounted(shared)
}

impl Mounted {
    pub fn disk(&self) -> &Disk {
        &self.0.disk
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        lock(&MOUNTED).retain(|(_, shared)| !Arc::ptr_eq(shared, &self.0));
    }
}

#[derive(Debug)]
struct Shared {
    disk: Disk,
    files: Mutex<HashMap<Node, File>>,
}

/// The memory that the connections to one file share.
#[derive(Debug, Default)]
struct File {
    handles: usize,
    /// Handles that hold `SQLITE_LOCK_SHARED` or more.
    shared: usize,
    reserved: Option<u64>,
    pending: Option<u64>,
    exclusive: Option<u64>,
    index: Vec<Box<[AtomicU64]>>,
    index_users: usize,
    slots: [Slot; SLOTS],
}

#[derive(Debug, Default, Clone, Copy)]
struct Slot {
    shared: usize,
    exclusive: bool,
}

/// An open file.
struct Handle {
    id: u64,
    on: Arc<Shared>,
    node: Node,
    level: c_int,
    index_shared: u8,
    index_exclusive: u8,
    uses_index: bool,
    /// The file is deleted when it is closed.
    temporary: Option<String>,
}

#[repr(C)]
struct OpenFile {
    base: ffi::sqlite3_file,
    handle: *mut Handle,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The disk of a path, and the name of the file on it.
fn mounted(path: &Path) -> Option<(Arc<Shared>, String)> {
    let name = path.file_name()?.to_str()?.to_owned();
    let folder = path.parent()?;
    lock(&MOUNTED).iter().find(|(at, _)| at == folder).map(|(_, shared)| (Arc::clone(shared), name))
}

unsafe fn path_of<'a>(name: *const c_char) -> Option<&'a Path> {
    if name.is_null() { None } else { unsafe { CStr::from_ptr(name) }.to_str().ok().map(Path::new) }
}

fn code(error: DiskError, io_code: c_int) -> c_int {
    match error {
        DiskError::Io | DiskError::NoPower => io_code,
        DiskError::Full => ffi::SQLITE_FULL,
    }
}

fn register() {
    unsafe {
        let below = ffi::sqlite3_vfs_find(ptr::null());
        assert!(!below.is_null(), "SQLite has a default VFS");
        BELOW.store(below, Ordering::SeqCst);
        let mut own = *below;
        own.szOsFile = own.szOsFile.max(c_int::try_from(size_of::<OpenFile>()).unwrap());
        own.pNext = ptr::null_mut();
        own.zName = c"iotpi-faults".as_ptr();
        own.xOpen = Some(open);
        own.xDelete = Some(delete);
        own.xAccess = Some(access);
        // It stays registered until the process ends.
        let done = ffi::sqlite3_vfs_register(Box::into_raw(Box::new(own)), 1);
        assert_eq!(done, ffi::SQLITE_OK);
    }
}

// ---- the file system ----

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    unsafe {
        let Some((on, name)) = path_of(name).and_then(mounted) else {
            let below = BELOW.load(Ordering::SeqCst);
            return (*below).xOpen.unwrap()(below, name, file, flags, out_flags);
        };
        (*file).pMethods = ptr::null();
        let create = flags & ffi::SQLITE_OPEN_CREATE != 0;
        let journal = flags & (ffi::SQLITE_OPEN_WAL | ffi::SQLITE_OPEN_MAIN_JOURNAL) != 0;
        let main = flags & ffi::SQLITE_OPEN_MAIN_DB != 0;
        if !create && !main && !on.disk.exists(&name) {
            return ffi::SQLITE_CANTOPEN;
        }
        let Ok(node) = on.disk.open(&name, create, journal) else { return ffi::SQLITE_CANTOPEN };
        static IDS: AtomicU64 = AtomicU64::new(1);
        lock(&on.files).entry(node).or_default().handles += 1;
        let temporary = (flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0).then_some(name);
        let handle = Handle {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            on,
            node,
            level: ffi::SQLITE_LOCK_NONE,
            index_shared: 0,
            index_exclusive: 0,
            uses_index: false,
            temporary,
        };
        (*file.cast::<OpenFile>()).handle = Box::into_raw(Box::new(handle));
        (*file).pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync_folder: c_int) -> c_int {
    unsafe {
        let Some((on, file)) = path_of(name).and_then(mounted) else {
            let below = BELOW.load(Ordering::SeqCst);
            return (*below).xDelete.unwrap()(below, name, sync_folder);
        };
        match on.disk.delete(&file, sync_folder != 0) {
            Ok(true) => ffi::SQLITE_OK,
            Ok(false) => ffi::SQLITE_IOERR_DELETE_NOENT,
            Err(_) => ffi::SQLITE_IOERR_DELETE,
        }
    }
}

unsafe extern "C" fn access(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    unsafe {
        let Some((on, file)) = path_of(name).and_then(mounted) else {
            let below = BELOW.load(Ordering::SeqCst);
            return (*below).xAccess.unwrap()(below, name, flags, out);
        };
        // As in the VFS of SQLite: an empty journal does not exist.
        let there =
            if flags == ffi::SQLITE_ACCESS_EXISTS { !on.disk.is_empty(&file) } else { on.disk.exists(&file) };
        *out = c_int::from(there);
        ffi::SQLITE_OK
    }
}

// ---- a file ----

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock_file),
    xUnlock: Some(unlock_file),
    xCheckReservedLock: Some(is_reserved),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(characteristics),
    xShmMap: Some(map_index),
    xShmLock: Some(lock_index),
    xShmBarrier: Some(index_barrier),
    xShmUnmap: Some(unmap_index),
    xFetch: None,
    xUnfetch: None,
};

/// The handle inside an open file.
unsafe fn handle<'a>(file: *mut ffi::sqlite3_file) -> &'a mut Handle {
    unsafe { &mut *(*file.cast::<OpenFile>()).handle }
}

impl Handle {
    /// Accesses the memory that the connections to the file share.
    fn with<T>(&self, work: impl FnOnce(&mut File) -> T) -> T {
        work(lock(&self.on.files).entry(self.node).or_default())
    }
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    unsafe {
        unlock_file(file, ffi::SQLITE_LOCK_NONE);
        unmap_index(file, 0);
        let handle = Box::from_raw((*file.cast::<OpenFile>()).handle);
        (*file).pMethods = ptr::null();
        {
            let mut files = lock(&handle.on.files);
            if let Some(shared) = files.get_mut(&handle.node) {
                shared.handles -= 1;
                if shared.handles == 0 {
                    files.remove(&handle.node);
                }
            }
        }
        if let Some(name) = &handle.temporary {
            let _ = handle.on.disk.delete(name, false);
        }
        handle.on.disk.close();
        ffi::SQLITE_OK
    }
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, len: c_int, at: i64) -> c_int {
    unsafe {
        let buffer = std::slice::from_raw_parts_mut(to.cast::<u8>(), usize::try_from(len).unwrap());
        let handle = handle(file);
        match handle.on.disk.read(handle.node, usize::try_from(at).unwrap(), buffer) {
            Ok(there) if there == buffer.len() => ffi::SQLITE_OK,
            Ok(there) => {
                buffer[there..].fill(0);
                ffi::SQLITE_IOERR_SHORT_READ
            }
            Err(_) => ffi::SQLITE_IOERR_READ,
        }
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, from: *const c_void, len: c_int, at: i64) -> c_int {
    unsafe {
        let bytes = std::slice::from_raw_parts(from.cast::<u8>(), usize::try_from(len).unwrap());
        let handle = handle(file);
        match handle.on.disk.write(handle.node, usize::try_from(at).unwrap(), bytes) {
            Ok(()) => ffi::SQLITE_OK,
            Err(error) => code(error, ffi::SQLITE_IOERR_WRITE),
        }
    }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, to: i64) -> c_int {
    let handle = unsafe { handle(file) };
    match handle.on.disk.truncate(handle.node, usize::try_from(to).unwrap()) {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) => code(error, ffi::SQLITE_IOERR_TRUNCATE),
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    let handle = unsafe { handle(file) };
    match handle.on.disk.sync(handle.node) {
        Ok(()) => ffi::SQLITE_OK,
        Err(error) => code(error, ffi::SQLITE_IOERR_FSYNC),
    }
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut i64) -> c_int {
    let handle = unsafe { handle(file) };
    match handle.on.disk.len(handle.node) {
        Ok(len) => {
            unsafe { *out = i64::try_from(len).unwrap() };
            ffi::SQLITE_OK
        }
        Err(_) => ffi::SQLITE_IOERR_FSTAT,
    }
}

// The five lock levels: https://sqlite.org/lockingv3.html
unsafe extern "C" fn lock_file(file: *mut ffi::sqlite3_file, wanted: c_int) -> c_int {
    let handle = unsafe { handle(file) };
    if handle.level >= wanted {
        return ffi::SQLITE_OK;
    }
    let (id, level) = (handle.id, handle.level);
    let got = handle.with(|file| {
        let others = |owner: Option<u64>| owner.is_some_and(|owner| owner != id);
        match wanted {
            ffi::SQLITE_LOCK_SHARED if others(file.pending) || others(file.exclusive) => level,
            ffi::SQLITE_LOCK_SHARED => {
                file.shared += 1;
                ffi::SQLITE_LOCK_SHARED
            }
            ffi::SQLITE_LOCK_RESERVED if others(file.reserved) => level,
            ffi::SQLITE_LOCK_RESERVED => {
                file.reserved = Some(id);
                ffi::SQLITE_LOCK_RESERVED
            }
            _ if others(file.pending) || others(file.reserved) => level,
            _ => {
                file.pending = Some(id);
                if file.shared > 1 {
                    ffi::SQLITE_LOCK_PENDING
                } else {
                    file.exclusive = Some(id);
                    ffi::SQLITE_LOCK_EXCLUSIVE
                }
            }
        }
    });
    handle.level = got;
    if got >= wanted { ffi::SQLITE_OK } else { ffi::SQLITE_BUSY }
}

unsafe extern "C" fn unlock_file(file: *mut ffi::sqlite3_file, to: c_int) -> c_int {
    let handle = unsafe { handle(file) };
    if handle.level <= to {
        return ffi::SQLITE_OK;
    }
    let id = handle.id;
    handle.with(|file| {
        for owner in [&mut file.reserved, &mut file.pending, &mut file.exclusive] {
            owner.take_if(|owner| *owner == id);
        }
        if to == ffi::SQLITE_LOCK_NONE {
            file.shared -= 1;
        }
    });
    handle.level = to;
    ffi::SQLITE_OK
}

unsafe extern "C" fn is_reserved(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    let handle = unsafe { handle(file) };
    let reserved = handle.with(|file| file.reserved.is_some());
    unsafe { *out = c_int::from(reserved) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut ffi::sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut ffi::sqlite3_file) -> c_int {
    4096
}

unsafe extern "C" fn characteristics(_: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

// ---- the index of the WAL: https://sqlite.org/walformat.html#the_wal_index_file_format ----

unsafe extern "C" fn map_index(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let handle = unsafe { handle(file) };
    assert_eq!(usize::try_from(size).unwrap(), REGION);
    let region = usize::try_from(region).unwrap();
    let there = handle.with(|file| file.index.len());
    if there <= region
        && extend != 0
        && let Err(error) = handle.on.disk.grow(REGION)
    {
        // The VFS of SQLite returns the same code on a full disk.
        return if error == DiskError::Full { ffi::SQLITE_IOERR_SHMSIZE } else { ffi::SQLITE_IOERR_SHMMAP };
    }
    let first = !std::mem::replace(&mut handle.uses_index, true);
    let place = handle.with(|file| {
        file.index_users += usize::from(first);
        while file.index.len() <= region && extend != 0 {
            file.index.push((0..REGION / 8).map(|_| AtomicU64::new(0)).collect());
        }
        file.index.get(region).map_or(ptr::null(), |region| region.as_ptr())
    });
    unsafe { *out = place.cast_mut().cast() };
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock_index(
    file: *mut ffi::sqlite3_file,
    offset: c_int,
    n: c_int,
    flags: c_int,
) -> c_int {
    let handle = unsafe { handle(file) };
    let slots = usize::try_from(offset).unwrap()..usize::try_from(offset + n).unwrap();
    let mask = slots.clone().fold(0_u8, |mask, slot| mask | 1 << slot);
    let (mut mine_shared, mut mine_exclusive) = (handle.index_shared, handle.index_exclusive);
    let done = handle.with(|file| {
        let all = &mut file.slots[slots.clone()];
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            for (slot, bit) in all.iter_mut().zip(slots.map(|slot| 1_u8 << slot)) {
                if mine_shared & bit != 0 {
                    slot.shared -= 1;
                }
                if mine_exclusive & bit != 0 {
                    slot.exclusive = false;
                }
            }
            mine_shared &= !mask;
            mine_exclusive &= !mask;
        } else if flags & ffi::SQLITE_SHM_SHARED != 0 {
            if mine_shared & mask == 0 {
                if all.iter().any(|slot| slot.exclusive) {
                    return ffi::SQLITE_BUSY;
                }
                all.iter_mut().for_each(|slot| slot.shared += 1);
                mine_shared |= mask;
            }
        } else {
            if all.iter().any(|slot| slot.exclusive || slot.shared > 0) {
                return ffi::SQLITE_BUSY;
            }
            all.iter_mut().for_each(|slot| slot.exclusive = true);
            mine_exclusive |= mask;
        }
        ffi::SQLITE_OK
    });
    (handle.index_shared, handle.index_exclusive) = (mine_shared, mine_exclusive);
    done
}

unsafe extern "C" fn index_barrier(file: *mut ffi::sqlite3_file) {
    fence(Ordering::SeqCst);
    // As in the VFS of SQLite: locking a mutex is a memory barrier.
    let handle = unsafe { handle(file) };
    handle.with(|_| ());
}

unsafe extern "C" fn unmap_index(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    let handle = unsafe { handle(file) };
    if std::mem::take(&mut handle.uses_index) {
        handle.with(|file| {
            file.index_users -= 1;
            if file.index_users == 0 {
                // The next connection finds an empty index and recovers the WAL, as on a real disk.
                file.index.clear();
                file.slots = Default::default();
            }
        });
    }
    ffi::SQLITE_OK
}
