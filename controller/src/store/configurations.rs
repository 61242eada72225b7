//! Configurations of environments: every version that there ever was, none of them changed once it is there.

use roadstead_model::configuration::{Change, compare};
use roadstead_model::{AppName, Configuration, ConfigurationId, EnvironmentName, InvalidConfiguration, Key, Selector, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::hosts::json;
use super::writer::Batch;
use super::{ConfigurationRecord, NewEvent, OfRow, Store, StoreError, signed, unsigned};

/// Changes that one line names.
const NAMED_MAX: usize = 20;

impl OfRow for ConfigurationRecord {
    fn of_row(row: &SqliteRow) -> Result<Self, StoreError> {
        let content: String = row.try_get("content")?;
        Ok(Self {
            version: unsigned(row.try_get("version")?),
            content: serde_json::from_str(&content).map_err(|e| StoreError::damaged("configuration", e))?,
            at: Timestamp(unsigned(row.try_get("at")?)),
            by: row.try_get("by")?,
            reason: row.try_get("reason")?,
        })
    }
}

/// A configuration that is to be the newest.
pub(super) struct Made {
    pub(super) content: Configuration,
    pub(super) by: String,
    pub(super) reason: String,
    pub(super) at: Timestamp,
}

/// What is to be set, and taken back.
#[derive(Debug, Clone)]
pub(crate) struct Edit {
    /// For which hosts.
    pub(crate) hosts: Selector,
    /// Values; `None` takes one back.
    pub(crate) values: Vec<(Key, Option<String>)>,
    /// The version that is thought to be the newest; whatever it is where nothing is said.
    pub(crate) expected: Option<u64>,
}

/// Why nothing was set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotSet {
    /// It would be no configuration.
    #[error(transparent)]
    Invalid(#[from] InvalidConfiguration),
    /// Somebody else was quicker.
    #[error("the newest configuration is {0} by now")]
    Changed(u64),
    /// The environment is gone.
    #[error("there is no such environment any more")]
    NoEnvironment,
    /// It is not said there.
    #[error("{key} is not set for {hosts}, so it cannot be taken back")]
    NotThere {
        /// Which.
        key: Key,
        /// For whom.
        hosts: String,
    },
}

impl Store {
    /// The newest configuration of an environment.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn newest_configuration(
        &self,
        name: &EnvironmentName,
        app: &AppName,
    ) -> Result<Option<ConfigurationRecord>, StoreError> {
        Ok(self.configurations(name, app, 1).await?.pop())
    }

    /// The newest configuration of an environment that says what this id is the name of.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn configuration_named(
        &self,
        name: &EnvironmentName,
        app: &AppName,
        id: &ConfigurationId,
    ) -> Result<Option<ConfigurationRecord>, StoreError> {
        // What was said before configurations had names has one all the same.
        let sql = "SELECT * FROM configurations WHERE environment = ? AND app = ? AND (id = ? OR id IS NULL) ORDER BY version DESC";
        let query = sqlx::query(sql).bind(name.as_str().to_owned()).bind(app.as_str().to_owned()).bind(id.as_str().to_owned());
        for row in &query.fetch_all(&self.readers).await? {
            let found = ConfigurationRecord::of_row(row)?;
            if found.content.id() == *id {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// The newest configurations of an environment, newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn configurations(
        &self,
        name: &EnvironmentName,
        app: &AppName,
        limit: u32,
    ) -> Result<Vec<ConfigurationRecord>, StoreError> {
        let sql = "SELECT * FROM configurations WHERE environment = ? AND app = ? ORDER BY version DESC LIMIT ?";
        let query = sqlx::query(sql).bind(name.as_str().to_owned()).bind(app.as_str().to_owned());
        query.bind(limit).fetch_all(&self.readers).await?.iter().map(ConfigurationRecord::of_row).collect()
    }

    /// One version of an environment's configuration.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn configuration(
        &self,
        name: &EnvironmentName,
        app: &AppName,
        version: u64,
    ) -> Result<Option<ConfigurationRecord>, StoreError> {
        // What ran before configurations had names was told what was said then.
        let sql = "SELECT * FROM configurations WHERE environment = ?1 AND app = ?2 AND (version = ?3 OR (?3 = 0 AND id IS NULL))";
        let query = sqlx::query(sql).bind(name.as_str().to_owned()).bind(app.as_str().to_owned());
        query.bind(signed(version)).fetch_optional(&self.readers).await?.as_ref().map(ConfigurationRecord::of_row).transpose()
    }

    /// Sets values and takes them back, all or none. What is set already makes no new version.
    ///
    /// # Errors
    /// [`StoreError`]; within it why nothing was set.
    pub(crate) async fn set_configuration(
        &self,
        (name, app): (EnvironmentName, AppName),
        edit: Edit,
        (by, reason): (String, String),
        at: Timestamp,
    ) -> Result<Result<ConfigurationRecord, NotSet>, StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                let sql = "SELECT 1 FROM environments WHERE name = ? AND app = ?";
                let known = sqlx::query(sql).bind(name.as_str()).bind(app.as_str()).fetch_optional(batch.connection().await?).await?;
                if known.is_none() {
                    return Ok(Err(NotSet::NoEnvironment));
                }
                let newest = newest(batch, name.as_str(), app.as_str()).await?;
                let before = newest.clone().unwrap_or_else(ConfigurationRecord::none);
                match edited(&before, edit) {
                    Err(refused) => Ok(Err(refused)),
                    Ok(content) => {
                        if named_alike(batch, name.as_str(), app.as_str(), &content).await?.is_some() {
                            return Ok(Err(InvalidConfiguration::SameName.into()));
                        }
                        let made = Made { content, by, reason, at };
                        Ok(Ok(add(batch, name.as_str(), app.as_str(), newest, made).await?.unwrap_or(before)))
                    }
                }
            })
        })
        .await
    }
}

