//! The two streams: results on stdout (as text or JSON), progress, notes and errors on stderr. Nothing else writes to either.

mod progress;
mod table;
mod words;

pub(crate) use progress::{Bytes, Step};
pub(crate) use roadstead_model::size;
pub(crate) use table::table;
pub(crate) use words::{count, printable, took};

use serde::Serialize;
use std::cell::RefCell;
use std::io::{IsTerminal, Write};

use crate::failure::{Failure, Result};
use roadstead_model::{Finding, Verdict};

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// JSON on stdout, for programs: one document, or a line for each event where a command follows something.
    Json,
}

/// Where a command speaks.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    live: bool,
    color: bool,
    warnings: RefCell<Vec<String>>,
}

impl Output {
    /// The process's own streams: colors and live progress only on a terminal, no colors under `NO_COLOR`.
    pub(crate) fn of_process(format: Format) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) || std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        Self { format, live: terminal && format == Format::Text, color: terminal && !plain, warnings: RefCell::default() }
    }

    /// An output that shows nothing live and has no colors.
    #[cfg(test)]
    pub(crate) fn plain() -> Self {
        Self { format: Format::Text, live: false, color: false, warnings: RefCell::default() }
    }

    /// Whether results are JSON.
    pub(crate) const fn is_json(&self) -> bool {
        matches!(self.format, Format::Json)
    }

    /// Whether progress may be drawn over: a terminal, and not JSON.
    pub(crate) const fn is_live(&self) -> bool {
        self.live
    }

    /// The result of the command: the value as JSON, or its text.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        let text = match self.format {
            Format::Json => serde_json::to_string_pretty(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")),
            Format::Text => text(),
        };
        self.stdout(text.trim_end_matches('\n'));
    }

    /// One of many results, as soon as it is there: a line of JSON, or its text.
    pub(crate) fn line(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        let text = match self.format {
            Format::Json => serde_json::to_string(value).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}")),
            Format::Text => text(),
        };
        self.stdout(&text);
    }

    /// What a check-up found, as soon as it is found; under JSON all of it comes at the end.
    pub(crate) fn finding(&self, finding: &Finding) {
        if self.is_json() {
            return;
        }
        let (text, word) = (finding.to_string(), finding.verdict.word());
        let color = match finding.verdict {
            Verdict::Ok => "32",
            Verdict::Warning => "33",
            Verdict::Failed => "1;31",
        };
        let painted = if std::io::stdout().is_terminal() { self.paint(color, word) } else { word.to_owned() };
        self.stdout(&text.replacen(word, &painted, 1));
    }

    /// Asks before something that cannot be taken back. Where nobody can be asked, only `yes` will do.
    ///
    /// # Errors
    /// When the answer is no, or nobody can be asked.
    pub(crate) fn confirm(&self, yes: bool, what: &str) -> Result<()> {
        if yes {
            return Ok(());
        }
        if !self.can_ask() {
            return Err(Failure::usage(format!("{what}: this cannot be taken back, and nobody can be asked here"))
                .hint("say --yes when you mean it"));
        }
        // No answer is no.
        let answer = self.ask(&format!("{what}. This cannot be taken back. Go on? [y/N] "));
        if matches!(answer.to_lowercase().as_str(), "y" | "yes") { Ok(()) } else { Err(Failure::failed("nothing was done")) }
    }

    /// Whether somebody sits there who can be asked.
    pub(crate) fn can_ask(&self) -> bool {
        !self.is_json() && std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks, and gives back the line that is typed; nothing where none is.
    pub(crate) fn ask(&self, question: &str) -> String {
        drop(write!(std::io::stderr().lock(), "{question}"));
        let mut answer = String::new();
        drop(std::io::stdin().read_line(&mut answer));
        answer.trim().to_owned()
    }

    /// The width of the terminal on which results are shown; none when it is not a terminal.
    pub(crate) fn width(&self) -> Option<usize> {
        console::Term::stdout().size_checked().map(|(_, columns)| columns.into())
    }

    /// A bar for bytes that are on their way: drawn on a terminal, silent elsewhere.
    pub(crate) fn bytes(&self, name: &'static str, total: u64) -> Bytes {
        Bytes::begin(self, name, total)
    }

    /// Raw text on stdout: completions, file contents. A reader that has gone away is not an error.
    pub(crate) fn stdout(&self, text: &str) {
        let mut stdout = std::io::stdout().lock();
        drop(writeln!(stdout, "{text}").and_then(|()| stdout.flush()));
    }

    /// A line for people on stderr; silent under JSON.
    pub(crate) fn note(&self, text: &str) {
        if !self.is_json() {
            self.stderr(text);
        }
    }

    /// Something that works but deserves a look. Kept, too, for the JSON result.
    pub(crate) fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        self.note(&format!("{} {}", self.paint("33", "warning:"), text.replace('\n', "\n  ")));
        self.warnings.borrow_mut().push(text);
    }

    /// All warnings so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    /// The failure with which the command ends.
    pub(crate) fn failure(&self, failure: &Failure) {
        if self.is_json() {
            let body = serde_json::json!({ "error": failure });
            self.stderr(&serde_json::to_string_pretty(&body).unwrap_or_else(|_| failure.to_string()));
        } else {
            let text = failure.to_string();
            let (head, rest) = text.split_once(':').unwrap_or(("Error", &text));
            let text = format!("{}{rest}", self.paint("1;31", &format!("{head}:")));
            self.stderr(&text.replace("\nHint:", &format!("\n{}", self.paint("1;36", "Hint:"))));
        }
    }

    /// Begins a step of a longer operation: a spinner on a terminal, a line at its end elsewhere.
    pub(crate) fn step(&self, name: &'static str) -> Step<'_> {
        Step::begin(self, name)
    }

    fn stderr(&self, text: &str) {
        drop(writeln!(std::io::stderr().lock(), "{text}"));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}
