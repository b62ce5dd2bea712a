//! The frames of a camera from its MJPEG stream (`multipart/x-mixed-replace`).

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;

use crate::{model::mixed_replace::MixedReplace, uplink::UplinkError};

/// The frames of a camera. The hub skips frames that the reader is too slow for.
///
/// ```no_run
/// # async fn example(hub: iotpi_core::HubClient) -> Result<(), iotpi_core::AnyError> {
/// let mut frames = hub.frames(Some(&"porch".parse()?)).await?;
/// while let Some(jpeg) = frames.next().await? {
///     println!("a frame of {} bytes", jpeg.len());
/// }
/// # Ok(()) }
/// ```
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

    /// The next frame, a JPEG file; `None` when the hub ended the stream.
    ///
    /// # Errors
    /// [`UplinkError`] if the connection broke or the data is not such a stream.
    ///
    /// # Cancel safety
    /// Cancel safe: received data is kept.
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
