//! Any bytes as a frame: no panic, and what is taken keeps what a frame promises.
#![no_main]

use bytes::Bytes;
use iotpi_core::{Frame, MAX_FRAME_SIDE, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(frame) = Frame::from_jpeg(Bytes::copy_from_slice(data), Timestamp::MIN) else { return };

    assert!(data.starts_with(&[0xFF, 0xD8]));
    assert!((1..=MAX_FRAME_SIDE).contains(&frame.width()) && (1..=MAX_FRAME_SIDE).contains(&frame.height()));
    assert_eq!(&frame.jpeg()[..], data);
});
