//! `/`: the dashboard, embedded in the binary together with the compressed files of its build.
//!
//! The page itself is not compressed: it is small, and contains the base path, which depends on the proxy.

use std::sync::{Arc, Mutex};

use axum::{
    extract::Request,
    response::{Html, IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use rust_embed::{EmbeddedFile, RustEmbed};
use sha2::{Digest, Sha256};

use super::{
    content_coding::{self, ContentCoding},
    proxy::BasePath,
};
use crate::{error::HubError, lock::lock};

#[derive(RustEmbed)]
#[folder = "dashboard/"]
#[allow_missing = true]
struct Files;

const NOT_BUILT: &str = "<!doctype html><meta charset=utf-8><title>iotpi hub</title>\
<h1>The hub runs; its dashboard is not built in</h1>\
<p>Run <code>make ui</code> in the source tree and build the hub again. The API is described at <a href=docs/>docs/</a>.";

/// The page for the base path of the newest request.
#[derive(Clone, Default)]
pub(super) struct PageCache(Arc<Mutex<Option<(String, Page)>>>);

/// Responds with a file of the dashboard. A path without a file is a page of the single-page app.
pub(super) fn serve(request: &Request, cache: &PageCache) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET,HEAD")]).into_response();
    }
    let path = request.uri().path().trim_start_matches('/');
    if let Some(file) = File::find(path).filter(|_| path != "index.html" && !path.is_empty()) {
        return asset(path, &file, request.headers());
    }
    let wants_page = path.is_empty() || accepts_html(request.headers());
    if let Some((below, _)) = path.split_once("/_app/") {
        return HubError::not_found(format!(
            "There is nothing at /{path}. A proxy that serves the hub below /{below} has to remove that path, or set \
             http.base_path = \"/{below}\" in the hub's configuration."
        ))
        .into_response();
    }
    if !wants_page || path.starts_with("_app/") {
        return HubError::not_found(format!("There is nothing at /{path}.")).into_response();
    }
    let base =
        request.extensions().get::<BasePath>().cloned().unwrap_or_default().root_from(request.uri().path());
    match Files::get("index.html") {
        Some(index) => page(&index, &base, request.headers(), cache),
        None => Html(NOT_BUILT).into_response(),
    }
}

fn accepts_html(headers: &HeaderMap) -> bool {
    headers
        .get(header::ACCEPT)
        .and_then(|v| v.to_str().ok())
        .is_some_and(|accept| accept.contains("text/html"))
}

/// A file of the dashboard.
struct File {
    plain: EmbeddedFile,
    /// The compressed variants.
    compressed: Vec<(ContentCoding, EmbeddedFile)>,
}

impl File {
    /// The file at that path; a compressed one is found by its plain path only.
    fn find(path: &str) -> Option<Self> {
        let is_compressed = |coding: ContentCoding| {
            path.strip_suffix(coding.suffix()).is_some_and(|plain| Files::get(plain).is_some())
        };
        if ContentCoding::ALL.into_iter().any(is_compressed) {
            return None;
        }
        let plain = Files::get(path)?;
        let compressed = ContentCoding::ALL
            .into_iter()
            .filter_map(|coding| Some((coding, Files::get(&format!("{path}{}", coding.suffix()))?)))
            .collect();
        Some(Self { plain, compressed })
    }

    /// The body that the client prefers, and its coding.
    fn body(&self, headers: &HeaderMap) -> (&EmbeddedFile, Option<ContentCoding>) {
        content_coding::accepted(headers)
            .into_iter()
            .find_map(|accepted| {
                let (coding, file) = self.compressed.iter().find(|(coding, _)| *coding == accepted)?;
                Some((file, Some(*coding)))
            })
            .unwrap_or((&self.plain, None))
    }
}

fn asset(path: &str, file: &File, headers: &HeaderMap) -> Response {
    // File names under `immutable` contain a hash of the content.
    let cache =
        if path.starts_with("_app/immutable/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let (body, coding) = file.body(headers);
    // The hash of the sent bytes: each coding has its own entity tag.
    let etag = format!("\"{}\"", BASE64.encode(&body.metadata.sha256_hash()[..12]));
    let content_type = file.plain.metadata.mimetype();
    let mut response = answer(body.data.clone(), &etag, content_type, headers, cache);
    let is_sent = response.status() == StatusCode::OK;
    let headers = response.headers_mut();
    if let Some(coding) = coding.filter(|_| is_sent) {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    }
    if !file.compressed.is_empty() {
        headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    }
    response
}

/// Replaces `%base%` in the page by the base path of the hub.
fn page(index: &EmbeddedFile, base: &str, headers: &HeaderMap, PageCache(cache): &PageCache) -> Response {
    // A debug build reads the files again each time, because they may have been rebuilt.
    let known = lock(cache).clone().filter(|(of, _)| of == base && !cfg!(debug_assertions));
    let page = known.map_or_else(
        || {
            let page = Page::new(&index.data, base);
            *lock(cache) = Some((base.to_owned(), page.clone()));
            page
        },
        |(_, page)| page,
    );
    let mut response = answer(page.html, &page.etag, "text/html; charset=utf-8", headers, "no-cache");
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, page.policy);
    response
}

/// The page for one base path.
#[derive(Clone)]
struct Page {
    html: Bytes,
    etag: String,
    policy: HeaderValue,
}

impl Page {
    fn new(index: &[u8], base: &str) -> Self {
        let html = String::from_utf8_lossy(index).replace("%base%", base);
        let etag = BASE64.encode(&Sha256::digest(&html)[..12]);
        Self { etag: format!("\"{etag}\""), policy: policy(&html), html: html.into() }
    }
}

fn answer(
    body: impl Into<axum::body::Body>,
    etag: &str,
    content_type: &str,
    headers: &HeaderMap,
    cache: &'static str,
) -> Response {
    let mut response = if is_known(headers, etag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mut response = body.into().into_response();
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
    response
}

/// Whether `If-None-Match` contains the entity tag, by weak comparison (RFC 9110, section 13.1.2).
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let lines = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let mut tags = lines.flat_map(|line| line.split(',')).map(str::trim);
    tags.any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

/// The content security policy: scripts from the hub, and the inline scripts of the page by their hash.
fn policy(index: &str) -> HeaderValue {
    let mut scripts = String::from("'self'");
    for script in inline_scripts(index) {
        scripts.push_str(&format!(" 'sha256-{}'", BASE64.encode(Sha256::digest(script))));
    }
    let policy = format!(
        "default-src 'self'; script-src {scripts}; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; \
         object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy)
        .unwrap_or(HeaderValue::from_static("default-src 'self'; frame-ancestors 'none'"))
}

/// The content of `<script>` elements without `src`.
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
        let policy = policy(html);
        assert_eq!(policy.to_str().unwrap().matches("'sha256-").count(), 1);
    }
}
