//! The conditions of a query for readings or buckets.

use crate::{
    model::{id::ModuleId, reading::ChannelFilter},
    time::Timestamp,
};

/// A query for readings of one type. Every field is a condition; the default filter has none.
///
/// ```
/// use iotpi_core::ReadingFilter;
///
/// let newest = ReadingFilter::of("attic".parse()?).limit(10);
/// let everything = ReadingFilter::default().ascending();
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct ReadingFilter {
    /// Only readings of this module.
    pub module_id: Option<ModuleId>,
    /// Only readings of this channel; `None` for those of all channels.
    pub channel: Option<ChannelFilter>,
    /// The earliest time, inclusive.
    pub since: Option<Timestamp>,
    /// The latest time, exclusive.
    pub until: Option<Timestamp>,
    /// The maximum number in a page, 1 to 1,000. By default 100 if one page is awaited, and 1,000 if all are
    /// read.
    pub limit: Option<u32>,
    /// The [`Page::next`](crate::model::page::Page::next) of the previous page.
    pub cursor: Option<String>,
    /// Oldest first instead of newest first.
    pub ascending: bool,
}

impl ReadingFilter {
    /// Readings of one module, newest first. `ReadingFilter::default()` is a filter without conditions.
    ///
    /// ```
    /// use std::time::Duration;
    /// use iotpi_core::{Clock, ReadingFilter, SystemClock};
    ///
    /// let hour_ago = SystemClock::new().now().minus(Duration::from_secs(3600));
    /// let last_hour = ReadingFilter::of("attic".parse()?).since(hour_ago).ascending();
    /// # Ok::<(), iotpi_core::model::id::InvalidId>(())
    /// ```
    #[must_use]
    pub fn of(module_id: ModuleId) -> Self {
        Self { module_id: Some(module_id), ..Self::default() }
    }

    /// Selects the readings of one channel; the empty text is the default channel.
    ///
    /// ```
    /// use iotpi_core::ReadingFilter;
    ///
    /// let supply = ReadingFilter::of("boiler".parse()?).channel("supply".parse()?);
    /// # Ok::<(), iotpi_core::model::id::InvalidId>(())
    /// ```
    #[must_use]
    pub fn channel(mut self, channel: ChannelFilter) -> Self {
        self.channel = Some(channel);
        self
    }

    /// Sets the earliest time, inclusive.
    #[must_use]
    pub fn since(mut self, since: Timestamp) -> Self {
        self.since = Some(since);
        self
    }

    /// Sets the latest time, exclusive.
    #[must_use]
    pub fn until(mut self, until: Timestamp) -> Self {
        self.until = Some(until);
        self
    }

    /// Sets the maximum number in a page, 1 to 1,000.
    #[must_use]
    pub fn limit(mut self, limit: u32) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Begins at the [`Page::next`](crate::model::page::Page::next) of a page.
    #[must_use]
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    /// Returns the oldest first.
    #[must_use]
    pub fn ascending(mut self) -> Self {
        self.ascending = true;
        self
    }
}

/// The width of a bucket of [`HubClient::buckets`](super::HubClient::buckets).
///
/// ```no_run
/// # async fn example(hub: iotpi_core::HubClient) -> Result<(), iotpi_core::AnyError> {
/// use iotpi_core::{ReadingFilter, client::BucketWidth};
///
/// let filter = ReadingFilter::of("attic".parse()?);
/// for hour in hub.buckets(&"temperature".parse()?, BucketWidth::Hour, &filter).all().await? {
///     println!("{}: {:?} to {:?}", hour.start, hour.min, hour.max);
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BucketWidth {
    /// One minute.
    Minute,
    /// Five minutes.
    FiveMinutes,
    /// Fifteen minutes.
    QuarterHour,
    /// One hour.
    Hour,
    /// Six hours.
    QuarterDay,
    /// One day.
    Day,
}

impl BucketWidth {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "1m",
            Self::FiveMinutes => "5m",
            Self::QuarterHour => "15m",
            Self::Hour => "1h",
            Self::QuarterDay => "6h",
            Self::Day => "1d",
        }
    }
}
