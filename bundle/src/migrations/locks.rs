//! What PostgreSQL locks, and for how long, as its manual says: "Explicit Locking" (13.3), ALTER TABLE, CREATE INDEX, DROP INDEX.
//!
//! | what is done | lock | how long |
//! |---|---|---|
//! | ADD COLUMN, nullable or with a default that is no volatile function | ACCESS EXCLUSIVE | brief: the catalog alone, since PostgreSQL 11 |
//! | ADD COLUMN with a volatile default, a stored generated column, a serial | ACCESS EXCLUSIVE | the table is rewritten |
//! | DROP COLUMN, SET/DROP DEFAULT, DROP NOT NULL, DROP CONSTRAINT, RENAME | ACCESS EXCLUSIVE | brief |
//! | SET NOT NULL, ADD CHECK | ACCESS EXCLUSIVE | the table is scanned |
//! | ADD CHECK … NOT VALID | ACCESS EXCLUSIVE | brief |
//! | ALTER COLUMN … TYPE | ACCESS EXCLUSIVE | the table is rewritten, unless the old type is binary coercible to the new one |
//! | ADD UNIQUE, PRIMARY KEY, EXCLUDE | ACCESS EXCLUSIVE | an index is built |
//! | ADD FOREIGN KEY, on both tables | SHARE ROW EXCLUSIVE | the table is scanned |
//! | ADD FOREIGN KEY … NOT VALID, CREATE TRIGGER | SHARE ROW EXCLUSIVE | brief |
//! | VALIDATE CONSTRAINT | SHARE UPDATE EXCLUSIVE | the table is scanned |
//! | CREATE INDEX | SHARE | the index is built |
//! | CREATE INDEX CONCURRENTLY | SHARE UPDATE EXCLUSIVE | the index is built, in two scans, and older transactions are waited for |
//! | DROP INDEX, DROP TABLE, TRUNCATE | ACCESS EXCLUSIVE | brief |
//! | DROP INDEX CONCURRENTLY, ALTER INDEX … RENAME, COMMENT ON | SHARE UPDATE EXCLUSIVE | brief |
//! | INSERT, UPDATE, DELETE | ROW EXCLUSIVE, and rows | until the transaction ends |

/// A lock of a table, the weaker ones first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lock {
    /// Against other changes of the schema, and VACUUM.
    ShareUpdateExclusive,
    /// Against writes.
    Share,
    /// Against writes, and against itself.
    ShareRowExclusive,
    /// Against everything, reads included.
    AccessExclusive,
}

/// For how long a lock is held, the shorter first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Takes {
    /// Only the catalog changes.
    Brief,
    /// Every row is read.
    Scan,
    /// An index is built over every row.
    Build,
    /// Every row is written anew, and every index with it.
    Rewrite,
    /// It is not known.
    Unknown,
}

impl Lock {
    /// PostgreSQL's word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    /// Who waits for it.
    #[must_use]
    pub const fn waits(self) -> &'static str {
        match self {
            Self::ShareUpdateExclusive => "only other changes of the schema wait",
            Self::Share | Self::ShareRowExclusive => "writes wait",
            Self::AccessExclusive => "reads and writes wait",
        }
    }
}

impl Takes {
    /// How long that is, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Brief => "briefly",
            Self::Scan => "while every row is read",
            Self::Build => "while an index is built",
            Self::Rewrite => "while the table is rewritten",
            Self::Unknown => "for a time that is not known",
        }
    }
}

/// Whether a column becomes of another type without being rewritten: the values lie on the disk as they did.
///
/// PostgreSQL skips the rewrite where the old type is binary coercible to the new one, or only a limit is widened.
pub(super) fn is_coercible(before: &str, after: &str) -> bool {
    let limits = |text: &str| -> Option<Vec<u32>> {
        let inner = text.split_once('(')?.1.strip_suffix(')')?;
        inner.split(',').map(|part| part.trim().parse().ok()).collect()
    };
    let base = |text: &str| text.split('(').next().unwrap_or_default().trim().to_owned();
    let texts = ["varchar", "text"];
    match (base(before).as_str(), base(after).as_str()) {
        (one, other) if texts.contains(&one) && texts.contains(&other) => match (limits(before), limits(after)) {
            (_, None) => !after.contains('('),
            (Some(old), Some(new)) => old.first() <= new.first(),
            (None, Some(_)) => false,
        },
        ("numeric", "numeric") => match (limits(before).as_deref(), limits(after).as_deref()) {
            (Some([old, scale]), Some([new, other])) => scale == other && old <= new,
            (_, None) => !after.contains('('),
            _ => false,
        },
        ("cidr", "inet") => true,
        _ => false,
    }
}
