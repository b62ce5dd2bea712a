//! A recording as one file that other programs open, made while it is sent.
//!
//! First the plan: which frames, where they lie, how long the file will be; it is in memory, 24 bytes a frame. Then the file,
//! some 256 KiB and a frame at a time. A segment that is gone meanwhile ends it with an error.

use std::{fs::File, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use iotpi_core::{Frame, ModuleId, Timestamp};

use super::{
    avi::{self, FrameTiming, Index, Layout},
    segment,
    zip::Zip,
};
use crate::{
    error::{HubError, Result},
    store::{FoundFrame, FrameLocation},
};

/// The most frames of an export.
pub(super) const MOST_FRAMES: usize = 500_000;
/// So much is sent at a time.
const STEP: usize = 256 << 10;

/// As what a recording is exported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Format {
    /// MJPEG in AVI; with its own rhythm, or so many frames a second.
    Avi(Option<f64>),
    /// The JPEG files.
    Zip,
}

/// A frame that is to be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ExportFrame {
    pub(super) at_us: i64,
    pub(super) segment: u32,
    pub(super) offset: u32,
    pub(super) length: u32,
}

/// An export under way.
#[derive(Debug)]
pub(crate) struct Export {
    folder: PathBuf,
    module_id: ModuleId,
    segments: Vec<Arc<str>>,
    frames: Vec<ExportFrame>,
    next: usize,
    open: Option<(u32, File)>,
    /// Frames that are not what was recorded.
    damaged: Vec<usize>,
    form: Form,
}

#[derive(Debug)]
enum Form {
    Planned,
    Avi { rhythm: FrameTiming, layout: Layout, pauses: Vec<u32>, begun: bool, index: Option<(Index, usize)> },
    Zip { zip: Zip, listed: bool },
    Over,
}

impl Export {
    /// An empty plan.
    pub(crate) fn new(folder: PathBuf, module_id: ModuleId) -> Self {
        let (segments, frames, damaged) = (Vec::new(), Vec::new(), Vec::new());
        Self { folder, module_id, segments, frames, next: 0, open: None, damaged, form: Form::Planned }
    }

    /// Plans a frame in.
    ///
    /// # Errors
    /// `TooLarge` when there are too many.
    pub(crate) fn plan(&mut self, found: FoundFrame) -> Result<()> {
        if self.frames.len() >= MOST_FRAMES {
            return Err(HubError::too_large(
                "An export can have at most 500,000 frames. Choose a shorter range.",
            ));
        }
        if self.segments.last() != Some(&found.segment) {
            // Two that overlap in time take turns.
            let known = self.segments.iter().rposition(|segment| *segment == found.segment);
            match known {
                Some(known) => {
                    let last = self.segments.len() - 1;
                    return self.plan_in(found.spot, known.min(last));
                }
                None => self.segments.push(found.segment),
            }
        }
        self.plan_in(found.spot, self.segments.len() - 1)
    }

