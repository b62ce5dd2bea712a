//! Promises broken on purpose, for one question: do the tests that prove them notice?
//!
//! Only with the feature `sabotage`, which no build has but that of the tests (`scripts/test.sh`). The environment variable
//! `IOTPI_SABOTAGE` chooses one of [`Sabotage`] by its snake_case name; without it nothing is broken. This is the one place
//! of the library that reads the environment: a control must reach the hub through whatever starts it.

use std::sync::LazyLock;

/// What can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// A write is answered before its transaction is committed.
    AcknowledgeBeforeCommit,
    /// A commit is not synced (`synchronous=normal`).
    SyncLess,
    /// A numbered reading that comes twice is kept twice.
    ForgetDedupe,
    /// An outcome is taken whatever lease it comes with.
    DropTheFence,
    /// All worker threads are blocked from the start on.
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
        // A control that breaks nothing would be taken for a test that notices nothing.
        unknown => panic!("IOTPI_SABOTAGE={unknown}: there is no such sabotage"),
    }
});

/// Whether this is what is broken.
///
/// # Panics
/// When `IOTPI_SABOTAGE` names no sabotage.
#[must_use]
pub fn is(sabotage: Sabotage) -> bool {
    *CHOSEN == Some(sabotage)
}
