//! What an outbox knows beside its readings: whose it is, its count, and the gaps the hub has to be told of.
//!
//! One small file, replaced whole: a line with the CRC-32 of the rest, then JSON.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::model::{gap::NewGap, id::ModuleId};

const FILE: &str = "state";
const VERSION: u32 = 1;

/// What is in the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub module_id: ModuleId,
    /// The present count.
    pub epoch: u64,
    /// The next number, after a stop in order; nothing while a process runs, and after it was killed.
    pub next_seq: Option<u64>,
    /// What the hub has to be told.
    pub gaps: Vec<NewGap>,
}

/// What reading it found.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    /// Something that cannot be trusted.
    Broken,
    State(State),
}

impl State {
    pub fn new(module_id: ModuleId, epoch: u64, next_seq: Option<u64>, gaps: Vec<NewGap>) -> Self {
        Self { version: VERSION, module_id, epoch, next_seq, gaps }
    }

    /// Reads it.
    ///
    /// # Errors
    /// The system's, and `InvalidData` when a newer iotpi wrote it.
    pub fn read(folder: &Path) -> io::Result<Found> {
        let bytes = match std::fs::read(folder.join(FILE)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
            Err(error) => return Err(error),
        };
        match parse(&bytes) {
            Some(state) if state.version > VERSION => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("its version {} was written by a newer iotpi", state.version),
            )),
            Some(state) => Ok(Found::State(state)),
            None => Ok(Found::Broken),
        }
    }

    /// Replaces the file; on disk when it returns.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        let new = folder.join(format!("{FILE}.new"));
        let mut file = File::create(&new)?;
        file.write_all(format!("{:08x}\n", crc32fast::hash(&json)).as_bytes())?;
        file.write_all(&json)?;
        file.sync_all()?;
        std::fs::rename(&new, folder.join(FILE))?;
        sync_folder(folder)
    }
}

fn parse(bytes: &[u8]) -> Option<State> {
    let (sum, rest) = bytes.split_at_checked(8)?;
    let json = rest.strip_prefix(b"\n")?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (sum == crc32fast::hash(json)).then(|| serde_json::from_slice(json).ok())?
}

/// Names of files are on disk when their folder is.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
