//! Errors of SQLite, classified by their consequence for the hub.

use std::fmt;

use rusqlite::{ErrorCode, ffi, types::FromSqlError};

use crate::store::StoreError;

/// The result of an operation of the engine.
pub(super) type EngineResult<T> = std::result::Result<T, EngineError>;

/// The reason why an operation failed.
#[derive(Debug)]
pub(super) enum EngineError {
    /// A rule of the store forbids it.
    Rejected(StoreError),
    /// SQLite failed.
    Failed(Failure),
}

impl EngineError {
    /// Converts to an error of the store; `context` describes the operation.
    pub(super) fn into_store_error(self, context: &'static str) -> StoreError {
        match self {
            Self::Rejected(error) => error,
            Self::Failed(failure) => failure.into_store_error(context),
        }
    }
}

impl EngineError {
    /// Converts to a failure. A rejection counts as one where there is no caller to reject.
    pub(super) fn into_failure(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            Self::Rejected(error) => Failure::transient(&error.to_string()),
        }
    }
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        Self::Rejected(error)
    }
}

/// A column of the wrong type: STRICT tables have one only if the file was damaged.
impl From<FromSqlError> for EngineError {
    fn from(error: FromSqlError) -> Self {
        Failure::damaged(&error.to_string()).into()
    }
}

impl From<rusqlite::Error> for EngineError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// A failure of SQLite. It can be cloned, because every write of a group gets the failure of its commit.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    kind: Kind,
    message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No space: the transaction is rolled back, and the engine continues.
    Full,
    /// The data on disk may differ from the state of SQLite: no further write may be acknowledged.
    Fatal,
    /// The file is not a database, or is damaged: no further write may be acknowledged.
    Damaged,
    /// A row was not written by this hub. Operations that need it fail; the pages are intact, and other
    /// operations work.
    Unreadable,
    /// A statement does not match the tables.
    Statement,
    /// Concerns this operation only.
    Transient,
}

impl Failure {
    /// A failure after which no further write may be acknowledged.
    pub(super) fn fatal(what: &str) -> Self {
        Self { kind: Kind::Fatal, message: what.to_owned() }
    }

    /// The data on disk differs from the data that was written.
    pub(super) fn damaged(what: &str) -> Self {
        Self { kind: Kind::Damaged, message: format!("the database is damaged: {what}") }
    }

    /// A failure of this operation only.
    pub(super) fn transient(what: &str) -> Self {
        Self { kind: Kind::Transient, message: what.to_owned() }
    }

    /// The same failure while the database is first read: a statement that does not match the tables means
    /// that they are damaged.
    pub(super) fn at_start(self) -> Self {
        if self.kind == Kind::Statement { Self { kind: Kind::Damaged, ..self } } else { self }
    }

    /// Whether the engine must stop.
    pub(super) fn is_fatal(&self) -> bool {
        matches!(self.kind, Kind::Fatal | Kind::Damaged)
    }

    pub(super) fn into_store_error(self, context: &'static str) -> StoreError {
        match self.kind {
            Kind::Full => StoreError::Full(Box::new(self)),
            Kind::Damaged | Kind::Unreadable => StoreError::Damaged { context, source: Box::new(self) },
            Kind::Fatal | Kind::Statement | Kind::Transient => {
                StoreError::Engine { context, source: Box::new(self) }
            }
        }
    }
}

impl From<Failure> for EngineError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Converts an error of SQLite to one of the store; `context` describes the operation.
pub(super) fn engine_error(context: &'static str) -> impl FnOnce(rusqlite::Error) -> StoreError {
    move |error| Failure::from(error).into_store_error(context)
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::Error;
        let kind = match &error {
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..)
            | Error::Utf8Error(..) => Kind::Unreadable,
            other => other.sqlite_error().map_or(Kind::Transient, |said| kind(*said)),
        };
        Self { kind, message: error.to_string() }
    }
}

fn kind(said: ffi::Error) -> Kind {
    match (said.code, said.extended_code) {
        // On a full disk the index of the WAL cannot grow either, and SQLite reports it in this way.
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => Kind::Full,
        // A file that ends in the middle of a page was truncated.
        (ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase, _) | (_, ffi::SQLITE_IOERR_SHORT_READ) => {
            Kind::Damaged
        }
        (ErrorCode::SystemIoFailure, _) => Kind::Fatal,
        (_, ffi::SQLITE_ERROR) => Kind::Statement,
        _ => Kind::Transient,
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
