//! ZIP archives without compression, written from front to back: JPEGs do not compress further.
//!
//! After PKWARE's APPNOTE 6.3.10. Each file is in memory when it is written, so its size and CRC precede it
//! and no data descriptor is needed. The directory keeps 24 bytes a file until the end.
//!
//! The crate `zip` 9 was measured in its streaming mode: with 500,000 files its memory grew by 108 MiB until the directory
//! was written. That is why it is not used.

use iotpi_core::Timestamp;

/// Made by version 4.5, the first with 64-bit sizes, on Unix.
const MADE_BY: u16 = 3 << 8 | 45;
const NEEDS: u16 = 20;
const NEEDS_64: u16 = 45;
/// File names are UTF-8.
const FLAGS: u16 = 1 << 11;

/// What the directory at the end needs to know of a file.
#[derive(Debug)]
struct DirectoryEntry {
    at: Timestamp,
    offset: u64,
    crc: u32,
    length: u32,
}

/// Writes a ZIP archive. Each call appends the next bytes of the archive to the given buffer.
#[derive(Debug, Default)]
pub(super) struct Zip {
    offset: u64,
    kept: Vec<DirectoryEntry>,
    /// The text file beside the frames.
    other: Option<(String, DirectoryEntry)>,
    listed: usize,
    directory: Option<u64>,
}

/// File name of a frame: its capture time, without characters that some file systems reject.
pub(super) fn name(at: Timestamp) -> String {
    let text = jiff::Timestamp::from_microsecond(at.as_micros()).map(|at| format!("{at:.6}"));
    text.map_or_else(|_| at.as_micros().to_string(), |text| text.replace(':', "-"))
}

impl Zip {
    /// Appends a frame.
    pub(super) fn put_frame(&mut self, file: &mut Vec<u8>, at: Timestamp, jpeg: &[u8]) {
        let kept = self.put(file, &format!("{}.jpg", name(at)), at, jpeg);
        self.kept.push(kept);
    }

    /// Appends the text file; an archive has at most one.
    pub(super) fn put_text(&mut self, file: &mut Vec<u8>, name: &str, at: Timestamp, text: &str) {
        let kept = self.put(file, name, at, text.as_bytes());
        self.other = Some((name.to_owned(), kept));
    }

    fn put(&mut self, file: &mut Vec<u8>, name: &str, at: Timestamp, content: &[u8]) -> DirectoryEntry {
        let before = file.len();
        let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let kept = DirectoryEntry { at, offset: self.offset, crc: crc32fast::hash(content), length };
        file.extend(b"PK\x03\x04");
        put16(file, &[NEEDS, FLAGS, 0]);
        put32(file, &[dos_time(at), kept.crc, length, length]);
        put16(file, &[name.len() as u16, 0]);
        file.extend(name.bytes());
        file.extend(content);
        self.offset += (file.len() - before) as u64;
        kept
    }

    /// Appends the next part of the directory. Returns `false` after the last part.
    pub(super) fn put_directory(&mut self, file: &mut Vec<u8>) -> bool {
        const STEP: usize = 4096;
        let before = file.len();
        let begin = *self.directory.get_or_insert(self.offset);
        let step = self.kept.iter().skip(self.listed).take(STEP);
        let mut listed = 0;
        for kept in step {
            list(file, &format!("{}.jpg", name(kept.at)), kept);
            listed += 1;
        }
        self.listed += listed;
        let is_last = self.listed == self.kept.len();
        if is_last {
            if let Some((name, kept)) = &self.other {
                list(file, name, kept);
            }
            let end = self.offset + (file.len() - before) as u64;
            let count = self.kept.len() as u64 + u64::from(self.other.is_some());
            finish(file, count, begin, end);
        }
        self.offset += (file.len() - before) as u64;
        !is_last
    }
}

/// Appends a directory entry.
fn list(file: &mut Vec<u8>, name: &str, kept: &DirectoryEntry) {
    let near = u32::try_from(kept.offset).ok().filter(|offset| *offset != u32::MAX);
    file.extend(b"PK\x01\x02");
    put16(file, &[MADE_BY, if near.is_some() { NEEDS } else { NEEDS_64 }, FLAGS, 0]);
    put32(file, &[dos_time(kept.at), kept.crc, kept.length, kept.length]);
    put16(file, &[name.len() as u16, if near.is_some() { 0 } else { 12 }, 0, 0, 0]);
    // External attributes: a regular file, rw-r--r--.
    put32(file, &[0o100_644 << 16, near.unwrap_or(u32::MAX)]);
    file.extend(name.bytes());
    if near.is_none() {
        put16(file, &[1, 8]);
        file.extend(kept.offset.to_le_bytes());
    }
}

