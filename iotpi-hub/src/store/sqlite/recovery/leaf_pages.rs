//! Rows of rowid tables, found on their leaf pages when the upper pages of the tree are damaged.
//!
//! <https://sqlite.org/fileformat2.html>. Free pages are skipped: their rows were deleted.

use std::{collections::HashSet, fs::File, io, os::unix::fs::FileExt as _};

use rusqlite::types::Value;

/// A leaf page of a rowid table.
const LEAF: u8 = 0x0d;
/// The maximum size of a row of a hub in bytes.
const MAX_ROW: usize = 4 << 20;

/// The pages of a database in one file, without a WAL.
#[derive(Debug)]
pub(crate) struct Pages {
    file: File,
    size: usize,
    /// Bytes of a page that SQLite uses.
    usable: usize,
    count: u32,
    free: HashSet<u32>,
}

impl Pages {
    /// # Errors
    /// The system's; invalid data if the header or the list of free pages is damaged.
    pub(crate) fn open(file: File) -> io::Result<Self> {
        let mut head = [0; 100];
        file.read_exact_at(&mut head, 0)?;
        let size = match u16::from_be_bytes([head[16], head[17]]) {
            1 => 65_536,
            size if size >= 512 && size.is_power_of_two() => usize::from(size),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        let length = file.metadata()?.len() / size as u64;
        let count = u32::try_from(length).map_err(|_| io::ErrorKind::InvalidData)?;
        let usable = size - usize::from(head[20]).min(32);
        let mut pages = Self { file, size, usable, count, free: HashSet::new() };
        pages.find_free(word(&head, 32).unwrap_or(0))?;
        Ok(pages)
    }

    fn find_free(&mut self, mut trunk: u32) -> io::Result<()> {
        while trunk != 0 {
            let page = self.page(trunk)?;
            let many = word(&page, 4).filter(|many| *many as usize <= self.usable / 4 - 2);
            let (Some(many), true) = (many, self.free.insert(trunk)) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            self.free.extend((0..many as usize).filter_map(|at| word(&page, 8 + 4 * at)));
            trunk = word(&page, 0).unwrap_or(0);
        }
        Ok(())
    }

    fn page(&self, number: u32) -> io::Result<Vec<u8>> {
        if number == 0 || number > self.count {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut page = vec![0; self.size];
        self.file.read_exact_at(&mut page, u64::from(number - 1) * self.size as u64)?;
        Ok(page)
    }

    /// Reads every readable row of any table: its rowid, and its values without columns that were added to
    /// the table later.
    ///
    /// # Errors
    /// The system's.
    pub(crate) fn rows(&self, take: &mut dyn FnMut(i64, Vec<Value>)) -> io::Result<()> {
        for number in (2..=self.count).filter(|number| !self.free.contains(number)) {
            let page = self.page(number)?;
            if page[0] != LEAF {
                continue;
            }
            let cells = usize::from(u16::from_be_bytes([page[3], page[4]]));
            for cell in 0..cells {
                let at = page.get(8 + 2 * cell..10 + 2 * cell);
                let at = at.map(|at| usize::from(u16::from_be_bytes([at[0], at[1]])));
                if let Some((row, values)) = at.and_then(|at| self.row(page.get(at..self.usable)?)) {
                    take(row, values);
                }
            }
        }
        Ok(())
    }

    fn row(&self, mut cell: &[u8]) -> Option<(i64, Vec<Value>)> {
        let length = usize::try_from(varint(&mut cell)?).ok().filter(|length| *length <= MAX_ROW)?;
        let row = varint(&mut cell)?;
        // The part of the row on this page, not on overflow pages.
        let (most, least) = (self.usable - 35, (self.usable - 12) * 32 / 255 - 23);
        let here = if length <= most {
            length
        } else {
            let here = least + (length - least) % (self.usable - 4);
            if here <= most { here } else { least }
        };
        let mut payload = cell.get(..here)?.to_vec();
        let mut next = if here < length { word(cell, here)? } else { 0 };
        while payload.len() < length {
            let page = self.page(next).ok()?;
            let rest = (length - payload.len()).min(self.usable - 4);
            payload.extend(page.get(4..4 + rest)?);
            next = word(&page, 0)?;
        }
        Some((row, values(&payload)?))
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

/// A varint of SQLite: up to nine bytes, the most significant first.
#[allow(clippy::cast_possible_wrap, reason = "as SQLite reads it")]
fn varint(bytes: &mut &[u8]) -> Option<i64> {
    let mut number: u64 = 0;
    for at in 0..9 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if at == 8 {
            return Some(((number << 8) | u64::from(*byte)) as i64);
        }
        number = (number << 7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            break;
        }
    }
    Some(number as i64)
}

fn values(record: &[u8]) -> Option<Vec<Value>> {
    let mut head = record;
    let length = usize::try_from(varint(&mut head)?).ok()?;
    let mut head = record.get(record.len() - head.len()..length)?;
    let mut body = record.get(length..)?;
    let mut values = Vec::new();
    while !head.is_empty() {
        let kind = varint(&mut head)?;
        let size = match kind {
            0 | 8 | 9 => 0,
            1..=4 => usize::try_from(kind).ok()?,
            5 => 6,
            6 | 7 => 8,
            12.. => usize::try_from((kind - 12) / 2).ok()?,
            _ => return None,
        };
        let (bytes, rest) = body.split_at_checked(size)?;
        body = rest;
        values.push(match kind {
            0 => Value::Null,
            7 => Value::Real(f64::from_be_bytes(bytes.try_into().ok()?)),
            8 => Value::Integer(0),
            9 => Value::Integer(1),
            1..=6 => Value::Integer(integer(bytes)),
            _ if kind % 2 == 0 => Value::Blob(bytes.to_vec()),
            _ => Value::Text(String::from_utf8(bytes.to_vec()).ok()?),
        });
    }
    Some(values)
}

/// Two's complement, the most significant byte first.
fn integer(bytes: &[u8]) -> i64 {
    let sign = if bytes.first().is_some_and(|first| first & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(sign, |number, byte| (number << 8) | i64::from(*byte))
}
