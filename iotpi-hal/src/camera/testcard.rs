//! A moving test card with the time and the frame number, for a system without a camera.
//!
//! The painted time is the timestamp of the frame, so a photograph of a screen shows the latency. Only the
//! rows that change are encoded again (see [`mcu_rows`](super)).
//!
//! Deliberately absent: sound, colour standards.

use std::sync::Arc;

use bytes::Bytes;
use iotpi_core::{Camera, CameraSpec, Clock, DeviceError, DeviceErrorKind, Frame, Timestamp, async_trait};

use super::{
    font,
    frame_interval::FrameInterval,
    mcu_rows::{McuRows, ROW_HEIGHT},
};

/// JPEG quality: letters stay sharp, and a frame of 640 by 480 pixels has about 20 KB.
const QUALITY: u8 = 80;
/// The length of the line of text.
const TEXT_LEN: usize = "00:00:00.000 UTC #000000".len();

type Rgb = [u8; 3];

const BARS: [Rgb; 8] = [
    [235, 235, 235],
    [210, 205, 30],
    [40, 200, 205],
    [45, 190, 50],
    [195, 45, 190],
    [205, 40, 40],
    [40, 50, 200],
    [20, 20, 20],
];
const GROUND: Rgb = [16, 24, 32];
const GRID: Rgb = [48, 62, 76];
const BALL: Rgb = [255, 140, 30];
const TEXT: Rgb = [255, 255, 255];

/// A camera that paints a moving test card.
///
/// ```
/// use iotpi_core::{CameraSpec, SystemClock, Timestamp};
/// use iotpi_hal::camera::testcard::TestCard;
///
/// let mut card = TestCard::new(CameraSpec::new(320, 240, 5.0), SystemClock::shared())?;
/// let frame = card.paint(Timestamp::parse("2026-06-01T12:00:00Z")?)?;
/// assert_eq!((frame.width(), frame.height()), (320, 240));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct TestCard {
    spec: CameraSpec,
    clock: Arc<dyn Clock>,
    pace: FrameInterval,
    /// The parts that do not change.
    background: McuRows,
    /// The first block row that changes, and the pixels of the rows that change.
    band_row: usize,
    band: Canvas,
    /// The size of a dot of the font in pixels.
    scale: usize,
    frames: u64,
}

impl TestCard {
    /// A test card of 160 by 120 to 3,840 by 2,160 pixels at 0.1 to 60 frames a second.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Refused`] outside those limits.
    pub fn new(spec: CameraSpec, clock: Arc<dyn Clock>) -> Result<Self, DeviceError> {
        let within = (160..=3840).contains(&spec.width)
            && (120..=2160).contains(&spec.height)
            && (0.1..=60.0).contains(&spec.fps);
        if !within {
            return Err(DeviceError::new(
                DeviceErrorKind::Refused,
                "a test card has 160 x 120 to 3840 x 2160 pixels at 0.1 to 60 frames a second",
            ));
        }
        let (width, height) = (spec.width as usize, spec.height as usize);
        let whole_rows = height / ROW_HEIGHT;
        let scale = scale(width, height);
        let band_rows = (whole_rows / 8).max(2) + text_rows(scale);
        let background = McuRows::encode(&background(width, height).pixels, columns(width), QUALITY)
            .map_err(encoder_error)?;
        Ok(Self {
            spec,
            clock,
            pace: FrameInterval::new(spec.fps),
            background,
            band_row: whole_rows - band_rows,
            band: Canvas::new(width, band_rows * ROW_HEIGHT, GROUND),
            scale,
            frames: 0,
        })
    }

    /// Paints and encodes the frame of a moment.
    ///
    /// # Errors
    /// [`DeviceErrorKind::Other`] when encoding fails, which is a defect.
    pub fn paint(&mut self, now: Timestamp) -> Result<Frame, DeviceError> {
        self.frames += 1;
        let text = format!("{} UTC #{:06}", time_of_day(now), self.frames % 1_000_000);
        paint_band(&mut self.band, self.scale, now, &text);
        let band =
            McuRows::encode(&self.band.pixels, columns(self.band.width), QUALITY).map_err(encoder_error)?;
        let jpeg = self.background.with(self.band_row, &band);
        Frame::from_jpeg(Bytes::from(jpeg), now).map_err(encoder_error)
    }
}

