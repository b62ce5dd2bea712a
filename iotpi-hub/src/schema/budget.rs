//! The maximum cost of the schemas of one manifest, counted before anything is compiled.
//!
//! Each schema is visited once. A `$ref` adds the cost that was computed for its target, so a schema that
//! doubles with every `$ref` is detected in the time it takes to read it.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::{pattern, pointer::Pointer};
use crate::error::{HubError, Result};

/// The maximum number of schemas in a manifest as written: each `properties` entry, `items`, branch, `$defs`
/// entry.
pub const MAX_SCHEMAS: u64 = 2_048;
/// The maximum number of checks in the schemas of a manifest, with every `$ref` expanded.
pub const MAX_CHECKS: u64 = 4_096;
/// The maximum nesting of schemas, with every `$ref` expanded.
pub const MAX_SCHEMA_DEPTH: usize = 16;
/// The maximum number of branches of one `anyOf`, `oneOf` or `allOf`.
pub const MAX_BRANCHES: usize = 64;
/// The maximum number of patterns in a manifest as written: each `pattern` and each name in
/// `patternProperties`.
pub const MAX_PATTERNS: u64 = 64;
/// The maximum length of one pattern in bytes.
pub const MAX_PATTERN_BYTES: usize = 256;
/// The maximum number of states that the patterns of a manifest compile to, with every `$ref` expanded.
pub const MAX_PATTERN_STATES: u64 = 10_000;

/// The version of JSON Schema that the accepted subset belongs to.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// Division of fractional numbers uses fractions of a thousand bits.
const MULTIPLE_OF: u64 = 256;

/// The maximum cost of checking one value against a schema, with every `$ref` expanded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// The number of comparisons.
    pub checks: u64,
    /// The number of states of its patterns.
    pub states: u64,
    /// The nesting of its schemas.
    pub depth: usize,
}

impl Cost {
    fn checks(checks: u64) -> Self {
        Self { checks, ..Self::default() }
    }

    /// The cost of both, side by side.
    fn and(self, other: Self) -> Self {
        Self {
            checks: self.checks.saturating_add(other.checks),
            states: self.states.saturating_add(other.states),
            depth: self.depth.max(other.depth),
        }
    }

    /// The cost one level deeper.
    fn below(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

/// The part of the budget that the added schemas use.
#[derive(Debug, Default)]
pub struct Budget {
    schemas: u64,
    patterns: u64,
    total: Cost,
}

impl Budget {
    /// Adds the schema of an action's parameters, at `pointer`, and returns its cost.
    ///
    /// # Errors
    /// `TooLarge`, `Unprocessable`, each with a pointer to the place.
    pub fn add(&mut self, schema: &Map<String, Value>, pointer: &str) -> Result<Cost> {
        let root = Pointer::Root(pointer);
        if schema.get("type").is_some_and(|kind| kind != "object") {
            return Err(refused(&root.field("type"), "parameters are an object: `type` must be `object`"));
        }
        let none = Map::new();
        let definitions = match schema.get("$defs") {
            None => &none,
            Some(Value::Object(definitions)) => definitions,
            Some(_) => return Err(refused(&root.field("$defs"), "`$defs` is an object of schemas")),
        };
        let mut visit = Visit { budget: self, root, definitions, found: HashMap::new() };
        for name in definitions.keys() {
            visit.definition(name, &root.field("$defs").field(name), 1)?;
        }
        let cost = visit.keywords(schema, &root, 0)?;
        self.total = self.total.and(cost);
        within(self.total, &root)?;
        Ok(cost)
    }
}

/// The traversal of one schema.
struct Visit<'a> {
    budget: &'a mut Budget,
    root: Pointer<'a>,
    definitions: &'a Map<String, Value>,
    /// The cost of each definition; `None` while it is being computed.
    found: HashMap<&'a str, Option<Cost>>,
}

impl<'a> Visit<'a> {
    fn schema(&mut self, schema: &'a Value, place: &Pointer<'_>, depth: usize) -> Result<Cost> {
        if depth > MAX_SCHEMA_DEPTH {
            return Err(too_deep(place));
        }
        match schema {
            Value::Object(keywords) => self.keywords(keywords, place, depth),
            Value::Bool(_) => self.count(place).map(|()| Cost::checks(1)),
            _ => Err(refused(place, "a schema is an object or a boolean")),
        }
    }

