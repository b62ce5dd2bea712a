//! A segment: a file of frames, each with a small head, so that it can be read alone.
//!
//! ```text
//! file:    "IOTPIREC", u32 n, n bytes of JSON (module_id, stretch, reason), u32 CRC-32 of the JSON; then records
//! record:  0   "IPJ1"
//!          4   u32  bytes of the JPEG
//!          8   i64  captured at, microseconds since 1970, the hub's clock
//!          16  i64  received at
//!          24  u64  the hub's number of the frame
//!          32  u32  CRC-32 of the JPEG
//!          36  u32  CRC-32 of bytes 0 to 35
//!          40  the JPEG
//! ```
//!
//! Numbers are little-endian. Deliberately absent: rewriting. A file only grows; a torn end is cut off.

use std::{
    fs::{self, File},
    io::{self, IoSlice, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use iotpi_core::{ModuleId, Timestamp, model::frame::MAX_FRAME_BYTES};
use serde::{Deserialize, Serialize};

use crate::store::FrameLocation;

/// Bytes of a record's header.
pub(crate) const HEAD: usize = 40;
/// Extension of segment files.
pub(crate) const ENDING: &str = "rec";
const FILE_MAGIC: &[u8; 8] = b"IOTPIREC";
const MAGIC: &[u8; 4] = b"IPJ1";
/// Maximum bytes of the JSON in a file header. Real headers are far smaller.
const MAX_FILE_HEAD: u32 = 16 * 1024;

/// The file header: which camera and clip the segment belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) module_id: ModuleId,
    #[serde(rename = "stretch")]
    pub(crate) clip: String,
    pub(crate) reason: String,
}

/// The header of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordHead {
    pub(crate) length: u32,
    pub(crate) captured_at: Timestamp,
    pub(crate) received_at: Timestamp,
    pub(crate) seq: u64,
    pub(crate) jpeg_crc: u32,
}

impl RecordHead {
    pub(crate) fn encode(&self) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head[..4].copy_from_slice(MAGIC);
        head[4..8].copy_from_slice(&self.length.to_le_bytes());
        head[8..16].copy_from_slice(&self.captured_at.as_micros().to_le_bytes());
        head[16..24].copy_from_slice(&self.received_at.as_micros().to_le_bytes());
        head[24..32].copy_from_slice(&self.seq.to_le_bytes());
        head[32..36].copy_from_slice(&self.jpeg_crc.to_le_bytes());
        let crc = crc32fast::hash(&head[..36]);
        head[36..].copy_from_slice(&crc.to_le_bytes());
        head
    }

    /// Returns `None` if the header is damaged or incomplete.
    pub(crate) fn decode(head: &[u8; HEAD]) -> Option<Self> {
        let four = |at: usize| head[at..at + 4].try_into().map(u32::from_le_bytes).ok();
        let eight = |at: usize| head[at..at + 8].try_into().map(u64::from_le_bytes).ok();
        let length = four(4)?;
        if !head.starts_with(MAGIC)
            || four(36)? != crc32fast::hash(&head[..36])
            || length as usize > MAX_FRAME_BYTES
        {
            return None;
        }
        Some(Self {
            length,
            captured_at: Timestamp::from_micros(eight(8)?.cast_signed()),
            received_at: Timestamp::from_micros(eight(16)?.cast_signed()),
            seq: eight(24)?,
            jpeg_crc: four(32)?,
        })
    }
}

/// Path of a segment file.
pub(crate) fn path(folder: &Path, module_id: &ModuleId, name: &str) -> PathBuf {
    folder.join(module_id.as_str()).join(format!("{name}.{ENDING}"))
}

/// Appends to a segment file.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    file: File,
    /// End of the last complete record.
    end: u64,
}

impl SegmentWriter {
    /// Creates the file, and its folder if necessary. Both directory entries are durable when this returns.
    pub(crate) fn create(path: &Path, origin: &Origin) -> io::Result<Self> {
        if let Some(folder) = path.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut make = fs::OpenOptions::new();
        let mut file = make.append(true).create_new(true).mode(0o600).open(path)?;
        let head = file_head(origin)?;
        let made = file.write_all(&head).and_then(|()| sync_folders(path));
        if let Err(error) = made {
            // The file has no frame yet.
            let _ = fs::remove_file(path);
            return Err(error);
        }
        Ok(Self { file, end: head.len() as u64 })
    }

