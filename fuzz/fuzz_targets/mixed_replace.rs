//! Any bytes as a stream: no panic, the same parts in whatever pieces they come, and none larger than a frame may be. The
//! first byte is the size of the pieces.
#![no_main]

use bytes::Bytes;
use iotpi_core::{MAX_FRAME_BYTES, MalformedStream, MixedReplace};
use libfuzzer_sys::fuzz_target;

fn parts(stream: &[u8], piece: usize) -> (Vec<Bytes>, Option<MalformedStream>) {
    let Ok(mut reader) = MixedReplace::of_content_type("multipart/x-mixed-replace; boundary=frame") else { unreachable!() };
    let mut bodies = Vec::new();
    for bytes in stream.chunks(piece.max(1)) {
        reader.push(Bytes::copy_from_slice(bytes));
        loop {
            match reader.part() {
                Ok(Some(part)) => bodies.push(part.body),
                Ok(None) => break,
                Err(malformed) => return (bodies, Some(malformed)),
            }
        }
    }
    (bodies, None)
}

fuzz_target!(|data: &[u8]| {
    let Some((&piece, stream)) = data.split_first() else { return };

    let whole = parts(stream, stream.len());

    assert_eq!(parts(stream, usize::from(piece)), whole);
    assert!(whole.0.iter().all(|body| body.len() <= MAX_FRAME_BYTES));
    let mut learned = MixedReplace::new();
    learned.push(Bytes::copy_from_slice(stream));
    while let Ok(Some(_)) = learned.part() {}
});
