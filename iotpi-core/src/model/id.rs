//! Ids, which appear in URLs, files and topics. All have one alphabet, which is checked when they are
//! created.
//!
//! Deliberately absent: ids as plain strings. Every `ModuleId` is valid.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The maximum length of an id in characters.
pub const MAX_ID_LEN: usize = 64;

/// The text is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an id: 1 to 64 characters, a-z and 0-9 first, then also _ and -")]
pub struct InvalidId(String);

fn check(text: &str) -> Result<(), InvalidId> {
    let letter = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut bytes = text.bytes();
    let valid = text.len() <= MAX_ID_LEN
        && bytes.next().is_some_and(letter)
        && bytes.all(|b| letter(b) || b == b'_' || b == b'-');
    if valid { Ok(()) } else { Err(InvalidId(text.chars().take(80).collect())) }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $example:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[cfg_attr(feature = "openapi", schema(value_type = String, pattern = "^[a-z0-9][a-z0-9_-]{0,63}$", min_length = 1, max_length = 64, example = $example))]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Box<str>);

        impl $name {
            #[doc = concat!("Checks a text and makes it a `", stringify!($name), "`.")]
            ///
            /// # Errors
            /// [`InvalidId`] when the text does not match `[a-z0-9][a-z0-9_-]{0,63}`.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                check(&text)?;
                Ok(Self(text.into_boxed_str()))
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        // An id and its text compare and hash alike, so that a map of ids can be queried with a text.
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = InvalidId;

            fn try_from(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.into()
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

id! {
    /// The id of a module, such as `led` or `temp-sensor-01`.
    ///
    /// ```
    /// use iotpi_core::ModuleId;
    ///
    /// let attic: ModuleId = "attic".parse()?;
    /// assert!(ModuleId::new("The attic").is_err());
    /// # Ok::<(), iotpi_core::AnyError>(())
    /// ```
    ModuleId, "temp-sensor-01"
}
id! {
    /// The type of a series, the `{type}` of `/api/sensors/{type}`, such as `temperature` or `soil-moisture`.
    SensorType, "temperature"
}
id! {
    /// The channel of a series. It distinguishes several sensors of one type in a module, such as `supply` or
    /// `28-0316a2790c1b`. Most modules have one sensor of a type, which has no channel.
    Channel, "supply"
}
id! {
    /// The name of an action, such as `set` or `blink`.
    ActionName, "set"
}
id! {
    /// The name of a user or a token.
    UserName, "anna"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_alphabet_are_accepted() {
        for text in ["a", "0", "led", "temp-sensor-01", "soil_moisture", &"x".repeat(64)] {
            assert_eq!(ModuleId::new(text).map(String::from), Ok(text.to_owned()));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in ["", "-a", "_a", "A", "a b", "a/b", "a.b", "ä", "a\0", "../etc", &"x".repeat(65)] {
            assert!(ModuleId::new(text).is_err(), "{text:?}");
            assert!(serde_json::from_value::<ModuleId>(text.into()).is_err(), "{text:?}");
        }
    }
}
