//! What a check-up finds: one line for each thing that was looked at, with what to do about it.

use serde::Serialize;
use std::fmt;

/// How a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but deserves a look.
    Warning,
    /// Something does not work until it is put right.
    Failed,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, such as `clock`.
    pub check: String,
    /// How it is.
    pub verdict: Verdict,
    /// What was found, in one line.
    pub says: String,
    /// What to do about it; empty when there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub hint: String,
}

impl Finding {
    /// All is well.
    pub fn ok(check: impl Into<String>, says: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Ok, says: says.into(), hint: String::new() }
    }

    /// It works, but deserves a look.
    pub fn warning(check: impl Into<String>, says: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Warning, says: says.into(), hint: hint.into() }
    }

    /// It does not work.
    pub fn failed(check: impl Into<String>, says: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { check: check.into(), verdict: Verdict::Failed, says: says.into(), hint: hint.into() }
    }

    /// The sentence below a check-up: how many things are not as they should be.
    #[must_use]
    pub fn summary(all: &[Self]) -> String {
        let count = |verdict: Verdict| all.iter().filter(|finding| finding.verdict == verdict).count();
        match (count(Verdict::Failed), count(Verdict::Warning)) {
            (0, 0) => format!("All is well: {} checks.", all.len()),
            (failed, warnings) => format!("{} checks: {failed} failed, {warnings} with a warning.", all.len()),
        }
    }
}

/// The verdict, the check, what was found; below it what to do.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let indent = format!("\n{:24}", "");
        write!(f, "{:8} {:14} {}", self.verdict.word(), self.check, self.says.replace('\n', &indent))?;
        if !self.hint.is_empty() {
            write!(f, "{indent}Hint: {}", self.hint.replace('\n', &indent))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_a_line_and_its_hint() {
        assert_eq!(Finding::ok("clock", "0.1 s apart").to_string(), "ok       clock          0.1 s apart");
        let failed = Finding::failed("tls", "refused\nbecause", "log in again");
        assert_eq!(
            failed.to_string(),
            "failed   tls            refused\n                        because\n                        Hint: log in again"
        );
        assert_eq!(Finding::summary(&[Finding::ok("a", "b"), Finding::ok("c", "d")]), "All is well: 2 checks.");
        assert_eq!(Finding::summary(&[Finding::ok("a", "b"), failed]), "2 checks: 1 failed, 0 with a warning.");
    }
}
