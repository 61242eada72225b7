//! Mistakes in a file, each with its place and what was probably meant.

use roadstead_model::mistake::place;
use std::fmt;
use std::path::{Path, PathBuf};

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, and what to write instead.
    pub what: String,
}

/// All mistakes of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes {
    /// The file.
    pub file: PathBuf,
    /// In the order of their places.
    pub mistakes: Vec<Mistake>,
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.mistakes.iter().enumerate() {
            let end = if index == 0 { "" } else { "\n" };
            write!(f, "{end}{}:{}:{}: {}", self.file.display(), mistake.line, mistake.column, mistake.what)?;
        }
        Ok(())
    }
}

impl Mistakes {
    pub(super) fn one(file: &Path, what: String) -> Self {
        Self { file: file.to_owned(), mistakes: vec![Mistake { line: 1, column: 1, what }] }
    }

    pub(super) fn of_syntax(file: &Path, text: &str, at: usize, message: &str) -> Self {
        Self::of(file, text, vec![(at, message.trim().replace('\n', ": "))])
    }

    pub(super) fn of(file: &Path, text: &str, mut found: Vec<(usize, String)>) -> Self {
        found.sort();
        let mistakes = found.into_iter().map(|(at, what)| {
            let (line, column) = place(text, at);
            Mistake { line, column, what }
        });
        Self { file: file.to_owned(), mistakes: mistakes.collect() }
    }
}
