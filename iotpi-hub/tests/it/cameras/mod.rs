//! Camera frames: uploads, formats, pushed streams.

mod connections;
mod frame_publisher;
mod frames;
mod jpeg_formats;
mod push;
