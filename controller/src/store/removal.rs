//! An environment goes; what happened in it stays.

use roadstead_driver::{NotRemoved, Removal};
use roadstead_model::{AppName, EnvironmentName, HostName, RolloutId};

use super::writer::Batch;
use super::{EnvironmentRecord, HostRecord, NewEvent, OfRow, Store, StoreError, unsigned};

impl Store {
    /// Removes an environment of an app in one transaction, unless a rollout has not ended in it or hosts belong to it. Only the
    /// driver asks for it: see there why no rollout begins meanwhile. Rollouts, their output and the history stay.
    ///
    /// # Errors
    /// [`StoreError`]; within it why the environment stays.
    pub(super) async fn remove_environment(&self, removal: Removal) -> Result<Result<(), NotRemoved>, StoreError> {
        self.write(move |batch| Box::pin(remove(batch, removal))).await
    }

    /// The last rollout of a removed environment of this name and app; 0 when there was none.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn removed_up_to(&self, environment: &EnvironmentName, app: &AppName) -> Result<RolloutId, StoreError> {
        let sql = "SELECT value FROM meta WHERE key = ?";
        let value: Option<i64> = sqlx::query_scalar(sql).bind(key(environment, app)).fetch_optional(&self.readers).await?;
        Ok(RolloutId(value.map_or(0, unsigned)))
    }
}

/// Under which the last rollout of a removed environment is kept. No name has a slash or a blank.
fn key(environment: &EnvironmentName, app: &AppName) -> String {
    format!("removed {environment}/{app}")
}

async fn remove(batch: &mut Batch, removal: Removal) -> Result<Result<(), NotRemoved>, StoreError> {
    let Removal { environment, app, by, at, dry_run } = removal;
    let (name, of_app) = (environment.as_str(), app.as_str());
    let sql = "SELECT * FROM environments WHERE name = ? AND app = ?";
    let row = sqlx::query(sql).bind(name).bind(of_app).fetch_optional(batch.connection().await?).await?;
    let Some(record) = row.as_ref().map(EnvironmentRecord::of_row).transpose()? else {
        return Ok(Err(NotRemoved::NoEnvironment(environment, app)));
    };
    let sql = "SELECT id FROM rollouts WHERE environment = ? AND app = ? AND ended = 0";
    let running: Option<i64> = sqlx::query_scalar(sql).bind(name).bind(of_app).fetch_optional(batch.connection().await?).await?;
    if let Some(running) = running {
        return Ok(Err(NotRemoved::Busy { environment, app, rollout: RolloutId(unsigned(running)) }));
    }
    let hosts = hosts(batch, &record).await?;
    if !hosts.is_empty() {
        return Ok(Err(NotRemoved::Hosts { environment, app, hosts }));
    }
    if dry_run {
        return Ok(Ok(()));
    }
    for sql in [
        "DELETE FROM environments WHERE name = ? AND app = ?",
        "DELETE FROM singletons WHERE environment = ? AND app = ?",
        "DELETE FROM leases WHERE environment = ? AND app = ?",
        "DELETE FROM locks WHERE environment = ? AND app = ?",
        "DELETE FROM configurations WHERE environment = ? AND app = ?",
    ] {
        sqlx::query(sql).bind(name).bind(of_app).execute(batch.connection().await?).await?;
    }
    let sql = "INSERT INTO meta (key, value) SELECT ?1, coalesce(max(id), 0) FROM rollouts WHERE environment = ?2 AND app = ?3 \
               ON CONFLICT (key) DO UPDATE SET value = excluded.value";
    sqlx::query(sql).bind(key(&environment, &app)).bind(name).bind(of_app).execute(batch.connection().await?).await?;
    let text = match &record.current {
        Some(release) => format!("removed; {} was current", release.release.id),
        None => "removed; nothing was deployed".to_owned(),
    };
    batch.tell(NewEvent::new(at, by, "environment-removed", format!("environment:{environment}/{app}"), text));
    Ok(Ok(()))
}

/// The hosts that belong to it: those that match its selector, and all that enrolled for it when its name goes with it.
async fn hosts(batch: &mut Batch, record: &EnvironmentRecord) -> Result<Vec<HostName>, StoreError> {
    let (name, app) = (record.spec.name.as_str(), record.spec.app.as_str());
    let sql = "SELECT count(*) FROM environments WHERE name = ? AND app <> ?";
    let others: i64 = sqlx::query_scalar(sql).bind(name).bind(app).fetch_one(batch.connection().await?).await?;
    let sql = "SELECT * FROM hosts WHERE environment = ? AND revoked_at IS NULL ORDER BY name, id";
    let rows = sqlx::query(sql).bind(name).fetch_all(batch.connection().await?).await?;
    let mut hosts = Vec::new();
    for row in &rows {
        let host = HostRecord::of_row(row)?;
        if others == 0 || record.spec.hosts.matches(&host.labels) {
            hosts.push(host.name);
        }
    }
    Ok(hosts)
}
