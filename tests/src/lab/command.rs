//! Commands of the machine, and how a command in a host ended.

use crate::lab::error::{LabError, Result};
use std::process::{Command, Output};

/// How much of a command's output an error shows.
const SHOWN_MAX: usize = 4000;

/// How a command in a host ended, whatever it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Execution {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Execution {
    /// Whether it ended with 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }

    /// How a process ended.
    pub fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// The standard output of a command that succeeded, else an error that shows what it said.
    pub fn checked(self, place: &str, command: &str) -> Result<String> {
        if self.success() {
            return Ok(self.stdout);
        }
        let how = match self.code {
            Some(124) => "did not end in time".to_owned(),
            Some(code) => format!("ended with {code}"),
            None => "was killed".to_owned(),
        };
        let said = format!("{}{}", self.stdout, self.stderr);
        Err(LabError::Command { place: place.to_owned(), command: command.to_owned(), how, output: tail(&said) })
    }
}

/// Runs a command on the machine itself and returns what it wrote.
pub(crate) fn run(words: &[&str]) -> Result<String> {
    let command = words.join(" ");
    let [program, arguments @ ..] = words else { return Ok(String::new()) };
    let output = Command::new(program).args(arguments).output().map_err(|error| LabError::Command {
        place: "machine".into(),
        command: command.clone(),
        how: format!("could not start: {error}"),
        output: String::new(),
    })?;
    Execution::of(&output).checked("machine", &command)
}

/// The end of a text, each line indented under the sentence that it belongs to.
pub(crate) fn tail(text: &str) -> String {
    let start = text.len().saturating_sub(SHOWN_MAX);
    let shown = text.char_indices().find(|(at, _)| *at >= start).map_or("", |(at, _)| &text[at..]);
    shown.trim_end().lines().map(|line| format!("\n    {line}")).collect()
}
