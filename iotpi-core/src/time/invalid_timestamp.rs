//! The reasons why a number or text is not a valid timestamp, and the correct form.

use crate::time::Timestamp;

/// The reasons why a timestamp is not accepted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTimestamp {
    /// Neither a number of seconds nor an RFC 3339 text.
    #[error(
        "a timestamp is Unix seconds, such as 1795473000.25, or an RFC 3339 text, such as 2026-11-23T22:30:00Z"
    )]
    Malformed,
    /// A date and a time without an offset from UTC.
    #[error("the offset from UTC is missing: append Z for UTC, or the offset, such as +01:00")]
    NoOffset,
    /// A space instead of the sign of the offset.
    #[error("there is a blank in place of the offset's sign: in a query a + means a blank, so write %2B")]
    BlankOffset,
    /// A date without a time.
    #[error("this is a date without a time: append both time and offset, such as T00:00:00Z")]
    NoTime,
    /// A number in quotation marks.
    #[error("Unix seconds are a number: send it without quotation marks")]
    Quoted,
    /// Before 2000 or after 2099.
    #[error("timestamp outside the years 2000 to 2099: the clock it was read from is wrong")]
    OutOfRange,
    /// A time in the years 2000 to 2099, but not in seconds.
    #[error("{value} looks like {unit}: send Unix seconds, {secs}")]
    TooFine {
        /// The number as it was sent.
        value: f64,
        /// The assumed unit: milliseconds, microseconds or nanoseconds.
        unit: &'static str,
        /// The same time in Unix seconds.
        secs: f64,
    },
}

impl InvalidTimestamp {
    /// Whether it is well-formed but out of range.
    #[must_use]
    pub fn is_out_of_range(&self) -> bool {
        matches!(self, Self::OutOfRange | Self::TooFine { .. })
    }

    /// The reason why a number of seconds is outside the years 2000 to 2099.
    pub(crate) fn of_number(value: f64) -> Self {
        if !value.is_finite() {
            return Self::Malformed;
        }
        for (unit, per_second) in [("milliseconds", 1e3), ("microseconds", 1e6), ("nanoseconds", 1e9)] {
            let secs = value / per_second;
            if (Timestamp::MIN.as_secs_f64()..Timestamp::END.as_secs_f64()).contains(&secs) {
                return Self::TooFine { value, unit, secs };
            }
        }
        Self::OutOfRange
    }

    /// The reason why a text is not RFC 3339.
    pub(crate) fn of_text(text: &str) -> Self {
        let text = text.trim();
        if text.parse::<f64>().is_ok_and(f64::is_finite) {
            return Self::Quoted;
        }
        if text.parse::<jiff::civil::Date>().is_ok() && !text.contains(':') {
            return Self::NoTime;
        }
        let blank_before_offset = text.rsplit_once(' ').is_some_and(|(moment, offset)| {
            offset.len() <= 6 && format!("{moment}+{offset}").parse::<jiff::Timestamp>().is_ok()
        });
        if blank_before_offset {
            return Self::BlankOffset;
        }
        if text.contains(':') && text.parse::<jiff::civil::DateTime>().is_ok() {
            return Self::NoOffset;
        }
        Self::Malformed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_an_invalid_time_names_the_missing_part() {
        for (text, error) in [
            ("2026-11-26T19:20:43", InvalidTimestamp::NoOffset),
            ("2026-11-26 19:20:43.25", InvalidTimestamp::NoOffset),
            ("2026-11-26T19:20", InvalidTimestamp::NoOffset),
            ("2026-11-26T20:00:00 01:00", InvalidTimestamp::BlankOffset),
            ("2026-11-26T20:00:00 0100", InvalidTimestamp::BlankOffset),
            ("2026-11-26T20:00:00.5 05:30", InvalidTimestamp::BlankOffset),
            ("2026-11-26", InvalidTimestamp::NoTime),
            ("20261126", InvalidTimestamp::Quoted),
            ("1795473000.25", InvalidTimestamp::Quoted),
            ("yesterday", InvalidTimestamp::Malformed),
            ("19:20:43", InvalidTimestamp::Malformed),
            ("26.11.2026 19:20:43", InvalidTimestamp::Malformed),
            ("", InvalidTimestamp::Malformed),
            ("NaN", InvalidTimestamp::Malformed),
        ] {
            assert_eq!(Timestamp::parse(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn the_error_for_a_time_in_a_smaller_unit_gives_it_in_seconds() {
        for (value, message) in [
            (1_795_473_000_123.0, "1795473000123 looks like milliseconds: send Unix seconds, 1795473000.123"),
            (
                1_795_473_000_123_456.0,
                "1795473000123456 looks like microseconds: send Unix seconds, 1795473000.123456",
            ),
            (1.795_473e18, "1795473000000000000 looks like nanoseconds: send Unix seconds, 1795473000"),
        ] {
            let error = Timestamp::from_secs_f64(value).unwrap_err();

            assert_eq!(error.to_string(), message);
            assert!(error.is_out_of_range());
        }
        for value in [0.0, -5.0, 12_345.678, 946_684_799.9, 4_102_444_800.0, 1e300, -1_795_473_000.0] {
            assert_eq!(Timestamp::from_secs_f64(value), Err(InvalidTimestamp::OutOfRange), "{value}");
        }
        assert_eq!(Timestamp::from_secs_f64(f64::NAN), Err(InvalidTimestamp::Malformed));
    }
}
