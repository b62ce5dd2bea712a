//! The result of one check.

use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// As it should be.
    Ok,
    /// The module can run, but something may go wrong.
    Warn,
    /// The module cannot do its work.
    Fail,
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub level: Level,
    /// What was checked, one word.
    pub area: &'static str,
    /// What was found.
    pub message: String,
    /// The command or the line that corrects it.
    pub fix: Option<String>,
}

impl Finding {
    pub fn ok(area: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Ok, area, message: message.into(), fix: None }
    }

    pub fn warn(area: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Warn, area, message: message.into(), fix: Some(fix.into()) }
    }

    pub fn fail(area: &'static str, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { level: Level::Fail, area, message: message.into(), fix: Some(fix.into()) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        write!(f, "{level:<5} {:<8} {}", self.area, self.message)?;
        match &self.fix {
            Some(fix) => write!(f, "\n{:15}-> {fix}", ""),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_a_line_and_its_fix_another_one() {
        assert_eq!(Finding::ok("clock", "synchronized").to_string(), "ok    clock    synchronized");
        assert_eq!(
            Finding::fail("disk", "full", "rm").to_string(),
            "FAIL  disk     full\n               -> rm"
        );
    }
}
