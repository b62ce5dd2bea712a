//! What Python gives, read as the core's types; what cannot be read is a [`Failure`] that says so.

use std::{str::FromStr, time::Duration};

use bytes::Bytes;
use iotpi_core::{
    Frame, ReadingFilter, Timestamp,
    client::BucketWidth,
    model::{error::ErrorKind, event::EventKind, frame::InvalidFrame, reading::NewReading},
    time::InvalidTimestamp,
};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::{Failure, invalid, unprocessable};

pub fn id<T: FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, Failure> {
    text.parse().map_err(invalid)
}

pub fn each<T>(texts: Vec<String>, read: impl Fn(String) -> Result<T, Failure>) -> Result<Vec<T>, Failure> {
    texts.into_iter().map(read).collect()
}

pub fn filter(
    module: Option<&str>,
    channel: Option<&str>,
    since: Option<f64>,
    until: Option<f64>,
) -> Result<ReadingFilter, Failure> {
    let mut filter = ReadingFilter::default();
    filter.module_id = module.map(id).transpose()?;
    filter.channel = channel.map(id).transpose()?;
    filter.since = since.map(moment).transpose()?;
    filter.until = until.map(moment).transpose()?;
    Ok(filter)
}

pub fn moment(secs: f64) -> Result<Timestamp, Failure> {
    let kind = |error: InvalidTimestamp| {
        if error.is_out_of_range() { unprocessable(error) } else { invalid(error) }
    };
    Timestamp::from_secs_f64(secs).map_err(kind)
}

pub fn seconds(name: &str, secs: f64) -> Result<Duration, Failure> {
    Duration::try_from_secs_f64(secs)
        .map_err(|_| invalid(format!("{name} is a number of seconds, not {secs}")))
}

/// JSON has no NaN: it would arrive as null, which means something else.
pub fn finite(value: Option<f64>) -> Result<Option<f64>, Failure> {
    match value {
        Some(value) if !value.is_finite() => {
            Err(invalid(format!("{value} is not a finite number; a failed measurement is None")))
        }
        value => Ok(value),
    }
}

/// A word of a closed list of the wire.
fn word<T: DeserializeOwned>(text: &str, what: &str, choices: &str) -> Result<T, Failure> {
    serde_json::from_value(Value::from(text))
        .map_err(|_| invalid(format!("`{text}` is not {what}; use {choices}")))
}

pub fn event_kind(text: String) -> Result<EventKind, Failure> {
    word(&text, "a kind of event", "reading, module, command, camera")
}

pub fn bucket_width(text: &str) -> Result<BucketWidth, Failure> {
    use BucketWidth::{Day, FiveMinutes, Hour, Minute, QuarterDay, QuarterHour};

    let widths = [Minute, FiveMinutes, QuarterHour, Hour, QuarterDay, Day];
    widths
        .into_iter()
        .find(|width| width.as_str() == text)
        .ok_or_else(|| invalid(format!("`{text}` is not a bucket; use 1m, 5m, 15m, 1h, 6h, 1d")))
}

/// A reading of those that are delivered together.
pub fn reading(value: Value) -> Result<NewReading, Failure> {
    let new: NewReading = serde_json::from_value(value).map_err(invalid)?;
    if new.kind.is_none() || new.unit.is_none() {
        return Err(invalid("a reading says its type and its unit"));
    }
    Ok(new)
}

pub fn frame(jpeg: Bytes, taken_at: Timestamp) -> Result<Frame, Failure> {
    Frame::from_jpeg(jpeg, taken_at).map_err(|error| match error {
        InvalidFrame::TooLarge(_) => Failure::new(ErrorKind::TooLarge, error.to_string()),
        other => unprocessable(other),
    })
}
