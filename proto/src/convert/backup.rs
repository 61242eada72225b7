//! Backups on the wire.

use roadstead_model::{Backup, BackupDemand, Millis, Safeguard, Timestamp, limits};

use crate::invalid::{InField, bounded};
use crate::{Invalid, v1};

impl From<Safeguard> for v1::Safeguard {
    fn from(safeguard: Safeguard) -> Self {
        use v1::safeguard::Kind;
        let kind = match safeguard {
            Safeguard::NotNeeded { why } => Kind::NotNeeded(why),
            Safeguard::Made(backup) => Kind::Made((*backup).into()),
        };
        Self { kind: Some(kind) }
    }
}

impl TryFrom<v1::Safeguard> for Safeguard {
    type Error = Invalid;
    fn try_from(wire: v1::Safeguard) -> Result<Self, Invalid> {
        use v1::safeguard::Kind;
        Ok(match wire.kind.field("safeguard.kind")? {
            Kind::NotNeeded(why) => Self::NotNeeded { why: line(why, "safeguard.not_needed")? },
            Kind::Made(backup) => Self::Made(Box::new(backup.try_into()?)),
        })
    }
}

impl From<Backup> for v1::Backup {
    fn from(backup: Backup) -> Self {
        Self {
            name: backup.name,
            taken_at_ms: backup.taken_at.0,
            database: backup.database,
            identity: backup.identity,
            place: backup.place,
            bytes: backup.bytes,
            digest: backup.digest,
            encrypted: backup.encrypted,
            check: backup.check.to_string(),
            seen: backup.seen,
            took_ms: backup.took.0,
            checked_in_ms: backup.checked_in.0,
        }
    }
}

impl TryFrom<v1::Backup> for Backup {
    type Error = Invalid;
    fn try_from(wire: v1::Backup) -> Result<Self, Invalid> {
        let BackupDemand::AtLeast(check) = wire.check.parse().field("backup.check")? else {
            return Err(Invalid::new("backup.check", "none is no check"));
        };
        Ok(Self {
            name: line(wire.name, "backup.name")?,
            taken_at: Timestamp(wire.taken_at_ms),
            database: line(wire.database, "backup.database")?,
            identity: line(wire.identity, "backup.identity")?,
            place: line(wire.place, "backup.place")?,
            bytes: wire.bytes,
            digest: line(wire.digest, "backup.digest")?,
            encrypted: wire.encrypted,
            check,
            seen: line(wire.seen, "backup.seen")?,
            took: Millis(wire.took_ms),
            checked_in: Millis(wire.checked_in_ms),
        })
    }
}

/// One line of a bounded length.
fn line(text: String, what: &'static str) -> Result<String, Invalid> {
    bounded(text.len(), limits::BACKUP_TEXT_BYTES_MAX, what)?;
    if text.chars().any(char::is_control) {
        return Err(Invalid::new(what, "a control character"));
    }
    Ok(text)
}
