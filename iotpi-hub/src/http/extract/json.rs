//! JSON bodies: their content type, size and fields.

use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::header;
use iotpi_core::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    super::{json_syntax, proxy::connection, serde_messages},
    body::read,
    params::wrong_time,
};
use crate::{
    Hub,
    error::{HubError, Result},
};

/// The most bytes of a JSON body.
const MAX_JSON_BYTES: usize = 256 * 1024;
/// The most bytes of a JSON body without credentials, which contains a name, a password or a code.
const MAX_UNAUTHENTICATED_BYTES: usize = 8 * 1024;

/// A JSON body of any type.
pub(crate) struct JsonValue(pub(crate) Value);

impl FromRequest<Hub> for JsonValue {
    type Rejection = HubError;

    async fn from_request(request: Request, hub: &Hub) -> Result<Self> {
        let JsonBytes(body) = JsonBytes::from_request(request, hub).await?;
        value(&body).map(Self)
    }
}

/// Parses JSON, with an error text for the sender.
pub(crate) fn value(body: &[u8]) -> Result<Value> {
    serde_json::from_slice(body)
        .map_err(|error| HubError::invalid_argument(json_syntax::describe(body, &error)).caused_by(error))
}

/// The bytes of a JSON body, without a byte order mark.
pub(crate) struct JsonBytes(pub(crate) Bytes);

impl FromRequest<Hub> for JsonBytes {
    type Rejection = HubError;

    async fn from_request(request: Request, hub: &Hub) -> Result<Self> {
        let declared = content_type(request.headers());
        let typed = is_json(&declared);
        if !typed && !UNTYPED.contains(&declared.as_str()) {
            return Err(HubError::invalid_argument(format!(
                "The body must be JSON, not `{declared}`. With curl, add -H 'content-type: application/json'."
            )));
        }
        let limit = match connection(request.extensions())?.is_authenticated() {
            true => (MAX_JSON_BYTES, "A JSON body must not exceed 256 KiB."),
            false => (MAX_UNAUTHENTICATED_BYTES, "A JSON body without credentials must not exceed 8 KiB."),
        };
        let body = read(request, limit, &hub.inner.admission.bodies, BytesMut::with_capacity).await?.freeze();
        let mark = body.len() - json_syntax::without_mark(&body).len();
        let body = body.slice(mark..);
        if !typed && !body.trim_ascii().is_empty() && !json_syntax::may_be_json(&body) {
            let fault = value(&body).err().map_or_else(String::new, |error| format!("{}; ", error.detail()));
            return Err(HubError::invalid_argument(format!(
                "{fault}with curl, add -H 'content-type: application/json' and send a JSON object"
            )));
        }
        Ok(Self(body))
    }
}

/// Content types that devices and curl send by default for any body. Cross-site forms can send them too, but
/// the `Origin` of a request is checked before.
const UNTYPED: [&str; 4] =
    ["", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream"];

/// The media type in lower case without parameters, or an empty text.
fn content_type(headers: &http::HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(media: &str) -> bool {
    media == "application/json" || media == "text/json" || media.ends_with("+json")
}

/// A JSON body, deserialized.
pub(crate) struct JsonBody<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Hub> for JsonBody<T> {
    type Rejection = HubError;

    async fn from_request(request: Request, hub: &Hub) -> Result<Self> {
        let JsonValue(value) = JsonValue::from_request(request, hub).await?;
        deserialize(value, "").map(Self)
    }
}

/// Deserializes a value. An error points to the invalid part, below `base`.
pub(crate) fn deserialize<T: DeserializeOwned>(value: Value, base: &str) -> Result<T> {
    // Serde would also accept an array with the fields of a struct in order.
    if !value.is_object() {
        return Err(HubError::invalid_argument("this has to be a JSON object").at(base));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let mut pointer = base.to_owned();
        for segment in error.path() {
            match segment {
                serde_path_to_error::Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
                serde_path_to_error::Segment::Map { key } => {
                    pointer.push('/');
                    pointer.push_str(&key.replace('~', "~0").replace('/', "~1"));
                }
                _ => {}
            }
        }
        HubError::invalid_argument(serde_messages::explain(&error.inner().to_string())).at(pointer)
    })
}

/// Checks a value that will be deserialized as a [`Timestamp`]. A value that is neither a number nor a string
/// is left to the deserializer.
pub(crate) fn check_time(value: Option<&Value>) -> Result<()> {
    let parsed = match value {
        Some(Value::Number(secs)) => secs.as_f64().map(Timestamp::from_secs_f64),
        Some(Value::String(text)) => Some(Timestamp::parse(text)),
        _ => None,
    };
    match parsed {
        Some(Err(error)) => Err(wrong_time(&error, "timestamp")),
        _ => Ok(()),
    }
}
