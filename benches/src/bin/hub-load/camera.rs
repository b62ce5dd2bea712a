//! A camera: a frame made once, stamped anew each time it is sent.

use std::{io, time::Duration};

use crate::{
    Whom,
    frame::{self, Stamp},
    line::{Line, refused},
};

const BOUNDARY: &str = "picture";

/// One connection that sends frames, each in a request of its own or all in one.
#[derive(Debug)]
pub struct Camera {
    line: Line,
    /// What is sent for a frame.
    bytes: Vec<u8>,
    /// Where in it the JPEG begins.
    jpeg_at: usize,
    seq: u64,
    push: bool,
}

impl Camera {
    /// Connects. With `push`, all frames go in one request of type `multipart/x-mixed-replace`.
    ///
    /// # Errors
    /// The socket's.
    pub fn connect(whom: &Whom, path: &str, push: bool) -> io::Result<Self> {
        let mut line = Line::to(whom.url)?;
        let jpeg = frame::jpeg(whom.bytes as usize);
        let head = whom.url.head("POST", path, whom.token.as_deref());
        let mut bytes;
        let jpeg_at;
        if push {
            line.send(
                format!(
                    "{head}Content-Type: multipart/x-mixed-replace; boundary={BOUNDARY}\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                .as_bytes(),
            )?;
            let part =
                format!("--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
            // A chunk is a part with the line end behind it.
            bytes = format!("{:x}\r\n{part}", part.len() + jpeg.len() + 2).into_bytes();
            jpeg_at = bytes.len();
            bytes.extend(jpeg);
            bytes.extend(b"\r\n\r\n");
        } else {
            bytes = format!("{head}Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len())
                .into_bytes();
            jpeg_at = bytes.len();
            bytes.extend(jpeg);
        }
        Ok(Self { line, bytes, jpeg_at, seq: 0, push })
    }

    /// Sends the next frame and answers when that began; ready when it is acknowledged, or, pushed, when the kernel has it.
    ///
    /// # Errors
    /// The socket's; an answer that is no success.
    pub fn show(&mut self) -> io::Result<Duration> {
        self.seq += 1;
        let sent_at = frame::now();
        Stamp { seq: self.seq, sent_at }.write(&mut self.bytes, self.jpeg_at);
        if self.push {
            self.line.send(&self.bytes)?
        } else {
            self.line.ask(&self.bytes)?
        }
        Ok(sent_at)
    }

    /// Ends the one request of a camera that pushes.
    ///
    /// # Errors
    /// The socket's; what the server did not take.
    pub fn end(mut self) -> io::Result<()> {
        if !self.push {
            return Ok(());
        }
        let last = format!("--{BOUNDARY}--\r\n");
        // The server may have ended the request already: its answer says why.
        let sent = self.line.send(format!("{:x}\r\n{last}\r\n0\r\n\r\n", last.len()).as_bytes());
        let said = self.line.rest()?;
        if !said.starts_with("HTTP/1.1 2") || said.contains("problem") {
            return Err(refused(&said));
        }
        sent
    }
}
