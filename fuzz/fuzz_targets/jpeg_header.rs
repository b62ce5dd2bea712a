//! Any bytes as a frame: no panic, and a frame is a whole JPEG whose bytes are final.
#![no_main]

use bytes::Bytes;
use iotpi_core::{Frame, Timestamp, model::frame::MAX_FRAME_SIDE};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(frame) = Frame::from_jpeg(Bytes::copy_from_slice(data), Timestamp::MIN) else { return };

    let jpeg = frame.jpeg();
    assert!(jpeg.starts_with(&[0xFF, 0xD8]) && jpeg.ends_with(&[0xFF, 0xD9]));
    assert!((1..=MAX_FRAME_SIDE).contains(&frame.width()) && (1..=MAX_FRAME_SIDE).contains(&frame.height()));
    // Cutting and completing it again changes nothing more.
    let again = Frame::from_jpeg(jpeg.clone(), Timestamp::MIN);
    assert!(again.is_ok_and(|again| again.jpeg() == jpeg));
});
