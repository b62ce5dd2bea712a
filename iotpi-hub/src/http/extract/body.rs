//! Request bodies, read within a size limit, a memory budget and a minimum rate.

use std::sync::Arc;

use axum::{body::Body, extract::Request};
use bytes::{Bytes, BytesMut};
use http::header;
use http_body_util::BodyExt as _;
use tokio::time::Instant;

use super::super::{decompression::InvalidGzip, proxy::connection};
use crate::{
    admission::{MIN_BYTES_PER_SEC, MinimumRate, SharedBudget},
    error::{HubError, Result},
    frames::Buffer,
};

/// The least memory that a body of unknown length takes from the budget.
const STEP_BYTES: usize = 4 * 1024;

/// Reads a body of up to `limit` bytes into a buffer. `new_buffer` gets the declared length, or 0. When the
/// first bytes arrive, the body takes its declared length from the budget `shares`; without one it takes
/// memory as it grows. The memory returns to the budget after the response.
///
/// # Errors
/// `TooLarge` with the given text; `Unavailable` if the budget is exhausted; `InvalidArgument` if the body is truncated or
/// arrives more slowly than [`MIN_BYTES_PER_SEC`].
pub(crate) async fn read<B: BodyBuffer>(
    request: Request,
    (limit, too_large): (usize, &str),
    shares: &SharedBudget,
    new_buffer: impl FnOnce(usize) -> B,
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
    let Some(first) = next_data(&mut body, MinimumRate::new().deadline()).await? else {
        return Ok(new_buffer(0));
    };
    let mut memory = shares
        .acquire(&connection.holder(), declared.unwrap_or(first.len().next_multiple_of(STEP_BYTES)))
        .await?;
    let mut whole = new_buffer(declared.unwrap_or(0));
    // The sender is not responsible for the time spent waiting for memory.
    let mut rate = MinimumRate::new();
    let mut next = Some(first);
    while let Some(data) = next {
        if whole.bytes() + data.len() > limit {
            return Err(HubError::too_large(too_large));
        }
        rate.received(data.len());
        let bytes = whole.bytes() + data.len();
        if declared.is_none() && bytes > memory.units() {
            // A growing buffer doubles its memory.
            shares.resize(&mut memory, (2 * bytes).min(limit)).await?;
        }
        whole.add(&data);
        next = next_data(&mut body, rate.deadline()).await?;
    }
    connection.keep(memory);
    Ok(whole)
}

/// The next bytes of a body, or nothing at its end.
///
/// # Errors
/// `InvalidArgument` if the body is truncated, is not valid gzip or misses the deadline.
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
        Ok(Err(error)) if InvalidGzip::caused(&error) => {
            Err(HubError::invalid_argument(InvalidGzip.to_string()))
        }
        Ok(Err(error)) => Err(HubError::invalid_argument("The body is truncated.").caused_by(error)),
        Err(_) => Err(too_slow()),
    }
}

/// The error for a body that arrives too slowly.
pub(crate) fn too_slow() -> HubError {
    HubError::invalid_argument(format!(
        "The body arrived too slowly. The minimum rate is {} KiB/s.",
        MIN_BYTES_PER_SEC / 1024
    ))
}

/// A buffer for a request body.
pub(crate) trait BodyBuffer {
    fn add(&mut self, data: &[u8]);
    fn bytes(&self) -> usize;
}

impl BodyBuffer for BytesMut {
    fn add(&mut self, data: &[u8]) {
        self.extend_from_slice(data);
    }

    fn bytes(&self) -> usize {
        self.len()
    }
}

impl BodyBuffer for Buffer {
    fn add(&mut self, data: &[u8]) {
        self.extend(data);
    }

    fn bytes(&self) -> usize {
        self.len()
    }
}
