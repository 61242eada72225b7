//! For tests of this crate and of all others: what a host says of its database, where a test is about something else than that.

use crate::{Backup, BackupCheck, Loss, Millis, Timestamp};

/// A backup that was restored and compared.
#[must_use]
pub fn backup(name: &str) -> Backup {
    Backup {
        name: name.to_owned(),
        taken_at: Timestamp(1),
        database: "PostgreSQL 15.8, database erp on db-1:5432".to_owned(),
        identity: "74/erp".to_owned(),
        database_bytes: 0,
        place: format!("/var/lib/roadstead-backups/erp/{name}.dump"),
        bytes: 10,
        digest: String::new(),
        encrypted: false,
        check: BackupCheck::Restored,
        seen: "2 tables".to_owned(),
        bad: String::new(),
        took: Millis(1),
        checked_in: Millis(1),
    }
}

/// An exact look at two databases of which the one table does not differ.
#[must_use]
pub fn loss(of: Backup) -> Loss {
    Loss {
        evidence: of,
        looked_at: Timestamp(9),
        exact: true,
        tables: Vec::new(),
        more: 0,
        same: 1,
        shape: Vec::new(),
        migrations: Vec::new(),
        notes: Vec::new(),
        kept_as: String::new(),
    }
}
