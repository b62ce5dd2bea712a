//! Decompression of gzip request bodies (`Content-Encoding`, RFC 9110 section 8.4) as they arrive.
//!
//! A body is decompressed in chunks of up to 16 KiB, never as a whole. The limits of the routes apply to the
//! decompressed bytes, so a small body that expands to gigabytes is rejected at the limit.

use std::{
    fmt,
    io::{self, BufRead, Read},
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{body::Body, extract::Request, response::Response};
use bytes::{Buf as _, Bytes};
use flate2::bufread::MultiGzDecoder;
use http::{HeaderMap, header};

use super::problem;
use crate::error::causes;

/// The most decompressed bytes per chunk.
const CHUNK_BYTES: usize = 16 * 1024;

/// Replaces a compressed body by one that decompresses it.
///
/// # Errors
/// The response 415 if the body has an encoding other than gzip.
#[allow(clippy::result_large_err, reason = "the error is the response")]
pub(super) fn decompressed(mut request: Request) -> Result<Request, Response> {
    match encoding(request.headers()) {
        Encoding::None => Ok(request),
        Encoding::Gzip => {
            for header in [header::CONTENT_ENCODING, header::CONTENT_LENGTH] {
                request.headers_mut().remove(header);
            }
            Ok(request.map(|body| Body::new(Gzip::new(body))))
        }
        Encoding::Other(name) => Err(problem::unsupported_encoding(&name)),
    }
}

enum Encoding {
    None,
    Gzip,
    Other(String),
}

fn encoding(headers: &HeaderMap) -> Encoding {
    if !headers.contains_key(header::CONTENT_ENCODING) {
        return Encoding::None;
    }
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let text = values.map(|value| value.to_str().unwrap_or("?")).collect::<Vec<_>>().join(",");
    let words = text.split(',').map(|word| word.trim().to_ascii_lowercase());
    match &words.filter(|word| !word.is_empty() && word != "identity").collect::<Vec<_>>()[..] {
        [] => Encoding::None,
        [one] if one == "gzip" || one == "x-gzip" => Encoding::Gzip,
        several => Encoding::Other(several.join(", ")),
    }
}

/// A body that is decompressed as it is read.
struct Gzip {
    compressed: Body,
    decoder: MultiGzDecoder<Received>,
    is_finished: bool,
}

impl Gzip {
    fn new(compressed: Body) -> Self {
        Self { compressed, decoder: MultiGzDecoder::new(Received::default()), is_finished: false }
    }
}

/// The compressed bytes that have arrived. Reading past them returns `WouldBlock`.
#[derive(Default)]
struct Received {
    bytes: Bytes,
    is_last: bool,
}

impl Read for Received {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(into)?;
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Received {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.bytes.is_empty() && !self.is_last {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(&self.bytes)
    }

    fn consume(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl http_body::Body for Gzip {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            if self.is_finished {
                return Poll::Ready(None);
            }
            match self.decoder.read(&mut chunk) {
                Ok(0) => self.is_finished = true,
                Ok(count) => {
                    chunk.truncate(count);
                    return Poll::Ready(Some(Ok(http_body::Frame::data(chunk.into()))));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    match ready!(Pin::new(&mut self.compressed).poll_frame(context)) {
                        None => self.decoder.get_mut().is_last = true,
                        Some(Ok(frame)) => {
                            self.decoder.get_mut().bytes = frame.into_data().unwrap_or_default();
                        }
                        Some(Err(error)) => {
                            self.is_finished = true;
                            return Poll::Ready(Some(Err(error)));
                        }
                    }
                }
                Err(_) => {
                    self.is_finished = true;
                    return Poll::Ready(Some(Err(axum::Error::new(InvalidGzip))));
                }
            }
        }
    }
}

/// The body is not valid gzip data, or is truncated.
#[derive(Debug)]
pub(super) struct InvalidGzip;

impl InvalidGzip {
    /// Whether the error has this cause.
    pub(super) fn caused(error: &axum::Error) -> bool {
        causes(error).any(|cause| cause.is::<Self>())
    }
}

impl fmt::Display for InvalidGzip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body is not complete gzip data, although `Content-Encoding` is gzip")
    }
}

impl std::error::Error for InvalidGzip {}
