//! `/`: the built dashboard, carried inside the binary.

use std::sync::OnceLock;

use axum::{
    extract::Request,
    response::{Html, IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest, Sha256};

use crate::error::HubError;

#[derive(RustEmbed)]
#[folder = "dashboard/"]
struct Files;

const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>iotpi hub</title>\
<h1>The hub runs; its dashboard is not built in</h1>\
<p>Run <code>make ui</code> in the source tree and build the hub again. The API is described at <a href=/docs>/docs</a>.";

/// Answers with a file of the dashboard; a path without a file is a page of the single-page app.
pub(super) fn serve(request: &Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET,HEAD")]).into_response();
    }
    let path = request.uri().path().trim_start_matches('/');
    if let Some(file) = Files::get(path).filter(|_| path != "index.html" && !path.is_empty()) {
        return asset(path, file, request.headers());
    }
    let wants_page = path.is_empty() || accepts_html(request.headers());
    if !wants_page || path.starts_with("_app/") {
        return HubError::not_found(format!("there is nothing at /{path}")).into_response();
    }
    match Files::get("index.html") {
        Some(index) => page(index, request.headers()),
        None => Html(NOT_BUILT).into_response(),
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

fn asset(path: &str, file: EmbeddedFile, headers: &HeaderMap) -> Response {
    // Names under `immutable` contain a hash of what is in them.
    let cache =
        if path.starts_with("_app/immutable/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    answer(file, headers, cache, None)
}

fn page(index: EmbeddedFile, headers: &HeaderMap) -> Response {
    static POLICY: OnceLock<HeaderValue> = OnceLock::new();
    let policy = if cfg!(debug_assertions) {
        // A debug build reads the files anew each time: they may have been built again.
        policy(&index.data)
    } else {
        POLICY.get_or_init(|| policy(&index.data)).clone()
    };
    answer(index, headers, "no-cache", Some(policy))
}

fn answer(
    file: EmbeddedFile,
    headers: &HeaderMap,
    cache: &'static str,
    policy: Option<HeaderValue>,
) -> Response {
    let etag = format!("\"{}\"", BASE64.encode(&file.metadata.sha256_hash()[..12]));
    let known = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let mut response = if known.is_some_and(|known| known.split(',').any(|tag| tag.trim() == etag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let content_type = file.metadata.mimetype().to_owned();
        let mut response = axum::body::Body::from(file.data).into_response();
        if let Ok(content_type) = HeaderValue::try_from(content_type) {
            response.headers_mut().insert(header::CONTENT_TYPE, content_type);
        }
        response
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    if let Ok(etag) = HeaderValue::try_from(etag) {
        headers.insert(header::ETAG, etag);
    }
    if let Some(policy) = policy {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// Scripts only from the hub itself, and the inline ones of the page as it was built, by their hash.
fn policy(index: &[u8]) -> HeaderValue {
    let mut scripts = String::from("'self'");
    for script in inline_scripts(&String::from_utf8_lossy(index)) {
        scripts.push_str(&format!(" 'sha256-{}'", BASE64.encode(Sha256::digest(script))));
    }
    let policy = format!(
        "default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy)
        .unwrap_or(HeaderValue::from_static("default-src 'self'; frame-ancestors 'none'"))
}

/// The texts of `<script>` elements without a `src`.
fn inline_scripts(html: &str) -> Vec<&str> {
    let mut scripts = Vec::new();
    let mut rest = html;
    while let Some(start) = rest.find("<script") {
        let Some(open) = rest[start..].find('>').map(|i| start + i) else { break };
        let Some(close) = rest[open..].find("</script>").map(|i| open + i) else { break };
        if !rest[start..open].contains("src=") {
            scripts.push(&rest[open + 1..close]);
        }
        rest = &rest[close..];
    }
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_scripts_are_allowed_by_their_hash_and_no_others() {
        let html = "<head><script src=\"/a.js\"></script><script>\n let a = 1 > 0;\n</script></head>";

        assert_eq!(inline_scripts(html), ["\n let a = 1 > 0;\n"]);
        let policy = policy(html.as_bytes());
        assert_eq!(policy.to_str().unwrap().matches("'sha256-").count(), 1);
    }
}