    fn plan_in(&mut self, spot: FrameLocation, segment: usize) -> Result<()> {
        let FrameLocation { at, offset, length } = spot;
        let too_far = |_| HubError::internal("a segment is longer than any");
        let offset = u32::try_from(offset).map_err(too_far)?;
        let segment = u32::try_from(segment).map_err(too_far)?;
        self.frames.push(ExportFrame { at_us: at.as_micros(), segment, offset, length });
        Ok(())
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// The plan is whole; answers how long the file will be, where that is known.
    ///
    /// # Errors
    /// `TooLarge` when it would be too long for an AVI file.
    pub(crate) fn begin(&mut self, format: Format) -> Result<Option<u64>> {
        match format {
            Format::Zip => {
                self.form = Form::Zip { zip: Zip::default(), listed: false };
                Ok(None)
            }
            Format::Avi(fps) => {
                let rhythm = fps.map_or_else(|| FrameTiming::of(&self.frames), FrameTiming::fixed);
                let layout = Layout::of(rhythm, &self.frames);
                if layout.bytes() > avi::MOST_BYTES {
                    return Err(HubError::too_large(
                        "an AVI file has up to 2 GB, and this would have more: take a shorter range, or `format=zip`",
                    ));
                }
                if layout.chunks > avi::MOST_CHUNKS {
                    return Err(HubError::too_large(
                        "with its pauses this would have more than 500,000 pictures: take a shorter range, say `fps` to \
                         leave pauses out, or take `format=zip`",
                    ));
                }
                let pauses = rhythm
                    .pauses(&self.frames)
                    .map(|pause| u32::try_from(pause).unwrap_or(u32::MAX))
                    .collect();
                self.form = Form::Avi { rhythm, layout, pauses, begun: false, index: None };
                Ok(Some(layout.bytes()))
            }
        }
    }

    /// The next part of the file; nothing at its end. Blocks.
    pub(crate) fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut file = Vec::with_capacity(STEP + (64 << 10));
        let mut form = std::mem::replace(&mut self.form, Form::Over);
        while file.len() < STEP {
            let goes_on = match &mut form {
                Form::Planned | Form::Over => false,
                Form::Avi { rhythm, layout, pauses, begun, index } => {
                    self.avi(&mut file, (*rhythm, *layout), pauses, begun, index)?
                }
                Form::Zip { zip, listed } => self.zip(&mut file, zip, listed)?,
            };
            if !goes_on {
                form = Form::Over;
                break;
            }
        }
        self.form = form;
        Ok((!file.is_empty()).then(|| file.into()))
    }

    fn avi(
        &mut self,
        file: &mut Vec<u8>,
        (rhythm, layout): (FrameTiming, Layout),
        pauses: &[u32],
        begun: &mut bool,
        index: &mut Option<(Index, usize)>,
    ) -> io::Result<bool> {
        if !std::mem::replace(begun, true) {
            let (width, height) = self.size()?;
            file.extend(layout.head(rhythm, width, height));
            return Ok(true);
        }
        if let (Some(entry), Some(pause)) = (self.frames.get(self.next).copied(), pauses.get(self.next)) {
            avi::put_pause(file, u64::from(*pause));
            let jpeg = self.read(entry)?;
            avi::put_frame(file, entry.length, jpeg.as_deref());
            self.passed(jpeg.is_some());
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

    fn zip(&mut self, file: &mut Vec<u8>, zip: &mut Zip, listed: &mut bool) -> io::Result<bool> {
        if let Some(entry) = self.frames.get(self.next).copied() {
            let jpeg = self.read(entry)?;
            if let Some(jpeg) = &jpeg {
                zip.put_frame(file, Timestamp::from_micros(entry.at_us), jpeg);
            }
            self.passed(jpeg.is_some());
            return Ok(true);
        }
        if !std::mem::replace(listed, true) && !self.damaged.is_empty() {
            let mut text = "These frames are damaged and left out:\n".to_owned();
            let damaged = self.damaged.iter().filter_map(|place| self.frames.get(*place));
            for entry in damaged {
                text.push_str(&super::zip::name(Timestamp::from_micros(entry.at_us)));
                text.push('\n');
            }
            let at = self.frames.last().map_or(Timestamp::MIN, |entry| Timestamp::from_micros(entry.at_us));
            zip.put_text(file, "damaged.txt", at, &text);
        }
        Ok(zip.put_directory(file))
    }

    /// Width and height of the first frame that is whole.
    fn size(&mut self) -> io::Result<(u32, u32)> {
        for at in 0..self.frames.len() {
            let Some(entry) = self.frames.get(at).copied() else { break };
            let jpeg = self.read(entry)?;
            if let Some(frame) = jpeg.and_then(|jpeg| Frame::from_jpeg(jpeg, Timestamp::MIN).ok()) {
                return Ok((frame.width(), frame.height()));
            }
        }
        Err(io::Error::other("no frame of the recording is whole"))
    }

    fn passed(&mut self, is_whole: bool) {
        if !is_whole {
            self.damaged.push(self.next);
        }
        self.next += 1;
    }

    /// How many frames were damaged.
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
        let spot = FrameLocation { at, offset: entry.offset.into(), length: entry.length };
        Ok(segment::read_frame(file, spot)?.map(|(_, jpeg)| jpeg))
    }
}
