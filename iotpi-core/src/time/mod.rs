//! Timestamps and clocks.
//!
//! Deliberately absent: time zones (the wire uses UTC) and `SystemTime::now()` anywhere but in
//! [`SystemClock`].

pub(crate) mod invalid_timestamp;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use self::invalid_timestamp::InvalidTimestamp;

/// A number of seconds from the wire as a duration; zero if it is negative or not a number, and the longest duration if
/// it is too large.
pub(crate) fn duration(secs: f64) -> Duration {
    Duration::try_from_secs_f64(secs).unwrap_or(if secs > 0.0 { Duration::MAX } else { Duration::ZERO })
}

/// A point in time: microseconds since 1970-01-01 00:00 UTC.
///
/// On the wire it is a number of Unix seconds with microsecond precision; RFC 3339 text is accepted, too. Only times from
/// 2000-01-01 up to, not including, 2100-01-01 are accepted from the wire: others come from a wrong clock.
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
#[cfg_attr(feature = "openapi", schema(description = "A point in time: Unix seconds with microsecond precision, or RFC 3339 text. Only times from 2000-01-01 up to, not including, 2100-01-01 are accepted.", value_type = f64, minimum = 946_684_800.0, exclusive_maximum = 4_102_444_800.0, example = 1_795_473_000.25))]
pub struct Timestamp(i64);

impl Timestamp {
    /// 2000-01-01 00:00 UTC, the first accepted time.
    pub const MIN: Self = Self(946_684_800_000_000);
    /// 2100-01-01 00:00 UTC, the first time that is no longer accepted.
    pub const END: Self = Self(4_102_444_800_000_000);
    /// 2026-01-01 00:00 UTC. iotpi did not exist before, so an earlier time comes from a clock that was not
    /// set.
    pub const FIRST_POSSIBLE: Self = Self(1_767_225_600_000_000);

    /// The time this many microseconds after 1970-01-01 00:00 UTC, unchecked.
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

    /// Converts Unix seconds, rounded to the microsecond.
    ///
    /// # Errors
    /// [`InvalidTimestamp`] outside the years 2000 to 2099 or if the number is not finite.
    #[allow(clippy::cast_possible_truncation)]
    pub fn from_secs_f64(secs: f64) -> Result<Self, InvalidTimestamp> {
        let moment = Self((secs * 1e6).round() as i64);
        if secs.is_finite() && moment.is_valid() {
            Ok(moment)
        } else {
            Err(InvalidTimestamp::of_number(secs))
        }
    }

    /// Parses an RFC 3339 text, `2026-11-23T22:30:00.25+01:00`.
    ///
    /// # Errors
    /// [`InvalidTimestamp`] if it is not RFC 3339 or outside the years 2000 to 2099.
    pub fn parse(text: &str) -> Result<Self, InvalidTimestamp> {
        let moment: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp::of_text(text))?;
        Self(moment.as_microsecond()).checked()
    }

    /// Whether it is in the years 2000 to 2099 and so valid on the wire.
    #[must_use]
    pub fn is_valid(self) -> bool {
        (Self::MIN..Self::END).contains(&self)
    }

    fn checked(self) -> Result<Self, InvalidTimestamp> {
        if self.is_valid() { Ok(self) } else { Err(InvalidTimestamp::OutOfRange) }
    }

    /// Adds a duration.
    #[must_use]
    pub fn plus(self, while_: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(while_.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Subtracts a duration.
    #[must_use]
    pub fn minus(self, while_: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(while_.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The duration since `earlier`; zero if that is not earlier.
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

/// A source of time. One value is passed to everything that needs the time, so that a test can control it.
///
/// ```
/// use iotpi_core::{Clock, Timestamp, time::ManualClock};
///
/// fn hour(clock: &dyn Clock) -> i64 {
///     clock.now().as_micros() / 3_600_000_000 % 24
/// }
///
/// assert_eq!(hour(&*ManualClock::at(Timestamp::MIN)), 0);
/// ```
pub trait Clock: Send + Sync + fmt::Debug {
    /// The wall clock: calendar time, which may jump in both directions.
    fn now(&self) -> Timestamp;

    /// The time since a fixed moment, which never goes back. Leases and deadlines use it.
    fn monotonic(&self) -> Duration;

    /// Whether the wall clock can be trusted. A Pi has no battery: after a power cut it shows 1970, or the
    /// last time it saved, until NTP sets it. The default implementation compares it with
    /// [`Timestamp::FIRST_POSSIBLE`].
    fn is_set(&self) -> bool {
        self.now() >= Timestamp::FIRST_POSSIBLE
    }

    /// The time for which the machine was suspended since this clock was created: the wall clock continued,
    /// the monotonic one stood still. Zero by default.
    fn suspended(&self) -> Duration {
        Duration::ZERO
    }

    /// Identifies the boot from which [`monotonic`](Self::monotonic) counts, if it is known: two processes of
    /// the same boot can compare their monotonic times. Unknown by default.
    fn boot(&self) -> Option<u128> {
        None
    }
}

/// The clocks of the machine.
///
/// On Linux the monotonic time counts from the boot (`/proc/uptime`) and the boot has an id, so the age of
/// data from a previous process is known. The wall clock is trusted from [`Timestamp::FIRST_POSSIBLE`] on;
/// where systemd-timesyncd sets the clock it must also have created `synchronized` since the boot. On
/// Raspberry Pi OS a clock that was not set shows the hour of the last shutdown, which looks plausible. With
/// another time service (chrony, ntpd), start modules after `time-sync.target`.
///
/// ```
/// use iotpi_core::{Clock, SystemClock, Timestamp};
///
/// assert!(SystemClock::new().now() > Timestamp::MIN);
/// ```
#[derive(Debug, Clone)]
pub struct SystemClock {
    started: Instant,
    /// The time from the boot to `started`; zero if unknown.
    up_before: Duration,
    boot: Option<u128>,
}

impl SystemClock {
    /// Creates a clock whose monotonic time begins at the machine's boot if that is known, otherwise now.
    #[must_use]
    pub fn new() -> Self {
        let boot = boot_id();
        let up_before = boot.and_then(|_| uptime()).unwrap_or_default();
        Self { started: Instant::now(), up_before, boot }
    }

    /// Creates a shared clock.
    #[must_use]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self::new())
    }
}

/// The kernel's id of this boot: random(4).
fn boot_id() -> Option<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u128::from_str_radix(&text.trim().replace('-', ""), 16).ok()
}

/// The time since the boot, including suspension, to 10 ms: proc_uptime(5).
fn uptime() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    Duration::try_from_secs_f64(text.split(' ').next()?.parse().ok()?).ok()
}

/// Whether systemd-timesyncd runs and has not synchronized since the boot: systemd-timesyncd.service(8),
/// "Files". Both look-ups are in memory (`/run` is a tmpfs).
fn waits_for_timesyncd() -> bool {
    let folder = std::path::Path::new("/run/systemd/timesync");
    folder.is_dir() && !folder.join("synchronized").exists()
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
        self.up_before + self.started.elapsed()
    }

    fn is_set(&self) -> bool {
        self.now() >= Timestamp::FIRST_POSSIBLE && !waits_for_timesyncd()
    }

    fn suspended(&self) -> Duration {
        let up = self.boot.and_then(|_| uptime());
        up.map_or(Duration::ZERO, |up| up.saturating_sub(self.monotonic()))
    }

    fn boot(&self) -> Option<u128> {
        self.boot
    }
}

