//! What a request holds, taken out and checked: who calls, path, query, body.

use std::{fmt::Display, net::IpAddr, str::FromStr, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::{Bytes, BytesMut};
use http::{Method, header, request::Parts};
use http_body_util::BodyExt as _;
use iotpi_core::{InvalidTimestamp, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{encoding::NotGzip, json_fault, wording};
use crate::{
    Hub,
    auth::{Caller, signed_url},
    error::{HubError, Result},
    frames::Buffer,
    http::proxy::Client,
    ops::auth::Credential,
    store::PageRequest,
};

/// The most bytes of a JSON body.
pub(crate) const MAX_JSON_BYTES: usize = 256 * 1024;
/// The most items on a page, unless a list says otherwise.
pub(crate) const MAX_PAGE: u32 = 1000;
/// A body has to arrive within this time.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// The name of the session cookie.
pub(crate) const SESSION_COOKIE: &str = "iotpi_session";

/// The address of the connection's other end; put there by the accept loop.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) IpAddr);

impl FromRequestParts<Hub> for Client {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        let Peer(peer) =
            parts.extensions.get().ok_or_else(|| HubError::internal("a request came from nowhere"))?;
        Ok(Self::of(&hub.config().http.trusted_proxies, *peer, &parts.headers))
    }
}

/// What the request shows of who sent it.
pub(crate) fn credential(parts: &Parts) -> Result<Option<Credential>> {
    if let Some(value) = parts.headers.get(header::AUTHORIZATION) {
        let token = value.to_str().ok().and_then(token_of).ok_or_else(|| {
            HubError::unauthenticated(
                "`Authorization` has to be `Bearer TOKEN`, or `Basic` with the token as the password",
            )
        })?;
        return Ok(Some(Credential::Bearer(token)));
    }
    let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok());
    let session = cookies
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(name, value)| *name == SESSION_COOKIE && !value.is_empty());
    Ok(session.map(|(_, secret)| Credential::Session(secret.to_owned())))
}

/// The session, token or JWT of the request, unchecked; nothing where a signed URL stands for it.
pub(crate) struct Shown(pub(crate) Option<Credential>);

impl FromRequestParts<Hub> for Shown {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, _: &Hub) -> Result<Self> {
        if signature(parts).is_some() {
            return Ok(Self(None));
        }
        credential(parts).map(Self)
    }
}

/// The token in an `Authorization` header. In HTTP Basic (RFC 7617) it is the password, and the user name is ignored; where only a
/// name is given, as in `http://TOKEN@hub/`, it is that.
fn token_of(authorization: &str) -> Option<String> {
    let (scheme, value) = authorization.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(value.trim().to_owned());
    }
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| BASE64.decode(value.trim()))?.ok()?;
    let pair = String::from_utf8(decoded).ok()?;
    let (name, password) = pair.split_once(':')?;
    Some(if password.is_empty() { name } else { password }.to_owned())
}

/// The signature in the query of a GET without an `Authorization` header, and the rest of the query.
fn signature(parts: &Parts) -> Option<(String, &str)> {
    let may_be = parts.method == Method::GET && !parts.headers.contains_key(header::AUTHORIZATION);
    signed_url::split(parts.uri.query().filter(|_| may_be)?)
}

/// What is missing in a request without credentials.
fn nobody(parts: &Parts) -> HubError {
    let names = ["token", "access_token", "auth", "api_key", "apikey", "key", "password", "jwt", "bearer"];
    let mut fields =
        parts.uri.query().unwrap_or_default().split('&').filter_map(|pair| pair.split('=').next());
    if fields.any(|field| names.iter().any(|name| field.eq_ignore_ascii_case(name))) {
        return HubError::unauthenticated(
            "a token is not read from the query, because addresses are logged: send `Authorization: Bearer TOKEN`, or make a \
             signed URL with POST /api/auth/url",
        );
    }
    HubError::unauthenticated("say who you are: log in, or send `Authorization: Bearer TOKEN`")
}

/// Somebody known; everybody else is turned away.
impl FromRequestParts<Hub> for Caller {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        if let Some((query, signature)) = signature(parts) {
            return hub.identify_signed(parts.uri.path(), &query, signature).await;
        }
        let credential = credential(parts)?.ok_or_else(|| nobody(parts))?;
        let caller = hub.identify(&credential).await?;
        if let Some(module) = caller.module_id() {
            hub.seen(module);
        }
        Ok(caller)
    }
}

