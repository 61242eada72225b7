//! Rollouts: their state as the core decided it, saved with what they did to environments, releases and hosts.

use roadstead_model::{AppName, EnvironmentName, HostId, RolloutId, ServiceName};
use roadstead_rollout::{Phase, RolloutKind, State};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::hosts::json;
use super::writer::Batch;
use super::{Changes, OfRow, RolloutRecord, Store, StoreError, signed, unsigned};
use roadstead_driver::{LeaseRecord, Serving};

impl OfRow for RolloutRecord {
    fn of_row(row: &SqliteRow) -> Result<Self, StoreError> {
        let state: String = row.try_get("state")?;
        Ok(Self {
            state: serde_json::from_str(&state).map_err(|e| StoreError::damaged("rollout", e))?,
            reason: row.try_get("reason")?,
            started_by: row.try_get("started_by")?,
            idempotency_key: row.try_get("idempotency_key")?,
        })
    }
}

impl Store {
    /// Saves what the driver decided: all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn save(&self, changes: Changes) -> Result<(), StoreError> {
        self.write(move |batch| Box::pin(save(batch, changes))).await
    }

    /// The newest rollouts of an environment that somebody asked for, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn asked_for(&self, environment: &EnvironmentName, limit: u32) -> Result<Vec<RolloutRecord>, StoreError> {
        let sql = "SELECT * FROM rollouts WHERE environment = ? AND level = 0 ORDER BY id DESC LIMIT ?";
        let rows = sqlx::query(sql).bind(environment.as_str().to_owned()).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        rows.iter().map(RolloutRecord::of_row).collect()
    }

    /// Rollouts that have not ended.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn unfinished_rollouts(&self) -> Result<Vec<RolloutRecord>, StoreError> {
        let rows = sqlx::query("SELECT * FROM rollouts WHERE ended = 0 ORDER BY id").fetch_all(&self.readers).await?;
        rows.iter().map(RolloutRecord::of_row).collect()
    }

    /// The newest rollouts of an environment (empty: of all), newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn rollouts(&self, environment: &str, limit: u32) -> Result<Vec<RolloutRecord>, StoreError> {
        let sql = "SELECT * FROM rollouts WHERE ?1 = '' OR environment = ?1 ORDER BY id DESC LIMIT ?2";
        let rows = sqlx::query(sql).bind(environment.to_owned()).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        rows.iter().map(RolloutRecord::of_row).collect()
    }

    /// One rollout.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn rollout(&self, id: RolloutId) -> Result<Option<RolloutRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM rollouts WHERE id = ?").bind(signed(id.0)).fetch_optional(&self.readers).await?;
        row.as_ref().map(RolloutRecord::of_row).transpose()
    }

    /// The rollout that a request with this key made.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn rollout_by_key(&self, key: &str) -> Result<Option<RolloutRecord>, StoreError> {
        if key.is_empty() {
            return Ok(None);
        }
        let sql = "SELECT * FROM rollouts WHERE idempotency_key = ?";
        let row = sqlx::query(sql).bind(key.to_owned()).fetch_optional(&self.readers).await?;
        row.as_ref().map(RolloutRecord::of_row).transpose()
    }

    /// The highest number that a rollout ever had, or may have had before the database was restored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn last_rollout(&self) -> Result<u64, StoreError> {
        let sql = "SELECT MAX(COALESCE((SELECT MAX(id) FROM rollouts), 0), COALESCE((SELECT value FROM meta WHERE key = 'rollouts'), 0))";
        let last: i64 = sqlx::query_scalar(sql).fetch_one(&self.readers).await?;
        Ok(unsigned(last))
    }

    /// Numbers up to this one may have been given before the database was restored; 0 when it never was.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn forgiven(&self) -> Result<u64, StoreError> {
        let sql = "SELECT COALESCE((SELECT value FROM meta WHERE key = 'rollouts'), 0)";
        let forgiven: i64 = sqlx::query_scalar(sql).fetch_one(&self.readers).await?;
        Ok(unsigned(forgiven))
    }

    /// The app that a rollout is of; none where there is no such rollout.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn app_of(&self, rollout: RolloutId) -> Result<Option<AppName>, StoreError> {
        let sql = "SELECT app FROM rollouts WHERE id = ?";
        let app: Option<String> = sqlx::query_scalar(sql).bind(signed(rollout.0)).fetch_optional(&self.readers).await?;
        app.map(|app| AppName::parse(&app).map_err(|e| StoreError::damaged("rollout", e))).transpose()
    }

    /// Where the only instances of an app's services run.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn singletons(&self, environment: &EnvironmentName, app: &AppName) -> Result<Vec<(ServiceName, HostId)>, StoreError> {
        let sql = "SELECT service, host FROM singletons WHERE environment = ? AND app = ? ORDER BY service";
        let rows: Vec<(String, String)> =
            sqlx::query_as(sql).bind(environment.as_str().to_owned()).bind(app.as_str().to_owned()).fetch_all(&self.readers).await?;
        let damaged = |e| StoreError::damaged("singleton", e);
        rows.iter().map(|(s, h)| Ok((ServiceName::parse(s).map_err(damaged)?, HostId::parse(h).map_err(damaged)?))).collect()
    }

    /// Hosts that may go by a lease of what runs only once.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn leases(&self) -> Result<Vec<LeaseRecord>, StoreError> {
        let sql = "SELECT environment, app, host, keeps FROM leases";
        let rows: Vec<(String, String, String, bool)> = sqlx::query_as(sql).fetch_all(&self.readers).await?;
        let damaged = |e| StoreError::damaged("lease", e);
        let record = |(environment, app, host, keeps): (String, String, String, bool)| {
            let environment = EnvironmentName::parse(&environment).map_err(damaged)?;
            Ok(LeaseRecord {
                environment,
                app: AppName::parse(&app).map_err(damaged)?,
                host: HostId::parse(&host).map_err(damaged)?,
                keeps,
            })
        };
        rows.into_iter().map(record).collect()
    }
}

