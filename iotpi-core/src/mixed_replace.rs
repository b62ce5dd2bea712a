//! `multipart/x-mixed-replace` taken apart as it comes: one picture after the other, each in place of the one before.
//!
//! The syntax is that of RFC 2046 section 5.1, read as cameras and ffmpeg write it: lines may end in a bare line feed, and a
//! boundary may be said with its two dashes. Deliberately absent: nested multiparts, transfer encodings, I/O.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::MAX_FRAME_BYTES;

/// The most bytes of a part's head, and of what precedes the first part.
pub const MAX_PART_HEAD_BYTES: usize = 4096;
/// The most bytes of a boundary (RFC 2046).
const MAX_BOUNDARY_BYTES: usize = 70;

/// One part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    head: Bytes,
    /// What it holds.
    pub body: Bytes,
}

/// Why a stream, or one part of it, cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedStream {
    /// Its content type is no `multipart/x-mixed-replace` with a boundary of 1 to 70 characters.
    #[error("the content type has to be multipart/x-mixed-replace with a boundary of 1 to 70 characters")]
    NoBoundary,
    /// There is no boundary in the first [`MAX_PART_HEAD_BYTES`].
    #[error("the boundary of the content type is not in the first 4 KiB of the stream")]
    NoPart,
    /// A part's head is longer than [`MAX_PART_HEAD_BYTES`]. The part is skipped.
    #[error("the head of a part has up to 4 KiB and ends with an empty line")]
    HeadTooLong,
    /// A part is larger than [`MAX_FRAME_BYTES`]. The part is skipped.
    #[error("a part of the stream has up to 8 MiB")]
    TooLarge,
}

impl MalformedStream {
    /// Whether nothing more can be read. Otherwise only one part is lost, and the stream continues behind the next boundary.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::NoBoundary | Self::NoPart)
    }
}

/// Takes a stream apart. [`push`](Self::push) the bytes as they arrive, then call [`part`](Self::part) until there is none.
///
/// A `Content-Length` is believed when the bytes it counts end with a JPEG's end-of-image marker. Otherwise, and where it is
/// missing or no length, the part ends at the next boundary. So a wrong length costs no other part than its own.
#[derive(Debug)]
pub struct MixedReplace {
    /// `--boundary`; when the content type is not known, the first line that looks like one.
    delimiter: Option<Bytes>,
    input: VecDeque<Bytes>,
    /// A line or a head that has begun.
    text: BytesMut,
    state: State,
    /// No more bytes will be pushed.
    is_finished: bool,
}

#[derive(Debug)]
enum State {
    /// Before the first boundary: lines that are not one are skipped.
    Preamble,
    /// Behind a part: bytes up to the next boundary are skipped. The last few of them are kept, because it may have begun; it is
    /// searched from `from` on.
    Between {
        tail: BytesMut,
        from: usize,
    },
    /// At a boundary: the rest of its line.
    Boundary,
    Head,
    /// A part with a length.
    Counted {
        head: Bytes,
        body: BytesMut,
        length: usize,
    },
    /// A part that ends at the next boundary; this many of its bytes were searched.
    Searched {
        head: Bytes,
        body: BytesMut,
        searched: usize,
    },
    Ended,
}

impl MixedReplace {
    /// The reader of a stream with that content type.
    ///
    /// # Errors
    /// [`MalformedStream::NoBoundary`].
    pub fn of_content_type(content_type: &str) -> Result<Self, MalformedStream> {
        let boundary = boundary(content_type).ok_or(MalformedStream::NoBoundary)?;
        // Some cameras write the boundary as it stands in the stream, dashes and all.
        let dashes = if boundary.starts_with("--") { "" } else { "--" };
        Ok(Self::with_delimiter(Some(format!("{dashes}{boundary}").into())))
    }

    /// The reader of a stream whose first line is its boundary.
    #[must_use]
    pub fn new() -> Self {
        Self::with_delimiter(None)
    }

    fn with_delimiter(delimiter: Option<Bytes>) -> Self {
        let input = VecDeque::new();
        Self { delimiter, input, text: BytesMut::new(), state: State::Preamble, is_finished: false }
    }

