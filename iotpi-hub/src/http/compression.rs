//! gzip for answers of text, where the client accepts it (RFC 9110, 12.5.3).
//!
//! Deliberately absent: answers that carry a secret (`/api/auth`, because the length of a compressed answer can reveal parts of
//! it), pictures, which are compressed already, and the dashboard, whose files are compressed when it is built. brotli saves
//! little more than gzip on answers of this size and costs several times as much.

use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer,
        predicate::{Predicate, SizeAbove},
    },
};

/// A shorter answer fits in one packet as it is.
const MIN_BYTES: u64 = 1024;

/// Compresses answers of [`MIN_BYTES`] and more, and streams. The fastest level: it costs the least CPU, and most of the
/// gain is there. The cost on a Pi was not measured.
pub(super) fn layer() -> CompressionLayer<impl Predicate> {
    CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(SizeAbove::new(MIN_BYTES))
}
