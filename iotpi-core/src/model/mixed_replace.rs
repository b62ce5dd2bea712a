//! An incremental parser for `multipart/x-mixed-replace`: a sequence of images, each replacing the one
//! before.
//!
//! The syntax is that of RFC 2046 section 5.1, as cameras and ffmpeg write it: lines may end in a bare line
//! feed, and a boundary may include its two dashes. Deliberately absent: nested multiparts, transfer
//! encodings, I/O.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::model::frame::MAX_FRAME_BYTES;

/// The maximum size of a part's header, and of the bytes before the first part.
pub const MAX_PART_HEAD_BYTES: usize = 4096;
/// The maximum size of a boundary in bytes (RFC 2046).
const MAX_BOUNDARY_BYTES: usize = 70;

/// One part of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    head: Bytes,
    /// The content of the part.
    pub body: Bytes,
}

/// The reasons why a stream, or one part of it, cannot be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MalformedStream {
    /// The content type is not `multipart/x-mixed-replace` with a boundary of 1 to 70 characters.
    #[error("the content type has to be multipart/x-mixed-replace with a boundary of 1 to 70 characters")]
    NoBoundary,
    /// There is no boundary in the first [`MAX_PART_HEAD_BYTES`].
    #[error("the boundary of the content type is not in the first 4 KiB of the stream")]
    NoPart,
    /// The header of a part exceeds [`MAX_PART_HEAD_BYTES`]. The part is skipped.
    #[error("the head of a part has up to 4 KiB and ends with an empty line")]
    HeadTooLong,
    /// A part exceeds [`MAX_FRAME_BYTES`]. The part is skipped.
    #[error("a part of the stream has up to 8 MiB")]
    TooLarge,
}

impl MalformedStream {
    /// Whether the stream cannot be parsed any further. Otherwise only one part is lost, and the stream
    /// continues at the next boundary.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::NoBoundary | Self::NoPart)
    }
}

/// The parser of a stream. [`push`](Self::push) the bytes as they arrive, then call [`part`](Self::part)
/// until it returns `None`.
///
/// A `Content-Length` is trusted if the bytes it counts end with a JPEG's end-of-image marker. Otherwise, or
/// without a valid length, the part ends at the next boundary. A wrong length therefore affects only its own
/// part.
///
/// ```
/// use iotpi_core::model::mixed_replace::MixedReplace;
///
/// let mut stream = MixedReplace::of_content_type("multipart/x-mixed-replace; boundary=b")?;
/// stream.push("--b\r\n\r\none\r\n--b\r\n".into());
/// assert_eq!(stream.part()?.unwrap().body, "one");
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug)]
pub struct MixedReplace {
    /// `--boundary`; if the content type is unknown, the first line that looks like one.
    delimiter: Option<Bytes>,
    input: VecDeque<Bytes>,
    /// An incomplete line or header.
    text: BytesMut,
    state: State,
    /// Whether the end of the stream was reached.
    is_finished: bool,
}

#[derive(Debug)]
enum State {
    /// Before the first boundary: other lines are skipped.
    Preamble,
    /// After a part: bytes up to the next boundary are skipped. The last few are kept, because they may be
    /// the beginning of the boundary; the search continues at `from`.
    Between {
        tail: BytesMut,
        from: usize,
    },
    /// At a boundary: the rest of its line is read.
    Boundary,
    Head,
    /// In a part with a length.
    Counted {
        head: Bytes,
        body: BytesMut,
        length: usize,
    },
    /// In a part that ends at the next boundary; `searched` bytes of it were searched.
    Searched {
        head: Bytes,
        body: BytesMut,
        searched: usize,
    },
    Ended,
}

impl MixedReplace {
    /// Creates the parser of a stream with this content type.
    ///
    /// # Errors
    /// [`MalformedStream::NoBoundary`].
    pub fn of_content_type(content_type: &str) -> Result<Self, MalformedStream> {
        let boundary = boundary(content_type).ok_or(MalformedStream::NoBoundary)?;
        // Some cameras include the two dashes in the boundary.
        let dashes = if boundary.starts_with("--") { "" } else { "--" };
        Ok(Self::with_delimiter(Some(format!("{dashes}{boundary}").into())))
    }

    /// Creates the parser of a stream whose first line is its boundary.
    #[must_use]
    pub fn new() -> Self {
        Self::with_delimiter(None)
    }