    /// Adds the next bytes of the stream; an empty piece changes nothing. They are kept until [`part`](Self::part) has read them.
    pub fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.input.push_back(data);
        }
    }

    /// Ends the stream: a part that has begun ends here, too, and is the last one [`part`](Self::part) returns.
    pub fn finish(&mut self) {
        self.is_finished = true;
    }

    /// The next whole part; nothing when more has to come, or the stream [has ended](Self::has_ended).
    ///
    /// # Errors
    /// [`MalformedStream`]; after an error that is not [final](MalformedStream::is_final) the next call continues behind the
    /// next boundary.
    pub fn part(&mut self) -> Result<Option<Part>, MalformedStream> {
        loop {
            match &mut self.state {
                State::Ended => {
                    self.input.clear();
                    return Ok(None);
                }
                State::Preamble => match self.line() {
                    Ok(Some(line)) => self.learn_and_delimit(&line),
                    Ok(None) => return Ok(None),
                    Err(_) => {
                        self.state = State::Ended;
                        return Err(MalformedStream::NoPart);
                    }
                },
                State::Boundary => match self.line() {
                    Ok(Some(line)) => self.delimit(&line),
                    Ok(None) => return Ok(None),
                    // Behind this boundary, which is in what was read of the line.
                    Err(_) => self.skip_from(1),
                },
                State::Between { tail, from } => {
                    let Some(data) = self.input.pop_front() else { return Ok(None) };
                    tail.extend_from_slice(&data);
                    let delimiter = self.delimiter.as_deref().unwrap_or_default();
                    if let Some(at) = find(tail, *from, delimiter) {
                        self.input.push_front(std::mem::take(tail).freeze().slice(at..));
                        self.state = State::Boundary;
                    } else if tail.len() > delimiter.len() {
                        // A boundary that has begun, and the byte before it.
                        *tail = tail.split_off(tail.len() - delimiter.len());
                        *from = 1;
                    }
                }
                State::Head => match self.head() {
                    Ok(Some(head)) => self.state = begin(head),
                    Ok(None) => return Ok(None),
                    Err(error) => {
                        self.skip();
                        return Err(error);
                    }
                },
                State::Counted { head, body, length } => {
                    if let Some(data) = self.input.front_mut() {
                        let piece = data.split_to(data.len().min(*length - body.len()));
                        body.extend_from_slice(&piece);
                        if data.is_empty() {
                            self.input.pop_front();
                        }
                    } else if !self.is_finished {
                        return Ok(None);
                    }
                    if body.len() == *length && ends_as_jpeg(body) {
                        let part = Part { head: std::mem::take(head), body: std::mem::take(body).freeze() };
                        self.skip();
                        return Ok(Some(part));
                    }
                    if body.len() == *length || self.is_finished && self.input.is_empty() {
                        let (head, body) = (std::mem::take(head), std::mem::take(body));
                        self.state = State::Searched { head, body, searched: 0 };
                    }
                }
                State::Searched { head, body, searched } => {
                    let delimiter = self.delimiter.as_deref().unwrap_or_default();
                    let found = find(body, *searched, delimiter);
                    if let Some(at) = found {
                        self.input.push_front(body.split_off(at).freeze());
                        let end = body.strip_suffix(b"\n").map_or(body.len(), <[u8]>::len);
                        body.truncate(body[..end].strip_suffix(b"\r").map_or(end, <[u8]>::len));
                    } else {
                        // The boundary may have begun.
                        *searched = body.len().saturating_sub(delimiter.len());
                        if *searched <= MAX_FRAME_BYTES {
                            match self.input.pop_front() {
                                Some(data) => {
                                    body.extend_from_slice(&data);
                                    continue;
                                }
                                None if !self.is_finished => return Ok(None),
                                None => {}
                            }
                        }
                    }
                    if found.is_none() && *searched > MAX_FRAME_BYTES {
                        let tail = body.split_off(*searched);
                        self.state = State::Between { tail, from: 1 };
                        return Err(MalformedStream::TooLarge);
                    }
                    let is_last = found.is_none();
                    let part = Part { head: std::mem::take(head), body: std::mem::take(body).freeze() };
                    if is_last {
                        self.state = State::Ended;
                    } else {
                        self.skip();
                    }
                    return if part.body.len() > MAX_FRAME_BYTES {
                        Err(MalformedStream::TooLarge)
                    } else if is_last && part.body.is_empty() {
                        Ok(None)
                    } else {
                        Ok(Some(part))
                    };
                }
            }
        }
    }

    /// Whether the closing boundary came. Bytes behind it are ignored.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Continues behind the next boundary.
    fn skip(&mut self) {
        self.skip_from(0);
    }

    fn skip_from(&mut self, from: usize) {
        // The next boundary may be in the text that was no head.
        let text = self.text.split().freeze();
        if !text.is_empty() {
            self.input.push_front(text);
        }
        self.state = State::Between { tail: BytesMut::new(), from };
    }

    /// A whole line without its end.
    fn line(&mut self) -> Result<Option<Bytes>, MalformedStream> {
        self.text_until(|text, from| memchr::memchr(b'\n', &text[from..]).map(|at| from + at + 1))
    }

    /// A whole head: lines up to the empty one.
    fn head(&mut self) -> Result<Option<Bytes>, MalformedStream> {
        self.text_until(|text, from| {
            // An end may have begun in what came before; a head without lines is one, too.
            let from = from.saturating_sub(2);
            memchr::memchr_iter(b'\n', &text[from..]).map(|at| from + at).find_map(|at| {
                let line = &text[..at];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                (line.is_empty() || line.ends_with(b"\n")).then_some(at + 1)
            })
        })
    }

    /// Collects text until `end` finds where it ends, looking from where it has not looked yet.
    fn text_until(
        &mut self,
        end: impl Fn(&[u8], usize) -> Option<usize>,
    ) -> Result<Option<Bytes>, MalformedStream> {
        while let Some(data) = self.input.front_mut() {
            let before = self.text.len();
            let added = data.len().min(MAX_PART_HEAD_BYTES + 1 - before);
            self.text.extend_from_slice(&data[..added]);
            if let Some(end) = end(&self.text, before) {
                self.text.truncate(end);
                let _ = data.split_to(end - before);
                if data.is_empty() {
                    self.input.pop_front();
                }
                return Ok(Some(self.text.split().freeze()));
            }
            let _ = data.split_to(added);
            if data.is_empty() {
                self.input.pop_front();
            }
            if self.text.len() > MAX_PART_HEAD_BYTES {
                return Err(MalformedStream::HeadTooLong);
            }
        }
        Ok(None)
    }

    /// Reads a line before the first part.
    fn learn_and_delimit(&mut self, line: &[u8]) {
        let line = line.trim_ascii_end();
        if self.delimiter.is_none() && line.starts_with(b"--") && line.len() <= MAX_BOUNDARY_BYTES + 2 {
            self.delimiter = Some(Bytes::copy_from_slice(line));
        }
        if self.delimiter.as_ref().is_some_and(|delimiter| line.starts_with(delimiter)) {
            self.delimit(line);
        }
    }

    /// Reads a line that begins with the delimiter.
    fn delimit(&mut self, line: &[u8]) {
        let delimiter = self.delimiter.as_deref().unwrap_or_default();
        match line.trim_ascii_end().strip_prefix(delimiter) {
            Some(b"") => self.state = State::Head,
            Some(b"--") => self.state = State::Ended,
            // A longer word that only begins as the boundary does.
            _ => self.skip(),
        }
    }
}

