//! Backups of an environment's database: what is demanded before a migration, how one was checked, and what is told of it.
//!
//! Where backups lie and who can read them is the host's business (`agent.toml`): nothing here is a path that a controller could choose.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use crate::{Millis, Timestamp, size};

/// How a backup was checked. Later ones are worth more, and include those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackupCheck {
    /// It was taken, and nobody has looked into it.
    Taken,
    /// All of it was read back and its contents are those that a backup of this database has.
    Listed,
    /// It was restored elsewhere and compared with the database as it was when the backup began.
    Restored,
}

impl BackupCheck {
    /// Every one, the least first.
    pub const ALL: [Self; 3] = [Self::Taken, Self::Listed, Self::Restored];

    /// The word for it, in policies and output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Listed => "listed",
            Self::Restored => "restored",
        }
    }

    /// What was done, in words that overstate nothing.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Taken => "taken, not checked",
            Self::Listed => "read back, not restored",
            Self::Restored => "restored and compared",
        }
    }
}

impl fmt::Display for BackupCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an environment demands before its database is migrated: a backup that was checked at least so, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum BackupDemand {
    /// No backup by this product.
    None,
    /// One that was checked at least so.
    AtLeast(BackupCheck),
}

/// A text that demands nothing known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no backup that can be demanded: write \"restored\", \"listed\", \"taken\" or \"none\"")]
pub struct InvalidDemand(String);

impl Default for BackupDemand {
    fn default() -> Self {
        Self::AtLeast(BackupCheck::Restored)
    }
}

impl BackupDemand {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::AtLeast(check) => check.as_str(),
        }
    }

    /// Whether a backup is wanted at all.
    #[must_use]
    pub const fn wants_one(self) -> bool {
        matches!(self, Self::AtLeast(_))
    }

    /// Whether a backup that was checked so is enough.
    #[must_use]
    pub fn is_met_by(self, check: BackupCheck) -> bool {
        match self {
            Self::None => true,
            Self::AtLeast(least) => check >= least,
        }
    }
}

impl fmt::Display for BackupDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for BackupDemand {
    type Err = InvalidDemand;
    fn from_str(text: &str) -> Result<Self, InvalidDemand> {
        let known = BackupCheck::ALL.into_iter().find(|check| check.as_str() == text);
        match (text, known) {
            ("none", _) => Ok(Self::None),
            (_, Some(check)) => Ok(Self::AtLeast(check)),
            _ => Err(InvalidDemand(text.chars().take(40).collect())),
        }
    }
}

impl TryFrom<String> for BackupDemand {
    type Error = InvalidDemand;
    fn try_from(text: String) -> Result<Self, InvalidDemand> {
        text.parse()
    }
}

impl From<BackupDemand> for String {
    fn from(demand: BackupDemand) -> Self {
        demand.as_str().to_owned()
    }
}

/// What an environment says of its database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabasePolicy {
    /// What is demanded before migrations are applied.
    pub backup: BackupDemand,
    /// How long the release that runs has to have served on every host before migrations are applied that take away what earlier releases
    /// need, so that nobody wants to go back behind them any more; absent where they wait for nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract_after: Option<Millis>,
}

impl DatabasePolicy {
    /// Whether it is what holds where nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What became of the demand for a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "backup")]
pub enum Safeguard {
    /// None was made, since there is nothing that a migration could lose.
    NotNeeded {
        /// Why, for people.
        why: String,
    },
    /// One was made.
    Made(Box<Backup>),
}

impl Safeguard {
    /// In one line.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::NotNeeded { why } => format!("none needed: {why}"),
            Self::Made(backup) => backup.words(),
        }
    }
}

/// The evidence of one backup: what, when, where, and how it was checked. Every text is bounded by [`crate::limits::BACKUP_TEXT_BYTES_MAX`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backup {
    /// What it is called, unique on its host, such as `erp-r12-20261127T113000Z`.
    pub name: String,
    /// When the database looked as the backup has it, by the host's clock.
    pub taken_at: Timestamp,
    /// Which database, in words: `PostgreSQL 15.8, database erp on db-1:5432`.
    pub database: String,
    /// What tells this database from every other one, where it says so: PostgreSQL's system identifier and the database's name.
    pub identity: String,
    /// Where it lies: a file on its host, or what the operator's command said.
    pub place: String,
    /// Bytes of what is kept.
    pub bytes: u64,
    /// BLAKE3 of what is kept, in hex; empty when it is not a file of the host.
    pub digest: String,
    /// Whether it is encrypted, so that only who holds the team's key can read it.
    pub encrypted: bool,
    /// How it was checked.
    pub check: BackupCheck,
    /// What the check saw, in words: `14 tables, 3402 rows, 3402 of them compared`.
    pub seen: String,
    /// How long taking it took.
    pub took: Millis,
    /// How long checking it took.
    pub checked_in: Millis,
}

impl Backup {
    /// In one line.
    #[must_use]
    pub fn words(&self) -> String {
        let encrypted = if self.encrypted { ", encrypted" } else { "" };
        let seen = if self.seen.is_empty() { String::new() } else { format!(" ({})", self.seen) };
        format!("{}: {}{encrypted}, {}{seen}", self.name, size(self.bytes), self.check.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_read_back_and_are_ordered() {
        for demand in BackupCheck::ALL.map(BackupDemand::AtLeast).into_iter().chain([BackupDemand::None]) {
            assert_eq!(demand.as_str().parse::<BackupDemand>().unwrap(), demand);
        }
        assert!(BackupDemand::None < BackupDemand::AtLeast(BackupCheck::Taken));
        assert!(BackupDemand::AtLeast(BackupCheck::Taken) < BackupDemand::AtLeast(BackupCheck::Restored));
        let error = "verified".parse::<BackupDemand>().unwrap_err().to_string();
        assert!(error.contains("\"restored\""), "{error}");
    }

    #[test]
    fn a_lighter_check_is_not_enough() {
        let demand = BackupDemand::AtLeast(BackupCheck::Listed);
        assert!(demand.is_met_by(BackupCheck::Restored) && demand.is_met_by(BackupCheck::Listed) && !demand.is_met_by(BackupCheck::Taken));
        assert!(BackupDemand::None.is_met_by(BackupCheck::Taken));
    }
}
