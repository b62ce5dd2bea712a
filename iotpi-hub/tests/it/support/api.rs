//! A hub and a plain HTTP client for it.

use bytes::Bytes;
use http::{HeaderMap, Method, Request};
use http_body_util::{BodyExt as _, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use iotpi_core::{ModuleId, Timestamp};
use iotpi_hub::{AuthConfig, Config, auth::Role, testing::TestHub};
use serde_json::Value;

use super::wait::bounded;

/// 2026-11-23 22:30:00 UTC.
pub const NOW: Timestamp = Timestamp::from_micros(1_795_473_000_000_000);
pub const NOW_SECS: f64 = 1_795_473_000.0;

pub struct Api {
    pub hub: TestHub,
    client: Client<HttpConnector, Full<Bytes>>,
    /// A token of an admin.
    pub admin: String,
}

pub fn id(text: &str) -> ModuleId {
    ModuleId::new(text).unwrap()
}

/// A configuration that accepts readings from loopback without credentials.
pub fn anonymous() -> Config {
    let auth = AuthConfig { anonymous_ingest: vec!["127.0.0.0/8".parse().unwrap()], ..AuthConfig::default() };
    Config { auth, ..Config::default() }
}

impl Api {
    pub async fn start() -> Self {
        Self::with_config(Config::default()).await
    }

    pub async fn with_config(config: Config) -> Self {
        Self::of(TestHub::with_config(config).await.unwrap()).await
    }

    /// A hub with a manual clock that starts at [`NOW`].
    pub async fn with_manual_clock() -> Self {
        Self::of(TestHub::with_manual_clock(Config::default(), NOW).await.unwrap()).await
    }

    pub async fn of(hub: TestHub) -> Self {
        let admin = hub.token(Role::Admin).await.unwrap();
        Self { hub, client: Client::builder(TokioExecutor::new()).build_http(), admin }
    }

    pub async fn token(&self, role: Role) -> String {
        self.hub.token(role).await.unwrap()
    }

    pub async fn module(&self, module_id: &str) -> String {
        self.hub.module_token(&id(module_id)).await.unwrap()
    }

    /// A request with the token of the admin.
    pub fn call(&self, method: Method, path: &str) -> Call<'_> {
        self.open(method, path).token(&self.admin)
    }

    /// A request without credentials.
    pub fn open(&self, method: Method, path: &str) -> Call<'_> {
        let uri = format!("{}{path}", self.hub.url());
        let request = Request::builder().method(method).uri(uri).body(Full::default()).unwrap();
        Call { api: self, request }
    }

    pub fn get(&self, path: &str) -> Call<'_> {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::POST, path).json(body)
    }

    pub fn put(&self, path: &str, body: Value) -> Call<'_> {
        self.call(Method::PUT, path).json(body)
    }

    pub fn delete(&self, path: &str) -> Call<'_> {
        self.call(Method::DELETE, path)
    }

    /// Registers a module with its own token and returns the token.
    pub async fn register(&self, module_id: &str, manifest: Value) -> String {
        let token = self.module(module_id).await;
        let answer = self.put(&format!("/api/modules/{module_id}"), manifest).token(&token).send().await;
        assert_eq!(answer.status, 200, "{answer:?}");
        token
    }

    /// Registers a lamp that can be `set`, and returns its token.
    pub async fn lamp(&self) -> String {
        let params = serde_json::json!({"type": "object", "additionalProperties": false, "properties":
            {"on": {"type": "boolean"}, "brightness": {"type": "integer", "minimum": 0, "maximum": 100}}});
        let manifest = serde_json::json!({"actions": [{"name": "set", "params": params}]});
        self.register("led", manifest).await
    }

    /// The metrics as text.
    pub async fn metrics(&self) -> String {
        String::from_utf8(self.get("/metrics").send().await.body.to_vec()).unwrap()
    }

    pub async fn stop(self) {
        self.hub.stop().await.unwrap();
    }
}

pub struct Call<'a> {
    api: &'a Api,
    request: Request<Full<Bytes>>,
}

impl Call<'_> {
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.request.headers_mut().insert(name, value.parse().unwrap());
        self
    }

    pub fn token(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn json(self, body: Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub fn jpeg(self, body: Vec<u8>) -> Self {
        self.header("content-type", "image/jpeg").body(body)
    }

    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        *self.request.body_mut() = Full::new(body.into());
        self
    }

    pub async fn send(self) -> Answer {
        let response = self.open().await;
        let (head, body) = response.into_parts();
        let body = bounded("the body of a response", body.collect()).await.unwrap().to_bytes();
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// Sends it; returns the response with its body unread.
    pub async fn open(self) -> http::Response<hyper::body::Incoming> {
        bounded("a response", self.api.client.request(self.request)).await.unwrap()
    }

    /// Sends it; returns the body of the response, which must be successful.
    pub async fn ok(self) -> Value {
        let answer = self.send().await;
        assert!((200..300).contains(&answer.status), "{answer:?}");
        answer.json()
    }

    /// Sends it; returns the status, kind and pointer of the problem.
    pub async fn problem(self) -> (u16, String, String) {
        let answer = self.send().await;
        let problem = answer.problem();
        let text = |field: &str| problem[field].as_str().unwrap_or_default().to_owned();
        (answer.status, text("kind"), text("pointer"))
    }
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).unwrap() }
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|v| v.to_str().unwrap()).unwrap_or_default()
    }

    /// The problem document of this response, with its common fields checked.
    pub fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        assert_eq!(problem["type"], format!("urn:iotpi:problem:{}", problem["kind"].as_str().unwrap()));
        assert_eq!(problem["request_id"], self.header("x-request-id"));
        assert!(!problem["detail"].as_str().unwrap().is_empty());
        problem
    }
}

/// A minimal JPEG that the hub accepts: markers, dimensions and `content_bytes` instead of image data.
pub fn jpeg(width: u16, height: u16, content_bytes: usize) -> Vec<u8> {
    let mut bytes = vec![0xFF, 0xD8, 0xFF, 0xC0, 0, 17, 8];
    bytes.extend(height.to_be_bytes());
    bytes.extend(width.to_be_bytes());
    bytes.extend([3, 1, 0x22, 0, 2, 0x11, 1, 3, 0x11, 1, 0xFF, 0xDA, 0, 2]);
    bytes.extend(std::iter::repeat_n(0x55, content_bytes));
    bytes.extend([0xFF, 0xD9]);
    bytes
}