impl Default for MixedReplace {
    fn default() -> Self {
        Self::new()
    }
}

impl Part {
    /// A field of its head; names are told apart without case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }
}

fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let fields =
        head.split(|&byte| byte == b'\n').filter_map(|line| std::str::from_utf8(line).ok()?.split_once(':'));
    fields
        .map(|(key, value)| (key.trim(), value.trim()))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

fn begin(head: Bytes) -> State {
    match header(&head, "content-length").map(str::parse) {
        Some(Ok(length @ 1..=MAX_FRAME_BYTES)) => {
            State::Counted { head, body: BytesMut::with_capacity(length), length }
        }
        _ => State::Searched { head, body: BytesMut::new(), searched: 0 },
    }
}

/// Whether a JPEG can end like this: with its end-of-image marker and zeros or a line end behind it.
fn ends_as_jpeg(body: &[u8]) -> bool {
    let end = body.iter().rposition(|byte| !matches!(byte, 0 | b'\r' | b'\n')).map_or(0, |last| last + 1);
    body[..end].ends_with(&[0xFF, 0xD9])
}

/// Where the delimiter begins a line, the first one included.
fn find(body: &[u8], from: usize, delimiter: &[u8]) -> Option<usize> {
    let mut found = memchr::memmem::find_iter(&body[from..], delimiter).map(|at| from + at);
    found.find(|&at| at == 0 || body[at - 1] == b'\n')
}

