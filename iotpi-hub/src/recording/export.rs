//! A recording as one file in a common format, made while it is sent.
//!
//! First the plan: the frames, their locations and the length of the file. It takes 24 bytes of memory a
//! frame. Then the file, in parts of 256 KiB and at most one frame more. If a segment is removed during the
//! export, the export ends with an error.

use std::{fs::File, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use iotpi_core::{Frame, ModuleId, Timestamp};

use super::{
    avi::{self, FrameTiming, Index, Layout},
    export_frame::ExportFrame,
    segment,
    zip::{self, Zip},
};
use crate::{
    error::{HubError, Result},
    store::{FoundFrame, FrameLocation},
};

/// Maximum number of frames in an export.
pub(super) const MAX_FRAMES: usize = 500_000;
/// Target size of one part of the file.
const STEP: usize = 256 << 10;

/// File format of an export.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Format {
    /// MJPEG in AVI, with the timing of the recording or a constant number of frames a second.
    Avi(Option<f64>),
    /// The JPEG files in a ZIP archive.
    Zip,
}

/// An export: first its plan, then the position in the file.
#[derive(Debug)]
pub(crate) struct Export {
    folder: PathBuf,
    module_id: ModuleId,
    segments: Vec<Arc<str>>,
    frames: Vec<ExportFrame>,
    next: usize,
    open: Option<(u32, File)>,
    /// Positions of the frames that are damaged.
    damaged: Vec<usize>,
    state: State,
}

#[derive(Debug)]
enum State {
    Planning,
    Avi {
        timing: FrameTiming,
        layout: Layout,
        pauses: Vec<u32>,
        header_written: bool,
        index: Option<(Index, usize)>,
    },
    Zip {
        zip: Zip,
        listed: bool,
    },
    Done,
}

impl Export {
    /// Creates an empty plan.
    pub(crate) fn new(folder: PathBuf, module_id: ModuleId) -> Self {
        let (segments, frames, damaged) = (Vec::new(), Vec::new(), Vec::new());
        Self { folder, module_id, segments, frames, next: 0, open: None, damaged, state: State::Planning }
    }

    /// Appends a frame to the plan.
    ///
    /// # Errors
    /// `TooLarge` when there are too many frames.
    pub(crate) fn plan(&mut self, found: FoundFrame) -> Result<()> {
        if self.frames.len() >= MAX_FRAMES {
            return Err(HubError::too_large(
                "An export can have at most 500,000 frames. Choose a shorter range.",
            ));
        }
        if self.segments.last() != Some(&found.segment) {
            // Frames of segments that overlap in time alternate.
            let known = self.segments.iter().rposition(|segment| *segment == found.segment);
            match known {
                Some(known) => {
                    let last = self.segments.len() - 1;
                    return self.plan_in(found.location, known.min(last));
                }
                None => self.segments.push(found.segment),
            }
        }
        self.plan_in(found.location, self.segments.len() - 1)
    }

    fn plan_in(&mut self, location: FrameLocation, segment: usize) -> Result<()> {
        let FrameLocation { at, offset, length } = location;
        let too_far = |_| HubError::internal("A segment is longer than the maximum.");
        let offset = u32::try_from(offset).map_err(too_far)?;
        let segment = u32::try_from(segment).map_err(too_far)?;
        self.frames.push(ExportFrame { at_us: at.as_micros(), segment, offset, length });
        Ok(())
    }

    /// Whether the plan has no frame.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Completes the plan. Returns the length of the file if it is known in advance.
    ///
    /// # Errors
    /// `TooLarge` when the file would be too large for AVI.
    pub(crate) fn begin(&mut self, format: Format) -> Result<Option<u64>> {
        match format {
            Format::Zip => {
                self.state = State::Zip { zip: Zip::default(), listed: false };
                Ok(None)
            }
            Format::Avi(fps) => {
                let timing = fps.map_or_else(|| FrameTiming::of(&self.frames), FrameTiming::fixed);
                let layout = Layout::of(timing, &self.frames);
                if layout.bytes() > avi::MAX_BYTES {
                    return Err(HubError::too_large(
                        "An AVI file can have at most 2 GB. Choose a shorter range, or `format=zip`.",
                    ));
                }
                if layout.chunks > avi::MAX_CHUNKS {
                    return Err(HubError::too_large(
                        "With its pauses the AVI file would have more than 500,000 frames. Choose a shorter range, set `fps` \
                         to leave pauses out, or use `format=zip`.",
                    ));
                }
                let pauses = timing
                    .pauses(&self.frames)
                    .map(|pause| u32::try_from(pause).unwrap_or(u32::MAX))
                    .collect();
                self.state = State::Avi { timing, layout, pauses, header_written: false, index: None };
                Ok(Some(layout.bytes()))
            }
        }
    }