    fn count(&mut self, place: &Pointer<'_>) -> Result<()> {
        self.budget.schemas += 1;
        if self.budget.schemas > MAX_SCHEMAS {
            return Err(over(
                place,
                format!("a manifest has up to {MAX_SCHEMAS} schemas within its actions"),
            ));
        }
        Ok(())
    }

    fn keywords(
        &mut self,
        schema: &'a Map<String, Value>,
        place: &Pointer<'_>,
        depth: usize,
    ) -> Result<Cost> {
        self.count(place)?;
        let mut cost = Cost::checks(1);
        for (keyword, value) in schema {
            cost = cost.and(self.keyword(keyword, value, place, depth)?);
        }
        within(cost, place)?;
        Ok(cost)
    }

    fn keyword(
        &mut self,
        keyword: &'a str,
        value: &'a Value,
        above: &Pointer<'_>,
        depth: usize,
    ) -> Result<Cost> {
        let place = &above.field(keyword);
        match keyword {
            "title" | "description" | "$comment" | "default" | "examples" | "deprecated" | "readOnly"
            | "writeOnly" | "format" => Ok(Cost::default()),
            "type" | "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "minLength"
            | "maxLength" | "minItems" | "maxItems" | "uniqueItems" | "minContains" | "maxContains"
            | "minProperties" | "maxProperties" => Ok(Cost::checks(1)),
            "multipleOf" => Ok(Cost::checks(MULTIPLE_OF)),
            "enum" | "const" | "required" | "dependentRequired" => Ok(Cost::checks(values(value))),
            "properties" | "dependentSchemas" => self.fields(value, place, depth),
            "patternProperties" => {
                let Value::Object(fields) = value else {
                    return Err(refused(place, "this is an object of schemas"));
                };
                let mut cost = self.fields(value, place, depth)?;
                for pattern in fields.keys() {
                    // It is matched once for itself and once for `additionalProperties`.
                    let found = self.pattern(pattern, &place.field(pattern))?;
                    cost = cost.and(found).and(found);
                }
                Ok(cost)
            }
            "pattern" => match value {
                Value::String(pattern) => self.pattern(pattern, place),
                _ => Err(refused(place, "a pattern is a text")),
            },
            "items"
            | "contains"
            | "additionalProperties"
            | "propertyNames"
            | "not"
            | "if"
            | "then"
            | "else" => Ok(self.schema(value, place, depth + 1)?.below()),
            "prefixItems" => self.list(value, place, depth),
            "allOf" | "anyOf" | "oneOf" => {
                if value.as_array().is_some_and(|branches| branches.len() > MAX_BRANCHES) {
                    return Err(over(place, format!("`{keyword}` has up to {MAX_BRANCHES} branches")));
                }
                self.list(value, place, depth)
            }
            "$ref" => self.reference(value, place, depth),
            "$defs" if above.is_root() => Ok(Cost::default()),
            "$schema"
                if above.is_root() && value.as_str().is_some_and(|s| s.trim_end_matches('#') == DRAFT) =>
            {
                Ok(Cost::default())
            }
            _ if keyword.starts_with("x-") => Ok(Cost::default()),
            _ => Err(refused(place, not_accepted(keyword))),
        }
    }

    fn fields(&mut self, value: &'a Value, place: &Pointer<'_>, depth: usize) -> Result<Cost> {
        let Value::Object(fields) = value else { return Err(refused(place, "this is an object of schemas")) };
        let mut cost = Cost::default();
        for (name, schema) in fields {
            cost = cost.and(self.schema(schema, &place.field(name), depth + 1)?.below());
        }
        Ok(cost)
    }

    fn list(&mut self, value: &'a Value, place: &Pointer<'_>, depth: usize) -> Result<Cost> {
        let Value::Array(schemas) = value else { return Err(refused(place, "this is an array of schemas")) };
        let mut cost = Cost::default();
        for (index, schema) in schemas.iter().enumerate() {
            cost = cost.and(self.schema(schema, &place.item(index), depth + 1)?.below());
        }
        Ok(cost)
    }

    fn reference(&mut self, value: &'a Value, place: &Pointer<'_>, depth: usize) -> Result<Cost> {
        let name = value.as_str().and_then(|target| target.strip_prefix("#/$defs/"));
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let Some(name) = name.filter(|name| !name.is_empty() && name.chars().all(plain)) else {
            return Err(refused(
                place,
                "a `$ref` is `#/$defs/NAME`, with letters, digits, `_`, `-` and `.` in NAME",
            ));
        };
        let cost = self.definition(name, place, depth + 1)?.below();
        if depth + cost.depth > MAX_SCHEMA_DEPTH {
            return Err(too_deep(place));
        }
        Ok(cost)
    }

