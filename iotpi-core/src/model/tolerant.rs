//! Reading what a newer hub sent or stored: types that refuse unknown fields in requests ignore them here.

use serde::{
    Deserialize, Deserializer, de,
    de::{
        IntoDeserializer, Visitor,
        value::{MapDeserializer, SeqDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_json::Value;

/// Deserializes a value and ignores unknown fields at every depth.
pub(crate) fn deserialize<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: de::DeserializeOwned,
{
    T::deserialize(Tolerant(Value::deserialize(deserializer)?)).map_err(de::Error::custom)
}

/// Parses JSON and ignores unknown fields at every depth.
pub(crate) fn from_json<T: de::DeserializeOwned>(json: &str) -> Result<T, serde_json::Error> {
    T::deserialize(Tolerant(serde_json::from_str(json)?))
}

/// A value without the fields that the type to be deserialized does not have.
struct Tolerant(Value);

impl<'de> Deserializer<'de> for Tolerant {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self.0 {
            Value::Array(items) => SeqDeserializer::new(items.into_iter().map(Self)).deserialize_any(visitor),
            Value::Object(fields) => {
                MapDeserializer::new(fields.into_iter().map(|(name, value)| (name, Self(value))))
                    .deserialize_any(visitor)
            }
            scalar => scalar.deserialize_any(visitor),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        mut self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        if let Value::Object(values) = &mut self.0 {
            values.retain(|name, _| fields.contains(&name.as_str()));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq
        tuple tuple_struct map identifier ignored_any
    }
}

impl IntoDeserializer<'_, serde_json::Error> for Tolerant {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::manifest::Manifest;

    #[test]
    fn fields_of_a_newer_hub_are_ignored_at_every_depth() {
        let newer = r#"{"version":"2","colour":"red","measures":[{"type":"soil","unit":"bunches","every_secs":1.0,"depth":{"cm":3}}],
            "actions":[{"name":"set","params":{"type":"object","new":[1,null]},"hazardous":true,"cost":1}],
            "camera":{"width":1,"height":2,"fps":3,"lens":[]}}"#;

        let manifest: Manifest = from_json(newer).unwrap();

        let known = r#"{"version":"2","measures":[{"type":"soil","unit":"bunches","every_secs":1.0}],
            "actions":[{"name":"set","params":{"type":"object","new":[1,null]},"hazardous":true}],
            "camera":{"width":1,"height":2,"fps":3}}"#;
        assert_eq!(manifest, serde_json::from_str(known).unwrap());
        assert!(serde_json::from_str::<Manifest>(newer).is_err());
        assert!(from_json::<Manifest>(r#"{"measures":1}"#).is_err());
    }
}
