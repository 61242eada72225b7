//! So many of the hosts.

use serde::{Deserialize, Serialize};

/// A number of hosts, or a percentage of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "ShareText", into = "ShareText")]
pub enum Share {
    /// So many hosts.
    Count(u32),
    /// So many of a hundred, 0 to 100.
    Percent(u8),
}

impl Default for Share {
    fn default() -> Self {
        Self::Count(0)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum ShareText {
    Number(u32),
    Text(String),
}

/// Not a number and not a percentage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a number of hosts nor a percentage: write 2 or \"25%\"")]
pub struct InvalidShare(String);

impl TryFrom<ShareText> for Share {
    type Error = InvalidShare;
    fn try_from(text: ShareText) -> Result<Self, InvalidShare> {
        match text {
            ShareText::Number(count) => Ok(Self::Count(count)),
            ShareText::Text(text) => {
                let percent = text.strip_suffix('%').and_then(|digits| digits.trim().parse::<u8>().ok()).filter(|p| *p <= 100);
                percent.map(Self::Percent).ok_or_else(|| InvalidShare(text.chars().take(40).collect()))
            }
        }
    }
}

impl From<Share> for ShareText {
    fn from(share: Share) -> Self {
        match share {
            Share::Count(count) => Self::Number(count),
            Share::Percent(percent) => Self::Text(format!("{percent}%")),
        }
    }
}

impl Share {
    /// So many of `total`, a percentage rounded up.
    #[must_use]
    pub fn of_rounded_up(self, total: usize) -> usize {
        match self {
            Self::Count(count) => usize::try_from(count).unwrap_or(usize::MAX).min(total),
            Self::Percent(percent) => (total * usize::from(percent)).div_ceil(100),
        }
    }

    /// Whether it is no host, of however many.
    #[must_use]
    pub const fn is_nothing(self) -> bool {
        matches!(self, Self::Count(0) | Self::Percent(0))
    }

    /// Whether it can be more than another: a number and a percentage are compared when the hosts are known.
    #[must_use]
    pub const fn exceeds(self, other: Self) -> bool {
        match (self, other) {
            (Self::Count(this), Self::Count(other)) => this > other,
            (Self::Percent(this), Self::Percent(other)) => this > other,
            (this, _) => !this.is_nothing(),
        }
    }

    /// So many of `total`, a percentage rounded down.
    #[must_use]
    pub fn of_rounded_down(self, total: usize) -> usize {
        match self {
            Self::Count(_) => self.of_rounded_up(total),
            Self::Percent(percent) => total * usize::from(percent) / 100,
        }
    }
}

impl std::fmt::Display for Share {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Count(count) => write!(f, "{count}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_towards_caution() {
        assert_eq!(Share::Percent(34).of_rounded_up(3), 2);
        assert_eq!(Share::Percent(34).of_rounded_down(3), 1);
        assert_eq!(Share::Count(5).of_rounded_up(3), 3);
        assert_eq!(Share::try_from(ShareText::Text("25%".into())).unwrap(), Share::Percent(25));
        for bad in ["", "%", "101%", "x%", "2"] {
            assert!(Share::try_from(ShareText::Text(bad.into())).is_err(), "{bad}");
        }
    }
}
