//! What SQLite said, sorted by what the hub can do about it.

use std::fmt;

use rusqlite::{ErrorCode, ffi, types::FromSqlError};

use crate::store::StoreError;

/// The answer of a piece of work inside the engine.
pub(super) type EngineResult<T> = std::result::Result<T, EngineError>;

/// Why a piece of work was not done.
#[derive(Debug)]
pub(super) enum EngineError {
    /// A rule of the store forbids it.
    Rejected(StoreError),
    /// SQLite could not.
    Failed(Failure),
}

impl EngineError {
    /// The store's answer; `context` says what was being done.
    pub(super) fn into_store_error(self, context: &'static str) -> StoreError {
        match self {
            Self::Rejected(error) => error,
            Self::Failed(failure) => failure.into_store_error(context),
        }
    }
}

impl EngineError {
    /// What the engine could not do; a refusal, where there is nobody to be refused, is one of those.
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

/// A column is not of its type, which STRICT tables only have when the file was damaged.
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
    /// What is on the disk is no database, or not a whole one: nothing may be acknowledged any more either.
    Damaged,
    /// A row is not what this hub writes. Whoever needs it cannot go on; the pages are sound and others can.
    Unreadable,
    /// A statement is not one SQLite can do with the tables there are.
    Statement,
    /// Concerns this piece of work alone.
    Transient,
}

impl Failure {
    /// Nothing may be acknowledged any more.
    pub(super) fn fatal(what: &str) -> Self {
        Self { kind: Kind::Fatal, message: what.to_owned() }
    }

    /// What is on the disk is not what was written.
    pub(super) fn damaged(what: &str) -> Self {
        Self { kind: Kind::Damaged, message: format!("the database is damaged: {what}") }
    }

    /// This piece of work cannot be done.
    pub(super) fn transient(what: &str) -> Self {
        Self { kind: Kind::Transient, message: what.to_owned() }
    }

    /// The same, met while the database was first read: a statement that does not fit the tables has met damaged ones.
    pub(super) fn at_start(self) -> Self {
        if self.kind == Kind::Statement { Self { kind: Kind::Damaged, ..self } } else { self }
    }

    /// Whether the engine may go on after it.
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

/// What SQLite said while `context` was being done, as the store says it.
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
        // On a full disk the index of the WAL cannot grow either, and this is how SQLite says so.
        (ErrorCode::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => Kind::Full,
        // A file that ends in the middle of a page is shorter than it was.
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
