//! Mistakes in a file, each with its place and what was probably meant.

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

/// Line and column of a byte, both from 1.
fn place(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

/// The known word that an unknown one was probably meant to be.
pub(super) fn meant<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: String = word.chars().take(40).collect::<String>().replace('_', "-");
    let best = known.iter().map(|known| (distance(&word, known), *known)).min()?;
    (best.0 <= (best.1.len() / 3).max(1)).then_some(best.1)
}

/// Letters to insert, delete or replace (Levenshtein's distance).
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.chars().enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        if let Some(first) = row.first_mut() {
            *first = left;
        }
        for (b, cell) in other.iter().zip(row.iter_mut().skip(1)) {
            let best = (diagonal + usize::from(a != *b)).min(left + 1).min(*cell + 1);
            diagonal = *cell;
            *cell = best;
            left = best;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_the_nearest_word() {
        let known = ["workers", "worker-class", "listen", "kind"];
        assert_eq!(meant("wrokers", &known), Some("workers"));
        assert_eq!(meant("worker", &known), Some("workers"));
        assert_eq!(meant("knd", &known), Some("kind"));
        assert_eq!(meant("database", &known), None);
        assert_eq!((distance("", "abc"), distance("kitten", "sitting"), distance("x", "x")), (3, 3, 0));
    }

    #[test]
    fn places_count_characters() {
        assert_eq!(place("a\nbä = 1", 6), (2, 4));
        assert_eq!(place("", 99), (1, 1));
    }
}
