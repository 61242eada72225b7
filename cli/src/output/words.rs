//! Numbers for people: sizes in KiB and MiB, spans of time, counted nouns.

use std::time::Duration;

/// Bytes, as `3.9 KiB`.
pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    let mut scaled = bytes.saturating_mul(10) / 1024;
    while scaled >= 10_240 && unit + 1 < UNITS.len() {
        scaled /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", scaled / 10, scaled % 10, UNITS[unit])
}

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
        assert_eq!([size(0), size(1023), size(1024), size(4000), size(5 << 20)], ["0 B", "1023 B", "1.0 KiB", "3.9 KiB", "5.0 MiB"]);
        assert_eq!(size(u64::MAX), "1638.3 PiB");
        assert_eq!([took(Duration::from_millis(450)), took(Duration::from_secs(125))], ["0.4 s", "2 min 5 s"]);
        assert_eq!(printable("a\u{1b}[2J\r\n\u{202e}\tb ü"), "a\u{fffd}[2J\u{fffd}\u{fffd}\u{fffd}\tb ü");
        assert_eq!([count(1, "file"), count(0, "file")], ["1 file", "0 files"]);
    }
}
