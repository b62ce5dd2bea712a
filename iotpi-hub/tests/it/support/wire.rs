//! A raw HTTP connection, for requests that a client library does not send.

use iotpi_hub::testing::TestHub;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::wait::bounded;

/// A connection to a hub. Every read is bounded.
pub struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

/// The head of a response.
#[derive(Debug)]
pub struct Head(String);

impl Head {
    pub fn status(&self) -> u16 {
        self.0.split(' ').nth(1).unwrap().parse().unwrap()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.lines().filter_map(|line| line.split_once(": "));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

impl Wire {
    pub async fn to(hub: &TestHub) -> Self {
        let address = hub.url().strip_prefix("http://").unwrap().to_owned();
        Self { stream: TcpStream::connect(address).await.unwrap(), read: Vec::new() }
    }

    /// Sends data, and ignores an error if the hub closed the connection.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).await.is_ok()
    }

    /// Sends the head of a request with these fields.
    pub async fn head(&mut self, request: &str, token: &str, fields: &[(&str, &str)]) {
        let mut head = format!("{request} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n");
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        self.send(head + "\r\n").await;
    }

    /// Sends a frame with its length.
    pub async fn frame(&mut self, token: &str, path: &str, jpeg: &[u8]) {
        let length = jpeg.len().to_string();
        self.head(
            &format!("POST {path}"),
            token,
            &[("content-type", "image/jpeg"), ("content-length", &length)],
        )
        .await;
        self.send(jpeg).await;
    }

    pub async fn chunk(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let bytes = bytes.as_ref();
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.send(chunk).await
    }

    /// Closes the sending side.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    async fn until(&mut self, end: impl Fn(&[u8]) -> Option<usize>) -> Vec<u8> {
        bounded("data from the hub", async {
            loop {
                if let Some(end) = end(&self.read) {
                    return self.read.drain(..end).collect();
                }
                let read = self.stream.read_buf(&mut self.read).await.unwrap();
                assert_ne!(
                    read,
                    0,
                    "the hub closed the connection: {:?}",
                    String::from_utf8_lossy(&self.read)
                );
            }
        })
        .await
    }

    pub async fn answer_head(&mut self) -> Head {
        let head = self.until(|read| read.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4)).await;
        Head(String::from_utf8(head).unwrap())
    }

    /// Reads a response with a content length.
    pub async fn answer(&mut self) -> (Head, Value) {
        let head = self.answer_head().await;
        let length: usize = head.header("content-length").expect("a length").parse().unwrap();
        let body = self.until(|read| (read.len() >= length).then_some(length)).await;
        (head, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }

    /// Reads the next line of a chunked response of JSON lines; nothing at its end.
    pub async fn line(&mut self) -> Option<Value> {
        let line_end = |read: &[u8]| read.windows(2).position(|w| w == b"\r\n").map(|at| at + 2);
        let size = String::from_utf8(self.until(line_end).await).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let chunk = self.until(|read| (read.len() >= size + 2).then_some(size + 2)).await;
        (size > 0).then(|| serde_json::from_slice(&chunk[..size]).unwrap())
    }

    /// Waits until the hub closes the connection, and ignores data before that.
    pub async fn wait_for_close(&mut self) {
        bounded("the end of the connection", async {
            while matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                self.read.clear();
            }
        })
        .await;
    }

    /// Reads up to these bytes.
    pub async fn read_until(&mut self, end: &[u8]) {
        self.until(|read| read.windows(end.len()).position(|w| w == end).map(|at| at + end.len())).await;
    }

    /// Reads the rest of a chunked response, whether the hub keeps the connection after it or not.
    pub async fn wait_for_last_chunk_or_close(&mut self) {
        bounded("the end of the response", async {
            while !self.read.ends_with(b"\r\n0\r\n\r\n") {
                if !matches!(self.stream.read_buf(&mut self.read).await, Ok(1..)) {
                    return;
                }
            }
        })
        .await;
    }

    /// Reads this many bytes.
    pub async fn read_bytes(&mut self, count: usize) {
        self.until(|read| (read.len() >= count).then_some(count)).await;
    }
}
