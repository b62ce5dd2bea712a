//! A connection that sends what it is given and waits for the whole answer.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    str::FromStr,
    time::Duration,
};

/// A server that says nothing for so long is not worth measuring.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(Debug, Clone, Copy)]
pub struct Target(SocketAddr);

impl FromStr for Target {
    type Err = String;

    fn from_str(url: &str) -> Result<Self, String> {
        let authority =
            url.strip_prefix("http://").ok_or("it must begin with http://")?.trim_end_matches('/');
        let address = authority.to_socket_addrs().map_err(|error| error.to_string())?.next();
        address.map(Self).ok_or_else(|| "no such host".to_owned())
    }
}

impl Target {
    /// Where to connect to.
    pub fn address(self) -> SocketAddr {
        self.0
    }

    /// A request's head, whole but for the blank line at its end.
    pub fn head(self, method: &str, path: &str, token: Option<&str>) -> String {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{token}", self.0)
    }
}

/// A kept connection.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    /// Connects.
    ///
    /// # Errors
    /// The socket's.
    pub fn to(target: Target) -> io::Result<Self> {
        let stream = TcpStream::connect(target.address())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: vec![0; 8192] })
    }

    /// Sends and waits for nothing.
    ///
    /// # Errors
    /// The socket's.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and waits until its answer is there to the last byte.
    ///
    /// # Errors
    /// The socket's; an answer that is no success or does not say how long it is.
    pub fn ask(&mut self, request: &[u8]) -> io::Result<()> {
        self.send(request)?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(2 * filled, 0);
            }
            match self.stream.read(&mut self.buffer[filled..])? {
                0 => return Err(refused("the connection was closed")),
                read => filled += read,
            }
            let Some(end) = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length = match length {
                Some(length) => length.trim().parse::<usize>().map_err(|_| refused(&head))?,
                None if head.starts_with("http/1.1 204") => 0,
                None => return Err(refused(&head)),
            };
            if !head.starts_with("http/1.1 2") {
                return Err(refused(&String::from_utf8_lossy(&self.buffer[..filled])));
            }
            if filled >= end + 4 + length {
                return Ok(());
            }
        }
    }

    /// Reads until the other side ends, and says what came.
    ///
    /// # Errors
    /// The socket's.
    pub fn rest(&mut self) -> io::Result<String> {
        self.stream.shutdown(std::net::Shutdown::Write)?;
        let mut text = Vec::new();
        self.stream.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The server said something else than yes.
pub fn refused(said: &str) -> io::Error {
    io::Error::other(format!("the server answered: {said}"))
}
