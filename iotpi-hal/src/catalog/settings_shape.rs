//! The keys of a driver's settings, read from its settings type: the type is their only list.

use serde::{
    Deserializer,
    de::{DeserializeOwned, DeserializeSeed, MapAccess, SeqAccess, Visitor, value::Error},
    forward_to_deserialize_any,
};

use super::pin;

/// The key of a pin in a table of a list.
pub(super) const PIN_KEY: &str = "pin";

/// The keys of a settings type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SettingsShape {
    /// All keys, in the order of the type.
    pub keys: &'static [&'static str],
    /// Those with a [`Pin`](super::Pin), a list of them, or a list of tables with a key `pin`.
    pub pins: Vec<&'static str>,
}

/// The shape of `S`: it is deserialized without a value, and the deserializer records what `S` asks for.
pub(super) fn shape<S: DeserializeOwned>() -> SettingsShape {
    let mut names = FieldNames(&[]);
    // Always an error: there is no value.
    let _ = S::deserialize(&mut names);
    let is_pin = |key: &&'static str| {
        let mut found = false;
        let _ = S::deserialize(OneField { key, found: &mut found });
        found
    };
    SettingsShape { keys: names.0, pins: names.0.iter().copied().filter(is_pin).collect() }
}

fn no_value<T>() -> Result<T, Error> {
    Err(serde::de::Error::custom("no value"))
}

struct FieldNames(&'static [&'static str]);

impl<'de> Deserializer<'de> for &mut FieldNames {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        no_value()
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, Error> {
        self.0 = fields;
        no_value()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

/// A struct with one field, whose value records whether a pin is expected.
struct OneField<'a> {
    key: &'static str,
    found: &'a mut bool,
}

impl<'de> Deserializer<'de> for OneField<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> MapAccess<'de> for OneField<'_> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        seed.deserialize(serde::de::value::StrDeserializer::new(self.key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(FieldValue(self.found))
    }
}

struct FieldValue<'a>(&'a mut bool);

impl<'de> Deserializer<'de> for FieldValue<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, Error> {
        no_value()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _visitor: V,
    ) -> Result<V::Value, Error> {
        *self.0 = name == pin::TYPE_NAME;
        no_value()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _len: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match fields.iter().find(|key| **key == PIN_KEY) {
            Some(key) => visitor.visit_map(OneField { key, found: self.0 }),
            None => no_value(),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        tuple_struct map enum identifier ignored_any
    }
}

impl<'de> SeqAccess<'de> for FieldValue<'_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        seed.deserialize(FieldValue(self.0)).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::catalog::Pin;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)] // Only the names and types of the fields are read.
    struct StepperSettings {
        #[serde(default)]
        name: Option<String>,
        enable: Pin,
        #[serde(default)]
        home: Option<Pin>,
        coils: [Pin; 4],
        limits: Vec<LimitSettings>,
        speeds: Vec<SpeedSettings>,
        steps: u32,
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct LimitSettings {
        name: String,
        pin: Pin,
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct SpeedSettings {
        name: String,
    }

    #[test]
    fn the_keys_and_the_pins_are_those_of_the_type() {
        let shape = shape::<StepperSettings>();

        assert_eq!(shape.keys, ["name", "enable", "home", "coils", "limits", "speeds", "steps"]);
        assert_eq!(shape.pins, ["enable", "home", "coils", "limits"]);
    }
}
