//! A minimal HTTP/1.1 client. A client library would refuse to send many of these requests.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use super::case::{Case, Placeholders, Transfer};
use crate::support::wait::{LIMIT, bounded};

const CHUNK_BYTES: usize = 1000;

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// A request that can be sent.
pub struct Request {
    head: String,
    body: Vec<u8>,
}

impl Request {
    /// `headers` replace the default headers of the same name. A header without a value removes the default.
    pub fn new(
        send: &str,
        headers: &[String],
        content: Option<(Vec<u8>, &str)>,
        chunked: bool,
        texts: &Placeholders,
    ) -> Self {
        let mut defaults = vec![("Host", texts.host.clone()), ("Connection", "close".to_owned())];
        let mut body = Vec::new();
        if let Some((bytes, content_type)) = content {
            defaults.push(("Content-Type", content_type.to_owned()));
            if chunked {
                defaults.push(("Transfer-Encoding", "chunked".to_owned()));
                body = encode_chunks(&bytes);
            } else {
                defaults.push(("Content-Length", bytes.len().to_string()));
                body = bytes;
            }
        }
        let own: Vec<_> = headers.iter().map(|line| line.split_once(':').expect("NAME: VALUE")).collect();
        let mut head = format!("{} HTTP/1.1\r\n", texts.fill(send));
        for (name, value) in defaults {
            if !own.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        for (name, value) in own.iter().filter(|(_, value)| !value.trim().is_empty()) {
            head.push_str(&format!("{name}: {}\r\n", texts.fill(value.trim())));
        }
        head.push_str("\r\n");
        Self { head, body }
    }

    /// The request of a case.
    pub fn of(case: &Case, content: Option<(Vec<u8>, &str)>, texts: &Placeholders) -> Self {
        let mut headers = case.headers.clone();
        if case.admin {
            headers.push("Authorization: Bearer {token}".to_owned());
        }
        Self::new(&case.send, &headers, content, case.has(Transfer::Chunked), texts)
    }

    /// Sends it and reads the response; `None` if the client closes the connection instead.
    pub async fn exchange(&self, host: &str, transfer: &[Transfer]) -> std::io::Result<Option<Answer>> {
        let mut stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        if transfer.contains(&Transfer::HeadFirst) {
            stream.write_all(self.head.as_bytes()).await?;
            // When the hub has answered another connection, it has had the time to read this head.
            let mut other = TcpStream::connect(host).await?;
            other.write_all(b"HEAD /health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").await?;
            bounded("the response on another connection", other.read_to_end(&mut Vec::new())).await?;
            stream.write_all(&self.body).await?;
        } else {
            stream.write_all(&[self.head.as_bytes(), self.body.as_slice()].concat()).await?;
        }
        if transfer.contains(&Transfer::Close) {
            return Ok(None);
        }
        if transfer.contains(&Transfer::HalfClose) {
            stream.shutdown().await?;
        }
        match tokio::time::timeout(LIMIT, read_answer(stream)).await {
            Ok(answer) => answer.map(Some),
            Err(_) => Err(std::io::Error::other(format!("there was no response within {LIMIT:?}"))),
        }
    }
}

fn encode_chunks(bytes: &[u8]) -> Vec<u8> {
    let mut chunked = Vec::with_capacity(bytes.len() + bytes.len() / 100 + 16);
    for chunk in bytes.chunks(CHUNK_BYTES) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    chunked
}

/// Reads a response to the end of the connection, but only the head of an endless stream.
async fn read_answer(mut stream: TcpStream) -> std::io::Result<Answer> {
    let mut bytes = Vec::new();
    loop {
        let ended = stream.read_buf(&mut bytes).await? == 0;
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut head = httparse::Response::new(&mut headers);
        let parsed = head.parse(&bytes).map_err(std::io::Error::other)?;
        let httparse::Status::Complete(at) = parsed else {
            if ended {
                return Err(std::io::Error::other("the connection was closed without a response"));
            }
            continue;
        };
        let header = |name: &str| {
            let found = head.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value).into_owned()).unwrap_or_default()
        };
        let endless = header("content-type").starts_with("multipart/x-mixed-replace");
        if !ended && !endless {
            continue;
        }
        let status = head.code.unwrap_or_default();
        let body = bytes[at..].to_vec();
        let chunked = header("transfer-encoding") == "chunked" && !endless;
        return Ok(Answer { status, body: if chunked { decode_chunks(&body) } else { body } });
    }
}

fn decode_chunks(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(httparse::Status::Complete((at, length @ 1..))) = httparse::parse_chunk_size(bytes) {
        let end = (at + length as usize).min(bytes.len());
        body.extend_from_slice(&bytes[at..end]);
        bytes = &bytes[(end + 2).min(bytes.len())..];
    }
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_chunks_is_the_inverse_of_encoding() {
        let bytes: Vec<u8> = (0..2500_u32).map(|n| n.to_le_bytes()[0]).collect();

        assert_eq!(decode_chunks(&encode_chunks(&bytes)), bytes);
    }
}
