//! Cameras: sources of JPEG frames.
//!
//! Deliberately absent: decoding, scaling, colour. The JPEG of a camera is passed through unchanged.

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
