//! Reads an answer of type `multipart/x-mixed-replace` as it comes: chunked or not, parts with a `Content-Length` or without.
//!
//! Nothing is kept of a picture but its first bytes, in which its stamp is.

use std::io;

use crate::{
    frame::{HEAD_BYTES, Stamp},
    line::refused,
};

/// More than any head has.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// An answer that is being read.
#[derive(Debug)]
pub struct Mjpeg {
    state: State,
    /// The head, chunk size line or part head so far.
    text: Vec<u8>,
    /// Bytes left of this chunk; nothing when the answer is not chunked.
    chunk: Option<usize>,
    parts: Parts,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Head,
    ChunkSize,
    Body,
}

impl Mjpeg {
    /// Nothing was read yet.
    pub fn new() -> Self {
        Self { state: State::Head, text: Vec::new(), chunk: None, parts: Parts::default() }
    }

    /// Reads on; `whole` is called after the last byte of each frame.
    ///
    /// # Errors
    /// An answer that is no success or not multipart, and one that breaks its own rules.
    pub fn feed(&mut self, mut bytes: &[u8], mut whole: impl FnMut(Option<Stamp>)) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.state {
                State::Head => {
                    if let Some(head) = line_up_to(&mut self.text, &mut bytes, b"\r\n\r\n")? {
                        self.head(&head)?;
                    }
                }
                State::ChunkSize => {
                    if let Some(line) = line_up_to(&mut self.text, &mut bytes, b"\r\n")? {
                        // The end of the chunk before is an empty line.
                        let digits = line.split(';').next().unwrap_or_default().trim();
                        if !digits.is_empty() {
                            let size = usize::from_str_radix(digits, 16).map_err(|_| refused(&line))?;
                            self.chunk = Some(size);
                            self.state = State::Body;
                        }
                    }
                }
                State::Body => {
                    let here = self.chunk.unwrap_or(usize::MAX).min(bytes.len());
                    let (now, later) = bytes.split_at(here);
                    self.parts.feed(now, &mut whole)?;
                    bytes = later;
                    if let Some(left) = &mut self.chunk {
                        *left -= here;
                        if *left == 0 {
                            self.state = State::ChunkSize;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn head(&mut self, head: &str) -> io::Result<()> {
        let lower = head.to_ascii_lowercase();
        let value = |name: &str| lower.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let multipart = value("content-type:").is_some_and(|kind| kind.starts_with("multipart/"));
        if lower.split(' ').nth(1) != Some("200") || !multipart {
            return Err(refused(head));
        }
        let from = lower.find("boundary=").ok_or_else(|| refused(head))? + "boundary=".len();
        let boundary = head[from..].split(['\r', ';']).next().unwrap_or_default().trim().trim_matches('"');
        // Some say it with its dashes, some without.
        self.parts.boundary = format!("\r\n--{}", boundary.trim_start_matches("--")).into_bytes();
        let chunked = value("transfer-encoding:") == Some("chunked");
        self.state = if chunked { State::ChunkSize } else { State::Body };
        Ok(())
    }
}

/// Takes bytes until `end` was there; then what came before it.
fn line_up_to(text: &mut Vec<u8>, bytes: &mut &[u8], end: &[u8]) -> io::Result<Option<String>> {
    while let Some((&byte, rest)) = bytes.split_first() {
        text.push(byte);
        *bytes = rest;
        if text.ends_with(end) {
            text.truncate(text.len() - end.len());
            return Ok(Some(String::from_utf8_lossy(&std::mem::take(text)).into_owned()));
        }
    }
    if text.len() > MAX_HEAD_BYTES {
        return Err(refused("a head without end"));
    }
    Ok(None)
}

/// The parts of the body.
#[derive(Debug, Default)]
struct Parts {
    boundary: Vec<u8>,
    /// The part's head so far.
    text: Vec<u8>,
    /// Where in the picture we are; nothing in a part's head.
    picture: Option<Picture>,
}

#[derive(Debug, Default)]
struct Picture {
    first: Vec<u8>,
    /// Bytes that are still to come, if the part said it.
    left: Option<usize>,
    /// The last bytes, when the boundary has to be looked for.
    tail: Vec<u8>,
}

impl Parts {
    fn feed(&mut self, mut bytes: &[u8], mut whole: impl FnMut(Option<Stamp>)) -> io::Result<()> {
        while !bytes.is_empty() {
            let Some(picture) = &mut self.picture else {
                // A boundary's line, then the head; both end with the first blank line behind something.
                if let Some(head) = line_up_to(&mut self.text, &mut bytes, b"\r\n\r\n")? {
                    let length = head
                        .to_ascii_lowercase()
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
                    if head.contains(':') {
                        self.picture = Some(Picture { left: length, ..Picture::default() });
                    }
                }
                continue;
            };
            let missing = HEAD_BYTES - picture.first.len();
            picture.first.extend(&bytes[..missing.min(bytes.len())]);
            let done = match &mut picture.left {
                Some(left) => {
                    let here = (*left).min(bytes.len());
                    *left -= here;
                    bytes = &bytes[here..];
                    *left == 0
                }
                None => picture.search(&mut bytes, &self.boundary),
            };
            if done {
                whole(Stamp::read(&picture.first));
                self.picture = None;
            }
        }
        Ok(())
    }
}

impl Picture {
    /// Whether the boundary was found; `bytes` are then those behind it.
    fn search(&mut self, bytes: &mut &[u8], boundary: &[u8]) -> bool {
        self.tail.extend_from_slice(bytes);
        if let Some(at) = self.tail.windows(boundary.len()).position(|window| window == boundary) {
            let behind = self.tail.len() - at - boundary.len();
            *bytes = &bytes[bytes.len() - behind..];
            return true;
        }
        *bytes = &[];
        self.tail.drain(..self.tail.len().saturating_sub(boundary.len() - 1));
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::frame::jpeg;

    fn stamped(seq: u64, bytes: usize) -> Vec<u8> {
        let mut jpeg = jpeg(bytes);
        Stamp { seq, sent_at: Duration::ZERO }.write(&mut jpeg, 0);
        jpeg
    }

    fn body(with_length: bool) -> Vec<u8> {
        let mut body = b"--frame\r\n".to_vec();
        for seq in 1..=3 {
            let jpeg = stamped(seq, 300);
            body.extend(b"Content-Type: image/jpeg\r\n");
            if with_length {
                body.extend(format!("Content-Length: {}\r\n", jpeg.len()).as_bytes());
            }
            body.extend(b"\r\n");
            body.extend(jpeg);
            body.extend(b"\r\n--frame\r\n");
        }
        body
    }

    fn seen(answer: &[u8], at_once: usize) -> Vec<u64> {
        let (mut mjpeg, mut seen) = (Mjpeg::new(), Vec::new());
        for bytes in answer.chunks(at_once) {
            mjpeg.feed(bytes, |stamp| seen.push(stamp.unwrap().seq)).unwrap();
        }
        seen
    }

    #[test]
    fn frames_are_seen_however_the_answer_is_cut() {
        for with_length in [true, false] {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n";
            let plain = [head.as_bytes(), b"\r\n", &body(with_length)].concat();
            let mut chunked = [head.as_bytes(), b"Transfer-Encoding: chunked\r\n\r\n"].concat();
            for chunk in body(with_length).chunks(77) {
                chunked.extend(format!("{:X}\r\n", chunk.len()).as_bytes());
                chunked.extend(chunk);
                chunked.extend(b"\r\n");
            }

            for at_once in [1, 2, 3, 7, 100, 299, 300, 301, 10_000] {
                assert_eq!(seen(&plain, at_once), [1, 2, 3], "plain, {with_length}, {at_once}");
                assert_eq!(seen(&chunked, at_once), [1, 2, 3], "chunked, {with_length}, {at_once}");
            }
        }
    }

    #[test]
    fn an_answer_that_is_no_stream_is_an_error() {
        let mut mjpeg = Mjpeg::new();

        assert!(mjpeg.feed(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", |_| ()).is_err());
    }
}
