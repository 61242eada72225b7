//! What the controller must not forget: one SQLite database, one writer, many readers.
//!
//! Every change goes through the writer, which commits many at once and answers each when it is durable. Every change that
//! someone made is in the history with who made it: both are one transaction.

mod admins;
#[cfg(test)]
pub(crate) mod before;
mod configurations;
mod environments;
mod events;
mod hosts;
mod ledger;
mod locks;
mod outputs;
mod releases;
mod removal;
mod rollouts;
mod schema;
#[cfg(test)]
mod tests;
mod tokens;
mod writer;

use roadstead_model::Timestamp;
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

pub(crate) use configurations::{Edit, NotSet, shortly};
pub(crate) use environments::Applied;
pub(crate) use events::EventRecord;
pub(crate) use hosts::CertificateRecord;
pub(crate) use roadstead_driver::{
    Changes, ConfigurationRecord, EnvironmentRecord, HostRecord, NewEvent, OutputRecord, ReleaseRecord, RolloutRecord, Runs,
    SignatureRecord, printable,
};
pub(crate) use tokens::{NewToken, TokenPurpose, TokenRefused};

/// What a restored database skips: more starts and rollouts than there were since any backup that is worth restoring.
const TERMS_JUMP: u64 = 1_000_000;
const ROLLOUTS_JUMP: u64 = 1_000;
/// Connections that read at a time.
const READERS: u32 = 4;
/// How long a connection waits for another one's lock. Only `init` beside a running daemon ever meets one.
const BUSY: Duration = Duration::from_secs(10);

/// Why the store does not do as told.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum StoreError {
    /// SQLite refused.
    #[error("the database {path} refuses: {why}; look at the disk's free space and the file's owner", path = path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// A newer controller wrote it.
    #[error("the database is of format {found}, this controller knows {known}: install the newer controller again")]
    TooNew {
        /// Its format.
        found: i64,
        /// The newest that is known.
        known: i64,
    },
    /// Something in it cannot be read.
    #[error("the database holds a {what} that cannot be read: {why}; restore it from a backup")]
    Damaged {
        /// What.
        what: &'static str,
        /// Why.
        why: String,
    },
    /// The writer is gone: the daemon stops.
    #[error("the controller is stopping")]
    Stopping,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Database { path: PathBuf::from("roadstead.db"), why: error.to_string() }
    }
}

impl StoreError {
    pub(crate) fn damaged(what: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Damaged { what, why: why.to_string() }
    }
}

/// Something that is read from a row.
trait OfRow: Sized {
    fn of_row(row: &SqliteRow) -> Result<Self, StoreError>;
}

/// The database.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    readers: SqlitePool,
    writer: writer::Writer,
}

impl Store {
    /// Opens the database, makes it where there is none, and brings it to the newest format.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn open(path: &Path) -> Result<Self, StoreError> {
        let named = |error: sqlx::Error| StoreError::Database { path: path.to_path_buf(), why: error.to_string() };
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY);
        let mut connection = sqlx::ConnectOptions::connect(&options).await.map_err(named)?;
        schema::migrate(&mut connection).await?;
        let writer = writer::Writer::start(connection).await?;
        let readers = SqlitePoolOptions::new().max_connections(READERS).connect_with(options.read_only(true)).await.map_err(named)?;
        Ok(Self { readers, writer })
    }

    /// Counts the term up: orders of this start outrank those of every earlier one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn begin_term(&self, now: Timestamp) -> Result<u64, StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                let sql =
                    "INSERT INTO meta (key, value) VALUES ('term', 1) ON CONFLICT (key) DO UPDATE SET value = value + 1 RETURNING value";
                let term: i64 = sqlx::query_scalar(sql).fetch_one(batch.connection().await?).await?;
                batch.tell(NewEvent::new(now, "controller", "started", format!("term {term}"), "the controller started"));
                Ok(unsigned(term))
            })
        })
        .await
    }

    /// Makes terms and rollouts jump, for a database that is older than what hosts have heard, and forgets what environments run: it
    /// may have changed since, and no host is moved by what was once true. Returns the next rollout's number.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn jump(&self, now: Timestamp) -> Result<u64, StoreError> {
        let floor = signed(self.last_rollout().await?.saturating_add(ROLLOUTS_JUMP));
        self.write(move |batch| {
            Box::pin(async move {
                let sql = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ";
                let raise = sqlx::AssertSqlSafe(format!("{sql} value + ?2"));
                sqlx::query(raise).bind("term").bind(signed(TERMS_JUMP)).execute(batch.connection().await?).await?;
                let set = sqlx::AssertSqlSafe(format!("{sql} ?2"));
                sqlx::query(set).bind("rollouts").bind(floor).execute(batch.connection().await?).await?;
                sqlx::query("UPDATE environments SET current = NULL, previous = NULL, current_id = NULL, previous_id = NULL")
                    .execute(batch.connection().await?)
                    .await?;
                // What hosts said of their leases may have been taken back since.
                sqlx::query("UPDATE leases SET keeps = 0").execute(batch.connection().await?).await?;
                let text = format!("restored from a backup: the next rollout is r-{}", floor.saturating_add(1));
                batch.tell(NewEvent::new(now, "controller", "restored", "database", text));
                Ok(unsigned(floor).saturating_add(1))
            })
        })
        .await
    }

    /// The number of the newest event that is durable, and of each later one.
    pub(crate) fn newest_event(&self) -> watch::Receiver<u64> {
        self.writer.newest_event()
    }

    /// Waits until everything that was asked for is durable, and closes the files.
    pub(crate) async fn close(self) {
        self.writer.stop().await;
        self.readers.close().await;
    }
}

/// SQLite's integers are signed; ours never reach the sign.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
