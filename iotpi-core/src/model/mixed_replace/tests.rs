use proptest::prelude::*;

use super::*;

const TYPE: &str = "multipart/x-mixed-replace; boundary=frame";

/// The parts of a stream that arrives in pieces of this size.
fn parts(mut reader: MixedReplace, stream: &[u8], piece: usize) -> Result<Vec<Part>, MalformedStream> {
    let mut parts = Vec::new();
    for bytes in stream.chunks(piece) {
        reader.push(Bytes::copy_from_slice(bytes));
        while let Some(part) = reader.part()? {
            parts.push(part);
        }
    }
    Ok(parts)
}

fn bodies(reader: MixedReplace, stream: &[u8], piece: usize) -> Result<Vec<Bytes>, MalformedStream> {
    Ok(parts(reader, stream, piece)?.into_iter().map(|part| part.body).collect())
}

fn of(content_type: &str) -> MixedReplace {
    MixedReplace::of_content_type(content_type).unwrap()
}

#[test]
fn parts_are_complete_however_the_bytes_are_split() {
    let stream = b"a preamble\r\n--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\n\r\nfirst\r\n\
        --frame\r\ncontent-length: 11\nX-Sequence: 7\n\nsec\r\n--fram\n--frame\r\n\r\nwithout\r\n--fram\r\n--frame\r\n\
        content-type: image/jpeg\r\n\r\nlast\n--frame--\r\nepilogue";

    for piece in 1..stream.len() {
        let parts = parts(of(TYPE), stream, piece).unwrap();

        let bodies: Vec<_> = parts.iter().map(|part| &part.body[..]).collect();
        assert_eq!(
            bodies,
            [&b"first"[..], b"sec\r\n--fram", b"without\r\n--fram", b"last"],
            "in pieces of {piece}"
        );
        assert_eq!(parts[1].header("x-sequence"), Some("7"));
        assert_eq!(parts[0].header("x-sequence"), None);
    }
}

#[test]
fn bytes_after_the_last_boundary_are_ignored() {
    let mut reader = of(TYPE);
    reader.push(Bytes::from_static(b"--frame\r\nContent-Length: 1\r\n\r\nx\r\n--frame--\r\n"));
    assert_eq!(reader.part().unwrap().unwrap().body, "x");
    assert!(reader.part().unwrap().is_none() && reader.has_ended());

    reader.push(Bytes::from_static(b"--frame\r\nContent-Length: 1\r\n\r\nx"));

    assert_eq!(reader.part(), Ok(None));
    assert!(reader.input.is_empty());
}

#[test]
fn the_boundaries_of_cameras_are_recognized() {
    let stream = b"--frame\r\nContent-Length: 1\r\n\r\nx\r\n--frame--\r\n";
    for said in [
        "multipart/x-mixed-replace;boundary=frame",
        "multipart/x-mixed-replace; boundary=\"frame\"",
        "Multipart/X-Mixed-Replace; charset=x; Boundary = --frame",
    ] {
        assert_eq!(bodies(of(said), stream, 7).unwrap(), ["x"], "{said}");
    }
    assert_eq!(bodies(MixedReplace::new(), stream, 7).unwrap(), ["x"]);
    for said in [
        "",
        "image/jpeg",
        "multipart/x-mixed-replace",
        "multipart/form-data; boundary=frame",
        "multipart/x-mixed-replace; boundary=",
        "multipart/x-mixed-replace; boundary=12345678901234567890123456789012345678901234567890123456789012345678901",
    ] {
        assert_eq!(MixedReplace::of_content_type(said).unwrap_err(), MalformedStream::NoBoundary, "{said}");
    }
}

/// The smallest body that ends like a JPEG.
const JPEG: &[u8] = b"\xFF\xD8\xFF\xD9";

fn counted(length: impl std::fmt::Display, body: &[u8]) -> Vec<u8> {
    [format!("--frame\r\nContent-Length: {length}\r\n\r\n").as_bytes(), body, b"\r\n"].concat()
}

#[test]
fn a_wrong_length_affects_no_other_part() {
    let long = [JPEG, &[7; 50], JPEG].concat();
    for length in ["0", "-1", "many", "3", "4", "17", "70", "100", "8388609", "99999999999999999999999"] {
        let stream =
            [counted(4, JPEG), counted(length, &long), counted(4, JPEG), b"--frame--".to_vec()].concat();

        for piece in 1..stream.len() {
            let bodies = bodies(of(TYPE), &stream, piece).unwrap();

            assert_eq!(bodies.len(), 3, "{length}: {bodies:?}");
            assert_eq!((&bodies[0][..], &bodies[2][..]), (JPEG, JPEG), "{length}");
            // A length that ends at an end-of-image marker inside the JPEG is accepted.
            assert_eq!(&bodies[1][..], if length == "4" { JPEG } else { &long }, "{length}");
        }
    }
}

