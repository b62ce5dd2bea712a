//! Columns as domain types. A value that cannot be parsed is an error of its column, never a default.

use std::{error::Error, fmt::Display, str::FromStr, time::Duration};

use iotpi_core::{Channel, Timestamp};
use rusqlite::{Row, types::Type};
use serde::de::DeserializeOwned;

use iotpi_core::model::role::Role;

type Column<T> = rusqlite::Result<T>;

/// A timestamp, from microseconds.
pub(super) fn moment(row: &Row<'_>, column: usize) -> Column<Timestamp> {
    row.get(column).map(Timestamp::from_micros)
}

/// A timestamp or NULL.
pub(super) fn maybe_moment(row: &Row<'_>, column: usize) -> Column<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_micros))
}

/// A text that was validated when it was written: an id, a unit.
pub(super) fn parsed<T: FromStr<Err: Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: usize,
) -> Column<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|error| unreadable(column, error))
}

/// A validated text or NULL.
pub(super) fn maybe_parsed<T: FromStr<Err: Error + Send + Sync + 'static>>(
    row: &Row<'_>,
    column: usize,
) -> Column<Option<T>> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(text) => text.parse().map(Some).map_err(|error| unreadable(column, error)),
        None => Ok(None),
    }
}

/// A channel; the default one is stored as the empty text.
pub(super) fn channel(row: &Row<'_>, column: usize) -> Column<Option<Channel>> {
    if row.get_ref(column)?.as_str()?.is_empty() { Ok(None) } else { parsed(row, column).map(Some) }
}

/// The stored form of a channel.
pub(super) fn channel_text(channel: Option<&Channel>) -> &str {
    channel.map_or("", Channel::as_str)
}

/// A JSON text.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Column<T> {
    json_as(row, column, |text| serde_json::from_str(text))
}

/// A JSON text or NULL.
pub(super) fn maybe_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> Column<Option<T>> {
    maybe_json_as(row, column, |text| serde_json::from_str(text))
}

/// The parser of a JSON text.
type Parse<T> = fn(&str) -> serde_json::Result<T>;

/// A JSON text, parsed by a function that ignores the fields of newer versions.
pub(super) fn json_as<T>(row: &Row<'_>, column: usize, parse: Parse<T>) -> Column<T> {
    parse(row.get_ref(column)?.as_str()?).map_err(|error| unreadable(column, error))
}

/// A JSON text or NULL, parsed as by [`json_as`].
pub(super) fn maybe_json_as<T>(row: &Row<'_>, column: usize, parse: Parse<T>) -> Column<Option<T>> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(text) => parse(text).map(Some).map_err(|error| unreadable(column, error)),
        None => Ok(None),
    }
}

/// A word from a closed list.
pub(super) fn word<T: Copy>(
    row: &Row<'_>,
    column: usize,
    list: &[T],
    of: fn(T) -> &'static str,
) -> Column<T> {
    let text = row.get_ref(column)?.as_str()?;
    let unknown = || unreadable(column, format!("`{text}` is none of the words known here"));
    list.iter().copied().find(|item| of(*item) == text).ok_or_else(unknown)
}

/// A role.
pub(super) fn role(row: &Row<'_>, column: usize) -> Column<Role> {
    word(row, column, &Role::ALL, Role::as_str)
}

fn unreadable(column: usize, error: impl Into<Box<dyn Error + Send + Sync>> + Display) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
}

/// A duration as SQLite stores it.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}