/// Somebody who may deliver: known, or nobody from a network of `auth.anonymous_ingest`.
pub(crate) struct Deliverer(pub(crate) Caller);

impl FromRequestParts<Hub> for Deliverer {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        if credential(parts)?.is_none() {
            let client = Client::from_request_parts(parts, hub).await?;
            if hub.config().auth.anonymous_ingest.iter().any(|network| network.contains(&client.address)) {
                if client.is_certain {
                    return Ok(Self(Caller::Anonymous));
                }
                return Err(HubError::unauthenticated(
                    "this request says that a proxy passed it on, so its sender's network is not known: send a token, or name \
                     the proxy in http.trusted_proxies",
                ));
            }
        }
        Caller::from_request_parts(parts, hub).await.map(Self)
    }
}

/// The one parameter of the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: FromStr<Err: Display>> FromRequestParts<Hub> for Path<T> {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        let params = RawPathParams::from_request_parts(parts, hub)
            .await
            .map_err(|_| HubError::invalid_argument("the path is not UTF-8"))?;
        let (name, text) =
            params.iter().next().ok_or_else(|| HubError::internal("a path without parameters"))?;
        text.parse()
            .map(Self)
            .map_err(|error| HubError::invalid_argument(format!("`{name}` in the path: {error}")))
    }
}

/// The query, every parameter known and of its shape.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<Hub> for Query<T> {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        match axum::extract::Query::from_request_parts(parts, hub).await {
            Ok(axum::extract::Query(query)) => Ok(Self(query)),
            Err(rejection) => {
                let reason =
                    std::error::Error::source(&rejection).map_or(rejection.to_string(), ToString::to_string);
                Err(HubError::invalid_argument(format!("the query is wrong: {}", wording::of_query(&reason))))
            }
        }
    }
}

/// The page asked for.
pub(crate) fn page(limit: Option<u32>, cursor: Option<String>) -> Result<PageRequest> {
    page_of(limit, cursor, MAX_PAGE)
}

/// The page asked for, of a list with a limit of its own.
pub(crate) fn page_of(limit: Option<u32>, cursor: Option<String>, most: u32) -> Result<PageRequest> {
    let limit = limit.unwrap_or(100);
    if !(1..=most).contains(&limit) {
        return Err(HubError::invalid_argument(format!("`limit` is 1 to {},000 here", most / 1000)));
    }
    Ok(PageRequest { limit, cursor })
}

/// A moment in a query: Unix seconds or RFC 3339.
pub(crate) fn moment(name: &str, text: Option<&str>) -> Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    let parsed = match text.parse::<f64>() {
        Ok(secs) => Timestamp::from_secs_f64(secs),
        Err(_) => Timestamp::parse(text),
    };
    parsed.map(Some).map_err(|error| wrong_time(&error, name))
}

