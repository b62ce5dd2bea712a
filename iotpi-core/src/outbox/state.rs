//! The state of an outbox besides its readings: its module, its numbering, and the unreported gaps.
//!
//! One small file, replaced atomically: a line with the CRC-32 of the rest, then JSON.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use super::crc32::crc32;
use crate::{
    durable_file,
    model::{gap::NewGap, id::ModuleId},
};

const FILE: &str = "state";
const VERSION: u32 = 1;

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct State {
    version: u32,
    pub module_id: ModuleId,
    /// The current epoch.
    pub epoch: u64,
    /// The next number, after an orderly shutdown; `None` while a process runs, and after it was killed.
    pub next_seq: Option<u64>,
    /// The unreported gaps.
    pub gaps: Vec<NewGap>,
}

/// The result of reading the file.
#[derive(Debug)]
pub(super) enum Found {
    Nothing,
    /// The file cannot be trusted.
    Broken,
    State(State),
}

impl State {
    pub fn new(module_id: ModuleId, epoch: u64, next_seq: Option<u64>, gaps: Vec<NewGap>) -> Self {
        Self { version: VERSION, module_id, epoch, next_seq, gaps }
    }

    /// Reads the file.
    ///
    /// # Errors
    /// I/O errors, and `InvalidData` if a newer iotpi wrote it.
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

    /// Replaces the file atomically; it is on disk when this returns.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        let json = serde_json::to_vec(self).map_err(io::Error::other)?;
        let mut content = format!("{:08x}\n", crc32(&json)).into_bytes();
        content.extend(json);
        durable_file::replace(&folder.join(FILE), &content)
    }
}

fn parse(bytes: &[u8]) -> Option<State> {
    let (sum, rest) = bytes.split_at_checked(8)?;
    let json = rest.strip_prefix(b"\n")?;
    let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
    (sum == crc32(json)).then(|| serde_json::from_slice(json).ok())?
}