/// A clock that stands still until it is advanced. For tests.
///
/// ```
/// use std::time::Duration;
/// use iotpi_core::{Clock, Timestamp, time::ManualClock};
///
/// let clock = ManualClock::at(Timestamp::MIN);
/// clock.advance(Duration::from_secs(60));
/// assert_eq!(clock.now(), Timestamp::MIN.plus(Duration::from_secs(60)));
/// ```
#[derive(Debug)]
pub struct ManualClock {
    at: std::sync::Mutex<ManualTime>,
}

#[derive(Debug)]
struct ManualTime {
    wall: Timestamp,
    monotonic: Duration,
    boot: u128,
}

impl ManualClock {
    /// Creates a clock that shows this time, of a machine that has just booted; its monotonic time is zero.
    #[must_use]
    pub fn at(now: Timestamp) -> Arc<Self> {
        static BOOTS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
        let boot = BOOTS.fetch_add(1 << 32, std::sync::atomic::Ordering::Relaxed).into();
        Arc::new(Self {
            at: std::sync::Mutex::new(ManualTime { wall: now, monotonic: Duration::ZERO, boot }),
        })
    }

    /// Advances both clocks.
    pub fn advance(&self, by: Duration) {
        let mut at = self.lock();
        at.wall = at.wall.plus(by);
        at.monotonic += by;
    }

    /// Sets the wall clock as NTP would; monotonic time is unchanged.
    pub fn step_to(&self, now: Timestamp) {
        self.lock().wall = now;
    }

    /// Simulates a reboot: the wall clock shows this time, monotonic time is zero again.
    pub fn reboot(&self, now: Timestamp) {
        let mut at = self.lock();
        *at = ManualTime { wall: now, monotonic: Duration::ZERO, boot: at.boot + 1 };
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ManualTime> {
        self.at.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().wall
    }

    fn monotonic(&self) -> Duration {
        self.lock().monotonic
    }

    fn boot(&self) -> Option<u128> {
        Some(self.lock().boot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_of_seconds_beyond_the_range_of_durations_is_the_nearest_one() {
        let durations = [1.5, 1e300, -1.0, f64::NAN].map(duration);

        assert_eq!(durations, [Duration::from_millis(1500), Duration::MAX, Duration::ZERO, Duration::ZERO]);
    }

    proptest! {
        #[test]
        fn parsing_a_time_is_the_inverse_of_printing_to_the_microsecond(micros in Timestamp::MIN.0..Timestamp::END.0) {
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
    fn a_step_of_the_wall_clock_does_not_change_monotonic_time() {
        let clock = ManualClock::at(Timestamp::MIN);

        clock.advance(Duration::from_secs(5));
        clock.step_to(Timestamp::END);

        assert_eq!(clock.monotonic(), Duration::from_secs(5));
        assert_eq!(clock.now(), Timestamp::END);
    }

    #[test]
    fn a_clock_that_shows_1970_is_not_set() {
        let clock = ManualClock::at(Timestamp::from_micros(0));
        assert!(!clock.is_set());

        clock.step_to(Timestamp::FIRST_POSSIBLE);

        assert!(clock.is_set());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn two_clocks_of_one_boot_agree_on_monotonic_time() {
        let first = SystemClock::new();
        let second = SystemClock::new();

        let apart = second.monotonic().abs_diff(first.monotonic());

        assert_eq!(first.boot(), second.boot());
        assert!(apart < Duration::from_secs(1), "{apart:?}");
    }
}
