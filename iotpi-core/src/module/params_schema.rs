//! The JSON Schema of an action's parameters from their type.

use schemars::{
    JsonSchema, Schema, SchemaGenerator,
    generate::SchemaSettings,
    json_schema,
    transform::{Transform, transform_subschemas},
};
use serde_json::Value;

use super::actions::NoParams;
use crate::model::manifest::{ActionSpec, MAX_DESCRIPTION_LEN};

impl JsonSchema for NoParams {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "NoParams".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "additionalProperties": false})
    }
}

/// Sets the schema of an action, and its description if it has none, to those of a type.
pub(crate) fn with_schema_of<P: JsonSchema>(mut spec: ActionSpec) -> ActionSpec {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.meta_schema = None;
        settings.inline_subschemas = true;
    });
    let mut schema = settings.with_transform(Flat).into_generator().into_root_schema_for::<P>();
    schema.remove("title");
    if let Some(Value::String(text)) = schema.remove("description")
        && spec.description.is_none()
    {
        spec.description = Some(text.chars().take(MAX_DESCRIPTION_LEN).collect());
    }
    spec.params = schema.as_object().cloned().unwrap_or_default();
    spec
}

/// Rewrites an enum with documented variants, a `oneOf` of constants, as an `enum`, for which the dashboard has a
/// form control; and removes the names of inlined types, which it would show as the labels of fields.
#[derive(Debug, Clone)]
struct Flat;

impl Transform for Flat {
    fn transform(&mut self, schema: &mut Schema) {
        transform_subschemas(self, schema);
        let Some(keywords) = schema.as_object_mut() else { return };
        keywords.remove("title");
        let constants: Option<Vec<Value>> = keywords
            .get("oneOf")
            .and_then(Value::as_array)
            .and_then(|branches| branches.iter().map(|branch| branch.get("const").cloned()).collect());
        if let Some(constants) = constants {
            keywords.remove("oneOf");
            keywords.insert("enum".to_owned(), Value::Array(constants));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    /// Moves the blind.
    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Move {
        /// The position in per cent.
        #[schemars(range(max = 100))]
        to: u8,
        speed: Option<Speed>,
        from: Side,
    }

    /// How fast.
    #[derive(Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Side {
        /// At the window.
        Left,
        /// At the wall.
        Right,
    }

    #[derive(Deserialize, JsonSchema)]
    #[allow(dead_code)]
    struct Speed {
        metres_per_second: f64,
    }

    #[test]
    fn the_schema_and_the_description_are_those_of_the_type() {
        let spec = with_schema_of::<Move>(ActionSpec::named("move").unwrap());

        assert_eq!(spec.description.as_deref(), Some("Moves the blind."));
        let schema = Value::Object(spec.params);
        assert_eq!(schema["type"], "object");
        assert_eq!(schema["required"], json!(["to", "from"]));
        assert_eq!(schema["additionalProperties"], false);
        let to = &schema["properties"]["to"];
        assert_eq!(
            (&to["type"], &to["minimum"], &to["maximum"]),
            (&json!("integer"), &json!(0), &json!(100))
        );
        assert_eq!(schema["properties"]["from"]["enum"], json!(["left", "right"]));
        assert!(!schema.to_string().contains("$ref") && !schema.to_string().contains("title"), "{schema}");
    }

    #[test]
    fn a_description_of_the_action_has_precedence() {
        let spec = ActionSpec::named("move").unwrap().described("Moves it");

        assert_eq!(with_schema_of::<Move>(spec).description.as_deref(), Some("Moves it"));
    }

    #[test]
    fn no_parameters_are_an_empty_object() {
        let spec = with_schema_of::<NoParams>(ActionSpec::named("ring").unwrap());

        assert_eq!(Value::Object(spec.params), json!({"type": "object", "additionalProperties": false}));
        assert_eq!(spec.description, None);
    }
}
