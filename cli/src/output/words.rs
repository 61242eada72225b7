//! Numbers for people: spans of time, counted nouns.

use std::time::Duration;

/// A span of time, as `0.4 s` or `2 min 5 s`.
pub(crate) fn took(span: Duration) -> String {
    let seconds = span.as_secs();
    if seconds < 60 { format!("{}.{} s", seconds, span.subsec_millis() / 100) } else { format!("{} min {} s", seconds / 60, seconds % 60) }
}

/// A number and its noun: `1 file`, `2 files`.
pub(crate) fn count(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// A text of somebody else that moves no terminal: what controls one, or turns the direction of what follows, stands there as `\u{fffd}`.
pub(crate) fn printable(text: &str) -> String {
    let moves =
        |c: char| (c.is_control() && c != '\t') || matches!(c, '\u{200e}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if moves(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([took(Duration::from_millis(450)), took(Duration::from_secs(125))], ["0.4 s", "2 min 5 s"]);
        assert_eq!(printable("a\u{1b}[2J\r\n\u{202e}\tb ü"), "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}\tb ü");
        assert_eq!([count(1, "file"), count(0, "file")], ["1 file", "0 files"]);
    }
}
