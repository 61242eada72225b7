//! Environments: their policy as it was applied, and what they run.

use roadstead_model::{
    AppName, Configuration, Digest, EnvironmentName, EnvironmentSpec, InvalidConfiguration, ReleaseId, ReleaseRef, Timestamp, differences,
};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::configurations::{self, Made};
use super::hosts::json;
use super::{EnvironmentRecord, NewEvent, OfRow, Runs, Store, StoreError, signed, unsigned};

/// What applying did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It was not there.
    Created,
    /// These things are different now.
    Changed(Vec<String>),
    /// Nothing is different.
    Unchanged,
}

impl Applied {
    /// What applying a policy does, or would do, where this one was applied before.
    fn over(before: Option<&EnvironmentRecord>, after: &EnvironmentSpec) -> Result<Self, StoreError> {
        let Some(before) = before else { return Ok(Self::Created) };
        if before.spec == *after {
            return Ok(Self::Unchanged);
        }
        let changes = differences(&before.spec, after).map_err(|e| StoreError::damaged("environment", e))?;
        Ok(Self::Changed(changes.iter().map(ToString::to_string).collect()))
    }
}

/// What runs, by its columns.
fn runs(row: &SqliteRow, [manifest, id, configuration]: [&str; 3]) -> Result<Option<Runs>, StoreError> {
    let configuration = unsigned(row.try_get(configuration)?);
    let (manifest, id): (Option<Vec<u8>>, Option<String>) = (row.try_get(manifest)?, row.try_get(id)?);
    let (Some(manifest), Some(id)) = (manifest, id) else { return Ok(None) };
    let id = ReleaseId::parse(&id).map_err(|error| StoreError::damaged("release id", error))?;
    let manifest = Digest::from_slice(&manifest).map_err(|error| StoreError::damaged("digest", error))?;
    Ok(Some(Runs { release: ReleaseRef { id, manifest }, configuration }))
}

impl OfRow for EnvironmentRecord {
    fn of_row(row: &SqliteRow) -> Result<Self, StoreError> {
        let spec: String = row.try_get("spec")?;
        Ok(Self {
            spec: serde_json::from_str(&spec).map_err(|e| StoreError::damaged("environment", e))?,
            applied_at: Timestamp(unsigned(row.try_get("applied_at")?)),
            applied_by: row.try_get("applied_by")?,
            current: runs(row, ["current", "current_id", "current_configuration"])?,
            previous: runs(row, ["previous", "previous_id", "previous_configuration"])?,
            live_set: row.try_get("live_set")?,
        })
    }
}

impl Store {
    /// Every environment, by name; those of one name (one for each app), or all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn environments(&self, name: &str) -> Result<Vec<EnvironmentRecord>, StoreError> {
        let sql = "SELECT * FROM environments WHERE ?1 = '' OR name = ?1 ORDER BY name, app";
        sqlx::query(sql).bind(name.to_owned()).fetch_all(&self.readers).await?.iter().map(EnvironmentRecord::of_row).collect()
    }

    /// One environment of one app.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn environment(&self, name: &EnvironmentName, app: &AppName) -> Result<Option<EnvironmentRecord>, StoreError> {
        let sql = "SELECT * FROM environments WHERE name = ? AND app = ?";
        let row = sqlx::query(sql).bind(name.as_str().to_owned()).bind(app.as_str().to_owned()).fetch_optional(&self.readers).await?;
        row.as_ref().map(EnvironmentRecord::of_row).transpose()
    }

    /// What applying a policy would do now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn foresee(&self, spec: &EnvironmentSpec) -> Result<Applied, StoreError> {
        Applied::over(self.environment(&spec.name, &spec.app).await?.as_ref(), spec)
    }

    /// Applies a policy. What it says to the app is a new version of the configuration, where that changes it.
    ///
    /// # Errors
    /// [`StoreError`]; within it why what it says to the app is not taken.
    pub(crate) async fn apply(
        &self,
        spec: EnvironmentSpec,
        by: String,
        now: Timestamp,
    ) -> Result<Result<Applied, InvalidConfiguration>, StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                let (name, app) = (spec.name.as_str(), spec.app.as_str());
                let sql = "SELECT * FROM environments WHERE name = ? AND app = ?";
                let before = sqlx::query(sql).bind(name).bind(app).fetch_optional(batch.connection().await?).await?;
                let before = before.as_ref().map(EnvironmentRecord::of_row).transpose()?;
                let applied = Applied::over(before.as_ref(), &spec)?;
                if applied == Applied::Unchanged {
                    return Ok(Ok(applied));
                }
                let newest = configurations::newest(batch, name, app).await?;
                let set = newest.as_ref().map(|newest| newest.content.set.clone()).unwrap_or_default();
                let content = match Configuration::new(&spec, set) {
                    Ok(content) => content,
                    Err(refused) => return Ok(Err(refused)),
                };
                if configurations::named_alike(batch, name, app, &content).await?.is_some() {
                    return Ok(Err(InvalidConfiguration::SameName));
                }
                let made = Made { content, by: by.clone(), reason: "applied".to_owned(), at: now };
                configurations::add(batch, name, app, newest, made).await?;
                sqlx::query(
                    "INSERT INTO environments (name, app, spec, applied_at, applied_by) VALUES (?1, ?2, ?3, ?4, ?5) \
                     ON CONFLICT (name, app) DO UPDATE SET spec = ?3, applied_at = ?4, applied_by = ?5",
                )
                .bind(name)
                .bind(app)
                .bind(json(&spec)?)
                .bind(signed(now.0))
                .bind(&by)
                .execute(batch.connection().await?)
                .await?;
                let text = match &applied {
                    Applied::Changed(changes) => changes.join("; "),
                    Applied::Created | Applied::Unchanged => "created".to_owned(),
                };
                batch.tell(NewEvent::new(now, by, "environment-applied", format!("environment:{name}/{app}"), text));
                Ok(Ok(applied))
            })
        })
        .await
    }
}
