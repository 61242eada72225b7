//! What can go wrong, as the person at the terminal (or the CI job) is told it: what happened, why, what to do next, and an exit code.
//!
//! Every command ends in `Ok` or in one [`Failure`]; nothing else prints an error or chooses an exit code.

use serde::Serialize;
use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// Result of everything that a command does.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// The sort of a failure; it decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// It was tried and did not work, or was rolled back: 1.
    Failed,
    /// The command was called with something that it does not understand: 2.
    Usage,
    /// A gate, a policy or a missing trust forbids it: 3.
    Refused,
    /// The controller does not answer: 4.
    Unreachable,
    /// The user stopped watching, and nothing else: 130, as shells say it.
    Interrupted,
}

impl Kind {
    /// The exit code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Refused => 3,
            Self::Unreachable => 4,
            Self::Interrupted => 130,
        }
    }
}

/// One failure of one command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Failure {
    /// Its sort.
    pub(crate) kind: Kind,
    /// One line: what happened, to which file, release or host.
    pub(crate) summary: String,
    /// Why, from the nearest to the deepest cause.
    pub(crate) causes: Vec<String>,
    /// The end of the output of a program that failed, when there was one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// A failure of a kind with its one line.
    pub(crate) fn new(kind: Kind, summary: impl Into<String>) -> Self {
        Self { kind, summary: summary.into(), causes: Vec::new(), detail: String::new(), hint: None }
    }

    /// It was tried and did not work.
    pub(crate) fn failed(summary: impl Into<String>) -> Self {
        Self::new(Kind::Failed, summary)
    }

    /// The command was called in a way that makes no sense.
    pub(crate) fn usage(summary: impl Into<String>) -> Self {
        Self::new(Kind::Usage, summary)
    }

    /// A rule forbids it.
    pub(crate) fn refused(summary: impl Into<String>) -> Self {
        Self::new(Kind::Refused, summary)
    }

    /// The same failure with an error and all its sources as causes, each said once.
    #[must_use]
    pub(crate) fn because(mut self, error: &dyn Error) -> Self {
        let mut next = Some(error);
        while let Some(error) = next {
            let text = error.to_string();
            let said = self.causes.last().is_some_and(|last| last.ends_with(&text));
            if !said && !text.is_empty() {
                self.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// The same failure with a cause in words.
    #[must_use]
    pub(crate) fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    /// The same failure with what to do next.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same failure with the end of a program's output, at most 40 lines and 8 KiB of it: the end of a traceback tells most.
    #[must_use]
    pub(crate) fn detail(mut self, output: &str) -> Self {
        let lines: Vec<&str> = output.trim_end().lines().collect();
        let tail = lines[lines.len().saturating_sub(40)..].join("\n");
        let mut start = tail.len().saturating_sub(8 * 1024);
        while !tail.is_char_boundary(start) {
            start += 1;
        }
        self.detail = tail[start..].to_owned();
        self
    }

    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind.code())
    }
}

/// The whole message: what, why, the program's own words, what next.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = if self.kind == Kind::Interrupted { "Interrupted" } else { "Error" };
        write!(f, "{head}: {}", self.summary)?;
        for cause in &self.causes {
            write!(f, "\nCaused by: {}", cause.replace('\n', "\n  "))?;
        }
        if !self.detail.is_empty() {
            write!(f, "\n\n  | {}\n", self.detail.replace('\n', "\n  | "))?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\nHint: {}", hint.replace('\n', "\n  "))?;
        }
        Ok(())
    }
}

/// Reading or writing a file went wrong: which, and the system's reason.
pub(crate) fn file(action: &str, path: &std::path::Path, error: &std::io::Error) -> Failure {
    let failure = Failure::failed(format!("cannot {action} {}", path.display())).because(error);
    match error.kind() {
        std::io::ErrorKind::StorageFull => failure.hint("the disk is full: make room, then run the command again"),
        std::io::ErrorKind::PermissionDenied => failure.hint("check the owner and the mode of the file and of the folders above it"),
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_from_what_to_why_to_what_next() {
        let error = std::io::Error::new(std::io::ErrorKind::NotFound, "no such file");
        let failure = Failure::failed("cannot read a.toml").because(&error).detail("one\ntwo\n").hint("write it");
        assert_eq!(failure.to_string(), "Error: cannot read a.toml\nCaused by: no such file\n\n  | one\n  | two\n\nHint: write it");
    }

    #[test]
    fn a_long_output_keeps_its_end() {
        let output: String = (0..10_000).map(|n| format!("é{n}\n")).collect();
        let failure = Failure::failed("x").detail(&output);
        assert!(failure.detail.ends_with("é9999") && failure.detail.lines().count() == 40);
        assert!(Failure::failed("x").detail(&"é".repeat(9000)).detail.len() <= 8 * 1024);
    }

    #[test]
    fn codes_are_those_that_ci_knows() {
        let kinds = [Kind::Failed, Kind::Usage, Kind::Refused, Kind::Unreachable, Kind::Interrupted];
        assert_eq!(kinds.map(Kind::code), [1, 2, 3, 4, 130]);
    }
}
