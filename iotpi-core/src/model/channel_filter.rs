//! The filter of queries and triggers by channel.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::id::{Channel, InvalidId};

/// A filter by channel: the default channel, or a named one. On the wire the default channel is the empty text.
///
/// ```
/// use iotpi_core::model::reading::ChannelFilter;
///
/// let supply: ChannelFilter = "supply".parse()?;
/// assert!(supply.matches(Some(&"supply".parse()?)));
/// assert!(ChannelFilter::Default.matches(None));
/// # Ok::<(), iotpi_core::AnyError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ChannelFilter {
    /// The series without a channel.
    Default,
    /// The series with this channel.
    Only(Channel),
}

impl ChannelFilter {
    /// Whether a series with this channel matches.
    #[must_use]
    pub fn matches(&self, channel: Option<&Channel>) -> bool {
        match self {
            Self::Default => channel.is_none(),
            Self::Only(only) => channel == Some(only),
        }
    }

    /// The channel of the matching series.
    #[must_use]
    pub fn channel(&self) -> Option<&Channel> {
        match self {
            Self::Default => None,
            Self::Only(channel) => Some(channel),
        }
    }
}

impl From<Option<Channel>> for ChannelFilter {
    fn from(channel: Option<Channel>) -> Self {
        channel.map_or(Self::Default, Self::Only)
    }
}

impl FromStr for ChannelFilter {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if text.is_empty() { Ok(Self::Default) } else { Channel::new(text).map(Self::Only) }
    }
}

impl fmt::Display for ChannelFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.channel().map_or("", Channel::as_str))
    }
}

impl Serialize for ChannelFilter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ChannelFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
