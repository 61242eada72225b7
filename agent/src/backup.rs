//! Backups of the databases of apps: taken in the app's own environment, checked where nothing else is, kept on a shelf of the host.
//!
//! What decides is pure ([`compare`], [`retention`]); what lies where is the [`shelf`]'s. The programs that do the work are the database's
//! own, led by three small scripts that run in units of their own: `take.py` as the app's user, `check.py` as a user that owns nothing.

pub(crate) mod command;
pub(crate) mod compare;
pub(crate) mod retention;
pub(crate) mod shelf;

/// Takes a backup: the words after `python`.
pub(crate) const TAKE: &str = concat!(include_str!("backup/database_facts.py"), "\n", include_str!("backup/take.py"));

/// Looks at a backup.
pub(crate) const CHECK: &str = concat!(include_str!("backup/database_facts.py"), "\n", include_str!("backup/check.py"));
