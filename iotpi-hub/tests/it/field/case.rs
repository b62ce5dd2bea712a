//! One case of `tests/field/cases.toml`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use serde::Deserialize;
use serde_json::Value;

/// The content of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    pub cases: Vec<Case>,
}

/// A request as a device, a script or a proxy sends it, with the expected response. `tests/field/README.md`
/// describes every field.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Case {
    pub id: String,
    pub source: String,
    pub config: String,
    pub before: Vec<String>,
    pub send: String,
    pub admin: bool,
    pub headers: Vec<String>,
    pub body: Option<String>,
    pub file: Option<String>,
    pub transfer: Vec<Transfer>,
    pub status: Option<u16>,
    pub has: Vec<String>,
    pub lacks: Vec<String>,
    pub answer: BTreeMap<String, Value>,
    pub then: Option<String>,
    pub expect: BTreeMap<String, Value>,
}

/// How the bytes of the request are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transfer {
    /// The body is sent in chunks of 1,000 bytes (RFC 9112, 7.1).
    Chunked,
    /// The body is sent in a separate packet, after the head.
    HeadFirst,
    /// The sending side is shut down after the last byte.
    HalfClose,
    /// The connection is closed after the last byte, and the response is not read.
    Close,
}

/// The values of the placeholders in the texts of a case.
pub struct Placeholders {
    /// The current time in Unix seconds.
    pub now: i64,
    /// A token of an admin.
    pub token: String,
    /// `ADDR:PORT` of the hub.
    pub host: String,
}

impl Case {
    /// The reason why the case is not valid, if it is not.
    pub fn invalid_reason(&self) -> Option<&'static str> {
        let sends_nothing = self.send.split_once(' ').is_none();
        let expects_nothing = self.status.is_none() && self.expect.is_empty();
        let is_closed = self.has(Transfer::Close);
        let reads_response = self.status.is_some()
            || !(self.has.is_empty() && self.lacks.is_empty() && self.answer.is_empty());
        [
            (self.id.is_empty(), "it has no `id`"),
            (self.source.is_empty(), "it has no `source`"),
            (sends_nothing, "`send` is not METHOD and PATH"),
            (self.body.is_some() && self.file.is_some(), "it has a `body` and a `file`"),
            (expects_nothing, "it expects nothing: give `status`, or `then` and `expect`"),
            (self.then.is_none() != self.expect.is_empty(), "`then` and `expect` belong together"),
            (is_closed && reads_response, "it expects a response, which `close` does not read"),
            (!is_closed && self.status.is_none(), "it has no `status`"),
        ]
        .into_iter()
        .find_map(|(is_wrong, reason)| is_wrong.then_some(reason))
    }

    /// Whether the request is sent like this.
    pub fn has(&self, transfer: Transfer) -> bool {
        self.transfer.contains(&transfer)
    }

    /// The body and its default content type.
    pub fn body(&self, inputs: &Path, texts: &Placeholders) -> Option<(Vec<u8>, &'static str)> {
        if let Some(body) = &self.body {
            return Some((texts.fill(body).into_bytes(), "application/json"));
        }
        let file = self.file.as_ref()?;
        let path = inputs.join(file);
        let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let content_type = match PathBuf::from(file).extension().and_then(|extension| extension.to_str()) {
            Some("jpg") => "image/jpeg",
            _ => "application/json",
        };
        Some((bytes, content_type))
    }
}

impl Placeholders {
    /// Replaces `{now}`, `{now+60}`, `{now-60}`, `{now_ms}`, `{token}`, `{basic}` and `{host}`.
    pub fn fill(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            filled.push_str(before);
            let value = after.split_once('}').and_then(|(name, after)| Some((self.value(name)?, after)));
            match value {
                Some((value, after)) => {
                    filled.push_str(&value);
                    rest = after;
                }
                // This is a brace of JSON.
                None => {
                    filled.push('{');
                    rest = after;
                }
            }
        }
        filled + rest
    }

    fn value(&self, name: &str) -> Option<String> {
        match name {
            "now_ms" => Some(format!("{}000", self.now)),
            "token" => Some(self.token.clone()),
            "basic" => Some(BASE64.encode(format!("iotpi:{}", self.token))),
            "host" => Some(self.host.clone()),
            _ => {
                let offset = name.strip_prefix("now")?;
                let offset: i64 = if offset.is_empty() { 0 } else { offset.parse().ok()? };
                Some((self.now + offset).to_string())
            }
        }
    }
}