#[async_trait]
impl Camera for TestCard {
    fn spec(&self) -> CameraSpec {
        self.spec
    }

    async fn capture(&mut self) -> Result<Frame, DeviceError> {
        self.pace.tick().await;
        self.paint(self.clock.now())
    }
}

fn encoder_error(error: impl std::error::Error + Send + Sync + 'static) -> DeviceError {
    DeviceError::new(DeviceErrorKind::Other, "the test card cannot be encoded").with_source(error)
}

fn columns(width: usize) -> u16 {
    u16::try_from(width).unwrap_or(u16::MAX)
}

/// The largest scale at which the text fits most of the width and a quarter of the height.
fn scale(width: usize, height: usize) -> usize {
    (width / ((TEXT_LEN + 1) * font::ADVANCE)).min(height / (4 * font::HEIGHT)).max(1)
}

/// The number of block rows the text covers.
fn text_rows(scale: usize) -> usize {
    (font::HEIGHT * scale + 8).div_ceil(ROW_HEIGHT)
}

/// Formats a time as `HH:MM:SS.mmm`.
fn time_of_day(now: Timestamp) -> String {
    let millis = now.as_micros().div_euclid(1000).rem_euclid(86_400_000);
    let (secs, millis) = (millis / 1000, millis % 1000);
    format!("{:02}:{:02}:{:02}.{millis:03}", secs / 3600, secs / 60 % 60, secs % 60)
}

fn background(width: usize, height: usize) -> Canvas {
    let mut canvas = Canvas::new(width, height, GROUND);
    let bars = height * 5 / 8;
    for (i, bar) in BARS.into_iter().enumerate() {
        let (left, right) = (width * i / BARS.len(), width * (i + 1) / BARS.len());
        canvas.fill(left, 0, right - left, bars, bar);
    }
    for x in 0..width {
        let grey = u8::try_from(x * 255 / width).unwrap_or(u8::MAX);
        canvas.fill(x, bars, 1, height / 16, [grey; 3]);
    }
    canvas
}

/// A ball that crosses the band in four seconds and returns, above the line of text.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn paint_band(band: &mut Canvas, scale: usize, now: Timestamp, text: &str) {
    let (width, text_height) = (band.width, text_rows(scale) * ROW_HEIGHT);
    let lane = band.height - text_height;
    band.fill(0, 0, width, band.height, GROUND);
    for x in (0..width).step_by(width / 16) {
        band.fill(x, 0, 2, lane, GRID);
    }
    let radius = (lane / 2 - 1).min(width / 8);
    let phase = now.as_micros().rem_euclid(8_000_000) as usize;
    let way = width - 2 * radius;
    let along = if phase < 4_000_000 { phase } else { 8_000_000 - phase };
    band.disc(radius + way * along / 4_000_000, lane / 2, radius, BALL);

    let left = (width - text.len().min(TEXT_LEN) * font::ADVANCE * scale) / 2;
    let top = lane + (text_height - font::HEIGHT * scale) / 2;
    band.text(left, top, scale, text, TEXT);
}

