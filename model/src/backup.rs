//! Backups of an environment's database: what is demanded before a migration, how one was checked, and what is told of it.
//!
//! Where backups lie and who can read them is the host's business (`agent.toml`): nothing here is a path that a controller could choose.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use crate::size::{decimal_size, parse_decimal_size};
use crate::{ApprovalRule, Loss, Millis, Timestamp, size};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum BackupDemand {
    /// No backup by this product.
    None,
    /// One that was checked at least so.
    AtLeast(BackupCheck),
    /// One that was restored and compared, or, of a database of more bytes than these, read back.
    RestoredUpTo(u64),
}

/// A text that demands nothing known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no backup that can be demanded: write \"restored\", \"restored up to 50 GB\" (or another size), \"listed\", \"taken\" or \"none\""
)]
pub struct InvalidDemand(String);

impl Default for BackupDemand {
    fn default() -> Self {
        Self::AtLeast(BackupCheck::Restored)
    }
}

impl BackupDemand {
    /// Whether a backup is wanted at all.
    #[must_use]
    pub const fn wants_one(self) -> bool {
        !matches!(self, Self::None)
    }

    /// How a backup of a database of so many bytes has to be checked; `None` where none is wanted.
    #[must_use]
    pub const fn of(self, database_bytes: u64) -> Option<BackupCheck> {
        match self {
            Self::None => None,
            Self::AtLeast(check) => Some(check),
            Self::RestoredUpTo(limit) if database_bytes > limit => Some(BackupCheck::Listed),
            Self::RestoredUpTo(_) => Some(BackupCheck::Restored),
        }
    }

    /// Whether a backup is enough.
    #[must_use]
    pub fn is_met_by(self, backup: &Backup) -> bool {
        self.of(backup.database_bytes).is_none_or(|least| backup.check >= least)
    }

    /// Its place among all: what meets a later one meets those before.
    const fn rank(self) -> (u8, u64) {
        match self {
            Self::None => (0, 0),
            Self::AtLeast(BackupCheck::Taken) => (1, 0),
            Self::AtLeast(BackupCheck::Listed) => (2, 0),
            Self::RestoredUpTo(limit) => (3, limit),
            Self::AtLeast(BackupCheck::Restored) => (4, 0),
        }
    }
}

impl Ord for BackupDemand {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for BackupDemand {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for BackupDemand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::AtLeast(check) => f.write_str(check.as_str()),
            Self::RestoredUpTo(limit) => write!(f, "{UP_TO}{}", decimal_size(*limit)),
        }
    }
}

/// What stands before the size up to which a backup is restored.
const UP_TO: &str = "restored up to ";

impl FromStr for BackupDemand {
    type Err = InvalidDemand;
    fn from_str(text: &str) -> Result<Self, InvalidDemand> {
        let known = BackupCheck::ALL.into_iter().find(|check| check.as_str() == text);
        match (text, known) {
            ("none", _) => Ok(Self::None),
            (_, Some(check)) => Ok(Self::AtLeast(check)),
            _ => {
                let limit = text.strip_prefix(UP_TO).and_then(parse_decimal_size).filter(|limit| *limit > 0);
                limit.map(Self::RestoredUpTo).ok_or_else(|| InvalidDemand(text.chars().take(40).collect()))
            }
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
        demand.to_string()
    }
}

/// What an environment says of its database.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabasePolicy {
    /// What is demanded before migrations are applied.
    pub backup: BackupDemand,
    /// How long the release that runs has to have served on every host before migrations are applied that take away what earlier releases
    /// need, so that nobody wants to go back behind them any more; absent where they wait for nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contract_after: Option<Millis>,
    /// Who must approve that a backup is restored, never who asked for it; those who approve rollouts where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restore_approvals: Option<Vec<ApprovalRule>>,
}

impl DatabasePolicy {
    /// Whether it is what holds where nothing is said.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What a step tells of the contents of a database: what became of the demand for a backup, or what a restore of one loses.
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
    /// One is to be restored, or was: what that loses.
    Loss(Box<Loss>),
}

impl Safeguard {
    /// In one line.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::NotNeeded { why } => format!("none needed: {why}"),
            Self::Made(backup) => backup.words(),
            Self::Loss(loss) => loss.words(),
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
    /// Bytes of the database when it was backed up, as it said itself; 0 where that is not known.
    #[serde(default, skip_serializing_if = "is_unknown")]
    pub database_bytes: u64,
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
    /// Why nobody is to trust it, by the newest look at it; empty as long as none found anything.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bad: String,
    /// How long taking it took.
    pub took: Millis,
    /// How long checking it took.
    pub checked_in: Millis,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_unknown(bytes: &u64) -> bool {
    *bytes == 0
}

impl Backup {
    /// In one line.
    #[must_use]
    pub fn words(&self) -> String {
        let encrypted = if self.encrypted { ", encrypted" } else { "" };
        let seen = if self.seen.is_empty() { String::new() } else { format!(" ({})", self.seen) };
        let bad = if self.bad.is_empty() { String::new() } else { format!("; FOUND BAD: {}", self.bad) };
        format!("{}: {}{encrypted}, {}{seen}{bad}", self.name, size(self.bytes), self.check.words())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demands_read_back_and_are_ordered() {
        let (least, up_to) = (BackupDemand::AtLeast, BackupDemand::RestoredUpTo);
        let (taken, listed, restored) = (least(BackupCheck::Taken), least(BackupCheck::Listed), least(BackupCheck::Restored));
        let all = [BackupDemand::None, taken, listed, up_to(1), up_to(50_000_000_000), up_to(u64::MAX), restored];
        for demand in all {
            assert_eq!(demand.to_string().parse::<BackupDemand>().unwrap(), demand);
        }
        assert!(all.is_sorted(), "what is worth more comes later");
        assert_eq!(up_to(50_000_000_000).to_string(), "restored up to 50 GB");
        for text in ["restored up to", "restored up to 0 GB", "restored up to 5", "restored up to 99999999999 TB", "restored up to -5 GB"] {
            assert!(text.parse::<BackupDemand>().is_err(), "{text}");
        }
        let error = "verified".parse::<BackupDemand>().unwrap_err().to_string();
        assert!(error.contains("\"restored\""), "{error}");
    }

    #[test]
    fn a_lighter_check_is_not_enough() {
        let made = |check, database_bytes| Backup { check, database_bytes, ..crate::samples::backup("erp-r-1-1") };
        let demand = BackupDemand::AtLeast(BackupCheck::Listed);
        let met = |demand: BackupDemand, check, bytes| demand.is_met_by(&made(check, bytes));
        assert!(met(demand, BackupCheck::Restored, 0) && met(demand, BackupCheck::Listed, 0) && !met(demand, BackupCheck::Taken, 0));
        assert!(met(BackupDemand::None, BackupCheck::Taken, 0));
        let up_to = BackupDemand::RestoredUpTo(1000);
        assert!(!met(up_to, BackupCheck::Listed, 1000) && met(up_to, BackupCheck::Restored, 1000));
        assert!(met(up_to, BackupCheck::Listed, 1001) && !met(up_to, BackupCheck::Taken, 1001));
        assert!(!met(up_to, BackupCheck::Listed, 0), "who does not say how large it was has no reason to look less");
    }
}
