//! A hub that runs as a process of its own, and a plain client for it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStderr, ChildStdin, Command, Stdio},
    time::Duration,
};

pub struct Running {
    child: Child,
    stdin: Option<ChildStdin>,
    stderr: Option<ChildStderr>,
    address: String,
}

impl Running {
    /// Starts a hub on a data folder and waits until it listens. Loopback may deliver without a token.
    pub fn start(data: &Path, config: &str) -> Self {
        let file = data.join("hub.toml");
        std::fs::create_dir_all(data).unwrap();
        std::fs::write(&file, format!("{config}\n[auth]\nanonymous_ingest = [\"127.0.0.0/8\"]\n")).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_iotpi-hub"))
            .args(["serve", "--listen", "127.0.0.1:0", "--until-stdin-closes", "--config"])
            .arg(&file)
            .env("IOTPI_DATA", data)
            .env("RUST_LOG", "warn")
            .env_remove("IOTPI_LISTEN")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = loop {
            let Some(Ok(line)) = lines.next() else {
                let _ = child.wait();
                let mut why = String::new();
                stderr.unwrap().read_to_string(&mut why).unwrap();
                panic!("the hub did not start: {why}");
            };
            if let Some((_, address)) = line.split_once("listening on http://") {
                break address.to_owned();
            }
        };
        Self { child, stdin, stderr, address }
    }

    /// The status and body of a response.
    pub fn call(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> (u16, String) {
        let bearer = token.map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        let (status, _, body) = self.exchange(method, path, &bearer, body);
        (status, body)
    }

    /// The status, head and body of the response to a request with these header lines.
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
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head.to_owned(), body.to_owned())
    }

    /// Records a temperature and returns whether it was acknowledged.
    pub fn record(&self, module: &str, value: u32) -> bool {
        let body = format!("{{\"module_id\":\"{module}\",\"value\":{value}}}");
        self.call("POST", "/api/sensors/temperature", None, &body).0 == 200
    }

    /// Stops it in order; returns its standard error.
    pub fn stop(mut self) -> String {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success());
        self.stderr()
    }

    /// Kills it. Unlike a power cut, the kernel's page cache survives.
    pub fn kill(mut self) -> String {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.stderr()
    }

    fn stderr(&mut self) -> String {
        let mut said = String::new();
        self.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    }
}

/// A failed test leaves no process behind.
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
