//! Backups on the wire.

use roadstead_model::{Backup, BackupDemand, Loss, Millis, Safeguard, TableLoss, Timestamp, limits};

use crate::invalid::{InField, bounded};
use crate::{Invalid, v1};

impl From<Safeguard> for v1::Safeguard {
    fn from(safeguard: Safeguard) -> Self {
        use v1::safeguard::Kind;
        let kind = match safeguard {
            Safeguard::NotNeeded { why } => Kind::NotNeeded(why),
            Safeguard::Made(backup) => Kind::Made((*backup).into()),
            Safeguard::Loss(loss) => Kind::Loss((*loss).into()),
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
            Kind::Loss(loss) => Self::Loss(Box::new(loss.try_into()?)),
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
            database_bytes: backup.database_bytes,
            bad: backup.bad,
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
            database_bytes: wire.database_bytes,
            bad: line(wire.bad, "backup.bad")?,
        })
    }
}

impl From<Loss> for v1::Loss {
    fn from(loss: Loss) -> Self {
        let table = |table: TableLoss| {
            let TableLoss { name, then, now, lost, changed, returned } = table;
            v1::TableLoss { name, then, now, lost, changed, returned }
        };
        Self {
            backup: Some(loss.evidence.into()),
            looked_at_ms: loss.looked_at.0,
            exact: loss.exact,
            tables: loss.tables.into_iter().map(table).collect(),
            more: loss.more,
            same: loss.same,
            shape: loss.shape,
            migrations: loss.migrations,
            notes: loss.notes,
            kept_as: loss.kept_as,
        }
    }
}

impl TryFrom<v1::Loss> for Loss {
    type Error = Invalid;
    fn try_from(wire: v1::Loss) -> Result<Self, Invalid> {
        bounded(wire.tables.len(), limits::LOSS_LINES_MAX, "loss.tables")?;
        let table = |table: v1::TableLoss| {
            let v1::TableLoss { name, then, now, lost, changed, returned } = table;
            Ok(TableLoss { name: line(name, "loss.tables")?, then, now, lost, changed, returned })
        };
        Ok(Self {
            evidence: wire.backup.field("loss.backup")?.try_into()?,
            looked_at: Timestamp(wire.looked_at_ms),
            exact: wire.exact,
            tables: wire.tables.into_iter().map(table).collect::<Result<_, Invalid>>()?,
            more: wire.more,
            same: wire.same,
            shape: lines(wire.shape, "loss.shape")?,
            migrations: lines(wire.migrations, "loss.migrations")?,
            notes: lines(wire.notes, "loss.notes")?,
            kept_as: line(wire.kept_as, "loss.kept_as")?,
        })
    }
}

fn lines(texts: Vec<String>, what: &'static str) -> Result<Vec<String>, Invalid> {
    bounded(texts.len(), limits::LOSS_LINES_MAX, what)?;
    texts.into_iter().map(|text| line(text, what)).collect()
}

/// One line of a bounded length.
fn line(text: String, what: &'static str) -> Result<String, Invalid> {
    bounded(text.len(), limits::BACKUP_TEXT_BYTES_MAX, what)?;
    if text.chars().any(char::is_control) {
        return Err(Invalid::new(what, "a control character"));
    }
    Ok(text)
}