fn finish(file: &mut Vec<u8>, count: u64, begin: u64, end: u64) {
    let small = u16::try_from(count).ok().filter(|count| *count != u16::MAX);
    let near = u32::try_from(end).ok().filter(|end| *end != u32::MAX);
    if small.is_none() || near.is_none() {
        file.extend(b"PK\x06\x06");
        file.extend(44_u64.to_le_bytes());
        put16(file, &[MADE_BY, NEEDS_64]);
        put32(file, &[0, 0]);
        [count, count, end - begin, begin].iter().for_each(|word| file.extend(word.to_le_bytes()));
        file.extend(b"PK\x06\x07");
        put32(file, &[0]);
        file.extend(end.to_le_bytes());
        put32(file, &[1]);
    }
    let count = small.unwrap_or(u16::MAX);
    let of = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
    file.extend(b"PK\x05\x06");
    put16(file, &[0, 0, count, count]);
    put32(file, &[of(end - begin), of(begin)]);
    put16(file, &[0]);
}

fn put16(file: &mut Vec<u8>, words: &[u16]) {
    words.iter().for_each(|word| file.extend(word.to_le_bytes()));
}

fn put32(file: &mut Vec<u8>, words: &[u32]) {
    words.iter().for_each(|word| file.extend(word.to_le_bytes()));
}

/// MS-DOS date and time in UTC, with a resolution of two seconds, from 1980 on.
fn dos_time(at: Timestamp) -> u32 {
    let Ok(at) = jiff::Timestamp::from_microsecond(at.as_micros()) else { return 0x21 << 16 };
    let at = jiff::tz::TimeZone::UTC.to_datetime(at);
    let field = |value: i32| u32::try_from(value.max(0)).unwrap_or_default();
    let date =
        (field(i32::from(at.year()) - 1980) << 9) | (field(at.month().into()) << 5) | field(at.day().into());
    let time =
        (field(at.hour().into()) << 11) | (field(at.minute().into()) << 5) | (field(at.second().into()) / 2);
    (date << 16) | time
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Seek as _, SeekFrom, Write as _},
        process::Command,
        time::Duration,
    };

    use super::*;

    /// Reads the archive with Python's `zipfile`, which compares the CRC of every file.
    fn read_back(zip: &std::path::Path) -> String {
        let script = "import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); assert z.testzip() is None; \
                      n = z.namelist(); print(len(n), n[0], n[-1], z.read(n[0]).decode(), z.infolist()[0].date_time)";
        let read = Command::new("python3").args(["-c", script]).arg(zip).output().unwrap();
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        String::from_utf8(read.stdout).unwrap().trim().to_owned()
    }

    fn write(begin: u64, frames: u64) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.zip");
        let mut out = std::fs::File::create(&path).unwrap();
        // The bytes before are a hole in the file.
        out.seek(SeekFrom::Start(begin)).unwrap();
        let mut zip = Zip { offset: begin, ..Zip::default() };
        let mut file = Vec::new();
        let start = Timestamp::from_micros(1_795_473_001_250_000);
        for n in 0..frames {
            zip.put_frame(&mut file, start.plus(Duration::from_micros(n)), b"a picture");
        }
        zip.put_text(&mut file, "damaged.txt", start, "none\n");
        while zip.put_directory(&mut file) {}
        out.write_all(&file).unwrap();
        read_back(&path)
    }

    #[test]
    fn another_program_reads_it_back() {
        assert_eq!(
            write(0, 3),
            "4 2026-11-23T22-30-01.250000Z.jpg damaged.txt a picture (2026, 11, 23, 22, 30, 0)"
        );
    }

    #[test]
    fn there_may_be_more_files_than_sixteen_bits_count() {
        assert!(write(0, 70_000).starts_with("70001 "));
    }

    #[test]
    fn it_may_be_longer_than_thirty_two_bits_count() {
        assert!(write(5 << 30, 3).starts_with("4 2026-11-23T22-30-01.250000Z.jpg damaged.txt a picture"));
    }
}
