//! Moments and clocks.
//!
//! Deliberately absent: time zones (the wire speaks UTC) and `SystemTime::now()` anywhere but in [`SystemClock`].

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A moment: microseconds since 1970-01-01 00:00 UTC.
///
/// On the wire it is Unix seconds, a number kept to the microsecond; RFC 3339 text is read too. Only moments from
/// 2000-01-01 up to, not including, 2100-01-01 can be read from the wire: outside that range a clock is wrong, not
/// early.
///
/// ```
/// use iotpi_core::Timestamp;
///
/// let t: Timestamp = serde_json::from_str("\"2026-11-23T22:30:00.25Z\"")?;
/// assert_eq!(serde_json::to_string(&t)?, "1795473000.25");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(value_type = f64, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0, example = 1_795_473_000.25))]
pub struct Timestamp(i64);

/// Why a moment is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTimestamp {
    /// Neither a number of seconds nor RFC 3339 text.
    #[error("a timestamp is Unix seconds or an RFC 3339 text")]
    Malformed,
    /// Before 2000 or after 2099.
    #[error("timestamp outside the years 2000 to 2099: the clock it was read from is wrong")]
    OutOfRange,
}

impl Timestamp {
    /// 2000-01-01 00:00 UTC, the first moment accepted.
    pub const MIN: Self = Self(946_684_800_000_000);
    /// 2100-01-01 00:00 UTC, the first moment no longer accepted.
    pub const END: Self = Self(4_102_444_800_000_000);

    /// The moment so many microseconds after 1970-01-01 00:00 UTC, unchecked.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01 00:00 UTC.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Unix seconds; exact to the microsecond until the year 2255.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Reads Unix seconds, rounding to the microsecond.
    ///
    /// # Errors
    /// [`InvalidTimestamp`] outside the years 2000 to 2099 or when the number is not finite.
    #[allow(clippy::cast_possible_truncation)]
    pub fn from_secs_f64(secs: f64) -> Result<Self, InvalidTimestamp> {
        if !secs.is_finite() {
            return Err(InvalidTimestamp::Malformed);
        }
        Self((secs * 1e6).round() as i64).checked()
    }

    /// Reads an RFC 3339 text, `2026-11-23T22:30:00.25+01:00`.
    ///
    /// # Errors
    /// [`InvalidTimestamp`] when it is not RFC 3339 or outside the years 2000 to 2099.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp::Malformed)?;
        Self(moment.as_microsecond()).checked()
    }

    fn checked(self) -> Result<Self, InvalidTimestamp> {
        if (Self::MIN..Self::END).contains(&self) { Ok(self) } else { Err(InvalidTimestamp::OutOfRange) }
    }

    /// This moment and a while.
    #[must_use]
    pub fn plus(self, while_: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(while_.as_micros()).unwrap_or(i64::MAX)))
    }

    /// This moment less a while.
    #[must_use]
    pub fn minus(self, while_: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(while_.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long ago `earlier` was; zero if it was not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(moment) => moment.fmt(f),
            Err(_) => write!(f, "{} us", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.as_secs_f64())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        #[allow(clippy::cast_precision_loss)]
        impl de::Visitor<'_> for Visitor {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("Unix seconds or an RFC 3339 text")
            }

            fn visit_f64<E: de::Error>(self, secs: f64) -> Result<Timestamp, E> {
                Timestamp::from_secs_f64(secs).map_err(E::custom)
            }

            fn visit_i64<E: de::Error>(self, secs: i64) -> Result<Timestamp, E> {
                self.visit_f64(secs as f64)
            }

            fn visit_u64<E: de::Error>(self, secs: u64) -> Result<Timestamp, E> {
                self.visit_f64(secs as f64)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                Timestamp::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Where a program reads the time. One value is passed to everything that needs it, so that a test can set it.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock: what a person calls the time. It may jump either way.
    fn now(&self) -> Timestamp;

    /// Time since some fixed moment; never goes back. Leases and deadlines run on it.
    fn monotonic(&self) -> Duration;
}

/// The machine's own clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// A clock whose monotonic time begins now.
    #[must_use]
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }

    /// The same, shared.
    #[must_use]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self::new())
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)]
    fn now(&self) -> Timestamp {
        let micros = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX));
        Timestamp(micros)
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}

/// A clock that stands still until it is told to move. For tests.
#[derive(Debug)]
pub struct ManualClock {
    at: std::sync::Mutex<(Timestamp, Duration)>,
}

impl ManualClock {
    /// A clock that shows this moment; its monotonic time is zero.
    #[must_use]
    pub fn at(now: Timestamp) -> Arc<Self> {
        Arc::new(Self { at: std::sync::Mutex::new((now, Duration::ZERO)) })
    }

    /// Lets time pass on both clocks.
    pub fn advance(&self, by: Duration) {
        let mut at = self.lock();
        *at = (at.0.plus(by), at.1 + by);
    }

    /// Sets the wall clock as NTP would: monotonic time does not notice.
    pub fn step_to(&self, now: Timestamp) {
        self.lock().0 = now;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, (Timestamp, Duration)> {
        self.at.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().0
    }

    fn monotonic(&self) -> Duration {
        self.lock().1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_goes_out_comes_back_to_the_microsecond(micros in Timestamp::MIN.0..Timestamp::END.0) {
            let text = serde_json::to_string(&Timestamp(micros)).unwrap();

            prop_assert_eq!(serde_json::from_str::<Timestamp>(&text).unwrap(), Timestamp(micros));
            prop_assert_eq!(Timestamp::parse(&Timestamp(micros).to_string()).unwrap(), Timestamp(micros));
        }
    }

    #[test]
    fn a_clock_that_was_never_set_is_refused() {
        for text in [
            "0",
            "946684799.9",
            "4102444800",
            "1e300",
            "\"1970-01-01T00:00:00Z\"",
            "\"2100-01-01T00:00:00Z\"",
        ] {
            let error = serde_json::from_str::<Timestamp>(text).unwrap_err().to_string();

            assert!(error.contains("2000 to 2099"), "{text}: {error}");
        }
        assert!(serde_json::from_str::<Timestamp>("\"yesterday\"").is_err());
    }

    #[test]
    fn a_stepped_clock_leaves_monotonic_time_alone() {
        let clock = ManualClock::at(Timestamp::MIN);

        clock.advance(Duration::from_secs(5));
        clock.step_to(Timestamp::END);

        assert_eq!(clock.monotonic(), Duration::from_secs(5));
        assert_eq!(clock.now(), Timestamp::END);
    }
}
