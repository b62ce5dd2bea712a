//! A camera's pictures as they come: `multipart/x-mixed-replace` taken apart again.

use bytes::{Buf, Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{MAX_FRAME_BYTES, UplinkError};

/// The most bytes of a part's header.
const MAX_PART_HEADER: usize = 4096;

/// The pictures of one camera, newest first come; frames the reader was too slow for are skipped by the hub.
#[derive(Debug)]
pub struct FrameStream {
    body: Incoming,
    url: String,
    buffer: BytesMut,
}

impl FrameStream {
    pub(super) fn new(body: Incoming, url: String) -> Self {
        Self { body, url, buffer: BytesMut::new() }
    }

    /// The next picture, a JPEG file; nothing when the hub ended the stream.
    ///
    /// # Errors
    /// [`UplinkError`] when the line broke or what came is no such stream.
    ///
    /// # Cancel safety
    /// Cancel safe: what was read so far is kept.
    pub async fn next(&mut self) -> Result<Option<Bytes>, UplinkError> {
        loop {
            if let Some(jpeg) = take_part(&mut self.buffer).map_err(|message| UplinkError::NotAHub {
                url: self.url.clone(),
                message: message.to_owned(),
            })? {
                return Ok(Some(jpeg));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.buffer.extend_from_slice(data);
                    }
                }
                Some(Err(e)) => {
                    return Err(UplinkError::Unreachable { url: self.url.clone(), source: Box::new(e) });
                }
            }
        }
    }
}

/// Takes the first whole part out of the buffer, if there is one. A part must say its `Content-Length`.
fn take_part(buffer: &mut BytesMut) -> Result<Option<Bytes>, &'static str> {
    let Some(head_len) = buffer.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4) else {
        return if buffer.len() > MAX_PART_HEADER {
            Err("a part of the stream has no header")
        } else {
            Ok(None)
        };
    };
    let head = std::str::from_utf8(&buffer[..head_len]).map_err(|_| "a part's header is not text")?;
    let length: usize = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .ok_or("a part of the stream does not say its length")?;
    if length > MAX_FRAME_BYTES {
        return Err("a part of the stream is larger than a frame may be");
    }
    if buffer.len() < head_len + length {
        return Ok(None);
    }
    buffer.advance(head_len);
    Ok(Some(buffer.split_to(length).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_out_whole_however_they_were_cut() {
        let stream = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 5\r\n\r\nfirst\r\n--frame\r\ncontent-length: 6\r\n\r\nsecond\r\n--frame\r\n";

        for piece in 1..stream.len() {
            let mut buffer = BytesMut::new();
            let mut parts = Vec::new();
            for bytes in stream.chunks(piece) {
                buffer.extend_from_slice(bytes);
                while let Some(part) = take_part(&mut buffer).unwrap() {
                    parts.push(part);
                }
            }
            assert_eq!(parts, ["first", "second"], "in pieces of {piece}");
        }
    }

    #[test]
    fn a_stream_without_lengths_is_refused() {
        assert!(take_part(&mut BytesMut::from("--frame\r\nContent-Type: image/jpeg\r\n\r\n")).is_err());
        assert!(take_part(&mut BytesMut::from("--frame\r\nContent-Length: 99999999999\r\n\r\n")).is_err());
        assert!(take_part(&mut BytesMut::from(&[b'x'; MAX_PART_HEADER + 1][..])).is_err());
    }
}