    /// The next part of the file, or `None` at its end. Blocks.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut file = Vec::with_capacity(STEP + (64 << 10));
        let mut state = std::mem::replace(&mut self.state, State::Done);
        while file.len() < STEP {
            let has_more = match &mut state {
                State::Planning | State::Done => false,
                State::Avi { timing, layout, pauses, header_written, index } => {
                    self.avi(&mut file, (*timing, *layout), pauses, header_written, index)?
                }
                State::Zip { zip, listed } => self.zip(&mut file, zip, listed)?,
            };
            if !has_more {
                state = State::Done;
                break;
            }
        }
        self.state = state;
        Ok((!file.is_empty()).then(|| file.into()))
    }

    fn avi(
        &mut self,
        file: &mut Vec<u8>,
        (timing, layout): (FrameTiming, Layout),
        pauses: &[u32],
        header_written: &mut bool,
        index: &mut Option<(Index, usize)>,
    ) -> io::Result<bool> {
        if !std::mem::replace(header_written, true) {
            let (width, height) = self.size()?;
            file.extend(layout.head(timing, width, height));
            return Ok(true);
        }
        if let (Some(entry), Some(pause)) = (self.frames.get(self.next).copied(), pauses.get(self.next)) {
            avi::put_pause(file, u64::from(*pause));
            let jpeg = self.read(entry)?;
            avi::put_frame(file, entry.length, jpeg.as_deref());
            self.advance(jpeg.is_some());
            return Ok(true);
        }
        let (index, listed) = match index {
            Some(index) => index,
            None => {
                let index = index.insert((Index::default(), 0));
                index.0.begin(file, layout);
                index
            }
        };
        let Some((entry, pause)) = self.frames.get(*listed).zip(pauses.get(*listed)) else {
            return Ok(false);
        };
        let is_whole = self.damaged.binary_search(listed).is_err();
        index.put(file, u64::from(*pause), entry.length, is_whole);
        *listed += 1;
        Ok(true)
    }

    fn zip(&mut self, file: &mut Vec<u8>, archive: &mut Zip, listed: &mut bool) -> io::Result<bool> {
        if let Some(entry) = self.frames.get(self.next).copied() {
            let jpeg = self.read(entry)?;
            if let Some(jpeg) = &jpeg {
                archive.put_frame(file, Timestamp::from_micros(entry.at_us), jpeg);
            }
            self.advance(jpeg.is_some());
            return Ok(true);
        }
        if !std::mem::replace(listed, true) && !self.damaged.is_empty() {
            let mut text = "These frames are damaged and left out:\n".to_owned();
            let damaged = self.damaged.iter().filter_map(|place| self.frames.get(*place));
            for entry in damaged {
                text.push_str(&zip::name(Timestamp::from_micros(entry.at_us)));
                text.push('\n');
            }
            let at = self.frames.last().map_or(Timestamp::MIN, |entry| Timestamp::from_micros(entry.at_us));
            archive.put_text(file, "damaged.txt", at, &text);
        }
        Ok(archive.put_directory(file))
    }

    /// Width and height of the first intact frame.
    fn size(&mut self) -> io::Result<(u32, u32)> {
        for at in 0..self.frames.len() {
            let Some(entry) = self.frames.get(at).copied() else { break };
            let jpeg = self.read(entry)?;
            if let Some(frame) = jpeg.and_then(|jpeg| Frame::from_jpeg(jpeg, Timestamp::MIN).ok()) {
                return Ok((frame.width(), frame.height()));
            }
        }
        Err(io::Error::other("no frame of the recording is intact"))
    }

    fn advance(&mut self, is_whole: bool) {
        if !is_whole {
            self.damaged.push(self.next);
        }
        self.next += 1;
    }

    /// The number of damaged frames so far.
    pub(crate) fn damaged(&self) -> u64 {
        self.damaged.len() as u64
    }

    fn read(&mut self, entry: ExportFrame) -> io::Result<Option<Bytes>> {
        if self.open.as_ref().is_none_or(|(segment, _)| *segment != entry.segment) {
            let name = self.segments.get(entry.segment as usize).map_or("", |name| name);
            self.open =
                Some((entry.segment, File::open(segment::path(&self.folder, &self.module_id, name))?));
        }
        let Some((_, file)) = &self.open else { return Ok(None) };
        let at = Timestamp::from_micros(entry.at_us);
        let location = FrameLocation { at, offset: entry.offset.into(), length: entry.length };
        Ok(segment::read_frame(file, location)?.map(|(_, jpeg)| jpeg))
    }
}