/// RGB pixels, three bytes each, line by line.
#[derive(Debug)]
struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    fn new(width: usize, height: usize, colour: Rgb) -> Self {
        Self { width, height, pixels: colour.repeat(width * height) }
    }

    /// Fills a rectangle, clipped to the canvas.
    fn fill(&mut self, left: usize, top: usize, width: usize, height: usize, colour: Rgb) {
        let (left, right) = (left.min(self.width), (left + width).min(self.width));
        for y in top..(top + height).min(self.height) {
            let line = (y * self.width + left) * 3..(y * self.width + right) * 3;
            for pixel in self.pixels[line].chunks_exact_mut(3) {
                pixel.copy_from_slice(&colour);
            }
        }
    }

    fn disc(&mut self, x: usize, y: usize, radius: usize, colour: Rgb) {
        for dy in 0..=radius {
            let half = (radius * radius - dy * dy).isqrt();
            for line in [y.saturating_sub(dy), y + dy] {
                self.fill(x.saturating_sub(half), line, 2 * half + 1, 1, colour);
            }
        }
    }

    fn text(&mut self, left: usize, top: usize, scale: usize, text: &str, colour: Rgb) {
        for (i, letter) in text.chars().enumerate() {
            for (row, bits) in font::glyph(letter).into_iter().enumerate() {
                for column in (0..font::WIDTH).filter(|column| bits >> (font::WIDTH - 1 - column) & 1 == 1) {
                    let x = left + (i * font::ADVANCE + column) * scale;
                    self.fill(x, top + row * scale, scale, scale, colour);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iotpi_core::time::ManualClock;
    use zune_jpeg::{JpegDecoder, zune_core::bytestream::ZCursor};

    use super::*;

    const SPEC: CameraSpec = CameraSpec::new(640, 480, 12.0);

    fn noon() -> Timestamp {
        Timestamp::parse("2026-06-01T12:34:56.789Z").unwrap()
    }

    fn card(spec: CameraSpec) -> TestCard {
        TestCard::new(spec, ManualClock::at(noon())).unwrap()
    }

    /// The brightness of a pixel of a decoded frame, 0 to 255.
    fn brightness(frame: &Frame, x: usize, y: usize) -> u8 {
        let pixels = JpegDecoder::new(ZCursor::new(frame.jpeg().to_vec())).decode().unwrap();
        let at = (y * frame.width() as usize + x) * 3;
        (pixels[at..at + 3].iter().map(|&c| u16::from(c)).sum::<u16>() / 3) as u8
    }

    #[test]
    fn the_time_in_the_frame_is_readable() {
        let frame = card(SPEC).paint(noon()).unwrap();

        // In "1" of "12:34:56.789" the stem is lit and the dot left of it is not.
        let scale = scale(640, 480);
        let rows = text_rows(scale) * ROW_HEIGHT;
        let left = (640 - TEXT_LEN * font::ADVANCE * scale) / 2;
        let middle = 480 - rows + rows / 2;
        assert!(brightness(&frame, left + 2 * scale + scale / 2, middle) > 200);
        assert!(brightness(&frame, left + scale / 2, middle) < 60);
        assert_eq!(time_of_day(noon()), "12:34:56.789");
        assert_eq!(frame.taken_at(), noon());
    }

    #[test]
    fn consecutive_frames_differ() {
        let mut card = card(SPEC);

        let frames: Vec<_> =
            (0..20).map(|i| card.paint(noon().plus(Duration::from_millis(83 * i))).unwrap()).collect();

        assert!(frames.windows(2).all(|pair| pair[0].jpeg() != pair[1].jpeg()));
        assert!(frames.iter().all(|f| (f.width(), f.height()) == (640, 480)));
    }

    #[test]
    fn every_allowed_size_can_be_painted() {
        for (width, height) in
            [(160, 120), (161, 121), (640, 360), (1280, 720), (333, 487), (160, 2160), (3840, 120)]
        {
            let spec = CameraSpec::new(width, height, 1.0);

            let frame = card(spec).paint(noon()).unwrap();

            assert_eq!((frame.width(), frame.height()), (width, height));
            let pixels = JpegDecoder::new(ZCursor::new(frame.jpeg().to_vec())).decode().unwrap();
            assert_eq!(pixels.len(), (width * height * 3) as usize);
        }
    }

    #[test]
    fn impossible_settings_are_refused() {
        for (width, height, fps) in
            [(100, 480, 12.0), (640, 5000, 12.0), (640, 480, 0.0), (640, 480, f64::NAN)]
        {
            let error =
                TestCard::new(CameraSpec::new(width, height, fps), ManualClock::at(noon())).unwrap_err();

            assert_eq!(error.kind(), DeviceErrorKind::Refused);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn frames_have_the_configured_rate() {
        let mut card = card(SPEC);
        let begin = tokio::time::Instant::now();

        for _ in 0..25 {
            card.capture().await.unwrap();
        }

        let took = begin.elapsed().as_secs_f64();
        assert!((took - 24.0 / 12.0).abs() < 0.05, "{took}");
    }
}
