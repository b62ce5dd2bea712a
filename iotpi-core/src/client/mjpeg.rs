//! A camera's pictures as they come: `multipart/x-mixed-replace` taken apart again.

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{model::mixed_replace::MixedReplace, uplink::UplinkError};

/// The pictures of one camera, newest first come; frames the reader was too slow for are skipped by the hub.
#[derive(Debug)]
pub struct FrameStream {
    body: Incoming,
    url: String,
    parts: MixedReplace,
}

impl FrameStream {
    pub(super) fn new(body: Incoming, url: String) -> Self {
        Self { body, url, parts: MixedReplace::new() }
    }

    /// The next picture, a JPEG file; nothing when the hub ended the stream.
    ///
    /// # Errors
    /// [`UplinkError`] when the line broke or what came is no such stream.
    ///
    /// # Cancel safety
    /// Cancel safe: what was read so far is kept.
    pub async fn next(&mut self) -> Result<Option<Bytes>, UplinkError> {
        loop {
            let part = self.parts.part().map_err(|malformed| UplinkError::NotAHub {
                url: self.url.clone(),
                message: malformed.to_string(),
            })?;
            if let Some(part) = part {
                return Ok(Some(part.body));
            }
            match self.body.frame().await {
                None => return Ok(None),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.parts.push(data);
                    }
                }
                Some(Err(e)) => {
                    return Err(UplinkError::Unreachable { url: self.url.clone(), source: Box::new(e) });
                }
            }
        }
    }
}
