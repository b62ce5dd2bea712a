//! Any bytes as a stream: no panic, the same parts in whatever pieces they come, and none larger than a frame may be. The
//! first byte is the size of the pieces.
#![no_main]

use bytes::Bytes;
use iotpi_core::model::{frame::MAX_FRAME_BYTES, mixed_replace::{MalformedStream, MixedReplace}};
use libfuzzer_sys::fuzz_target;

/// The parts and errors of a stream that arrives in pieces of that size.
fn parts(stream: &[u8], piece: usize) -> Vec<Result<Bytes, MalformedStream>> {
    let Ok(mut reader) = MixedReplace::of_content_type("multipart/x-mixed-replace; boundary=frame") else { unreachable!() };
    let mut parts = Vec::new();
    let mut pieces = stream.chunks(piece.max(1));
    loop {
        while let Some(part) = reader.part().transpose() {
            parts.push(part.map(|part| part.body));
        }
        match pieces.next() {
            Some(piece) => reader.push(Bytes::copy_from_slice(piece)),
            None => break,
        }
    }
    reader.finish();
    while let Some(part) = reader.part().transpose() {
        parts.push(part.map(|part| part.body));
    }
    parts
}

fuzz_target!(|data: &[u8]| {
    let Some((&piece, stream)) = data.split_first() else { return };

    let whole = parts(stream, stream.len());

    assert_eq!(parts(stream, usize::from(piece)), whole);
    assert!(whole.iter().flatten().all(|body| body.len() <= MAX_FRAME_BYTES));
    let mut learned = MixedReplace::new();
    learned.push(Bytes::copy_from_slice(stream));
    while let Ok(Some(_)) = learned.part() {}
});
