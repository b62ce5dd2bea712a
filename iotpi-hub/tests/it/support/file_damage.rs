//! Damages database files as failing SD cards and users do.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::support::seeded_random::SeededRandom;

/// A kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutation {
    /// One bit is flipped.
    FlipBit,
    /// Some bytes are overwritten.
    FlipBytes,
    /// A file is truncated.
    Truncate,
    /// A page is zeroed.
    ZeroPage,
    /// A page is replaced by another.
    CopyPage,
    /// The header is changed.
    Header,
    /// The database file is that of another database.
    SwapDatabase,
    /// The WAL is that of another database.
    SwapWal,
    /// The WAL is missing.
    DeleteWal,
    /// The index of the WAL is garbage.
    GarbageShm,
    /// The WAL is garbage.
    GarbageWal,
    /// The database is empty.
    Empty,
}

pub const ALL: [Mutation; 12] = [
    Mutation::FlipBit,
    Mutation::FlipBytes,
    Mutation::Truncate,
    Mutation::ZeroPage,
    Mutation::CopyPage,
    Mutation::Header,
    Mutation::SwapDatabase,
    Mutation::SwapWal,
    Mutation::DeleteWal,
    Mutation::GarbageShm,
    Mutation::GarbageWal,
    Mutation::Empty,
];

const PAGE: usize = 4096;

/// Damages the database at `path` or its WAL; `other` is an intact database. Returns whether only the WAL was
/// damaged, so that only its newest changes may be missing.
pub fn mutate(mutation: Mutation, path: &Path, other: &Path, random: &mut SeededRandom) -> bool {
    let wal = beside(path, "-wal");
    // The database or the WAL, which has the newest changes.
    let target = if wal.exists() && random.one_in(2) { &wal } else { path };
    match mutation {
        Mutation::FlipBit => edit(target, |bytes| {
            let at = random.index(bytes.len());
            bytes[at] ^= 1 << random.below(8);
        }),
        Mutation::FlipBytes => edit(target, |bytes| {
            for _ in 0..=random.below(64) {
                let at = random.index(bytes.len());
                bytes[at] = random.number() as u8;
            }
        }),
        Mutation::Truncate => edit(target, |bytes| bytes.truncate(random.index(bytes.len()))),
        Mutation::ZeroPage => edit(target, |bytes| page(bytes, random).fill(0)),
        Mutation::CopyPage => edit(target, |bytes| {
            let from = page(bytes, random).to_vec();
            let to = page(bytes, random);
            let len = from.len().min(to.len());
            to[..len].copy_from_slice(&from[..len]);
        }),
        Mutation::Header => edit(path, |bytes| {
            let at = random.index(bytes.len().min(100));
            bytes[at] = random.number() as u8;
        }),
        Mutation::SwapDatabase => copy(other, path),
        Mutation::SwapWal => copy(&beside(other, "-wal"), &wal),
        Mutation::DeleteWal => {
            let _ = fs::remove_file(&wal);
        }
        Mutation::GarbageShm => garbage(&beside(path, "-shm"), random),
        Mutation::GarbageWal => garbage(&wal, random),
        Mutation::Empty => fs::write(path, []).unwrap(),
    }
    match mutation {
        Mutation::DeleteWal | Mutation::GarbageShm | Mutation::GarbageWal => true,
        // A WAL has checksums; those of the WAL of another database are valid too.
        Mutation::Header | Mutation::SwapDatabase | Mutation::SwapWal | Mutation::Empty => false,
        _ => target == wal,
    }
}

/// The file with that suffix next to a database.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    if !bytes.is_empty() {
        change(&mut bytes);
        fs::write(path, bytes).unwrap();
    }
}

fn page<'a>(bytes: &'a mut [u8], random: &mut SeededRandom) -> &'a mut [u8] {
    let pages = bytes.len().div_ceil(PAGE);
    let from = random.index(pages) * PAGE;
    let to = bytes.len().min(from + PAGE);
    &mut bytes[from..to]
}

fn copy(from: &Path, to: &Path) {
    fs::write(to, fs::read(from).unwrap()).unwrap();
}

fn garbage(path: &Path, random: &mut SeededRandom) {
    let bytes: Vec<u8> = (0..32 * 1024).map(|_| random.number() as u8).collect();
    fs::write(path, bytes).unwrap();
}