#[test]
fn a_part_with_a_correct_length_is_returned_before_the_next_boundary_arrives() {
    let mut reader = of(TYPE);
    let mut begun = Bytes::from(counted(4, JPEG));
    let rest = begun.split_off(20);

    reader.push(begun);
    assert_eq!(reader.part(), Ok(None));
    reader.push(rest);

    assert_eq!(&reader.part().unwrap().unwrap().body[..], JPEG);
}

#[test]
fn an_invalid_part_affects_no_other_part() {
    let long_head = [&b"--frame\r\nX: "[..], &[b'x'; 3 * MAX_PART_HEAD_BYTES]].concat();
    for bad in [
        &b"--frame\r\nX: \xFF\r\n\r\nkeep-alive\r\n"[..],
        b"--frame\r\n\r\n\r\n",
        b"--frame\r\n\r\n",
        b"--frame\r\nContent-Type: text/plain\r\nContent-Length: 10\r\n\r\nkeep-alive\r\n",
        b"--frames\r\n\r\nanother boundary\r\n",
        &[&long_head[..], b"\r\n"].concat(),
    ] {
        let stream = [bad, bad, &counted(4, JPEG), b"--frame--\r\n"].concat();
        for piece in [1, 2, 3, 7, 64, 1000, stream.len()] {
            let mut reader = of(TYPE);
            let (mut jpegs, mut errors) = (0, 0);
            for bytes in stream.chunks(piece) {
                reader.push(Bytes::copy_from_slice(bytes));
                loop {
                    match reader.part() {
                        Ok(Some(part)) => jpegs += usize::from(&part.body[..] == JPEG),
                        Ok(None) => break,
                        Err(error) => {
                            assert_eq!((error, error.is_final()), (MalformedStream::HeadTooLong, false));
                            errors += 1;
                        }
                    }
                }
            }
            let expected = if bad.len() > 1000 { 2 } else { 0 };
            assert_eq!((jpegs, errors, reader.has_ended()), (1, expected, true), "{piece} {bad:?}");
        }
    }
}

#[test]
fn a_stream_without_a_last_boundary_ends_its_last_part() {
    for last in
        [&b"--frame\r\n\r\n\xFF\xD8\xFF\xD9"[..], b"--frame\r\nContent-Length: 900\r\n\r\n\xFF\xD8\xFF\xD9"]
    {
        let mut reader = of(TYPE);
        reader.push([&counted(4, JPEG), last].concat().into());
        assert!(reader.part().unwrap().is_some());
        assert_eq!(reader.part(), Ok(None));

        reader.finish();

        assert_eq!(&reader.part().unwrap().unwrap().body[..], JPEG);
        assert_eq!(reader.part(), Ok(None));
    }
}

#[test]
fn a_stream_without_its_boundary_is_refused() {
    for stream in [&[b'x'; MAX_PART_HEAD_BYTES + 1][..], &[0; 100_000]] {
        let mut reader = of(TYPE);
        reader.push(Bytes::copy_from_slice(stream));

        let error = reader.part().unwrap_err();

        assert_eq!((error, error.is_final()), (MalformedStream::NoPart, true));
        assert_eq!(reader.part(), Ok(None));
    }
}

#[test]
fn a_part_without_length_is_skipped_after_8_mib() {
    let mut reader = of(TYPE);
    reader.push(Bytes::from_static(b"--frame\r\n\r\n"));
    let piece = Bytes::from(vec![0; 64 * 1024]);

    let refused = (0..).find_map(|i| {
        reader.push(piece.clone());
        reader.part().err().map(|error| (error, i))
    });
    reader.push([&b"\r\n"[..], &counted(4, JPEG)].concat().into());

    assert_eq!(refused, Some((MalformedStream::TooLarge, MAX_FRAME_BYTES / piece.len())));
    assert_eq!(&reader.part().unwrap().unwrap().body[..], JPEG);
}

/// All results for a stream that arrives in pieces of this size and then ends.
fn all(stream: &[u8], piece: usize) -> Vec<Result<Bytes, MalformedStream>> {
    let mut reader = of(TYPE);
    let mut parts = Vec::new();
    let mut pieces = stream.chunks(piece);
    loop {
        while let Some(part) = reader.part().transpose() {
            parts.push(part.map(|part| part.body));
        }
        match pieces.next() {
            Some(piece) => reader.push(Bytes::copy_from_slice(piece)),
            None if reader.is_finished => return parts,
            None => reader.finish(),
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_parsed_without_a_panic_and_independent_of_their_split(
        pieces in proptest::collection::vec(
            proptest::sample::select(vec![
                "--frame", "--", "\r\n", "\n", "Content-Length: 3", "Content-Length: 40", "X", "\r", "0123456789012345678901234567890123456789",
                LONG,
            ]),
            0..40
        ),
        piece in 1_usize..20,
    ) {
        let stream = pieces.concat().into_bytes();

        prop_assert_eq!(all(&stream, piece), all(&stream, stream.len().max(1)));
    }
}

/// More than the maximum length of a head.
const LONG: &str = match std::str::from_utf8(&[b'x'; MAX_PART_HEAD_BYTES + 1]) {
    Ok(text) => text,
    Err(_) => "",
};
