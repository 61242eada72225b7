//! Backups of the databases of apps: taken in the app's own environment, checked where nothing else is, kept on a shelf of the host.
//!
//! What decides is pure ([`compare`], [`retention`]); what lies where is the [`shelf`]'s. The programs that do the work are the database's
//! own, led by small scripts that run in units of their own: `take.py` and `restore.py` as the app's user, over the connection of its settings
//! (`own_connection.py`), `check.py` as a user that owns nothing.

pub(crate) mod bucket;
pub(crate) mod command;
pub(crate) mod compare;
pub(crate) mod loss;
pub(crate) mod retention;
pub(crate) mod shelf;

/// One program of several files, each one idea.
macro_rules! program {
    ($($file:literal),+) => { concat!($(include_str!(concat!("backup/", $file)), "\n"),+) };
}

/// Takes a backup: the words after `python`.
pub(crate) const TAKE: &str = program!("database_facts.py", "parts.py", "own_connection.py", "take.py");

/// Looks at a backup.
pub(crate) const CHECK: &str = program!("database_facts.py", "parts.py", "check.py");

/// Surveys, restores, discards or exchanges: the words after `python`.
pub(crate) const RESTORE: &str = program!("database_facts.py", "parts.py", "own_connection.py", "loss.py", "restore.py");
// Linux takes no longer word of a command line than 128 KiB.
const _: () = assert!(TAKE.len() < 100 * 1024 && RESTORE.len() < 100 * 1024, "each is one word of a command line");
