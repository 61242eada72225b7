//! Locks of environments: owner, reason, and an end that comes by itself.

use roadstead_driver::LockRecord;
use roadstead_model::{AppName, EnvironmentName, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::writer::Batch;
use super::{NewEvent, OfRow, Store, StoreError, signed, unsigned};

impl OfRow for LockRecord {
    fn of_row(row: &SqliteRow) -> Result<Self, StoreError> {
        Ok(Self {
            by: row.try_get("locked_by")?,
            reason: row.try_get("reason")?,
            at: Timestamp(unsigned(row.try_get("at")?)),
            until: Timestamp(unsigned(row.try_get("until")?)),
        })
    }
}

/// Which environment of which app.
type Place = (EnvironmentName, AppName);

const READ: &str = "SELECT * FROM locks WHERE environment = ? AND app = ?";

impl Store {
    /// The lock of an environment, also one that has expired.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn lock(&self, environment: &EnvironmentName, app: &AppName) -> Result<Option<LockRecord>, StoreError> {
        let row = sqlx::query(READ).bind(environment.as_str()).bind(app.as_str()).fetch_optional(&self.readers).await?;
        row.as_ref().map(LockRecord::of_row).transpose()
    }

    /// Locks an environment; its owner may change reason and end. Answers with the lock of somebody else, unless that is to be broken.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn set_lock(&self, place: Place, lock: LockRecord, breaks: bool) -> Result<Result<(), LockRecord>, StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                let others = held(batch, &place, &lock.by, lock.at).await?;
                if let Some(others) = others.clone().filter(|_| !breaks) {
                    return Ok(Err(others));
                }
                let sql = "INSERT INTO locks (environment, app, locked_by, reason, at, until) VALUES (?, ?, ?, ?, ?, ?) \
                           ON CONFLICT (environment, app) DO UPDATE SET locked_by = excluded.locked_by, reason = excluded.reason, \
                           at = excluded.at, until = excluded.until";
                let query = sqlx::query(sql).bind(place.0.as_str()).bind(place.1.as_str()).bind(lock.by.clone()).bind(lock.reason.clone());
                query.bind(signed(lock.at.0)).bind(signed(lock.until.0)).execute(batch.connection().await?).await?;
                let broken = others.map(|others| format!(", breaking the lock of {}", others.by)).unwrap_or_default();
                let text = format!("for {}{broken}: {}", lock.until.since(lock.at), lock.reason);
                batch.tell(NewEvent::new(lock.at, lock.by, "environment-locked", format!("{}/{}", place.0, place.1), text));
                Ok(Ok(()))
            })
        })
        .await
    }

    /// Ends a lock; says whose it was, when there was one. Answers with the lock of somebody else, unless that is to be broken.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn end_lock(
        &self,
        place: Place,
        by: String,
        reason: String,
        now: Timestamp,
        breaks: bool,
    ) -> Result<Result<Option<String>, LockRecord>, StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                if let Some(others) = held(batch, &place, &by, now).await?.filter(|_| !breaks) {
                    return Ok(Err(others));
                }
                let sql = "DELETE FROM locks WHERE environment = ? AND app = ? RETURNING locked_by";
                let query = sqlx::query_scalar(sql).bind(place.0.as_str()).bind(place.1.as_str());
                let owner: Option<String> = query.fetch_optional(batch.connection().await?).await?;
                if let Some(owner) = &owner {
                    let text = format!("the lock of {owner}: {reason}");
                    batch.tell(NewEvent::new(now, by, "environment-unlocked", format!("{}/{}", place.0, place.1), text));
                }
                Ok(Ok(owner))
            })
        })
        .await
    }
}

/// The lock that somebody else holds now.
async fn held(batch: &mut Batch, place: &Place, by: &str, now: Timestamp) -> Result<Option<LockRecord>, StoreError> {
    let row = sqlx::query(READ).bind(place.0.as_str()).bind(place.1.as_str()).fetch_optional(batch.connection().await?).await?;
    let lock = row.as_ref().map(LockRecord::of_row).transpose()?;
    Ok(lock.filter(|lock| lock.by != by && now < lock.until))
}