    /// The cost of a definition that `place` refers to.
    fn definition(&mut self, name: &'a str, place: &Pointer<'_>, depth: usize) -> Result<Cost> {
        match self.found.get(name) {
            Some(Some(cost)) => return Ok(*cost),
            Some(None) => {
                return Err(refused(place, "a schema must not refer to itself, also not by way of others"));
            }
            None => {}
        }
        let Some(schema) = self.definitions.get(name) else {
            return Err(refused(place, format!("there is no `{name}` in `$defs`")));
        };
        if depth > MAX_SCHEMA_DEPTH {
            return Err(too_deep(place));
        }
        self.found.insert(name, None);
        let root = self.root;
        let cost = self.schema(schema, &root.field("$defs").field(name), depth)?;
        self.found.insert(name, Some(cost));
        Ok(cost)
    }

    fn pattern(&mut self, pattern: &str, place: &Pointer<'_>) -> Result<Cost> {
        self.budget.patterns += 1;
        if self.budget.patterns > MAX_PATTERNS {
            return Err(over(place, format!("a manifest has up to {MAX_PATTERNS} patterns")));
        }
        if pattern.len() > MAX_PATTERN_BYTES {
            return Err(over(place, format!("a pattern has up to {MAX_PATTERN_BYTES} bytes")));
        }
        let states = pattern::states(pattern).map_err(|reason| refused(place, reason))?;
        let cost = Cost { checks: 1, states, depth: 0 };
        within(cost, place)?;
        Ok(cost)
    }
}

/// The number of values in a value; a long text counts as several.
fn values(value: &Value) -> u64 {
    let text = |text: &str| 1 + text.len() as u64 / 64;
    match value {
        Value::Array(items) => 1 + items.iter().map(values).sum::<u64>(),
        Value::Object(fields) => {
            1 + fields.iter().map(|(name, value)| text(name) + values(value)).sum::<u64>()
        }
        Value::String(string) => text(string),
        Value::Null | Value::Bool(_) | Value::Number(_) => 1,
    }
}

fn within(cost: Cost, place: &Pointer<'_>) -> Result<()> {
    if cost.checks > MAX_CHECKS {
        return Err(over(
            place,
            format!(
                "the schemas of a manifest have up to {MAX_CHECKS} checks, with every `$ref` expanded; up to here they are \
                 {}",
                at_most(cost.checks)
            ),
        ));
    }
    if cost.states > MAX_PATTERN_STATES {
        return Err(over(
            place,
            format!(
                "the patterns of a manifest compile to up to {MAX_PATTERN_STATES} states, with every `$ref` expanded; up \
                 to here they are {}. For the length of a text use `maxLength` instead of a repetition",
                at_most(cost.states)
            ),
        ));
    }
    Ok(())
}

fn at_most(count: u64) -> String {
    if count == u64::MAX { "far more".to_owned() } else { count.to_string() }
}

fn too_deep(place: &Pointer<'_>) -> HubError {
    over(place, format!("schemas may be nested {MAX_SCHEMA_DEPTH} deep, with every `$ref` expanded"))
}

fn not_accepted(keyword: &str) -> String {
    let instead = match keyword {
        "definitions" | "$defs" => "; definitions are the `$defs` at the top of `params`",
        "$schema" => return format!("`$schema` belongs at the top of `params` and must be {DRAFT}"),
        "$id" | "$anchor" | "$dynamicRef" | "$dynamicAnchor" | "$recursiveRef" | "$recursiveAnchor" => {
            "; a reference is a `$ref` to `#/$defs/NAME`"
        }
        "unevaluatedProperties" => "; use `additionalProperties`",
        "unevaluatedItems" => "; use `items`",
        "dependencies" => "; use `dependentRequired` or `dependentSchemas`",
        _ => "; a keyword of your own begins with `x-`",
    };
    let name: String = keyword.chars().take(64).collect();
    format!("the keyword `{name}` is not accepted{instead}")
}

fn refused(place: &Pointer<'_>, reason: impl Into<String>) -> HubError {
    HubError::unprocessable(reason).at(place.to_string())
}

fn over(place: &Pointer<'_>, limit: String) -> HubError {
    HubError::too_large(limit).at(place.to_string())
}
