//! Promises broken on purpose, to check that the tests notice.
//!
//! Only with the feature `sabotage`, which is enabled for the tests alone (`scripts/test.sh`). The
//! environment variable `IOTPI_SABOTAGE` selects one of [`Sabotage`] by its snake_case name; without it
//! nothing is broken. This is the only place of the library that reads the environment: the selection must
//! reach the hub through any program that starts it.

use std::sync::LazyLock;

/// The promises that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// A write is acknowledged before its transaction is committed.
    AcknowledgeBeforeCommit,
    /// A commit is not synced (`synchronous=normal`).
    SyncLess,
    /// A repeated numbered reading is stored again.
    ForgetDedupe,
    /// An outcome is accepted with any lease.
    DropTheFence,
    /// All worker threads are blocked from the start.
    BlockWorkers,
}

static CHOSEN: LazyLock<Option<Sabotage>> = LazyLock::new(|| {
    let name = std::env::var("IOTPI_SABOTAGE").ok()?;
    match name.as_str() {
        "" => None,
        "acknowledge_before_commit" => Some(Sabotage::AcknowledgeBeforeCommit),
        "sync_less" => Some(Sabotage::SyncLess),
        "forget_dedupe" => Some(Sabotage::ForgetDedupe),
        "drop_the_fence" => Some(Sabotage::DropTheFence),
        "block_workers" => Some(Sabotage::BlockWorkers),
        // A selection that breaks nothing would look like a test that notices nothing.
        unknown => panic!("IOTPI_SABOTAGE={unknown}: there is no such sabotage"),
    }
});

/// Whether this promise is broken.
///
/// # Panics
/// If `IOTPI_SABOTAGE` has an unknown name.
#[must_use]
pub fn is(sabotage: Sabotage) -> bool {
    *CHOSEN == Some(sabotage)
}
