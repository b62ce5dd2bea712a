//! JSON Schemas of actions' parameters: the accepted subset, and checking parameters.
//!
//! Modules send their own schemas, so the cost of a schema is bounded before it is compiled:
//! [`budget`](Budget) adds up its keywords, with every `$ref` expanded, and the states of its patterns. Only
//! a subset of JSON Schema 2020-12 is accepted: the keywords whose cost follows from the schema's text.
//! Deliberately absent: fetching anything.

mod budget;
mod checker;
mod pattern;
mod pointer;

use std::ops::AddAssign;

use iotpi_core::Manifest;
use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::{Map, Value};

pub use budget::{
    Budget, Cost, MAX_BRANCHES, MAX_CHECKS, MAX_PATTERN_BYTES, MAX_PATTERN_STATES, MAX_PATTERNS,
    MAX_SCHEMA_DEPTH, MAX_SCHEMAS,
};
pub(crate) use checker::Checker;

use crate::error::{HubError, Result};

/// The maximum number of steps of one check of parameters: values of the parameters times checks of the
/// schema.
pub const MAX_STEPS: u64 = 1_000_000;
/// The maximum number of steps of pattern matching in it: bytes of text times states of the schema's
/// patterns.
pub const MAX_PATTERN_STEPS: u64 = 10_000_000;

/// Above this number of steps an error does not name the violated rule: each failed branch would be
/// described.
const MAX_EXPLAINED_STEPS: u64 = 10_000;
/// The maximum length of an explanation in characters.
const MAX_EXPLANATION: usize = 300;
/// The limits of one compiled pattern and of its cache, in bytes. The budget refuses patterns that would need
/// more, so this is the second line of defence.
const MAX_PATTERN_MEMORY: usize = 1 << 20;
const MAX_PATTERN_CACHE: usize = 32 << 10;

/// Checks the schemas of all actions of a manifest: they are correct and within one budget.
///
/// # Errors
/// `TooLarge` (over the budget), `Unprocessable` (not a schema of an object, or a keyword that is not
/// accepted), with a pointer into the manifest.
pub fn check_actions(manifest: &Manifest) -> Result<()> {
    let mut budget = Budget::default();
    let mut costs = Vec::with_capacity(manifest.actions.len());
    for (i, action) in manifest.actions.iter().enumerate() {
        costs.push(budget.add(&action.params, &format!("/actions/{i}/params"))?);
    }
    for (i, (action, cost)) in manifest.actions.iter().zip(costs).enumerate() {
        ParamsSchema::build(&action.params, cost, &format!("/actions/{i}/params"))?;
    }
    Ok(())
}

/// The compiled schema of an action's parameters.
#[derive(Debug)]
pub struct ParamsSchema {
    validator: Validator,
    cost: Cost,
    /// The size of its source in bytes.
    bytes: u64,
}

impl ParamsSchema {
    /// Compiles a schema that is within the budget on its own.
    ///
    /// # Errors
    /// As [`check_actions`], with pointers into the schema.
    pub fn compile(schema: &Map<String, Value>) -> Result<Self> {
        let cost = Budget::default().add(schema, "")?;
        Self::build(schema, cost, "")
    }

    fn build(schema: &Map<String, Value>, cost: Cost, at: &str) -> Result<Self> {
        // This engine matches patterns in linear time.
        let patterns =
            PatternOptions::regex().size_limit(MAX_PATTERN_MEMORY).dfa_size_limit(MAX_PATTERN_CACHE);
        let validator = jsonschema::options()
            .with_draft(Draft::Draft202012)
            .with_pattern_options(patterns)
            .should_validate_formats(false)
            .build(&Value::Object(schema.clone()))
            .map_err(|error| {
                HubError::unprocessable(format!(
                    "not a JSON Schema of an object: {}",
                    short(&error.to_string())
                ))
                .at(format!("{at}{}", error.instance_path()))
            })?;
        let bytes = serde_json::to_vec(schema).map_or(0, |json| json.len() as u64);
        Ok(Self { validator, cost, bytes })
    }

    /// The size of its source as JSON, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The cost of keeping it and of checking against it.
    #[must_use]
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Checks parameters. Takes at most [`MAX_STEPS`] steps.
    ///
    /// # Errors
    /// `TooLarge` when it could take more; `Unprocessable` with a pointer to the invalid part.
    pub fn check(&self, params: &Map<String, Value>) -> Result<()> {
        let size = Size::of(params);
        let steps = size.values.saturating_mul(self.cost.checks);
        let pattern_steps = size.text.saturating_mul(self.cost.states);
        if steps > MAX_STEPS || pattern_steps > MAX_PATTERN_STEPS {
            return Err(HubError::too_large(format!(
                "Checking these parameters could take {steps} steps and {pattern_steps} steps of pattern matching; the \
                 limits are {MAX_STEPS} and {MAX_PATTERN_STEPS}. Send fewer or shorter values, or give the action a \
                 simpler schema."
            ))
            .at("/params"));
        }
        let params = Value::Object(params.clone());
        if self.validator.is_valid(&params) {
            return Ok(());
        }
        if steps > MAX_EXPLAINED_STEPS {
            return Err(HubError::unprocessable("The parameters do not follow the schema of the action.")
                .at("/params"));
        }
        match self.validator.validate(&params) {
            Ok(()) => Ok(()),
            Err(error) => Err(HubError::unprocessable(short(&error.to_string()))
                .at(format!("/params{}", error.instance_path()))),
        }
    }
}

/// The amount to check in parameters.
#[derive(Debug, Default, Clone, Copy)]
struct Size {
    /// Values and field names; a long text counts as several.
    values: u64,
    /// Bytes of text.
    text: u64,
}

impl Size {
    fn of(params: &Map<String, Value>) -> Self {
        let mut size = Self { values: 1, text: 0 };
        params.iter().for_each(|(name, value)| size.add_field(name, value));
        size
    }

    fn add_field(&mut self, name: &str, value: &Value) {
        *self += Self::of_text(name);
        self.add(value);
    }

    fn add(&mut self, value: &Value) {
        match value {
            Value::String(text) => *self += Self::of_text(text),
            Value::Array(items) => {
                self.values += 1;
                items.iter().for_each(|item| self.add(item));
            }
            Value::Object(fields) => {
                self.values += 1;
                fields.iter().for_each(|(name, value)| self.add_field(name, value));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => self.values += 1,
        }
    }

    fn of_text(text: &str) -> Self {
        let text = text.len() as u64;
        Self { values: 1 + text / 64, text: text + 1 }
    }
}

impl AddAssign for Size {
    fn add_assign(&mut self, other: Self) {
        self.values += other.values;
        self.text += other.text;
    }
}

fn short(explanation: &str) -> String {
    match explanation.char_indices().nth(MAX_EXPLANATION) {
        None => explanation.to_owned(),
        Some((end, _)) => format!("{}...", &explanation[..end]),
    }
}

#[cfg(test)]
mod tests;
