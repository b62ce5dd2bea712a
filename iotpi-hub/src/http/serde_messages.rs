//! Translates errors of serde and of number parsing into JSON types and field names, without Rust types.

/// Explains the message of a [`serde::de::Error`].
pub(super) fn explain(message: &str) -> String {
    let message = without_position(message);
    if let Some(rest) = message.strip_prefix("missing field ") {
        return format!("{rest} is missing");
    }
    if let Some(rest) = message.strip_prefix("duplicate field ") {
        return format!("{rest} is given twice");
    }
    if let Some((field, known)) = split(message, "unknown field ", ", ") {
        let known = known.trim_start_matches("expected one of ").trim_start_matches("expected ");
        return match known {
            "there are no fields" => format!("{field} is unknown; no fields are accepted"),
            known => format!("{field} is unknown; the fields are {known}"),
        };
    }
    if let Some((variant, known)) = split(message, "unknown variant ", ", ") {
        let known = known.trim_start_matches("expected one of ").trim_start_matches("expected ");
        return match known {
            "there are no variants" => format!("{variant} is unknown"),
            known => format!("{variant} is unknown; expected {known}"),
        };
    }
    if message.starts_with("data did not match any variant") {
        return "this matches none of the accepted forms".to_owned();
    }
    for prefix in ["invalid type: ", "invalid value: "] {
        if let Some((found, expected)) =
            message.strip_prefix(prefix).and_then(|m| m.rsplit_once(", expected "))
        {
            return format!("this has to be {}, not {}", expected_type(expected), found_value(found));
        }
    }
    if let Some((length, expected)) = split(message, "invalid length ", ", expected ") {
        return format!("this has {length} elements; expected {}", expected_type(expected));
    }
    number(message).unwrap_or(message).to_owned()
}

/// Explains the message of the query parser, which may begin with the name of the field.
pub(super) fn explain_query(message: &str) -> String {
    match message.split_once(": ") {
        Some((field, reason)) if field.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') => {
            match number(reason) {
                Some(number) => format!("`{field}`: {number}"),
                None => format!("`{field}`: {}", explain(reason)),
            }
        }
        _ => explain(message),
    }
}

/// The message without ` at line 1 column 5`.
fn without_position(message: &str) -> &str {
    let place = message.rsplit_once(" at line ").filter(|(_, place)| {
        place.split_once(" column ").is_some_and(|(line, column)| is_number(line) && is_number(column))
    });
    place.map_or(message, |(message, _)| message)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn split<'a>(message: &'a str, prefix: &str, between: &str) -> Option<(&'a str, &'a str)> {
    message.strip_prefix(prefix)?.split_once(between)
}

/// Explains the errors of `str::parse` and of integers out of range.
fn number(message: &str) -> Option<&'static str> {
    Some(match message {
        "invalid digit found in string"
        | "cannot parse integer from empty string"
        | "number too large to fit in target type"
        | "number too small to fit in target type" => "this has to be a whole number in its range",
        "invalid float literal" | "cannot parse float from empty string" => "this has to be a number",
        "provided string was not `true` or `false`" => "this has to be `true` or `false`",
        _ => return None,
    })
}

/// The JSON name of a type that serde expected.
fn expected_type(expected: &str) -> String {
    let name = match expected {
        "a sequence" | "sequence" => "an array",
        "a map" | "map" => "an object",
        "a string" | "a borrowed string" | "string" | "str" | "a character" => "a string",
        "a boolean" | "bool" => "true or false",
        "unit" | "null" => "null",
        "f32" | "f64" | "floating point" => "a number",
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" => "a whole number, 0 or more, in its range",
        "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => "a whole number in its range",
        "string or map" => "a word or an object",
        _ if expected.starts_with("struct ") => "an object",
        _ if expected.starts_with("internally tagged enum ")
            || expected.starts_with("adjacently tagged enum ") =>
        {
            "an object with its kind"
        }
        _ if expected.starts_with("enum ") || expected == "variant identifier" => {
            "one of the accepted values"
        }
        _ if expected.starts_with("a tuple of size") || expected.starts_with("an array of length") => {
            "an array"
        }
        _ if expected.starts_with("newtype struct ") || expected.starts_with("option") => "another type",
        _ => return expected.to_owned(),
    };
    name.to_owned()
}