    fn with_delimiter(delimiter: Option<Bytes>) -> Self {
        let input = VecDeque::new();
        Self { delimiter, input, text: BytesMut::new(), state: State::Preamble, is_finished: false }
    }

    /// Adds the next bytes of the stream; an empty chunk changes nothing. They are kept until
    /// [`part`](Self::part) has parsed them.
    pub fn push(&mut self, data: Bytes) {
        if !data.is_empty() {
            self.input.push_back(data);
        }
    }

    /// Ends the stream. A part in progress ends here, too, and is the last one that [`part`](Self::part)
    /// returns.
    pub fn finish(&mut self) {
        self.is_finished = true;
    }

    /// Returns the next complete part, or `None` if more bytes are needed or the stream [has
    /// ended](Self::has_ended).
    ///
    /// # Errors
    /// [`MalformedStream`]. After an error that is not [final](MalformedStream::is_final) the next call
    /// continues at the next boundary.
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
                    // After this boundary, which is in the part of the line already read.
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
                        // The beginning of a boundary, and the byte before it.
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
                        // Memory for the complete part is allocated only when its second chunk has arrived:
                        // until then the caller had no opportunity to check `memory_bytes`.
                        if !body.is_empty() {
                            body.reserve(*length - body.len());
                        }
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
                        // The boundary may begin in these bytes.
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

    /// The memory of the part in progress in bytes, as far as its length is known; 0 between two parts.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        match &self.state {
            State::Counted { length, .. } => *length,
            State::Searched { body, .. } => body.capacity(),
            _ => 0,
        }
    }

    /// Whether the closing boundary arrived. Bytes after it are ignored.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Continues at the next boundary.
    fn skip(&mut self) {
        self.skip_from(0);
    }

    fn skip_from(&mut self, from: usize) {
        // The next boundary may be in the text that was not a header.
        let text = self.text.split().freeze();
        if !text.is_empty() {
            self.input.push_front(text);
        }
        self.state = State::Between { tail: BytesMut::new(), from };
    }

    /// A complete line without its line end.
    fn line(&mut self) -> Result<Option<Bytes>, MalformedStream> {
        self.text_until(|text, from| memchr::memchr(b'\n', &text[from..]).map(|at| from + at + 1))
    }

    /// A complete header: the lines up to the empty one.
    fn head(&mut self) -> Result<Option<Bytes>, MalformedStream> {
        self.text_until(|text, from| {
            // The end may have begun in earlier bytes; a header without lines is complete, too.
            let from = from.saturating_sub(2);
            memchr::memchr_iter(b'\n', &text[from..]).map(|at| from + at).find_map(|at| {
                let line = &text[..at];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                (line.is_empty() || line.ends_with(b"\n")).then_some(at + 1)
            })
        })
    }

    /// Collects text until `end` finds its end, and searches only the new bytes.
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

    /// Handles a line before the first part.
    fn learn_and_delimit(&mut self, line: &[u8]) {
        let line = line.trim_ascii_end();
        if self.delimiter.is_none() && line.starts_with(b"--") && line.len() <= MAX_BOUNDARY_BYTES + 2 {
            self.delimiter = Some(Bytes::copy_from_slice(line));
        }
        if self.delimiter.as_ref().is_some_and(|delimiter| line.starts_with(delimiter)) {
            self.delimit(line);
        }
    }

    /// Handles a line that begins with the delimiter.
    fn delimit(&mut self, line: &[u8]) {
        let delimiter = self.delimiter.as_deref().unwrap_or_default();
        match line.trim_ascii_end().strip_prefix(delimiter) {
            Some(b"") => self.state = State::Head,
            Some(b"--") => self.state = State::Ended,
            // A longer word that only begins like the boundary.
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
    /// A field of the part's header; names are case-insensitive.
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
        Some(Ok(length @ 1..=MAX_FRAME_BYTES)) => State::Counted { head, body: BytesMut::new(), length },
        _ => State::Searched { head, body: BytesMut::new(), searched: 0 },
    }
}

/// Whether a JPEG can end like this: with its end-of-image marker, and zeros or a line end after it.
fn ends_as_jpeg(body: &[u8]) -> bool {
    let end = body.iter().rposition(|byte| !matches!(byte, 0 | b'\r' | b'\n')).map_or(0, |last| last + 1);
    body[..end].ends_with(&[0xFF, 0xD9])
}

/// The position at which the delimiter begins a line, including the first line.
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
mod tests;
