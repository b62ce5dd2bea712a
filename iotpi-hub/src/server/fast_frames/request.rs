//! Reading the head of a frame request.

use std::sync::Arc;

use axum::extract::FromRequestParts as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, header, request::Parts};
use iotpi_core::{ModuleId, model::frame::MAX_FRAME_BYTES};

use super::REQUEST_LINE_START;
use crate::{
    Hub,
    admission::ConnectionPermit,
    auth::Caller,
    http::{
        camera::{FrameMetadata, PublishParams, camera_of, is_jpeg},
        extract::{IngestAuth, Query, parse_time},
        middleware,
    },
};

const MAX_HEADERS: usize = 32;

/// A frame that is about to arrive from a caller that may deliver it.
pub(super) struct FrameRequest {
    pub(super) caller: Caller,
    pub(super) module_id: ModuleId,
    pub(super) metadata: FrameMetadata,
    /// Bytes of the body.
    pub(super) length: usize,
    /// The client asked to close the connection after the response.
    pub(super) close: bool,
}

impl FrameRequest {
    /// Reads a head. Returns `None` when the request has to be handed over.
    pub(super) async fn parse(hub: &Hub, head: &[u8], permit: &Arc<ConnectionPermit>) -> Option<Self> {
        let mut parts = parse_head(head)?;
        let length = plain_length(&parts.headers)?;
        middleware::check(hub, &parts.method, &parts.uri, &parts.headers).ok()?;
        parts.extensions.insert(Arc::clone(permit));
        let IngestAuth(caller) = IngestAuth::from_request_parts(&mut parts, hub).await.ok()?;
        let Query(query) = Query::<PublishParams>::from_request_parts(&mut parts, hub).await.ok()?;
        let metadata = FrameMetadata::from_headers(&parts.headers, hub.now().wall).ok()?;
        let metadata = metadata.with_time(parse_time("timestamp", query.timestamp.as_deref()).ok()?);
        let module_id = camera_of(query.module_id, &caller).ok()?;
        caller.may_deliver_as(&module_id).ok()?;
        let close = parts.headers.contains_key(header::CONNECTION);
        Some(Self { caller, module_id, metadata, length, close })
    }
}

/// Parses an HTTP/1.1 head.
fn parse_head(head: &[u8]) -> Option<Parts> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    if !request.parse(head).ok()?.is_complete()
        || request.version != Some(1)
        || request.method != Some("POST")
    {
        return None;
    }
    let uri: Uri = request.path?.parse().ok()?;
    if uri.path().as_bytes() != &REQUEST_LINE_START[b"POST ".len()..] {
        return None;
    }
    let mut parts = Request::new(()).into_parts().0;
    parts.method = Method::POST;
    parts.uri = uri;
    for header in request.headers.iter() {
        let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
        parts.headers.append(name, HeaderValue::from_bytes(header.value).ok()?);
    }
    Some(parts)
}

/// The length of a JPEG body, unless a header asks for more than reading that many bytes.
fn plain_length(headers: &HeaderMap) -> Option<usize> {
    let unsupported =
        [header::TRANSFER_ENCODING, header::CONTENT_ENCODING, header::EXPECT, header::UPGRADE, header::TE];
    let is_repeated = |name| headers.get_all(name).iter().count() > 1;
    if unsupported.iter().any(|name| headers.contains_key(name))
        || is_repeated(header::CONTENT_LENGTH)
        || is_repeated(header::HOST)
        || is_repeated(header::AUTHORIZATION)
        || !is_jpeg(headers)
    {
        return None;
    }
    if let Some(connection) = headers.get(header::CONNECTION)
        && !connection.as_bytes().eq_ignore_ascii_case(b"close")
    {
        return None;
    }
    let length = headers.get(header::CONTENT_LENGTH)?.as_bytes();
    // Digits only: `parse` would accept a sign.
    if !length.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(length).ok()?.parse().ok().filter(|length| (1..=MAX_FRAME_BYTES).contains(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn length_of(head: &str) -> Option<usize> {
        plain_length(&parse_head(head.replace('\n', "\r\n").as_bytes())?.headers)
    }

    #[test]
    fn a_plain_frame_request_is_served_and_every_other_is_handed_over() {
        let plain = "POST /api/camera/frame?module_id=a HTTP/1.1\nhost: a\ncontent-type: image/jpeg\ncontent-length: 77\n\n";
        assert_eq!(length_of(plain), Some(77));
        assert_eq!(length_of(&plain.replace("content-type: image/jpeg\n", "")), Some(77));
        assert_eq!(length_of(&plain.replace("host: a", "connection: close")), Some(77));

        for (original, replacement) in [
            ("POST", "PUT"),
            ("HTTP/1.1", "HTTP/1.0"),
            ("/api/camera/frame", "/api/camera/frames"),
            ("/api/camera/frame", "/api/camera/frame/"),
            ("image/jpeg", "multipart/form-data; boundary=x"),
            ("image/jpeg", "text/plain"),
            ("77", "0"),
            ("77", "+77"),
            ("77", "77, 77"),
            ("77", "8388609"),
            ("77", "99999999999999999999999"),
            ("content-length: 77", "content-length: 77\ncontent-length: 78"),
            ("content-length: 77", "content-length: 77\ntransfer-encoding: chunked"),
            ("content-length: 77", "transfer-encoding: chunked"),
            ("content-length: 77", "content-length: 77\nexpect: 100-continue"),
            ("content-length: 77", "content-length: 77\ncontent-encoding: gzip"),
            ("content-length: 77", "content-length: 77\nconnection: upgrade"),
            ("host: a", "host : a"),
            ("host: a", "host: a\n b"),
            ("host: a", "host: a\nhost: b"),
        ] {
            assert_eq!(length_of(&plain.replacen(original, replacement, 1)), None, "{replacement}");
        }
    }
}
