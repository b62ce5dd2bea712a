//! A camera, which sends the same frame with a new stamp each time.

use std::{io, time::Duration};

use crate::{
    ServerArgs,
    connection::{Connection, unexpected},
    frame::{self, Stamp},
};

const BOUNDARY: &str = "frame";

/// A connection that sends frames, each in a separate request or all in one.
#[derive(Debug)]
pub struct Camera {
    connection: Connection,
    /// The bytes that are sent for a frame.
    bytes: Vec<u8>,
    /// The position of the JPEG in `bytes`.
    jpeg_at: usize,
    seq: u64,
    push: bool,
}

impl Camera {
    /// Connects. With `push`, it sends all frames in one request of type `multipart/x-mixed-replace`.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn connect(server: &ServerArgs, path: &str, push: bool) -> io::Result<Self> {
        let mut connection = Connection::to(server.url)?;
        let jpeg = frame::jpeg(server.bytes as usize);
        let head = server.url.head("POST", path, server.token.as_deref());
        let mut bytes;
        let jpeg_at;
        if push {
            connection.send(
                format!(
                    "{head}Content-Type: multipart/x-mixed-replace; boundary={BOUNDARY}\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                .as_bytes(),
            )?;
            let part =
                format!("--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n", jpeg.len());
            // A chunk is a part and the following line end.
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
        Ok(Self { connection, bytes, jpeg_at, seq: 0, push })
    }

    /// Sends the next frame and waits until it is acknowledged, or with `push` until the kernel has accepted
    /// it. Returns the time at which it was sent.
    ///
    /// # Errors
    /// Those of the socket; a response that is not successful.
    pub fn send_frame(&mut self) -> io::Result<Duration> {
        self.seq += 1;
        let sent_at = frame::now();
        Stamp { seq: self.seq, sent_at }.write(&mut self.bytes, self.jpeg_at);
        if self.push {
            self.connection.send(&self.bytes)?
        } else {
            self.connection.request(&self.bytes)?
        }
        Ok(sent_at)
    }

    /// Ends the request of a camera that pushes.
    ///
    /// # Errors
    /// Those of the socket; the server rejected a frame.
    pub fn end(mut self) -> io::Result<()> {
        if !self.push {
            return Ok(());
        }
        let last = format!("--{BOUNDARY}--\r\n");
        // The server may have ended the request already. Its response has the reason.
        let sent = self.connection.send(format!("{:x}\r\n{last}\r\n0\r\n\r\n", last.len()).as_bytes());
        let response = self.connection.finish()?;
        if !response.starts_with("HTTP/1.1 2") || response.contains("problem") {
            return Err(unexpected(&response));
        }
        sent
    }
}
