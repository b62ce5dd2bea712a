//! The fields of a table of a settings file, each read by its name. Fields that nothing read are unknown.

use std::{collections::BTreeMap, fmt::Display, ops::Range};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use toml::{
    Spanned,
    de::{DeTable, DeValue, ValueDeserializer},
};

use super::faults::{Faults, line_of, suggestion};

/// A table of a settings file.
pub struct Fields<'a> {
    text: &'a str,
    /// The line of the table, for what is missing.
    pub line: usize,
    fields: BTreeMap<String, (usize, Spanned<DeValue<'a>>)>,
    read: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub fn new(text: &'a str, line: usize, table: DeTable<'a>) -> Self {
        let fields = table.into_iter().map(|(key, value)| {
            let line = line_of(text, &key.span());
            (key.into_inner().into_owned(), (line, value))
        });
        Self { text, line, fields: fields.collect(), read: Vec::new() }
    }

    /// The line of a field, or else that of the table.
    pub fn line_of(&self, key: &str) -> usize {
        self.fields.get(key).map_or(self.line, |(line, _)| *line)
    }

    /// The line of a part of the file.
    pub fn line_at(&self, span: &Range<usize>) -> usize {
        line_of(self.text, span)
    }

    /// The line of each field.
    pub fn lines(&self) -> BTreeMap<String, usize> {
        self.fields.iter().map(|(key, (line, _))| (key.clone(), *line)).collect()
    }

    /// Reads a field. A wrong value is a fault, and counts as absent.
    pub fn optional<T: DeserializeOwned>(&mut self, key: &'static str, faults: &mut Faults) -> Option<T> {
        self.read.push(key);
        let (line, value) = self.fields.get(key)?;
        match T::deserialize(ValueDeserializer::from(value.clone())) {
            Ok(value) => Some(value),
            Err(error) => {
                let line = error.span().map_or(*line, |span| line_of(self.text, &span));
                faults.push(line, format!("`{key}`: {}", error.message()));
                None
            }
        }
    }

    /// Reads a field that must be there.
    pub fn required<T: DeserializeOwned>(&mut self, key: &'static str, faults: &mut Faults) -> Option<T> {
        if !self.fields.contains_key(key) {
            faults.push(self.line, format!("`{key}` is missing"));
        }
        self.optional(key, faults)
    }

    /// Reads a number in a range, with its bounds.
    pub fn number(&mut self, key: &'static str, min: f64, max: f64, faults: &mut Faults) -> Option<f64> {
        let number = self.optional(key, faults)?;
        if (min..=max).contains(&number) {
            return Some(number);
        }
        faults.push(self.line_of(key), format!("`{key}` is {min} to {max}, not {number}"));
        None
    }

    /// The tables of `[[key]]`.
    pub fn tables(&mut self, key: &'static str, faults: &mut Faults) -> Vec<Fields<'a>> {
        self.read.push(key);
        let Some((line, value)) = self.fields.remove(key) else { return Vec::new() };
        let DeValue::Array(values) = value.into_inner() else {
            faults.push(line, format!("`{key}` is a list of tables: [[{key}]]"));
            return Vec::new();
        };
        let mut tables = Vec::new();
        for value in values {
            let line = line_of(self.text, &value.span());
            match value.into_inner() {
                DeValue::Table(table) => tables.push(Fields::new(self.text, line, table)),
                _ => faults.push(line, format!("`{key}` is a list of tables: [[{key}]]")),
            }
        }
        tables
    }

    /// Reports the fields that nothing read, and that are not in `more`; `of` names the table's owner.
    pub fn refuse_unknown(&self, more: &[&'static str], of: impl Display, faults: &mut Faults) {
        let known = || self.read.iter().chain(more).copied();
        for (key, (line, _)) in &self.fields {
            if !known().any(|name| name == key) {
                let suggestion = suggestion(key, known());
                faults.push(*line, format!("`{key}` is no setting of {of}{suggestion}"));
            }
        }
    }

    /// The fields that nothing read.
    pub fn rest(&self, faults: &mut Faults) -> Map<String, Value> {
        let mut rest = Map::new();
        for (key, (line, value)) in &self.fields {
            if self.read.contains(&key.as_str()) {
                continue;
            }
            match serde::Deserialize::deserialize(ValueDeserializer::from(value.clone())) {
                Ok(value) => _ = rest.insert(key.clone(), value),
                Err(error) => faults.push(*line, format!("`{key}`: {}", error.message())),
            }
        }
        rest
    }
}
