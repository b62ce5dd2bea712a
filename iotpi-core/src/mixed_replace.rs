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

/// Why a stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedStream {
    /// Its content type is no `multipart/x-mixed-replace` with a boundary of 1 to 70 characters.
    #[error("the content type has to be multipart/x-mixed-replace with a boundary of 1 to 70 characters")]
    NoBoundary,
    /// A part's head is longer than [`MAX_PART_HEAD_BYTES`], or there is no part in as many bytes.
    #[error("a part's head has up to 4 KiB, and so has what precedes the first part")]
    HeadTooLong,
    /// A part's head is not text, or its `Content-Length` is not a number.
    #[error("a part's head is not one: lines of `Name: value`, with a number as Content-Length")]
    Head,
    /// A part is larger than [`MAX_FRAME_BYTES`].
    #[error("a part of the stream has up to 8 MiB")]
    TooLarge,
    /// Where the boundary had to be there was something else: a `Content-Length` is wrong.
    #[error("a part is not followed by the boundary: its Content-Length is wrong")]
    NotTheBoundary,
}

/// Takes a stream apart. [`push`](Self::push) what came, then ask for [`next`](Self::next) until there is none.
#[derive(Debug)]
pub struct MixedReplace {
    /// `--boundary`; unknown until the first line that looks like one when nobody said.
    delimiter: Option<Bytes>,
    input: VecDeque<Bytes>,
    /// A line or a head that has begun.
    text: BytesMut,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Before the first boundary: what is not one is skipped.
    Preamble,
    /// Behind a part.
    Between,
    Head,
    /// A part that said its length.
    Counted {
        head: Bytes,
        body: BytesMut,
        length: usize,
    },
    /// A part that goes on until the boundary; so much of it was searched.
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
        // Some say the boundary as it stands in the stream, dashes and all.
        let dashes = if boundary.starts_with("--") { "" } else { "--" };
        Ok(Self::with_delimiter(Some(format!("{dashes}{boundary}").into())))
    }

    /// The reader of a stream whose first line is its boundary.
    #[must_use]
    pub fn new() -> Self {
        Self::with_delimiter(None)
    }

    fn with_delimiter(delimiter: Option<Bytes>) -> Self {
        Self { delimiter, input: VecDeque::new(), text: BytesMut::new(), state: State::Preamble }
    }

    /// Hands over what came next; an empty piece says nothing. It is kept until [`next`](Self::next) read it.
    pub fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.input.push_back(data);
        }
    }

    /// The next whole part; nothing when more has to come, or the stream [has ended](Self::has_ended).
    ///
    /// # Errors
    /// [`MalformedStream`]; the stream is of no use from there on.
    pub fn next(&mut self) -> Result<Option<Part>, MalformedStream> {
        loop {
            match &mut self.state {
                State::Ended => {
                    self.input.clear();
                    return Ok(None);
                }
                State::Preamble | State::Between => {
                    let Some(line) = self.line()? else { return Ok(None) };
                    self.delimit(&line)?;
                }
                State::Head => {
                    let Some(head) = self.head()? else { return Ok(None) };
                    self.state = begin(head)?;
                }
                State::Counted { head, body, length } => {
                    let Some(data) = self.input.front_mut() else { return Ok(None) };
                    let piece = data.split_to(data.len().min(*length - body.len()));
                    body.extend_from_slice(&piece);
                    if data.is_empty() {
                        self.input.pop_front();
                    }
                    if body.len() == *length {
                        let part = Part { head: std::mem::take(head), body: std::mem::take(body).freeze() };
                        self.state = State::Between;
                        return Ok(Some(part));
                    }
                }
                State::Searched { head, body, searched } => {
                    let Some(data) = self.input.pop_front() else { return Ok(None) };
                    body.extend_from_slice(&data);
                    let delimiter = self.delimiter.clone().unwrap_or_default();
                    if let Some(at) = find(body, *searched, &delimiter) {
                        let rest = body.split_off(at + 1).freeze();
                        body.truncate(at - usize::from(at > 0 && body[at - 1] == b'\r'));
                        let part = Part { head: std::mem::take(head), body: std::mem::take(body).freeze() };
                        self.input.push_front(rest);
                        self.state = State::Between;
                        return if part.body.len() > MAX_FRAME_BYTES {
                            Err(MalformedStream::TooLarge)
                        } else {
                            Ok(Some(part))
                        };
                    }
                    // The boundary may have begun.
                    *searched = body.len().saturating_sub(delimiter.len() + 1);
                    if *searched > MAX_FRAME_BYTES {
                        return Err(MalformedStream::TooLarge);
                    }
                }
            }
        }
    }

    /// Whether the closing boundary came. What follows it is not looked at.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
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
            let room = MAX_PART_HEAD_BYTES + 1 - before;
            self.text.extend_from_slice(&data[..data.len().min(room)]);
            if let Some(end) = end(&self.text, before) {
                self.text.truncate(end);
                let _ = data.split_to(end - before);
                if data.is_empty() {
                    self.input.pop_front();
                }
                return Ok(Some(self.text.split().freeze()));
            }
            if self.text.len() > MAX_PART_HEAD_BYTES {
                return Err(MalformedStream::HeadTooLong);
            }
            self.input.pop_front();
        }
        Ok(None)
    }

    fn delimit(&mut self, line: &[u8]) -> Result<(), MalformedStream> {
        let line = line.trim_ascii_end();
        if self.delimiter.is_none() && line.starts_with(b"--") && line.len() <= MAX_BOUNDARY_BYTES + 2 {
            self.delimiter = Some(Bytes::copy_from_slice(line));
        }
        let rest = self.delimiter.as_ref().and_then(|delimiter| line.strip_prefix(&delimiter[..]));
        self.state = match (rest, &self.state) {
            (Some(b""), _) => State::Head,
            (Some(b"--"), _) => State::Ended,
            (_, State::Preamble) => State::Preamble,
            (_, State::Between) if line.is_empty() => State::Between,
            _ => return Err(MalformedStream::NotTheBoundary),
        };
        Ok(())
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

fn begin(head: Bytes) -> Result<State, MalformedStream> {
    std::str::from_utf8(&head).map_err(|_| MalformedStream::Head)?;
    match header(&head, "content-length").map(str::parse) {
        None => Ok(State::Searched { head, body: BytesMut::new(), searched: 0 }),
        Some(Ok(0)) | Some(Err(_)) => Err(MalformedStream::Head),
        Some(Ok(length)) if length > MAX_FRAME_BYTES => Err(MalformedStream::TooLarge),
        Some(Ok(length)) => Ok(State::Counted { head, body: BytesMut::with_capacity(length), length }),
    }
}

/// Where the line feed before the delimiter is.
fn find(body: &[u8], from: usize, delimiter: &[u8]) -> Option<usize> {
    let found = memchr::memmem::find_iter(&body[from..], delimiter).map(|at| from + at);
    found.filter(|&at| at > 0).map(|at| at - 1).find(|&at| body[at] == b'\n')
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
            while let Some(part) = reader.next()? {
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
        assert_eq!(reader.next().unwrap().unwrap().body, "x");
        assert!(reader.next().unwrap().is_none() && reader.has_ended());

        reader.push(Bytes::from_static(b"--frame\r\nContent-Length: 1\r\n\r\nx"));

        assert_eq!(reader.next(), Ok(None));
        assert!(reader.input.is_empty());
    }

    #[test]
    fn boundaries_are_read_as_cameras_say_them() {
        let stream = b"--frame\r\nContent-Length: 1\r\n\r\nx\r\n";
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

    #[test]
    fn what_is_no_stream_is_refused() {
        let refused = |stream: &[u8]| bodies(of(TYPE), stream, 1000).unwrap_err();
        let long = [&b"--frame\r\nX: "[..], &[b'x'; MAX_PART_HEAD_BYTES]].concat();

        assert_eq!(refused(b"--frame\r\nContent-Length: many\r\n\r\n"), MalformedStream::Head);
        assert_eq!(refused(b"--frame\r\nContent-Length: 0\r\n\r\n"), MalformedStream::Head);
        assert_eq!(refused(b"--frame\r\nContent-Length: -1\r\n\r\n"), MalformedStream::Head);
        assert_eq!(refused(b"--frame\r\nX: \xFF\r\n\r\n"), MalformedStream::Head);
        assert_eq!(refused(b"--frame\r\nContent-Length: 99999999999\r\n\r\n"), MalformedStream::TooLarge);
        assert_eq!(
            refused(b"--frame\r\nContent-Length: 1\r\n\r\nxyz\r\n--frame\r\n"),
            MalformedStream::NotTheBoundary
        );
        assert_eq!(refused(&long), MalformedStream::HeadTooLong);
        assert_eq!(refused(&[b'x'; MAX_PART_HEAD_BYTES + 1]), MalformedStream::HeadTooLong);
    }

    #[test]
    fn a_part_without_length_ends_at_8_mib() {
        let mut reader = of(TYPE);
        reader.push(Bytes::from_static(b"--frame\r\n\r\n"));
        let piece = Bytes::from(vec![0; 64 * 1024]);

        let refused = (0..).find_map(|i| {
            reader.push(piece.clone());
            reader.next().err().map(|error| (error, i))
        });

        assert_eq!(refused, Some((MalformedStream::TooLarge, MAX_FRAME_BYTES / piece.len())));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic_and_alike_in_any_pieces(
            pieces in proptest::collection::vec(
                proptest::sample::select(vec!["--frame", "--", "\r\n", "\n", "Content-Length: 3", "X", "\r"]), 0..40
            ),
            piece in 1_usize..20,
        ) {
            let stream = pieces.concat().into_bytes();

            prop_assert_eq!(bodies(of(TYPE), &stream, piece), bodies(of(TYPE), &stream, stream.len().max(1)));
        }
    }
}
