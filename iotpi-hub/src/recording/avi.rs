//! MJPEG in AVI, written from front to back; no frame is read twice.
//!
//! After Microsoft's "AVI RIFF File Reference" (the DirectShow documentation). The frame rate is constant.
//! Empty chunks fill pauses: they repeat the previous frame, as in files written by ffmpeg. Numbers are
//! little-endian.

use super::export_frame::ExportFrame;

/// Maximum size of a file. Sizes have 32 bits, and many programs read them as signed numbers.
pub(super) const MAX_BYTES: u64 = 2_000_000_000;
/// Bytes before the first frame.
pub(super) const HEAD: u64 = 224;
/// Maximum number of chunks, empty ones included: 11 h at 12 frames a second.
pub(super) const MAX_CHUNKS: u64 = 500_000;
const KEY_FRAME: u32 = 0x10;
/// Flag of the main header: the file has an index.
const HAS_INDEX: u32 = 0x10;

/// When a player shows each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameTiming {
    /// Microseconds between two chunks.
    pub(super) interval_us: u32,
    /// Whether pauses between frames are kept. Otherwise frames follow each other at the constant rate.
    pub(super) in_time: bool,
}

impl FrameTiming {
    /// Takes the median interval between two frames.
    pub(super) fn of(frames: &[ExportFrame]) -> Self {
        let mut steps: Vec<_> = frames
            .windows(2)
            .map(|pair| pair[1].at_us.saturating_sub(pair[0].at_us).unsigned_abs())
            .collect();
        let middle = steps.len() / 2;
        let median = if steps.is_empty() { 40_000 } else { *steps.select_nth_unstable(middle).1 };
        Self {
            interval_us: u32::try_from(median.clamp(1_000, 1_000_000_000)).unwrap_or(40_000),
            in_time: true,
        }
    }

    /// A constant rate in frames a second; pauses are left out.
    pub(super) fn fixed(fps: f64) -> Self {
        // The caller has checked that the rate is 0.1 to 120.
        Self { interval_us: (1e6 / fps).round() as u32, in_time: false }
    }

    /// The number of empty chunks before each frame.
    pub(super) fn pauses(self, frames: &[ExportFrame]) -> impl Iterator<Item = u64> + '_ {
        let first = frames.first().map_or(0, |entry| entry.at_us);
        let mut next = 0_u64;
        frames.iter().map(move |entry| {
            let after = entry.at_us.saturating_sub(first).max(0).unsigned_abs();
            let interval = u64::from(self.interval_us);
            let place = if self.in_time { ((after + interval / 2) / interval).max(next) } else { next };
            let pause = place - next;
            next = place + 1;
            pause
        })
    }
}

/// The sizes that the header of a file needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) chunks: u64,
    /// Bytes of all chunks, with their headers and padding.
    movie: u64,
    largest: u32,
}

impl Layout {
    pub(super) fn of(timing: FrameTiming, frames: &[ExportFrame]) -> Self {
        let mut layout = Self { chunks: 0, movie: 0, largest: 0 };
        for (pause, entry) in timing.pauses(frames).zip(frames) {
            layout.chunks += pause + 1;
            layout.movie += pause * 8 + 8 + padded(entry.length);
            layout.largest = layout.largest.max(entry.length);
        }
        layout
    }

    /// Bytes of the whole file.
    pub(super) fn bytes(self) -> u64 {
        HEAD + self.movie + 8 + self.chunks * 16
    }

    /// Everything before the first chunk. Only for files of up to [`MAX_BYTES`].
    pub(super) fn head(self, timing: FrameTiming, width: u32, height: u32) -> Vec<u8> {
        let small = |size: u64| u32::try_from(size).unwrap_or(u32::MAX);
        let mut head = Vec::with_capacity(usize::try_from(HEAD).unwrap_or_default());
        let mut words = |text: &[u8; 4], words: &[u32]| {
            head.extend(text);
            words.iter().for_each(|word| head.extend(word.to_le_bytes()));
        };
        let chunks = small(self.chunks);
        let a_second = u64::from(self.largest) * 1_000_000 / u64::from(timing.interval_us.max(1));
        words(b"RIFF", &[small(self.bytes() - 8)]);
        words(b"AVI ", &[]);
        words(b"LIST", &[192]);
        words(b"hdrl", &[]);
        words(b"avih", &[56, timing.interval_us, small(a_second), 0, HAS_INDEX, chunks, 0, 1, self.largest]);
        words(&width.to_le_bytes(), &[height, 0, 0, 0, 0]);
        words(b"LIST", &[116]);
        words(b"strl", &[]);
        words(b"strh", &[56]);
        words(b"vids", &[]);
        // Scale and rate: microseconds per frame, and microseconds per second.
        words(b"MJPG", &[0, 0, 0, timing.interval_us, 1_000_000, 0, chunks, self.largest, u32::MAX, 0]);
        let corner = (u32::from(height as u16) << 16) | u32::from(width as u16);
        words(&0_u32.to_le_bytes(), &[corner]);
        words(b"strf", &[40, 40, width, height, 1 | 24 << 16]);
        words(b"MJPG", &[small(u64::from(width) * u64::from(height) * 3), 0, 0, 0, 0]);
        words(b"LIST", &[small(4 + self.movie)]);
        words(b"movi", &[]);
        head
    }
}

