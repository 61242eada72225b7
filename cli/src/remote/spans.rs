//! Spans of time on the command line and in environment files: `250ms`, `90s`, `5m`, `1h`.

use roadstead_model::Millis;
use serde::Deserialize;

/// A span in a file.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Span(pub(crate) Millis);

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        parse(&text).map(Self)
    }
}

/// Reads a span.
///
/// # Errors
/// A sentence that says what a span looks like.
pub(crate) fn parse(text: &str) -> Result<Millis, String> {
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    let millis = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).filter(|_| factor > 0);
    millis.map(Millis).ok_or_else(|| format!("{text:?} is no duration: write 90s, 5m or 1h"))
}