const fn is_gated(state: &State) -> bool {
    matches!(state.phase, Phase::Gated { .. })
}

async fn save(batch: &mut Batch, changes: Changes) -> Result<(), StoreError> {
    // What ends makes place for what begins.
    for record in &changes.moved {
        sqlx::query("UPDATE rollouts SET state = ?, ended = ?, gated = ? WHERE id = ?")
            .bind(json(&record.state)?)
            .bind(record.state.outcome().is_some())
            .bind(is_gated(&record.state))
            .bind(signed(record.state.plan.rollout.0))
            .execute(batch.connection().await?)
            .await?;
    }
    for record in &changes.started {
        let plan = &record.state.plan;
        let sql = "INSERT INTO rollouts (id, environment, app, ended, gated, level, state, reason, started_by, idempotency_key) \
                   VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
        sqlx::query(sql)
            .bind(signed(plan.rollout.0))
            .bind(plan.environment.as_str())
            .bind(plan.app.as_str())
            .bind(record.state.outcome().is_some())
            .bind(is_gated(&record.state))
            .bind(matches!(plan.kind, RolloutKind::Level | RolloutKind::Tend))
            .bind(json(&record.state)?)
            .bind(&record.reason)
            .bind(&record.started_by)
            .bind(&record.idempotency_key)
            .execute(batch.connection().await?)
            .await?;
    }
    for Serving { environment, app, current, previous, set } in &changes.serving {
        sqlx::query(
            "UPDATE environments SET current = ?, current_id = ?, current_configuration = ?, previous = ?, previous_id = ?, \
             previous_configuration = ?, live_set = coalesce(?, live_set) WHERE name = ? AND app = ?",
        )
        .bind(current.as_ref().map(|current| current.release.manifest.as_bytes().to_vec()))
        .bind(current.as_ref().map(|current| current.release.id.as_str()))
        .bind(signed(current.as_ref().map_or(0, |current| current.configuration)))
        .bind(previous.as_ref().map(|previous| previous.release.manifest.as_bytes().to_vec()))
        .bind(previous.as_ref().map(|previous| previous.release.id.as_str()))
        .bind(signed(previous.as_ref().map_or(0, |previous| previous.configuration)))
        .bind(set.as_deref())
        .bind(environment.as_str())
        .bind(app.as_str())
        .execute(batch.connection().await?)
        .await?;
    }
    for (digest, why) in &changes.bad {
        sqlx::query("UPDATE releases SET bad = ? WHERE manifest_digest = ?")
            .bind(why)
            .bind(digest.as_bytes().as_slice())
            .execute(batch.connection().await?)
            .await?;
    }
    save_hosts(batch, &changes).await?;
    for event in changes.events {
        batch.tell(event);
    }
    Ok(())
}

async fn save_leases(batch: &mut Batch, leases: &[(EnvironmentName, AppName, HostId, Option<bool>)]) -> Result<(), StoreError> {
    for (environment, app, host, keeps) in leases {
        let sql = match keeps {
            Some(_) => {
                "INSERT INTO leases (environment, app, host, keeps) VALUES (?1, ?2, ?3, ?4) \
                 ON CONFLICT (environment, app, host) DO UPDATE SET keeps = ?4"
            }
            None => "DELETE FROM leases WHERE environment = ?1 AND app = ?2 AND host = ?3",
        };
        let query = sqlx::query(sql).bind(environment.as_str()).bind(app.as_str()).bind(host.as_str());
        let query = if let Some(keeps) = keeps { query.bind(*keeps) } else { query };
        query.execute(batch.connection().await?).await?;
    }
    Ok(())
}

async fn save_hosts(batch: &mut Batch, changes: &Changes) -> Result<(), StoreError> {
    for (environment, app, service, host) in &changes.singletons {
        sqlx::query(
            "INSERT INTO singletons (environment, app, service, host) VALUES (?1, ?2, ?3, ?4) \
             ON CONFLICT (environment, app, service) DO UPDATE SET host = ?4",
        )
        .bind(environment.as_str())
        .bind(app.as_str())
        .bind(service.as_str())
        .bind(host.as_str())
        .execute(batch.connection().await?)
        .await?;
    }
    save_leases(batch, &changes.leases).await?;
    for (host, facts) in &changes.facts {
        sqlx::query("UPDATE hosts SET facts = ? WHERE id = ?")
            .bind(json(facts)?)
            .bind(host.as_str())
            .execute(batch.connection().await?)
            .await?;
    }
    for (host, at) in &changes.seen {
        sqlx::query("UPDATE hosts SET last_seen = ? WHERE id = ?")
            .bind(signed(at.0))
            .bind(host.as_str())
            .execute(batch.connection().await?)
            .await?;
    }
    Ok(())
}
