//! Problem documents (RFC 9457). This is the only module that knows status codes.

use std::{collections::BTreeMap, error::Error as _, sync::Arc, time::Duration};

use axum::{
    Json,
    body::Body,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use iotpi_core::model::error::{ErrorKind, Problem};
use utoipa::{
    IntoResponses,
    openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder},
};

use crate::error::HubError;

pub(crate) const CONTENT_TYPE: &str = "application/problem+json";

pub(crate) fn status(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
        ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
        ErrorKind::PermissionDenied => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Converts an error to a problem document.
pub(crate) fn document(error: &HubError, request_id: Option<&str>) -> Problem {
    let kind = error.kind();
    let mut problem = Problem::new(kind, status(kind).as_u16(), error.detail());
    problem.pointer = error.pointer().map(str::to_owned);
    problem.choices = (!error.choices().is_empty()).then(|| error.choices().to_vec());
    problem.retry_after_secs = error.wait().map(|wait| wait.as_secs_f64());
    problem.request_id = request_id.map(str::to_owned);
    problem
}

/// A problem document. On the routes of the hub, `finish` adds the request id.
impl IntoResponse for HubError {
    fn into_response(self) -> Response {
        let mut response = into_response(&self).map(Body::from);
        response.extensions_mut().insert(Arc::new(self));
        response
    }
}

/// Turns every error response into a problem document, whether it comes from an operation or from axum.
pub(super) fn finish(response: Response, request_id: &str, challenge: Challenge) -> Response {
    let code = response.status();
    if !(code.is_client_error() || code.is_server_error()) {
        return response;
    }
    let error = match response.extensions().get::<Arc<HubError>>() {
        Some(error) => Arc::clone(error),
        None if is_default_body(&response) => Arc::new(default_error(code)),
        None => return response,
    };
    log(&error, request_id);
    let mut problem = document(&error, Some(request_id));
    // The codes 405 and 415 do not correspond to a kind.
    problem.status = code.as_u16();
    let mut finished = (code, Json(&problem)).into_response();
    let headers = finished.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    for name in [header::ALLOW, header::ACCEPT_ENCODING] {
        if let Some(value) = response.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    if code == StatusCode::UNAUTHORIZED {
        challenge.add(headers);
    }
    if let Some(wait) = error.wait() {
        headers.insert(header::RETRY_AFTER, retry_after(wait));
    }
    finished
}

/// The authentication schemes that a 401 response offers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Challenge {
    Bearer,
    /// Also HTTP Basic: ffmpeg and other programs send the credentials in their URL only if the server asks
    /// for them.
    BearerAndBasic,
}

impl Challenge {
    /// Selects the schemes. Scripts in a browser are not offered Basic, because the browser would open a
    /// login dialog.
    pub(super) fn to(headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let is_browser = text(header::USER_AGENT).starts_with("Mozilla/");
        if is_browser && !text(header::ACCEPT).contains("text/html") {
            Self::Bearer
        } else {
            Self::BearerAndBasic
        }
    }

    fn add(self, headers: &mut HeaderMap) {
        let bearer = HeaderValue::from_static("Bearer realm=\"iotpi\"");
        headers.insert(header::WWW_AUTHENTICATE, bearer);
        if matches!(self, Self::BearerAndBasic) {
            let basic = HeaderValue::from_static("Basic realm=\"iotpi\", charset=\"UTF-8\"");
            headers.append(header::WWW_AUTHENTICATE, basic);
        }
    }
}

/// The response to a body with an unsupported encoding, which lists the supported ones (RFC 9110 section
/// 15.5.16).
pub(super) fn unsupported_encoding(name: &str) -> Response {
    let error = HubError::invalid_argument(format!(
        "The content encoding `{name}` is not supported. Send the body uncompressed or with `Content-Encoding: gzip`."
    ));
    let mut response = StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    response.extensions_mut().insert(Arc::new(error));
    response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    response
}

/// The response to a request without an id.
pub(crate) fn into_response(error: &HubError) -> http::Response<String> {
    let body = serde_json::to_string(&document(error, None)).unwrap_or_default();
    let mut response = http::Response::new(body);
    *response.status_mut() = status(error.kind());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    if error.kind() == ErrorKind::Unauthenticated {
        Challenge::Bearer.add(headers);
    }
    if let Some(wait) = error.wait() {
        headers.insert(header::RETRY_AFTER, retry_after(wait));
    }
    response
}

/// The value of `Retry-After`: whole seconds (RFC 9110 section 10.2.3), rounded up, at least one.
fn retry_after(wait: Duration) -> HeaderValue {
    HeaderValue::from(wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1))
}

/// Whether the response has the default text body of axum.
fn is_default_body(response: &Response) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok());
    content_type.is_none_or(|t| t.starts_with("text/plain"))
}

fn default_error(code: StatusCode) -> HubError {
    match code {
        StatusCode::METHOD_NOT_ALLOWED => HubError::invalid_argument(
            "This path does not support the method. The `Allow` header lists the supported ones.",
        ),
        StatusCode::NOT_FOUND => HubError::not_found("There is nothing at this path."),
        StatusCode::PAYLOAD_TOO_LARGE => HubError::too_large("The body is too large."),
        StatusCode::SERVICE_UNAVAILABLE => {
            HubError::unavailable("The hub cannot respond now. Try again in a moment.")
        }
        code if code.is_server_error() => {
            HubError::internal("The hub failed. Its log contains the cause with the request id.")
        }
        _ => HubError::invalid_argument("The hub does not understand the request."),
    }
}

/// Logs the error with its chain of causes. No other code logs it.
pub(crate) fn log(error: &HubError, request_id: &str) {
    match error.kind() {
        ErrorKind::Internal | ErrorKind::StorageFull => {
            let error: &dyn std::error::Error = error;
            tracing::error!(request_id, error, "request failed");
        }
        ErrorKind::Unavailable => tracing::warn!(request_id, source = error.source(), "{error}"),
        kind => tracing::debug!(request_id, kind = kind.as_str(), "{error}"),
    }
}

/// The OpenAPI response of a kind.
fn documented(kind: ErrorKind) -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new().description(kind.title()).content(CONTENT_TYPE, content).build();
    BTreeMap::from([(status(kind).as_str().to_owned(), RefOr::T(response))])
}

macro_rules! documented_kinds {
    ($($kind:ident),*) => {
        $(
            #[doc = concat!("`", stringify!($kind), "` as a documented response of an operation.")]
            pub(crate) struct $kind;

            impl IntoResponses for $kind {
                fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
                    documented(ErrorKind::$kind)
                }
            }
        )*
    };
}

documented_kinds!(
    InvalidArgument,
    Unauthenticated,
    PermissionDenied,
    NotFound,
    Conflict,
    TooLarge,
    Unprocessable,
    RateLimited,
    Internal,
    Unavailable,
    StorageFull
);
