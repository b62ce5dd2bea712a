//! What SQLite said, sorted by what the hub can do about it.

use std::fmt;

use rusqlite::{ErrorCode, ffi};

use crate::store::StoreError;

/// The answer of a piece of work inside the engine.
pub(super) type Work<T> = std::result::Result<T, Fail>;

/// Why a piece of work was not done.
#[derive(Debug)]
pub(super) enum Fail {
    /// A rule of the store forbids it.
    Refused(StoreError),
    /// SQLite could not.
    Engine(Failure),
}

impl Fail {
    /// The store's answer; `context` says what was being done.
    pub(super) fn into_store_error(self, context: &'static str) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Engine(failure) => failure.into_store_error(context),
        }
    }
}

impl From<StoreError> for Fail {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<rusqlite::Error> for Fail {
    fn from(error: rusqlite::Error) -> Self {
        Self::Engine(error.into())
    }
}

/// A failure of SQLite. Cloneable, because every write of a group gets the one its commit met.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No room: undone as a whole, and the engine lives on.
    Full,
    /// What is on the disk may no longer be what SQLite believes: nothing may be acknowledged any more.
    Fatal,
    /// Concerns this piece of work alone.
    Passing,
}

impl Failure {
    /// Whether the engine may go on after it.
    pub(super) fn is_fatal(&self) -> bool {
        self.kind == Kind::Fatal
    }

    pub(super) fn into_store_error(self, context: &'static str) -> StoreError {
        match self.kind {
            Kind::Full => StoreError::Full(Box::new(self)),
            Kind::Fatal | Kind::Passing => StoreError::Engine { context, source: Box::new(self) },
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        let kind = error.sqlite_error().map_or(Kind::Passing, |said| kind(*said));
        Self { kind, message: error.to_string() }
    }
}

fn kind(said: ffi::Error) -> Kind {
    match (said.code, said.extended_code) {
        // On a full disk the index of the WAL cannot grow either, and this is how SQLite says so.
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => Kind::Full,
        (ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) => Kind::Fatal,
        _ => Kind::Passing,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