/// Whether a value that is about to be read as a [`Timestamp`] is one; what is neither a number nor a text is left to
/// whoever reads it.
pub(crate) fn check_moment(value: Option<&Value>) -> Result<()> {
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

fn wrong_time(error: &InvalidTimestamp, name: &str) -> HubError {
    let detail = format!("`{name}`: {error}");
    if error.is_out_of_range() { HubError::unprocessable(detail) } else { HubError::invalid_argument(detail) }
}

/// The JSON body as a value.
pub(crate) struct JsonBody(pub(crate) Value);

impl FromRequest<Hub> for JsonBody {
    type Rejection = HubError;

    async fn from_request(request: Request, hub: &Hub) -> Result<Self> {
        let JsonText(body) = JsonText::from_request(request, hub).await?;
        value(&body).map(Self)
    }
}

/// A JSON text as a value.
pub(crate) fn value(body: &[u8]) -> Result<Value> {
    serde_json::from_slice(body)
        .map_err(|error| HubError::invalid_argument(json_fault::describe(body, &error)).caused_by(error))
}

/// The body of a request whose body is JSON, without a byte order mark.
pub(crate) struct JsonText(pub(crate) Bytes);

impl FromRequest<Hub> for JsonText {
    type Rejection = HubError;

    async fn from_request(request: Request, _: &Hub) -> Result<Self> {
        let declared = content_type(request.headers());
        let typed = is_json(&declared);
        if !typed && !UNTYPED.contains(&declared.as_str()) {
            return Err(HubError::invalid_argument(format!(
                "the body has to be JSON, not `{declared}`: with curl, add -H 'content-type: application/json'"
            )));
        }
        let body = read(request, MAX_JSON_BYTES, "a JSON body has up to 256 KiB").await?;
        let mark = body.len() - json_fault::without_mark(&body).len();
        let body = body.slice(mark..);
        if !typed && !body.trim_ascii().is_empty() && !json_fault::may_be_json(&body) {
            let fault = value(&body).err().map_or_else(String::new, |error| format!("{}; ", error.detail()));
            return Err(HubError::invalid_argument(format!(
                "{fault}with curl, add -H 'content-type: application/json' and send a JSON object"
            )));
        }
        Ok(Self(body))
    }
}

/// Content types that say nothing of the body: what devices and curl send by default. Cross-site forms can send them too;
/// the `Origin` of a request is checked before.
const UNTYPED: [&str; 4] =
    ["", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream"];

/// The media type, in lower case and without parameters; empty when there is none.
fn content_type(headers: &http::HeaderMap) -> String {
    let text = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn is_json(media: &str) -> bool {
    media == "application/json" || media == "text/json" || media.ends_with("+json")
}

/// The JSON body as what it should be.
pub(crate) struct JsonOf<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Hub> for JsonOf<T> {
    type Rejection = HubError;

    async fn from_request(request: Request, hub: &Hub) -> Result<Self> {
        let JsonBody(value) = JsonBody::from_request(request, hub).await?;
        read_as(value, "").map(Self)
    }
}

/// Reads a value as what it should be; says where it is not, from `base` on.
pub(crate) fn read_as<T: DeserializeOwned>(value: Value, base: &str) -> Result<T> {
    // Serde takes an array for a struct, field by field in their order: not here.
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
        HubError::invalid_argument(wording::of_serde(&error.inner().to_string())).at(pointer)
    })
}

/// Reads a body of up to `limit` bytes.
pub(crate) async fn read(request: Request, limit: usize, too_large: &str) -> Result<Bytes> {
    read_into(request, limit, too_large, BytesMut::with_capacity).await.map(BytesMut::freeze)
}

/// Reads a body of up to `limit` bytes into what `begin` makes for the length it says, or for 0 bytes.
pub(crate) async fn read_into<B: Collect>(
    request: Request,
    limit: usize,
    too_large: &str,
    begin: impl FnOnce(usize) -> B,
) -> Result<B> {
    let declared = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|v| v.to_str().ok())
        .and_then(|text| text.parse::<usize>().ok());
    if declared.is_some_and(|bytes| bytes > limit) {
        return Err(HubError::too_large(too_large));
    }
    let collect = collect(request.into_body(), limit, begin(declared.unwrap_or(0)));
    match tokio::time::timeout(BODY_TIMEOUT, collect).await {
        Ok(Ok(Some(body))) => Ok(body),
        Ok(Ok(None)) => Err(HubError::too_large(too_large)),
        Ok(Err(error)) if NotGzip::caused(&error) => Err(HubError::invalid_argument(NotGzip.to_string())),
        Ok(Err(error)) => Err(HubError::invalid_argument("the body broke off").caused_by(error)),
        Err(_) => Err(HubError::invalid_argument("the body did not arrive within 60 s")),
    }
}

/// What a body is read into.
pub(crate) trait Collect {
    fn add(&mut self, data: &[u8]);
    fn bytes(&self) -> usize;
}

impl Collect for BytesMut {
    fn add(&mut self, data: &[u8]) {
        self.extend_from_slice(data);
    }

    fn bytes(&self) -> usize {
        self.len()
    }
}

impl Collect for Buffer {
    fn add(&mut self, data: &[u8]) {
        self.extend(data);
    }

    fn bytes(&self) -> usize {
        self.len()
    }
}

/// One allocation when the length is known; nothing when there is more than `limit`.
async fn collect<B: Collect>(mut body: Body, limit: usize, mut whole: B) -> Result<Option<B>, axum::Error> {
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        if whole.bytes() + data.len() > limit {
            return Ok(None);
        }
        whole.add(&data);
    }
    Ok(Some(whole))
}