/// The JSON description of a value that serde found.
fn found_value(found: &str) -> String {
    match found {
        "sequence" => "an array".to_owned(),
        "map" => "an object".to_owned(),
        "unit value" | "Option value" | "null" => "null".to_owned(),
        "string" => "a string".to_owned(),
        _ => {
            let words = [
                ("integer ", "the number "),
                ("floating point ", "the number "),
                ("string ", "the string "),
                ("boolean ", ""),
                ("character ", "the string "),
            ];
            let found_word = words.iter().find_map(|(serde, word)| Some((word, found.strip_prefix(serde)?)));
            found_word.map_or_else(|| found.to_owned(), |(word, value)| format!("{word}{value}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::{Deserialize, de::DeserializeOwned};
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Lamp {
        name: String,
        level: Option<u32>,
        kind: Option<Kind>,
        tags: Option<Vec<String>>,
        inner: Option<Box<Lamp>>,
        map: Option<BTreeMap<String, f64>>,
        on: Option<bool>,
        either: Option<Either>,
        pair: Option<(i8, i8)>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Desk,
        Wall,
    }

    #[derive(Debug, Deserialize)]
    #[serde(untagged)]
    #[allow(dead_code)]
    enum Either {
        Word(String),
        Number(f64),
    }

    fn error<T: DeserializeOwned + std::fmt::Debug>(value: Value) -> String {
        let text = explain(&serde_json::from_value::<T>(value.clone()).unwrap_err().to_string());
        assert_eq!(explain(&serde_json::from_str::<T>(&value.to_string()).unwrap_err().to_string()), text);
        text
    }

    #[test]
    fn errors_use_the_terms_of_json_and_not_of_rust() {
        for (value, words) in [
            (json!("x"), r#"this has to be an object, not the string "x""#),
            (json!({}), "`name` is missing"),
            (json!({"name": 1}), "this has to be a string, not the number `1`"),
            (json!({"name": null}), "this has to be a string, not null"),
            (
                json!({"name": "a", "level": -1}),
                "this has to be a whole number, 0 or more, in its range, not the number `-1`",
            ),
            (
                json!({"name": "a", "level": 1.5}),
                "this has to be a whole number, 0 or more, in its range, not the number `1.5`",
            ),
            (json!({"name": "a", "kind": "roof"}), "`roof` is unknown; expected `desk` or `wall`"),
            (json!({"name": "a", "tags": "b"}), r#"this has to be an array, not the string "b""#),
            (json!({"name": "a", "tags": {}}), "this has to be an array, not an object"),
            (json!({"name": "a", "map": [1]}), "this has to be an object, not an array"),
            (json!({"name": "a", "map": {"b": true}}), "this has to be a number, not `true`"),
            (json!({"name": "a", "on": "yes"}), r#"this has to be true or false, not the string "yes""#),
            (json!({"name": "a", "either": []}), "this matches none of the accepted forms"),
            (json!({"name": "a", "inner": 5}), "this has to be an object, not the number `5`"),
            (json!({"name": "a", "pair": "b"}), r#"this has to be an array, not the string "b""#),
        ] {
            assert_eq!(error::<Lamp>(value.clone()), words, "{value}");
        }
        let unknown = error::<Lamp>(json!({"name": "a", "colour": 5}));
        assert!(unknown.starts_with("`colour` is unknown; the fields are `name`, `level`"), "{unknown}");
    }

    #[test]
    fn errors_of_a_query_name_its_field() {
        for (message, words) in [
            ("limit: invalid digit found in string", "`limit`: this has to be a whole number in its range"),
            ("wait: invalid float literal", "`wait`: this has to be a number"),
            ("unknown field `x`, expected `a` or `b`", "`x` is unknown; the fields are `a` or `b`"),
            (
                "order: unknown variant `up`, expected `asc` or `desc`",
                "`order`: `up` is unknown; expected `asc` or `desc`",
            ),
            ("a sentence: of our own", "a sentence: of our own"),
        ] {
            assert_eq!(explain_query(message), words);
        }
    }
}
