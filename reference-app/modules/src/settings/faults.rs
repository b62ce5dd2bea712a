//! The faults of a settings file, each with its line.

use std::{fmt, ops::Range};

/// A fault of a settings file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong, and what is possible.
    pub message: String,
}

/// The faults of a settings file, in the order of their lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// Adds a fault.
    pub fn push(&mut self, line: usize, message: impl Into<String>) {
        self.0.push(Fault { line, message: message.into() });
        self.0.sort_by_key(|fault| fault.line);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { line, message }) in self.0.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}line {line}: {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The line, from 1, at which a part of a text begins.
pub fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|&&byte| byte == b'\n').count()
}

/// ` (did you mean ...?)` with the known name that is nearest to an unknown one; empty if none is near.
pub fn suggestion<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let distance = |name: &&str| strsim::damerau_levenshtein(unknown, name);
    match known.into_iter().min_by_key(distance) {
        Some(name) if distance(&name) * 3 <= name.len().max(3) => format!(" (did you mean `{name}`?)"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested_only_if_it_is_near() {
        let known = ["every_secs", "channel", "pin", "bme280"];

        assert_eq!(suggestion("evry_sec", known), " (did you mean `every_secs`?)");
        assert_eq!(suggestion("bme820", known), " (did you mean `bme280`?)");
        assert_eq!(suggestion("pn", known), " (did you mean `pin`?)");
        assert_eq!(suggestion("frequency", known), "");
    }

    #[test]
    fn faults_are_listed_in_the_order_of_their_lines() {
        let mut faults = Faults::default();
        faults.push(7, "b");
        faults.push(2, "a");

        assert_eq!(faults.to_string(), "line 2: a\nline 7: b");
        assert_eq!(line_of("a\nb\nc", &(4..5)), 3);
    }
}