fn padded(length: u32) -> u64 {
    u64::from(length) + u64::from(length % 2)
}

/// Appends empty chunks.
pub(super) fn put_pause(file: &mut Vec<u8>, chunks: u64) {
    for _ in 0..chunks {
        file.extend(b"00dc\0\0\0\0");
    }
}

/// Appends a frame. A damaged frame is replaced by a `JUNK` chunk of the same size, which players skip.
pub(super) fn put_frame(file: &mut Vec<u8>, length: u32, jpeg: Option<&[u8]>) {
    file.extend(if jpeg.is_some() { b"00dc" } else { b"JUNK" });
    file.extend(length.to_le_bytes());
    match jpeg {
        Some(jpeg) => file.extend(jpeg),
        None => file.resize(file.len() + length as usize, 0),
    }
    if length % 2 == 1 {
        file.push(0);
    }
}

/// The index at the end of the file.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Offset of the next chunk, counted from the word `movi`.
    at: u32,
}

impl Index {
    pub(super) fn begin(&mut self, file: &mut Vec<u8>, layout: Layout) {
        self.at = 4;
        file.extend(b"idx1");
        file.extend(u32::try_from(layout.chunks * 16).unwrap_or(u32::MAX).to_le_bytes());
    }

    pub(super) fn put(&mut self, file: &mut Vec<u8>, pause: u64, length: u32, is_whole: bool) {
        for _ in 0..pause {
            self.entry(file, 0, 0);
            self.at += 8;
        }
        let (flags, size) = if is_whole { (KEY_FRAME, length) } else { (0, 0) };
        self.entry(file, flags, size);
        self.at += 8 + u32::try_from(padded(length)).unwrap_or(u32::MAX);
    }

    fn entry(&self, file: &mut Vec<u8>, flags: u32, size: u32) {
        file.extend(b"00dc");
        [flags, self.at, size].iter().for_each(|word| file.extend(word.to_le_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(millis: &[i64]) -> Vec<ExportFrame> {
        millis
            .iter()
            .map(|millis| ExportFrame { at_us: millis * 1000, segment: 0, offset: 0, length: 11 })
            .collect()
    }

    #[test]
    fn the_rhythm_is_the_median_and_pauses_are_filled() {
        let frames = entries(&[0, 100, 201, 299, 400, 1000, 1100, 1101]);

        let timing = FrameTiming::of(&frames);

        assert_eq!(timing.interval_us, 100_000);
        assert_eq!(timing.pauses(&frames).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 5, 0, 0]);
        assert_eq!(FrameTiming::fixed(25.0).pauses(&frames).sum::<u64>(), 0);
        assert_eq!(FrameTiming::of(&entries(&[5])).interval_us, 40_000);
    }

    #[test]
    fn the_planned_layout_matches_the_written_file() {
        let frames = entries(&[0, 100, 200, 700]);
        let timing = FrameTiming::of(&frames);
        let layout = Layout::of(timing, &frames);

        let mut file = layout.head(timing, 640, 480);
        assert_eq!(file.len() as u64, HEAD);
        for pause in timing.pauses(&frames) {
            put_pause(&mut file, pause);
            put_frame(&mut file, 11, Some(&[0; 11]));
        }
        let mut index = Index::default();
        index.begin(&mut file, layout);
        for pause in timing.pauses(&frames) {
            index.put(&mut file, pause, 11, true);
        }

        assert_eq!((layout.chunks, file.len() as u64), (8, layout.bytes()));
    }
}
