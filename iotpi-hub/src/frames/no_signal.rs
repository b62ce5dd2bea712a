//! The frame published while a camera delivers nothing.

use bytes::Bytes;
use embedded_graphics::{
    Drawable as _, Pixel,
    draw_target::DrawTarget,
    geometry::{OriginDimensions, Point, Size},
    mono_font::{MonoTextStyle, ascii::FONT_10X20},
    pixelcolor::Gray8,
    prelude::GrayColor as _,
    text::{Alignment, Baseline, Text, TextStyleBuilder},
};
use iotpi_core::{Frame, Timestamp};
use jiff::tz::TimeZone;
use jpeg_encoder::{ColorType, Encoder};

/// Width in pixels. The height follows the camera's aspect ratio, so that the page keeps its layout.
const WIDTH: u32 = 640;
const HEIGHTS: std::ops::RangeInclusive<u32> = 120..=1280;
const QUALITY: u8 = 70;
const GROUND: u8 = 0x18;
const INK: Gray8 = Gray8::new(0xE0);

/// Draws the frame with the time since when nothing has arrived, in the hub's local time. `size` is that of
/// the camera's last frame. `None` if encoding fails, which would be a defect.
pub(super) fn draw(size: (u32, u32), since: Option<Timestamp>, now: Timestamp) -> Option<Frame> {
    let (width, height) = (u64::from(size.0.max(1)), u64::from(size.1));
    let height = u32::try_from(u64::from(WIDTH) * height / width).unwrap_or(u32::MAX);
    let mut canvas = Canvas::new(height.clamp(*HEIGHTS.start(), *HEIGHTS.end()));
    let words = match since {
        Some(since) => format!("no signal\nsince {}", time_of_day(since)),
        None => "no signal\nyet".to_owned(),
    };
    canvas.write(&words);
    let mut jpeg = Vec::new();
    let (width, height) = (u16::try_from(WIDTH).ok()?, u16::try_from(canvas.height).ok()?);
    Encoder::new(&mut jpeg, QUALITY).encode(&canvas.grey, width, height, ColorType::Luma).ok()?;
    Frame::from_jpeg(Bytes::from(jpeg), now).ok()
}

fn time_of_day(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S").to_string()
}

/// Grey pixels, row by row, drawn on in dots of two by two pixels.
struct Canvas {
    grey: Vec<u8>,
    height: u32,
}

const DOT: usize = 2;

impl Canvas {
    fn new(height: u32) -> Self {
        Self { grey: vec![GROUND; (WIDTH * height) as usize], height }
    }

    fn write(&mut self, words: &str) {
        let middle = TextStyleBuilder::new().alignment(Alignment::Center).baseline(Baseline::Middle).build();
        let style = MonoTextStyle::new(&FONT_10X20, INK);
        let size = self.size();
        let lines = i32::try_from(words.lines().count()).unwrap_or(1);
        // The baseline is that of the first line; a line has 20 dots.
        let centre =
            Point::new(size.width.cast_signed() / 2, size.height.cast_signed() / 2 - 10 * (lines - 1));
        let Ok(_) = Text::with_text_style(words, centre, style, middle).draw(self);
    }
}

impl OriginDimensions for Canvas {
    fn size(&self) -> Size {
        Size::new(WIDTH / DOT as u32, self.height / DOT as u32)
    }
}

impl DrawTarget for Canvas {
    type Color = Gray8;
    type Error = std::convert::Infallible;

    fn draw_iter<I: IntoIterator<Item = Pixel<Gray8>>>(&mut self, pixels: I) -> Result<(), Self::Error> {
        let size = self.size();
        for Pixel(point, colour) in pixels {
            let (Ok(x), Ok(y)) = (u32::try_from(point.x), u32::try_from(point.y)) else { continue };
            if x >= size.width || y >= size.height {
                continue;
            }
            for line in 0..DOT {
                let at = (y as usize * DOT + line) * WIDTH as usize + x as usize * DOT;
                self.grey[at..at + DOT].fill(colour.luma());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_the_shape_of_the_cameras_picture() {
        let at = Timestamp::parse("2026-06-01T12:03:41Z").unwrap();

        for (size, drawn) in [
            ((1280, 720), (640, 360)),
            ((480, 640), (640, 853)),
            ((8192, 1), (640, 120)),
            ((1, 8192), (640, 1280)),
        ] {
            let frame = draw(size, Some(at), at).unwrap();

            assert_eq!((frame.width(), frame.height()), drawn);
        }
    }

    #[test]
    fn it_says_since_when_and_is_legible() {
        let mut silent = Canvas::new(360);
        silent.write("");
        let mut since = Canvas::new(360);
        since.write("no signal\nsince 12:03:41");

        let lit = since.grey.iter().filter(|&&grey| grey > 0x80).count();

        assert!(silent.grey.iter().all(|&grey| grey == GROUND));
        // 22 letters of 20 by 40 pixels, each with some lit pixels; all in the middle of the frame.
        assert!(lit > 22 * 60, "{lit}");
        assert!(since.grey[..640 * 120].iter().all(|&grey| grey == GROUND));
        assert!(since.grey[640 * 240..].iter().all(|&grey| grey == GROUND));
    }
}
