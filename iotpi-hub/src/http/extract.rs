//! What a request holds, taken out and checked: who calls, path, query, body.

use std::{fmt::Display, str::FromStr, sync::Arc};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, RawPathParams, Request},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::{Bytes, BytesMut};
use http::{Extensions, Method, header, request::Parts};
use http_body_util::BodyExt as _;
use iotpi_core::{InvalidTimestamp, Timestamp};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use super::{cookie, encoding::NotGzip, json_fault, wording};
use crate::{
    Hub,
    admission::{ConnectionPermit, Holder, MIN_BYTES_PER_SEC, MinimumRate, Shares},
    auth::{Authorization, Authorized, Caller, signed_url},
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
/// The most bytes of the JSON body of a request without credentials: a name, a password, a code.
pub(crate) const MAX_UNAUTHENTICATED_BYTES: usize = 8 * 1024;
/// A body of unknown length takes at least this much from its budget.
const STEP_BYTES: usize = 4 * 1024;

/// The connection of a request; put there by the accept loop.
pub(crate) fn connection(extensions: &Extensions) -> Result<&Arc<ConnectionPermit>> {
    extensions.get().ok_or_else(|| HubError::internal("a request came from nowhere"))
}

impl FromRequestParts<Hub> for Client {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        let peer = connection(&parts.extensions)?.address();
        Ok(Self::of(&hub.config().http.trusted_proxies, peer, &parts.headers))
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
    Ok(cookie::session(&parts.headers).map(|secret| Credential::Session(secret.to_owned())))
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

/// Somebody known; everybody else is turned away. The answer to the request is bound to it.
impl FromRequestParts<Hub> for Authorization {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        let authorized = parts.extensions.get::<Authorized>().cloned().unwrap_or_default();
        if let Some(authorization) = authorized.get() {
            return Ok(authorization.clone());
        }
        let authorization = match signature(parts) {
            Some((query, signature)) => hub.authorize_signed(parts.uri.path(), &query, signature).await?,
            None => hub.authorize(&credential(parts)?.ok_or_else(|| nobody(parts))?).await?,
        };
        let connection = connection(&parts.extensions)?;
        connection.authenticated(Holder::of_caller(authorization.caller(), connection.address()))?;
        if let Some(module) = authorization.caller().module_id() {
            hub.seen(module);
        }
        authorized.set(&authorization);
        Ok(authorization)
    }
}

impl FromRequestParts<Hub> for Caller {
    type Rejection = HubError;

    async fn from_request_parts(parts: &mut Parts, hub: &Hub) -> Result<Self> {
        Ok(Authorization::from_request_parts(parts, hub).await?.caller().clone())
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
                    connection(&parts.extensions)?.authenticated(Holder::of_address(client.address))?;
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

    async fn from_request(request: Request, hub: &Hub) -> Result<Self> {
        let declared = content_type(request.headers());
        let typed = is_json(&declared);
        if !typed && !UNTYPED.contains(&declared.as_str()) {
            return Err(HubError::invalid_argument(format!(
                "the body has to be JSON, not `{declared}`: with curl, add -H 'content-type: application/json'"
            )));
        }
        let limit = match connection(request.extensions())?.is_authenticated() {
            true => (MAX_JSON_BYTES, "a JSON body has up to 256 KiB"),
            false => (MAX_UNAUTHENTICATED_BYTES, "a JSON body without credentials has up to 8 KiB"),
        };
        let body = read(request, limit, &hub.inner.admission.bodies, BytesMut::with_capacity).await?.freeze();
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

/// Reads a body of up to `limit` bytes into what `begin` makes for the length it says, or for 0 bytes. Once its first bytes
/// are there the body takes its length from the budget `shares`, or piece by piece what arrives when it does not say its length.
/// The budget gets it back when the request is answered.
///
/// # Errors
/// `TooLarge` with the sentence of `limit`; `Unavailable` without room in the budget; `InvalidArgument` when the body breaks off
/// or arrives more slowly than [`MIN_BYTES_PER_SEC`].
pub(crate) async fn read<B: Collect>(
    request: Request,
    (limit, too_large): (usize, &str),
    shares: &Shares,
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
    let connection = Arc::clone(connection(request.extensions())?);
    let mut body = request.into_body();
    let Some(first) = next_data(&mut body, MinimumRate::new().deadline()).await? else { return Ok(begin(0)) };
    let mut memory = shares
        .acquire(&connection.holder(), declared.unwrap_or(first.len().next_multiple_of(STEP_BYTES)))
        .await?;
    let mut whole = begin(declared.unwrap_or(0));
    // The time it waited for room was not the sender's.
    let mut rate = MinimumRate::new();
    let mut next = Some(first);
    while let Some(data) = next {
        if whole.bytes() + data.len() > limit {
            return Err(HubError::too_large(too_large));
        }
        rate.received(data.len());
        let bytes = whole.bytes() + data.len();
        if declared.is_none() && bytes > memory.units() {
            // Doubled, as the memory of a buffer that grows is.
            shares.resize(&mut memory, (2 * bytes).min(limit)).await?;
        }
        whole.add(&data);
        next = next_data(&mut body, rate.deadline()).await?;
    }
    connection.keep(memory);
    Ok(whole)
}

/// The next bytes of a body, if they arrive in time; nothing at its end.
async fn next_data(body: &mut Body, deadline: Instant) -> Result<Option<Bytes>> {
    let next = async {
        loop {
            match body.frame().await.transpose()? {
                Some(frame) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Ok(Some(data)),
                    _ => {}
                },
                None => return Ok::<_, axum::Error>(None),
            }
        }
    };
    match tokio::time::timeout_at(deadline, next).await {
        Ok(Ok(data)) => Ok(data),
        Ok(Err(error)) if NotGzip::caused(&error) => Err(HubError::invalid_argument(NotGzip.to_string())),
        Ok(Err(error)) => Err(HubError::invalid_argument("the body broke off").caused_by(error)),
        Err(_) => Err(too_slow()),
    }
}

/// The refusal of a body that arrives too slowly.
pub(crate) fn too_slow() -> HubError {
    HubError::invalid_argument(format!(
        "the body arrived too slowly: a body needs at least {} KiB/s",
        MIN_BYTES_PER_SEC / 1024
    ))
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
