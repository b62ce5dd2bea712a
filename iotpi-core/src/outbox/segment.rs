//! A segment: an append-only file of readings, with the position up to which they were acknowledged.
//!
//! ```text
//! "iotpiOB1" | epoch: u64 | boot: u128 | CRC-32 of the three: u32 | record | record | ...
//! ```
//! The file's name contains the epoch and the first number, so both are known if the header is damaged.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    crc32::crc32,
    queued_reading::QueuedReading,
    record::{self, MARK},
};

const MAGIC: &[u8; 8] = b"iotpiOB1";
/// The size of a header in bytes.
pub(super) const HEADER: usize = 8 + 8 + 16 + 4;
const ENDING: &str = ".seg";

/// A segment file.
#[derive(Debug)]
pub(super) struct Segment {
    /// The position among the segments: later ones have greater ordinals.
    pub ordinal: u64,
    /// The epoch of its numbers.
    pub epoch: u64,
    /// The boot of its monotonic times.
    pub boot: u128,
    /// The number of its first reading.
    pub first_seq: u64,
    /// The number of its last reading; less than `first_seq` while it has none.
    pub last_seq: u64,
    /// The number of the last reading up to `offset`; initially one less than `first_seq`.
    pub settled_seq: u64,
    /// For a segment of an earlier process: the number after its last one, if it is known.
    pub upper_seq: Option<u64>,
    /// The length of the file in bytes.
    pub bytes: u64,
    /// The position up to which its readings are acknowledged.
    pub offset: usize,
    /// The number of readings after `offset`.
    pub left: u64,
    /// The times at which its first and last reading were queued, on this boot's monotonic clock.
    pub span: (Duration, Duration),
    path: PathBuf,
}

/// An item of a segment.
#[derive(Debug, PartialEq)]
pub(super) enum SegmentItem {
    /// A reading, and the position of its end.
    Reading(QueuedReading, usize),
    /// Damaged bytes, the position of their end, and whether they look like the beginning of a record.
    Rotten(usize, bool),
}

impl Segment {
    /// Creates the file of a new segment with its header.
    pub fn create(
        folder: &Path,
        ordinal: u64,
        epoch: u64,
        boot: u128,
        first_seq: u64,
    ) -> io::Result<(Self, File)> {
        let path = folder.join(format!("{ordinal:010}-{epoch:014x}-{first_seq}{ENDING}"));
        let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        let mut header = Vec::with_capacity(HEADER);
        header.extend(MAGIC);
        header.extend(epoch.to_le_bytes());
        header.extend(boot.to_le_bytes());
        header.extend(crc32(&header).to_le_bytes());
        if let Err(error) = file.write_all(&header) {
            // Without its header it would be in the way of the next attempt.
            let _ = std::fs::remove_file(&path);
            return Err(error);
        }
        let segment = Self { boot, bytes: HEADER as u64, ..Self::named(path, ordinal, epoch, first_seq) };
        Ok((segment, file))
    }

    /// Parses the name of a file, if it is that of a segment.
    pub fn of(path: PathBuf) -> Option<Self> {
        let name = path.file_name()?.to_str()?.strip_suffix(ENDING)?;
        let mut parts = name.split('-');
        let (ordinal, epoch, first) = (parts.next()?, parts.next()?, parts.next()?);
        let (ordinal, epoch) = (ordinal.parse().ok()?, u64::from_str_radix(epoch, 16).ok()?);
        let first_seq = first.parse().ok()?;
        Some(Self::named(path, ordinal, epoch, first_seq))
    }

    fn named(path: PathBuf, ordinal: u64, epoch: u64, first_seq: u64) -> Self {
        Self {
            ordinal,
            epoch,
            boot: 0,
            first_seq,
            last_seq: first_seq.saturating_sub(1),
            settled_seq: first_seq.saturating_sub(1),
            upper_seq: None,
            bytes: 0,
            offset: HEADER,
            left: 0,
            span: (Duration::ZERO, Duration::ZERO),
            path,
        }
    }

    /// Reads the file, about a megabyte at most.
    pub fn load(&self) -> io::Result<Vec<u8>> {
        std::fs::read(&self.path)
    }

    /// Deletes the file.
    pub fn delete(&self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    /// Parses the header; false if it is invalid, or that of another file.
    pub fn read_header(&mut self, bytes: &[u8]) -> bool {
        let Some(header) = bytes.get(..HEADER) else { return false };
        let (said, sum) = header.split_at(HEADER - 4);
        let boot = said[16..].try_into().map(u128::from_le_bytes).unwrap_or_default();
        let right = said.starts_with(MAGIC)
            && crc32(said).to_le_bytes() == *sum
            && said[8..16] == self.epoch.to_le_bytes();
        if right {
            self.boot = boot;
        }
        right
    }

    /// The item at `at` in the bytes of this file; `None` at their end.
    pub fn next(&self, bytes: &[u8], at: usize, boot: u128) -> Option<SegmentItem> {
        let rest = bytes.get(at..).filter(|rest| !rest.is_empty())?;
        if let Some((mut kept, length)) = record::decode(rest, self.epoch) {
            if self.boot != boot {
                kept.taken.monotonic = None;
            }
            return Some(SegmentItem::Reading(kept, at + length));
        }
        let marks = rest.iter().enumerate().skip(1).filter(|(_, byte)| **byte == MARK);
        let sound =
            marks.map(|(place, _)| place).find(|place| record::decode(&rest[*place..], self.epoch).is_some());
        Some(SegmentItem::Rotten(at + sound.unwrap_or(rest.len()), rest[0] == MARK))
    }
}
