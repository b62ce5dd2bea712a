//! Negotiates the size, frame rate and pixel format of a camera.

use std::path::Path;

use iotpi_core::{DeviceError, DeviceErrorKind};
use nokhwa::{
    Camera, NokhwaError,
    utils::{CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType, Resolution},
};

use super::{V4lConfig, nokhwa_error};

/// The supported pixel formats, best first.
const SUPPORTED_FORMATS: [FrameFormat; 2] = [FrameFormat::MJPEG, FrameFormat::YUYV];

/// Opens a camera and sets its nearest format: nearest in size, then JPEG before YUYV, then nearest in rate.
pub(super) fn open(config: &V4lConfig) -> Result<Camera, DeviceError> {
    let failed = |e| nokhwa_error(&config.device, e);
    let index = CameraIndex::Index(index(&config.device)?);
    let any = RequestedFormat::with_formats(RequestedFormatType::None, &SUPPORTED_FORMATS);
    let mut camera = Camera::new(index, any).map_err(failed)?;
    let offered = camera.compatible_camera_formats().map_err(failed)?;
    if let Some(best) = nearest(&offered, config) {
        settle(&mut camera, best, config).map_err(failed)?;
    }
    Ok(camera)
}

/// Sets the best of the listed formats, or the driver's match for the settings if that is nearer: of a range
/// of sizes nokhwa lists only the limits.
fn settle(camera: &mut Camera, best: CameraFormat, config: &V4lConfig) -> Result<(), NokhwaError> {
    let listed = || RequestedFormat::with_formats(RequestedFormatType::Exact(best), &SUPPORTED_FORMATS);
    camera.set_camera_requset(listed())?;
    let asked = asked(config, best.format());
    if best == asked {
        return Ok(());
    }
    // Returns an error when the driver chose another size, which may still be nearer.
    let _ = camera.set_resolution(asked.resolution());
    let _ = camera.set_frame_rate(asked.frame_rate());
    match camera.refresh_camera_format() {
        Ok(got) if got.format() == best.format() && distance(got, config) <= distance(best, config) => {}
        _ => drop(camera.set_camera_requset(listed())?),
    }
    Ok(())
}

fn asked(config: &V4lConfig, pixels: FrameFormat) -> CameraFormat {
    CameraFormat::new(Resolution::new(config.width, config.height), pixels, config.fps.max(1))
}

fn nearest(offered: &[CameraFormat], config: &V4lConfig) -> Option<CameraFormat> {
    let spoken = offered.iter().filter(|format| SUPPORTED_FORMATS.contains(&format.format()));
    spoken.copied().min_by_key(|format| {
        let (size, rate) = distance(*format, config);
        (size, format.format() != FrameFormat::MJPEG, rate)
    })
}

/// The distance in size, and in rate.
fn distance(format: CameraFormat, config: &V4lConfig) -> (u32, u32) {
    let size = format.width().abs_diff(config.width).saturating_add(format.height().abs_diff(config.height));
    (size, format.frame_rate().abs_diff(config.fps))
}

/// nokhwa identifies cameras by the number of `/dev/video0`. A link in `/dev/v4l/by-id` may point to a
/// different number each time.
fn index(device: &Path) -> Result<u32, DeviceError> {
    let file = device.canonicalize().map_err(|e| super::camera_error(device, e))?;
    let number = file.to_str().and_then(|file| file.strip_prefix("/dev/video")?.parse().ok());
    number.ok_or_else(|| {
        let message = format!("{} is no camera: it should be /dev/video0 or lead there", device.display());
        DeviceError::new(DeviceErrorKind::Other, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(width: u32, height: u32) -> V4lConfig {
        V4lConfig {
            device: "/dev/video0".into(),
            width,
            height,
            fps: 15,
            controls: super::super::Controls::new(),
        }
    }

    #[test]
    fn the_nearest_size_is_chosen_then_jpeg_then_the_nearest_rate() {
        let format = |w, h, pixels, fps| CameraFormat::new(Resolution::new(w, h), pixels, fps);
        let offered = [
            format(1920, 1080, FrameFormat::MJPEG, 15),
            format(640, 360, FrameFormat::YUYV, 15),
            format(640, 360, FrameFormat::MJPEG, 30),
            format(640, 360, FrameFormat::MJPEG, 10),
            format(640, 480, FrameFormat::GRAY, 15),
        ];

        assert_eq!(nearest(&offered, &config(640, 480)), Some(offered[3]));
        assert_eq!(nearest(&offered[..2], &config(640, 480)), Some(offered[1]));
        assert_eq!(nearest(&offered[4..], &config(640, 480)), None);
    }

    #[test]
    fn a_link_is_followed_and_another_file_is_distinguished_from_a_missing_one() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("usb-camera");
        std::os::unix::fs::symlink("/dev/null", &link).unwrap();

        assert_eq!(index(&link).unwrap_err().kind(), DeviceErrorKind::Other);
        std::fs::remove_file(&link).unwrap();
        assert_eq!(index(&link).unwrap_err().kind(), DeviceErrorKind::NotFound);
    }
}
