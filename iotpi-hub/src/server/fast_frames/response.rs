//! The response to a frame request.

use std::sync::LazyLock;

use http::StatusCode;
use iotpi_core::{Timestamp, model::camera::FrameReceipt};

use crate::{
    Hub,
    error::{HubError, Result},
    http::{middleware, problem},
};

pub(super) struct FrameResponse {
    status: StatusCode,
    content_type: &'static str,
    body: String,
    request_id: String,
    at: Timestamp,
}

impl FrameResponse {
    pub(super) fn new(hub: &Hub, request_id: String, receipt: Result<FrameReceipt>) -> Self {
        let body = receipt.and_then(|receipt| {
            serde_json::to_string(&receipt).map_err(|error| HubError::internal("no receipt").caused_by(error))
        });
        match body {
            Ok(body) => {
                hub.inner.metrics.answered(StatusCode::OK.as_u16());
                let at = hub.now().wall;
                Self { status: StatusCode::OK, content_type: "application/json", body, request_id, at }
            }
            Err(error) => Self::error(hub, request_id, &error),
        }
    }

    pub(super) fn error(hub: &Hub, request_id: String, error: &HubError) -> Self {
        problem::log(error, &request_id);
        let document = problem::document(error, Some(&request_id));
        let body = serde_json::to_string(&document).unwrap_or_default();
        let status = problem::status(error.kind());
        hub.inner.metrics.answered(status.as_u16());
        Self { status, content_type: problem::CONTENT_TYPE, body, request_id, at: hub.now().wall }
    }

    /// The whole response as HTTP/1.1.
    pub(super) fn encode(&self, close: bool) -> String {
        static DEFAULT_HEADERS: LazyLock<String> = LazyLock::new(|| {
            middleware::DEFAULT_HEADERS.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
        });
        let Self { status, content_type, body, request_id, .. } = self;
        let close = if close { "connection: close\r\n" } else { "" };
        let date = jiff::Timestamp::from_microsecond(self.at.as_micros()).unwrap_or_default();
        let date = date.strftime("%a, %d %b %Y %H:%M:%S GMT");
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n{}: {request_id}\r\n{}{close}date: {date}\r\n\r\n{body}",
            body.len(),
            middleware::REQUEST_ID,
            *DEFAULT_HEADERS,
        )
    }
}
