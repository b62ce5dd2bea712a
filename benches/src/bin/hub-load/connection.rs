//! A connection that sends a request and reads the whole response.

use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    str::FromStr,
    time::Duration,
};

/// The longest wait for the server.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The address of a server.
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
    /// The address to connect to.
    pub fn address(self) -> SocketAddr {
        self.0
    }

    /// The head of a request without the blank line at its end.
    pub fn head(self, method: &str, path: &str, token: Option<&str>) -> String {
        let token = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{token}", self.0)
    }
}

/// A persistent connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects to a server.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn to(target: Target) -> io::Result<Self> {
        let stream = TcpStream::connect(target.address())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, buffer: vec![0; 8192] })
    }

    /// Sends bytes and does not wait for a response.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a request and reads the whole response.
    ///
    /// # Errors
    /// Those of the socket; a response that is not successful or has no content length.
    pub fn request(&mut self, request: &[u8]) -> io::Result<()> {
        self.send(request)?;
        let mut filled = 0;
        loop {
            if filled == self.buffer.len() {
                self.buffer.resize(2 * filled, 0);
            }
            match self.stream.read(&mut self.buffer[filled..])? {
                0 => return Err(unexpected("the connection was closed")),
                read => filled += read,
            }
            let Some(end) = self.buffer[..filled].windows(4).position(|four| four == b"\r\n\r\n") else {
                continue;
            };
            let head = String::from_utf8_lossy(&self.buffer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length = match length {
                Some(length) => length.trim().parse::<usize>().map_err(|_| unexpected(&head))?,
                None if head.starts_with("http/1.1 204") => 0,
                None => return Err(unexpected(&head)),
            };
            if !head.starts_with("http/1.1 2") {
                return Err(unexpected(&String::from_utf8_lossy(&self.buffer[..filled])));
            }
            if filled >= end + 4 + length {
                return Ok(());
            }
        }
    }

    /// Closes the sending side, and reads until the server closes the connection.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn finish(&mut self) -> io::Result<String> {
        self.stream.shutdown(std::net::Shutdown::Write)?;
        let mut text = Vec::new();
        self.stream.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The error for an unexpected response.
pub fn unexpected(response: &str) -> io::Error {
    io::Error::other(format!("the server answered: {response}"))
}
