//! gzip compression of text responses, if the client accepts it (RFC 9110, 12.5.3).
//!
//! Deliberately absent: responses with a secret (`/api/auth`, because the length of a compressed response can
//! reveal parts of it), frames, which are compressed already, and the dashboard, whose files are compressed
//! when it is built. brotli saves little more than gzip on responses of this size and costs several times as
//! much CPU.

use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{Predicate, SizeAbove},
    },
};

/// A shorter response fits in one packet without compression.
const MIN_BYTES: u64 = 1024;

/// Compresses streams and responses of [`MIN_BYTES`] or more at the fastest level, which costs the least CPU
/// and achieves most of the reduction. The cost on a Pi was not measured.
pub(super) fn layer() -> CompressionLayer<impl Predicate> {
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(MIN_BYTES))
}