/// The boundary in a content type (RFC 2045 section 5.1).
fn boundary(content_type: &str) -> Option<&str> {
    let mut pieces = content_type.split(';');
    if !pieces.next()?.trim().eq_ignore_ascii_case("multipart/x-mixed-replace") {
        return None;
    }
    let value = pieces.find_map(|piece| {
        let (name, value) = piece.split_once('=')?;
        name.trim().eq_ignore_ascii_case("boundary").then_some(value.trim())
    })?;
    let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
    (1..=MAX_BOUNDARY_BYTES).contains(&value.len()).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TYPE: &str = "multipart/x-mixed-replace; boundary=frame";

    /// What comes out of a stream that comes in pieces of that size.
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
    fn parts_come_out_whole_however_they_were_cut() {
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
    fn the_end_is_an_end_and_what_follows_is_not_kept() {
        let mut reader = of(TYPE);
        reader.push(Bytes::from_static(b"--frame\r\nContent-Length: 1\r\n\r\nx\r\n--frame--\r\n"));
        assert_eq!(reader.part().unwrap().unwrap().body, "x");
        assert!(reader.part().unwrap().is_none() && reader.has_ended());

        reader.push(Bytes::from_static(b"--frame\r\nContent-Length: 1\r\n\r\nx"));

        assert_eq!(reader.part(), Ok(None));
        assert!(reader.input.is_empty());
    }

    #[test]
    fn boundaries_are_read_as_cameras_say_them() {
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
            assert_eq!(
                MixedReplace::of_content_type(said).unwrap_err(),
                MalformedStream::NoBoundary,
                "{said}"
            );
        }
    }

    /// The smallest body that ends as a JPEG does.
    const JPEG: &[u8] = b"\xFF\xD8\xFF\xD9";

    fn counted(length: impl std::fmt::Display, body: &[u8]) -> Vec<u8> {
        [format!("--frame\r\nContent-Length: {length}\r\n\r\n").as_bytes(), body, b"\r\n"].concat()
    }

    #[test]
    fn a_wrong_length_costs_no_other_part() {
        let long = [JPEG, &[7; 50], JPEG].concat();
        for length in ["0", "-1", "many", "3", "4", "17", "70", "100", "8388609", "99999999999999999999999"] {
            let stream =
                [counted(4, JPEG), counted(length, &long), counted(4, JPEG), b"--frame--".to_vec()].concat();

            for piece in 1..stream.len() {
                let bodies = bodies(of(TYPE), &stream, piece).unwrap();

                assert_eq!(bodies.len(), 3, "{length}: {bodies:?}");
                assert_eq!((&bodies[0][..], &bodies[2][..]), (JPEG, JPEG), "{length}");
                // A count that ends at an end-of-image marker inside is believed.
                assert_eq!(&bodies[1][..], if length == "4" { JPEG } else { &long }, "{length}");
            }
        }
    }

    #[test]
    fn a_part_with_a_true_length_is_returned_before_the_next_boundary_arrives() {
        let mut reader = of(TYPE);
        let mut begun = Bytes::from(counted(4, JPEG));
        let rest = begun.split_off(20);

        reader.push(begun);
        assert_eq!(reader.part(), Ok(None));
        reader.push(rest);

        assert_eq!(&reader.part().unwrap().unwrap().body[..], JPEG);
    }

    #[test]
    fn a_broken_head_and_empty_parts_and_text_cost_only_themselves() {
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
        for last in [
            &b"--frame\r\n\r\n\xFF\xD8\xFF\xD9"[..],
            b"--frame\r\nContent-Length: 900\r\n\r\n\xFF\xD8\xFF\xD9",
        ] {
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

    /// Everything that comes out of a stream that arrives in pieces of that size and then ends.
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
        fn any_bytes_are_read_without_a_panic_and_alike_in_any_pieces(
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

    /// Longer than a head may be.
    const LONG: &str = match std::str::from_utf8(&[b'x'; MAX_PART_HEAD_BYTES + 1]) {
        Ok(text) => text,
        Err(_) => "",
    };
}
