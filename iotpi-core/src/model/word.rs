//! Enumerations of words: a word of a newer hub becomes `Other` in answers and is refused in requests.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// An enumeration whose values are words on the wire.
pub(crate) trait Word: Sized + Copy + 'static {
    /// The known words.
    const WORDS: &'static [&'static str];

    /// The value of a known word.
    fn known(word: &str) -> Option<Self>;
}

/// Deserializes a word of a request, which has to be known.
pub(crate) fn known<'de, D: Deserializer<'de>, W: Word>(deserializer: D) -> Result<W, D::Error> {
    deserializer.deserialize_str(Known(std::marker::PhantomData))
}

/// Deserializes a word of a request or null.
pub(crate) fn known_or_null<'de, D: Deserializer<'de>, W: Word>(
    deserializer: D,
) -> Result<Option<W>, D::Error> {
    struct OrNull<W>(W);

    impl<'de, W: Word> Deserialize<'de> for OrNull<W> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            known(deserializer).map(Self)
        }
    }
    Option::<OrNull<W>>::deserialize(deserializer).map(|word| word.map(|OrNull(word)| word))
}

struct Known<W>(std::marker::PhantomData<W>);

impl<W: Word> de::Visitor<'_> for Known<W> {
    type Value = W;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, word: &str) -> Result<W, E> {
        W::known(word).ok_or_else(|| E::unknown_variant(word, W::WORDS))
    }
}

/// Defines an enumeration of words. It has one variant more than words, `Other`.
macro_rules! words {
    (
        $(#[doc = $doc:literal])*
        $(#[derive($extra:ident)])?
        $name:ident {
            $($(#[$meta:meta])* $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[doc = $doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash $(, $extra)?)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$meta])* $variant,)+
            /// A word that this version does not know, in the answer of a newer hub.
            Other,
        }

        impl $name {
            /// All known values.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word on the wire; `other` for [`Self::Other`], which no hub accepts.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other => "other",
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl $crate::model::word::Word for $name {
            const WORDS: &'static [&'static str] = &[$($word),+];

            fn known(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|known| known.as_str() == word)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                Ok(<Self as $crate::model::word::Word>::known(&word).unwrap_or(Self::Other))
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                let lines: Vec<&str> = vec![$($doc.trim()),*];
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .description(Some(lines.join("\n")))
                    .enum_values(Some([$($word),+]))
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}

        #[cfg(test)]
        mod words {
            use super::$name;

            #[test]
            fn the_text_of_a_value_is_its_wire_form_and_an_unknown_word_is_other() {
                for value in $name::ALL {
                    let wire = serde_json::to_value(value).unwrap();

                    assert_eq!(wire, value.as_str());
                    assert_eq!(serde_json::from_value::<$name>(wire).unwrap(), *value);
                }
                assert_eq!(serde_json::from_str::<$name>(r#""of tomorrow""#).unwrap(), $name::Other);
                assert!(serde_json::from_str::<$name>("1").is_err());
            }
        }
    };
}

pub(crate) use words;
