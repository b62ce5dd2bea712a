//! A hub as a process, with a plain blocking client.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, ChildStdin, Command},
    time::Duration,
};

use super::program::{PROGRAM, listening_url, serve, wait_for_exit};

/// A running hub. Dropping it kills it.
pub struct BlockingHub {
    child: Child,
    stdin: Option<ChildStdin>,
    stderr: Option<ChildStderr>,
    address: String,
}

impl BlockingHub {
    /// Starts a hub on a data folder and waits until it listens. It accepts readings without a token.
    pub fn start(data: &Path, config: &str) -> Self {
        let mut child = serve(Command::new(PROGRAM), data, config).env("RUST_LOG", "warn").spawn().unwrap();
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                let _ = child.wait();
                let mut text = String::new();
                stderr.unwrap().read_to_string(&mut text).unwrap();
                panic!("the hub did not start: {text}");
            };
            if let Some(url) = listening_url(&line) {
                break url.trim_start_matches("http://").to_owned();
            }
        };
        Self { child, stdin, stderr, address }
    }

    /// Sends a request; returns the status and body of the response.
    pub fn call(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
        let bearer = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        let (status, _, body) = self.exchange(method, path, &bearer, body);
        (status, body)
    }

    /// Sends a request with these header lines; returns the status, head and body of the response.
    pub fn exchange(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\n{headers}content-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body.as_bytes()).unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
    }

    /// Records a temperature and returns whether it was acknowledged.
    pub fn record(&self, module: &str, value: u32) -> bool {
        let body = format!("{{\"module_id\":\"{module}\",\"value\":{value}}}");
        self.call("POST", "/api/sensors/temperature", None, &body).0 == 200
    }

    /// Stops it; returns its standard error.
    pub fn stop(mut self) -> String {
        drop(self.stdin.take());
        assert!(wait_for_exit(&mut self.child).success());
        self.stderr()
    }

    /// Kills it; returns its standard error. Unlike after a power cut, the page cache of the kernel survives.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.stderr()
    }

    fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for BlockingHub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
