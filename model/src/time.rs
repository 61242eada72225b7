//! Points and spans of time as plain numbers. Nothing here reads a clock.

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since 1970-01-01 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// A span of time in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Timestamp {
    /// This point plus a span; saturating.
    #[must_use]
    pub const fn plus(self, span: Millis) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// The span from `earlier` to this point; zero when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Millis {
        Millis(self.0.saturating_sub(earlier.0))
    }
}

impl Millis {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// As the standard library's duration.
    #[must_use]
    pub const fn to_duration(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0)
    }
}

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            ms @ 0..1_000 => write!(f, "{ms} ms"),
            ms @ 1_000..60_000 => write!(f, "{}.{} s", ms / 1000, ms % 1000 / 100),
            ms @ 60_000..3_600_000 => two(f, (ms / 60_000, "min"), (ms % 60_000 / 1000, "s")),
            ms @ 3_600_000..172_800_000 => two(f, (ms / 3_600_000, "h"), (ms % 3_600_000 / 60_000, "min")),
            ms => two(f, (ms / 86_400_000, "days"), (ms % 86_400_000 / 3_600_000, "h")),
        }
    }
}

/// The two largest units of a span; the smaller only when there is something of it.
fn two(f: &mut std::fmt::Formatter<'_>, large: (u64, &str), small: (u64, &str)) -> std::fmt::Result {
    write!(f, "{} {}", large.0, large.1)?;
    if small.0 == 0 { Ok(()) } else { write!(f, " {} {}", small.0, small.1) }
}

#[cfg(test)]
mod tests {
    use super::Millis;

    #[test]
    fn spans_are_told_in_the_units_that_matter() {
        let told = [0, 999, 1_250, 60_000, 125_000, 3_600_000, 9_000_000, 172_800_000, 180_000_000].map(|ms| Millis(ms).to_string());
        assert_eq!(told, ["0 ms", "999 ms", "1.2 s", "1 min", "2 min 5 s", "1 h", "2 h 30 min", "2 days", "2 days 2 h"]);
    }
}
