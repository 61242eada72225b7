//! Mistakes in files that people write: where they are, and what was probably meant.

/// Line and column of a byte, both from 1.
#[must_use]
pub fn place(text: &str, at: usize) -> (usize, usize) {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    let before = &text[..at];
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before[start..].chars().count() + 1)
}

/// `LINE:COLUMN: what is wrong`, on one line: for a text, the byte where it is wrong, and what its reader says.
///
/// A reader made by serde lists all names that it knows when it meets another: the one that was probably meant is enough.
#[must_use]
pub fn located(text: &str, at: usize, message: &str) -> String {
    let (line, column) = place(text, at);
    let message = message.trim().replace('\n', ": ");
    format!("{line}:{column}: {}", in_our_words(message))
}

/// What serde's reader says, as a person would say it.
fn in_our_words(message: String) -> String {
    if let Some(better) = with_suggestion(&message) {
        better
    } else if let Some(name) = message.strip_prefix("missing field ") {
        format!("the key {name} is missing")
    } else if message.starts_with("invalid type: ") && message.ends_with("expected a string") {
        format!("{message}: write it in quotes")
    } else {
        message
    }
}

/// The message about an unknown name, with a suggestion in place of a list.
fn with_suggestion(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("unknown ")?;
    let (kind, rest) = rest.split_once(" `")?;
    let (word, rest) = rest.split_once('`')?;
    let known: Vec<&str> = rest.split('`').skip(1).step_by(2).collect();
    let noun = if kind == "field" { "key" } else { "value" };
    let rest = match meant(word, &known) {
        Some(best) => format!("did you mean `{best}`?"),
        None if known.is_empty() => "it is not known here".to_owned(),
        None => format!("known are {}", known.join(", ")),
    };
    Some(format!("unknown {noun} `{word}`: {rest}"))
}

/// The known word that an unknown one was probably meant to be.
#[must_use]
pub fn meant<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word: String = word.chars().take(40).collect::<String>().replace('_', "-");
    let best = known.iter().map(|known| (distance(&word, known), *known)).min()?;
    (best.0 <= best.1.len().div_ceil(3)).then_some(best.1)
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

    #[test]
    fn an_unknown_name_comes_with_what_was_meant() {
        let said = "unknown field `batches`, expected one of `kind`, `batch`, `bake`";
        assert_eq!(located("a\nbatches = 1", 2, said), "2:1: unknown key `batches`: did you mean `batch`?");
        let said = "unknown field `x`, expected `listen` or `state`";
        assert_eq!(located("x = 1", 0, said), "1:1: unknown key `x`: known are listen, state");
        assert_eq!(
            located("x = 1", 0, "unknown variant `rollin`, expected `rolling`"),
            "1:1: unknown value `rollin`: did you mean `rolling`?"
        );
        assert_eq!(located("", 0, "missing field `app`"), "1:1: the key `app` is missing");
        assert_eq!(located("x", 0, "expected a digit\nor not\n"), "1:1: expected a digit: or not");
    }
}