    /// Bytes up to the end of the last complete record.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// Appends all frames or none. The JPEGs are written from their own buffers, without a copy.
    pub(crate) fn append(&mut self, frames: &[(RecordHead, Bytes)]) -> io::Result<Vec<FrameLocation>> {
        let heads: Vec<_> = frames.iter().map(|(head, _)| head.encode()).collect();
        let mut slices: Vec<_> = heads
            .iter()
            .zip(frames)
            .flat_map(|(head, (_, jpeg))| [IoSlice::new(head), IoSlice::new(jpeg)])
            .collect();
        if let Err(error) = write_all(&mut self.file, &mut slices) {
            // Truncates the torn record, so that the next frame follows the last complete one.
            self.file.set_len(self.end)?;
            return Err(error);
        }
        let mut locations = Vec::with_capacity(frames.len());
        for (head, _) in frames {
            locations.push(FrameLocation { at: head.captured_at, offset: self.end, length: head.length });
            self.end += HEAD as u64 + u64::from(head.length);
        }
        Ok(locations)
    }

    /// Appended frames are durable when this returns.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn write_all(file: &mut File, mut slices: &mut [IoSlice<'_>]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut slices, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn sync_folders(path: &Path) -> io::Result<()> {
    // The entry of the folder itself may be new, too.
    for folder in path.ancestors().skip(1).take(2).filter(|folder| !folder.as_os_str().is_empty()) {
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn file_head(origin: &Origin) -> io::Result<Vec<u8>> {
    let json = serde_json::to_vec(origin)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut head = FILE_MAGIC.to_vec();
    head.extend(length.to_le_bytes());
    head.extend(&json);
    head.extend(crc32fast::hash(&json).to_le_bytes());
    Ok(head)
}

/// Reads the file header and the offset of the first record; `None` if the header is damaged or incomplete.
pub(crate) fn origin(file: &File) -> io::Result<Option<(Origin, u64)>> {
    let mut head = [0; 12];
    if !read_at(file, &mut head, 0)? || !head.starts_with(FILE_MAGIC) {
        return Ok(None);
    }
    let length = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    if length > MAX_FILE_HEAD {
        return Ok(None);
    }
    let mut rest = vec![0; length as usize + 4];
    if !read_at(file, &mut rest, 12)? {
        return Ok(None);
    }
    let (json, crc) = rest.split_at(length as usize);
    if crc != crc32fast::hash(json).to_le_bytes() {
        return Ok(None);
    }
    Ok(serde_json::from_slice(json).ok().map(|origin| (origin, 16 + u64::from(length))))
}

/// Reads a frame; `None` if any bit differs from what was recorded.
pub(crate) fn read_frame(file: &File, location: FrameLocation) -> io::Result<Option<(RecordHead, Bytes)>> {
    let mut record = vec![0; HEAD + location.length as usize];
    if !read_at(file, &mut record, location.offset)? {
        return Ok(None);
    }
    let record = Bytes::from(record);
    let head = record.first_chunk().and_then(RecordHead::decode);
    let jpeg = record.slice(HEAD..);
    Ok(head
        .filter(|head| {
            head.length == location.length
                && head.captured_at == location.at
                && head.jpeg_crc == crc32fast::hash(&jpeg)
        })
        .map(|head| (head, jpeg)))
}

/// Result of scanning a segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Scanned {
    /// The intact frames.
    pub(crate) frames: Vec<FrameLocation>,
    /// Number of damaged places, of one or more frames each.
    pub(crate) damaged: u64,
    /// End of the last intact frame.
    pub(crate) end: u64,
}

/// Scans a segment from an offset on. Holds one frame in memory at a time.
pub(crate) fn scan(file: &File, from: u64) -> io::Result<Scanned> {
    let length = file.metadata()?.len();
    let mut scanned = Scanned { end: from, ..Scanned::default() };
    let (mut at, mut damaged) = (from, 0);
    loop {
        let mut head = [0; HEAD];
        if !read_at(file, &mut head, at)? {
            break;
        }
        let Some(head) = RecordHead::decode(&head) else {
            // Skips to the next intact header. Without one, the rest is a torn end.
            let Some(next) = find_head(file, at + 1)? else { break };
            damaged += 1;
            at = next;
            continue;
        };
        let end = at + HEAD as u64 + u64::from(head.length);
        if end > length {
            break;
        }
        let location = FrameLocation { at: head.captured_at, offset: at, length: head.length };
        if read_frame(file, location)?.is_some() {
            scanned.frames.push(location);
            scanned.end = end;
            scanned.damaged += std::mem::take(&mut damaged);
        } else {
            damaged += 1;
        }
        at = end;
    }
    Ok(scanned)
}

/// Finds the first intact header from an offset on.
fn find_head(file: &File, from: u64) -> io::Result<Option<u64>> {
    const STEP: usize = 64 * 1024;
    let mut buffer = vec![0; STEP + HEAD - 1];
    let mut at = from;
    loop {
        let read = read_up_to(file, &mut buffer, at)?;
        let window = &buffer[..read];
        let whole = |head: &[u8]| head.first_chunk().is_some_and(|head| RecordHead::decode(head).is_some());
        if let Some(found) = window.windows(HEAD).position(whole) {
            return Ok(Some(at + found as u64));
        }
        if read < buffer.len() {
            return Ok(None);
        }
        at += STEP as u64;
    }
}

/// Fills the buffer; returns `false` if the file ends before.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<bool> {
    match file.read_exact_at(buffer, at) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn read_up_to(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut read = 0;
    while read < buffer.len() {
        match file.read_at(&mut buffer[read..], at + read as u64) {
            Ok(0) => break,
            Ok(more) => read += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(sizes: &[usize]) -> Vec<(RecordHead, Bytes)> {
        let frame = |(n, size): (u32, &usize)| {
            let jpeg = Bytes::from(vec![n as u8 ^ 0x5a; *size]);
            let captured_at = Timestamp::from_micros(1_795_473_000_000_000 + i64::from(n) * 66_667);
            let jpeg_crc = crc32fast::hash(&jpeg);
            let length = u32::try_from(*size).unwrap();
            (RecordHead { length, captured_at, received_at: captured_at, seq: n.into(), jpeg_crc }, jpeg)
        };
        (0..).zip(sizes).map(frame).collect()
    }

    /// A segment with frames of the given sizes, and their locations.
    fn segment(sizes: &[usize]) -> (tempfile::TempDir, PathBuf, Vec<FrameLocation>) {
        let folder = tempfile::tempdir().unwrap();
        let module_id = ModuleId::new("porch").unwrap();
        let path = path(folder.path(), &module_id, "s1");
        let origin = Origin { module_id, clip: "s1".to_owned(), reason: "continuous".to_owned() };
        let mut writer = SegmentWriter::create(&path, &origin).unwrap();
        assert_eq!(super::origin(&File::open(&path).unwrap()).unwrap(), Some((origin, writer.end())));
        let locations = writer.append(&frames(sizes)).unwrap();
        writer.sync().unwrap();
        (folder, path, locations)
    }

    #[test]
    fn frames_are_read_back_and_found_without_an_index() {
        let sizes = [100, 0, 70_000, 3];
        let (_folder, path, locations) = segment(&sizes);
        let file = File::open(&path).unwrap();

        for (location, (head, jpeg)) in locations.iter().zip(frames(&sizes)) {
            assert_eq!(read_frame(&file, *location).unwrap(), Some((head, jpeg)));
        }
        let scanned = scan(&file, locations[0].offset).unwrap();
        assert_eq!((scanned.frames, scanned.damaged), (locations, 0));
        assert_eq!(scanned.end, file.metadata().unwrap().len());
    }

    #[test]
    fn a_torn_end_at_any_byte_costs_the_torn_frame_only() {
        let (_folder, path, locations) = segment(&[50, 60, 70]);
        let bytes = fs::read(&path).unwrap();

        for cut in usize::try_from(locations[0].offset).unwrap()..bytes.len() {
            fs::write(&path, &bytes[..cut]).unwrap();
            let scanned = scan(&File::open(&path).unwrap(), locations[0].offset).unwrap();

            let whole = |location: &&FrameLocation| {
                location.offset + (HEAD as u64) + u64::from(location.length) <= cut as u64
            };
            let expected: Vec<_> = locations.iter().filter(whole).copied().collect();
            assert_eq!((scanned.frames, scanned.damaged), (expected, 0), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn one_wrong_byte_damages_only_its_own_frame(at: prop::sample::Index, by in 1_u8..=255) {
            let (_folder, path, locations) = segment(&[500, 70_000, 1, 300]);
            let begin = usize::try_from(locations[0].offset).unwrap();
            let mut bytes = fs::read(&path).unwrap();
            let at = begin + at.index(bytes.len() - begin);

            bytes[at] ^= by;
            fs::write(&path, &bytes).unwrap();

            let end = |location: &FrameLocation| location.offset + HEAD as u64 + u64::from(location.length);
            let hit = locations.iter().position(|location| (location.offset..end(location)).contains(&(at as u64))).unwrap();
            let scanned = scan(&File::open(&path).unwrap(), locations[0].offset).unwrap();
            let mut expected = locations.clone();
            expected.remove(hit);
            prop_assert_eq!(scanned.frames, expected);
            // Damage behind the last intact frame counts as a torn end.
            prop_assert_eq!(scanned.damaged, u64::from(hit < locations.len() - 1));
            prop_assert_eq!(read_frame(&File::open(&path).unwrap(), locations[hit]).unwrap(), None);
        }
    }

    #[test]
    fn a_file_with_an_incomplete_head_has_no_origin() {
        let (_folder, path, locations) = segment(&[50]);
        let mut bytes = fs::read(&path).unwrap();
        bytes[20] ^= 1;
        fs::write(&path, &bytes).unwrap();

        let file = File::open(&path).unwrap();

        assert_eq!(origin(&file).unwrap(), None);
        assert_eq!(scan(&file, 0).unwrap().frames, locations);
    }
}
