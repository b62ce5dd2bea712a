//! A streaming parser of responses of type `multipart/x-mixed-replace`: chunked or not, with or without the
//! `Content-Length` of a part. Of a frame it keeps only the first bytes, which contain its stamp.

use std::io;

use crate::{
    connection::unexpected,
    frame::{HEAD_BYTES, Stamp},
};

/// The maximum size of a head.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// The state of the parser.
#[derive(Debug)]
pub struct MjpegParser {
    state: State,
    /// The head, chunk size line or part head so far.
    text: Vec<u8>,
    /// The bytes left of the current chunk; `None` if the response is not chunked.
    chunk: Option<usize>,
    parts: Parts,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Head,
    ChunkSize,
    Body,
}

impl MjpegParser {
    /// A parser at the start of a response.
    pub fn new() -> Self {
        Self { state: State::Head, text: Vec::new(), chunk: None, parts: Parts::default() }
    }

    /// Parses more bytes. It calls `on_frame` after the last byte of each frame.
    ///
    /// # Errors
    /// A response that is not successful, not multipart, or malformed.
    pub fn feed(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(Option<Stamp>)) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.state {
                State::Head => {
                    if let Some(head) = take_until(&mut self.text, &mut bytes, b"\r\n\r\n")? {
                        self.head(&head)?;
                    }
                }
                State::ChunkSize => {
                    if let Some(line) = take_until(&mut self.text, &mut bytes, b"\r\n")? {
                        // An empty line ends the previous chunk.
                        let digits = line.split(';').next().unwrap_or_default().trim();
                        if !digits.is_empty() {
                            let size = usize::from_str_radix(digits, 16).map_err(|_| unexpected(&line))?;
                            self.chunk = Some(size);
                            self.state = State::Body;
                        }
                    }
                }
                State::Body => {
                    let here = self.chunk.unwrap_or(usize::MAX).min(bytes.len());
                    let (now, later) = bytes.split_at(here);
                    self.parts.feed(now, &mut on_frame)?;
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
            return Err(unexpected(head));
        }
        let from = lower.find("boundary=").ok_or_else(|| unexpected(head))? + "boundary=".len();
        let boundary = head[from..].split(['\r', ';']).next().unwrap_or_default().trim().trim_matches('"');
        // Some servers include the dashes in the parameter.
        self.parts.boundary = format!("\r\n--{}", boundary.trim_start_matches("--")).into_bytes();
        let chunked = value("transfer-encoding:") == Some("chunked");
        self.state = if chunked { State::ChunkSize } else { State::Body };
        Ok(())
    }
}

/// Collects bytes up to `end`; returns the text before it.
fn take_until(text: &mut Vec<u8>, bytes: &mut &[u8], end: &[u8]) -> io::Result<Option<String>> {
    while let Some((&byte, rest)) = bytes.split_first() {
        text.push(byte);
        *bytes = rest;
        if text.ends_with(end) {
            text.truncate(text.len() - end.len());
            return Ok(Some(String::from_utf8_lossy(&std::mem::take(text)).into_owned()));
        }
    }
    if text.len() > MAX_HEAD_BYTES {
        return Err(unexpected("a head that is too long"));
    }
    Ok(None)
}

/// The parts of the body.
#[derive(Debug, Default)]
struct Parts {
    boundary: Vec<u8>,
    /// The head of the part so far.
    text: Vec<u8>,
    /// The position in the frame; `None` in the head of a part.
    frame: Option<PartialFrame>,
}

#[derive(Debug, Default)]
struct PartialFrame {
    first: Vec<u8>,
    /// The bytes left, if the part has a content length.
    left: Option<usize>,
    /// The last bytes, in which the boundary is searched.
    tail: Vec<u8>,
}

impl Parts {
    fn feed(&mut self, mut bytes: &[u8], mut on_frame: impl FnMut(Option<Stamp>)) -> io::Result<()> {
        while !bytes.is_empty() {
            let Some(frame) = &mut self.frame else {
                // The line of the boundary and the head end with the first blank line after some text.
                if let Some(head) = take_until(&mut self.text, &mut bytes, b"\r\n\r\n")? {
                    let length = head
                        .to_ascii_lowercase()
                        .lines()
                        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
                    if head.contains(':') {
                        self.frame = Some(PartialFrame { left: length, ..PartialFrame::default() });
                    }
                }
                continue;
            };
            let missing = HEAD_BYTES - frame.first.len();
            frame.first.extend(&bytes[..missing.min(bytes.len())]);
            let done = match &mut frame.left {
                Some(left) => {
                    let here = (*left).min(bytes.len());
                    *left -= here;
                    bytes = &bytes[here..];
                    *left == 0
                }
                None => frame.search(&mut bytes, &self.boundary),
            };
            if done {
                on_frame(Stamp::read(&frame.first));
                self.frame = None;
            }
        }
        Ok(())
    }
}

impl PartialFrame {
    /// Searches the boundary. If it is found, `bytes` are those after it.
    fn search(&mut self, bytes: &mut &[u8], boundary: &[u8]) -> bool {
        self.tail.extend_from_slice(bytes);
        if let Some(at) = self.tail.windows(boundary.len()).position(|window| window == boundary) {
            let after = self.tail.len() - at - boundary.len();
            *bytes = &bytes[bytes.len() - after..];
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

    fn parse(response: &[u8], chunk_bytes: usize) -> Vec<u64> {
        let (mut parser, mut numbers) = (MjpegParser::new(), Vec::new());
        for bytes in response.chunks(chunk_bytes) {
            parser.feed(bytes, |stamp| numbers.push(stamp.unwrap().seq)).unwrap();
        }
        numbers
    }

    #[test]
    fn frames_are_parsed_however_the_response_is_split() {
        for with_length in [true, false] {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n";
            let plain = [head.as_bytes(), b"\r\n", &body(with_length)].concat();
            let mut chunked = [head.as_bytes(), b"Transfer-Encoding: chunked\r\n\r\n"].concat();
            for chunk in body(with_length).chunks(77) {
                chunked.extend(format!("{:X}\r\n", chunk.len()).as_bytes());
                chunked.extend(chunk);
                chunked.extend(b"\r\n");
            }

            for chunk_bytes in [1, 2, 3, 7, 100, 299, 300, 301, 10_000] {
                assert_eq!(parse(&plain, chunk_bytes), [1, 2, 3], "plain, {with_length}, {chunk_bytes}");
                assert_eq!(parse(&chunked, chunk_bytes), [1, 2, 3], "chunked, {with_length}, {chunk_bytes}");
            }
        }
    }

    #[test]
    fn a_response_that_is_no_stream_is_an_error() {
        let mut parser = MjpegParser::new();

        assert!(parser.feed(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", |_| ()).is_err());
    }
}
