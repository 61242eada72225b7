//! The policy of an environment: which hosts, and how releases reach them. Written by admins in TOML, applied, stored, fixed into each plan.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use crate::{AppName, EnvironmentName, Millis, Selector, VariableName};

/// An environment of one app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentSpec {
    /// Its name.
    pub name: EnvironmentName,
    /// The app that it runs.
    pub app: AppName,
    /// Its hosts: those that enrolled for it and match.
    #[serde(default)]
    pub hosts: Selector,
    /// How a rollout moves over them.
    #[serde(default)]
    pub strategy: Rolling,
    /// How long old instances stay warm after the last batch, ready to serve again at once.
    #[serde(default = "default_bake")]
    pub bake: Millis,
    /// Releases that stay on each host's disk beside current and previous.
    #[serde(default = "default_keep")]
    pub keep: u32,
    /// Deadlines.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Values of variables that releases declare. No secrets: those lie on the hosts.
    #[serde(default)]
    pub variables: BTreeMap<VariableName, String>,
}

const fn default_bake() -> Millis {
    Millis::from_secs(60)
}

const fn default_keep() -> u32 {
    3
}

/// Rolling through the hosts in batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rolling {
    /// Hosts moved together.
    #[serde(default = "default_batch")]
    pub batch: Share,
    /// Hosts that may be out at once: moving, failed or away.
    #[serde(default = "default_unavailable")]
    pub max_unavailable: Share,
    /// Hosts that may fail or be away before the rollout goes back.
    #[serde(default)]
    pub failure_budget: Share,
}

const fn default_batch() -> Share {
    Share::Percent(34)
}

const fn default_unavailable() -> Share {
    Share::Percent(34)
}

impl Default for Rolling {
    fn default() -> Self {
        Self { batch: default_batch(), max_unavailable: default_unavailable(), failure_budget: Share::default() }
    }
}

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

/// Deadlines of a rollout's parts. Every one has a default; none is infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Preparation of one host.
    pub prepare: Millis,
    /// The migration.
    pub migrate: Millis,
    /// Candidate to health on one host.
    pub activate: Millis,
    /// Silence of the controller after which a host undoes an unconfirmed cutover.
    pub confirm: Millis,
    /// How long a host that is away is waited for where nothing can go on without it.
    pub away: Millis,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            prepare: Millis::from_secs(15 * 60),
            migrate: Millis::from_secs(30 * 60),
            activate: Millis::from_secs(5 * 60),
            confirm: Millis::from_secs(10 * 60),
            away: Millis::from_secs(60),
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