fn edited(before: &ConfigurationRecord, edit: Edit) -> Result<Configuration, NotSet> {
    if edit.expected.is_some_and(|expected| expected != before.version) {
        return Err(NotSet::Changed(before.version));
    }
    let mut content = before.content.clone();
    for (key, value) in edit.values {
        let is_set = content.set.iter().any(|layer| layer.hosts == edit.hosts && layer.values.get(&key).is_some());
        if value.is_none() && !is_set {
            return Err(NotSet::NotThere { key, hosts: roadstead_model::configuration::meant(&edit.hosts) });
        }
        content = content.with(&edit.hosts, &key, value)?;
    }
    Ok(content)
}

/// The version of another content that has the same name: names are short, and hosts go by them.
pub(super) async fn named_alike(batch: &mut Batch, name: &str, app: &str, content: &Configuration) -> Result<Option<u64>, StoreError> {
    let sql = "SELECT * FROM configurations WHERE environment = ? AND app = ? AND id = ?";
    let rows = sqlx::query(sql).bind(name).bind(app).bind(String::from(content.id())).fetch_all(batch.connection().await?).await?;
    for row in &rows {
        let known = ConfigurationRecord::of_row(row)?;
        if known.content.by_hosts() != content.by_hosts() {
            return Ok(Some(known.version));
        }
    }
    Ok(None)
}

/// The newest configuration, as the writer sees it.
pub(super) async fn newest(batch: &mut Batch, name: &str, app: &str) -> Result<Option<ConfigurationRecord>, StoreError> {
    let sql = "SELECT * FROM configurations WHERE environment = ? AND app = ? ORDER BY version DESC LIMIT 1";
    let row = sqlx::query(sql).bind(name).bind(app).fetch_optional(batch.connection().await?).await?;
    row.as_ref().map(ConfigurationRecord::of_row).transpose()
}

/// Adds a version, and a line to the history; none where it says and holds what the newest does.
pub(super) async fn add(
    batch: &mut Batch,
    name: &str,
    app: &str,
    newest: Option<ConfigurationRecord>,
    made: Made,
) -> Result<Option<ConfigurationRecord>, StoreError> {
    let before = newest.unwrap_or_else(ConfigurationRecord::none);
    let Made { content, by, reason, at } = made;
    if content == before.content {
        return Ok(None);
    }
    let version = before.version + 1;
    sqlx::query("INSERT INTO configurations (environment, app, version, id, content, at, by, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(name)
        .bind(app)
        .bind(signed(version))
        .bind(String::from(content.id()))
        .bind(json(&content)?)
        .bind(signed(at.0))
        .bind(&by)
        .bind(&reason)
        .execute(batch.connection().await?)
        .await?;
    let changes = compare(&before.content, &content);
    let text = format!("configuration {version}: {}; {reason}", shortly(&changes).join(", "));
    batch.tell(NewEvent::new(at, &by, "configuration-changed", format!("environment:{name}/{app}"), text));
    Ok(Some(ConfigurationRecord { version, content, at, by, reason }))
}

/// Changes, as many as one line names.
pub(crate) fn shortly(changes: &[Change]) -> Vec<String> {
    let mut told: Vec<String> = changes.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    if changes.len() > NAMED_MAX {
        told.push(format!("and {} more", changes.len() - NAMED_MAX));
    }
    told
}
