//! Cameras: where JPEG pictures come from.
//!
//! Deliberately absent: decoding, scaling, colour. A camera that speaks JPEG is passed through.

mod font;
mod frame_interval;
mod mcu_rows;
mod mjpeg;
pub mod replay;
pub mod rpicam;
pub mod testcard;
#[cfg(feature = "v4l")]
pub mod v4l;
#[cfg(feature = "v4l")]
mod yuyv;
