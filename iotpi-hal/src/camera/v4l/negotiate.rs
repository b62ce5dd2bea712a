//! Which size, rate and form of pixels a camera is asked for.

use iotpi_core::{CameraSpec, DeviceError, DeviceErrorKind};
use v4l::{
    Device, Format, FourCC,
    framesize::{FrameSizeEnum, Stepwise},
    video::{Capture, capture::Parameters},
};

use super::{Wish, camera_error};

/// What a camera and we speak, what is better first.
const SPOKEN: [[u8; 4]; 3] = [*b"MJPG", *b"JPEG", *b"YUYV"];

/// How a frame's pixels come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pixels {
    /// As a JPEG file.
    Jpeg,
    /// YUYV, 4:2:2, lines of so many bytes.
    Yuyv { stride: usize },
}

/// What a camera said it will deliver.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Agreed {
    /// Pixels.
    pub width: u32,
    pub height: u32,
    pub pixels: Pixels,
    /// Frames a second.
    pub fps: f64,
}

impl Agreed {
    pub fn spec(self) -> CameraSpec {
        CameraSpec { width: self.width, height: self.height, fps: self.fps }
    }
}

/// Sets the camera to its nearest: nearest in size first, then JPEG before YUYV; the rate is the driver's nearest.
pub(super) fn agree(device: &Device, wish: &Wish) -> Result<Agreed, DeviceError> {
    let failed = |e| camera_error(&wish.device, e);
    // What is no camera cannot say what it is.
    device.query_caps().map_err(failed)?;
    let mut offered = Vec::new();
    for format in device.enum_formats().map_err(failed)? {
        // Some drivers do not list sizes, and take the nearest when they are set.
        let sizes = device.enum_framesizes(format.fourcc).unwrap_or_default();
        let sizes = sizes.into_iter().map(|listed| listed.size).collect::<Vec<_>>();
        offered.extend(sizes_near(&sizes, wish).into_iter().map(|size| (format.fourcc.repr, size)));
    }
    let (pixels, (width, height)) = nearest(&offered, wish).ok_or_else(|| unspoken(wish, &offered))?;
    let set = device.set_format(&Format::new(width, height, FourCC::new(&pixels))).map_err(failed)?;
    let pixels = match &set.fourcc.repr {
        b"MJPG" | b"JPEG" => Pixels::Jpeg,
        b"YUYV" => Pixels::Yuyv { stride: (set.stride as usize).max(set.width as usize * 2) },
        other => return Err(unspoken(wish, &[(*other, (set.width, set.height))])),
    };
    // A camera with one rate need not know how to set it.
    let _ = device.set_params(&Parameters::with_fps(wish.fps.max(1)));
    let fps = rate(device).unwrap_or(wish.fps.into());
    Ok(Agreed { width: set.width, height: set.height, pixels, fps })
}

fn rate(device: &Device) -> Option<f64> {
    let interval = device.params().ok()?.interval;
    let known = interval.numerator > 0 && interval.denominator > 0;
    known.then(|| f64::from(interval.denominator) / f64::from(interval.numerator))
}

/// The sizes worth asking for: those that are listed, and of a range the nearest.
fn sizes_near(listed: &[FrameSizeEnum], wish: &Wish) -> Vec<(u32, u32)> {
    if listed.is_empty() {
        return vec![(wish.width, wish.height)];
    }
    listed
        .iter()
        .map(|size| match size {
            FrameSizeEnum::Discrete(size) => (size.width, size.height),
            FrameSizeEnum::Stepwise(Stepwise {
                min_width,
                max_width,
                step_width,
                min_height,
                max_height,
                step_height,
            }) => (
                within(wish.width, *min_width, *max_width, *step_width),
                within(wish.height, *min_height, *max_height, *step_height),
            ),
        })
        .collect()
}

/// The nearest to a side that is so many steps from the least. A step of 0 is one of 1: the range is continuous.
fn within(side: u32, least: u32, most: u32, step: u32) -> u32 {
    let (step, most) = (step.max(1), most.max(least));
    let over = side.clamp(least, most) - least;
    let down = over / step * step;
    let up = down + step;
    if over - down > up - over && least + up <= most { least + up } else { least + down }
}

type Offer = ([u8; 4], (u32, u32));

fn nearest(offered: &[Offer], wish: &Wish) -> Option<Offer> {
    offered
        .iter()
        .filter_map(|&(pixels, size)| Some((SPOKEN.iter().position(|s| *s == pixels)?, (pixels, size))))
        .min_by_key(|(rank, (_, (width, height)))| {
            (width.abs_diff(wish.width).saturating_add(height.abs_diff(wish.height)), *rank)
        })
        .map(|(_, offer)| offer)
}

fn unspoken(wish: &Wish, offered: &[Offer]) -> DeviceError {
    let mut names: Vec<_> = offered.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
    names.dedup();
    let message =
        format!("{} offers no JPEG or YUYV picture, only: {}", wish.device.display(), names.join(" "));
    DeviceError::new(DeviceErrorKind::Other, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wish(width: u32, height: u32) -> Wish {
        Wish { device: "/dev/video0".into(), width, height, fps: 15, controls: super::super::Controls::new() }
    }

    #[test]
    fn of_what_a_camera_offers_the_nearest_size_is_taken_and_jpeg_before_yuyv() {
        let offered = [
            (*b"MJPG", (1920, 1080)),
            (*b"YUYV", (640, 360)),
            (*b"MJPG", (640, 360)),
            (*b"GREY", (640, 480)),
        ];

        assert_eq!(nearest(&offered, &wish(640, 480)), Some((*b"MJPG", (640, 360))));
        assert_eq!(nearest(&offered[..2], &wish(640, 480)), Some((*b"YUYV", (640, 360))));
        assert_eq!(nearest(&offered[3..], &wish(640, 480)), None);
    }

    #[test]
    fn a_driver_that_lists_no_sizes_is_asked_for_the_one_wished_for() {
        assert_eq!(sizes_near(&[], &wish(800, 600)), [(800, 600)]);
    }

    proptest! {
        #[test]
        fn of_a_range_the_nearest_step_is_taken(
            least in 1_u32..500, steps in 0_u32..300, step in 0_u32..40, rest in 0_u32..40, side in 0_u32..9000,
        ) {
            let step = step.max(1);
            let most = least + steps * step + rest % step;

            let taken = within(side, least, most, step);

            let best = (0..=steps).map(|n| (least + n * step).abs_diff(side)).min().unwrap();
            prop_assert!((least..=most).contains(&taken) && (taken - least).is_multiple_of(step));
            prop_assert_eq!(taken.abs_diff(side), best);
        }
    }
}
