//! Hosts and the certificates that were handed out.

use roadstead_model::{EnvironmentName, HostId, HostName, Timestamp};
use roadstead_pki::{Credentials, PeerCertificate};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{HostRecord, NewEvent, OfRow, Store, StoreError, signed, unsigned};

impl OfRow for HostRecord {
    fn of_row(row: &SqliteRow) -> Result<Self, StoreError> {
        let damaged = |e: &dyn std::fmt::Display| StoreError::damaged("host", e);
        let text = |column: &str| row.try_get::<String, _>(column);
        let time = |column: &str| Ok::<_, sqlx::Error>(Timestamp(unsigned(row.try_get(column)?)));
        Ok(Self {
            id: HostId::parse(&text("id")?).map_err(|e| damaged(&e))?,
            name: HostName::parse(&text("name")?).map_err(|e| damaged(&e))?,
            environment: EnvironmentName::parse(&text("environment")?).map_err(|e| damaged(&e))?,
            labels: serde_json::from_str(&text("labels")?).map_err(|e| damaged(&e))?,
            facts: serde_json::from_str(&text("facts")?).map_err(|e| damaged(&e))?,
            enrolled_at: time("enrolled_at")?,
            last_seen: time("last_seen")?,
            revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(|at| Timestamp(unsigned(at))),
            locked: row.try_get("locked")?,
            certificate_not_after: time("certificate_not_after")?,
        })
    }
}

/// A certificate that is handed out.
#[derive(Debug, Clone)]
pub(crate) struct CertificateRecord {
    serial: String,
    identity: String,
    not_before: Timestamp,
    /// Until when it is valid.
    pub(crate) not_after: Timestamp,
}

impl From<&PeerCertificate> for CertificateRecord {
    fn from(certificate: &PeerCertificate) -> Self {
        Self {
            serial: certificate.serial().to_string(),
            identity: certificate.identity().to_string(),
            not_before: certificate.not_before(),
            not_after: certificate.not_after(),
        }
    }
}

impl From<&Credentials> for CertificateRecord {
    fn from(credentials: &Credentials) -> Self {
        Self {
            serial: credentials.serial().to_string(),
            identity: credentials.identity().to_string(),
            not_before: credentials.not_before(),
            not_after: credentials.not_after(),
        }
    }
}

impl CertificateRecord {
    pub(super) async fn insert(&self, connection: &mut SqliteConnection) -> Result<(), StoreError> {
        sqlx::query("INSERT INTO certificates (serial, identity, not_before, not_after) VALUES (?, ?, ?, ?)")
            .bind(&self.serial)
            .bind(&self.identity)
            .bind(signed(self.not_before.0))
            .bind(signed(self.not_after.0))
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// Notes when all certificates of an identity were revoked.
pub(super) async fn revoke_certificates(connection: &mut SqliteConnection, identity: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("UPDATE certificates SET revoked_at = ? WHERE identity = ? AND revoked_at IS NULL")
        .bind(signed(now.0))
        .bind(identity)
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) async fn insert(connection: &mut SqliteConnection, host: &HostRecord) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO hosts (id, name, environment, labels, facts, enrolled_at, last_seen, certificate_not_after) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
        .bind(host.id.as_str())
        .bind(host.name.as_str())
        .bind(host.environment.as_str())
        .bind(json(&host.labels)?)
        .bind(json(&host.facts)?)
        .bind(signed(host.enrolled_at.0))
        .bind(signed(host.last_seen.0))
        .bind(signed(host.certificate_not_after.0))
        .execute(connection)
        .await?;
    Ok(())
}

pub(super) fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::damaged("value", e))
}

impl Store {
    /// Every host, also those that were cut off, by name; of one environment, or of all.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn hosts(&self, environment: Option<&EnvironmentName>) -> Result<Vec<HostRecord>, StoreError> {
        let rows = match environment {
            Some(name) => sqlx::query("SELECT * FROM hosts WHERE environment = ? ORDER BY name, id").bind(name.as_str().to_owned()),
            None => sqlx::query("SELECT * FROM hosts ORDER BY name, id"),
        };
        rows.fetch_all(&self.readers).await?.iter().map(HostRecord::of_row).collect()
    }

    /// One host.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn host(&self, id: &HostId) -> Result<Option<HostRecord>, StoreError> {
        let row = sqlx::query("SELECT * FROM hosts WHERE id = ?").bind(id.as_str().to_owned()).fetch_optional(&self.readers).await?;
        row.as_ref().map(HostRecord::of_row).transpose()
    }

    /// Records the certificate of a renewal. A host is welcome until the last of its certificates ends.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn renew_host(&self, id: HostId, certificate: CertificateRecord, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                certificate.insert(batch.connection().await?).await?;
                sqlx::query("UPDATE hosts SET certificate_not_after = max(certificate_not_after, ?) WHERE id = ?")
                    .bind(signed(certificate.not_after.0))
                    .bind(id.as_str())
                    .execute(batch.connection().await?)
                    .await?;
                let text = format!("a new certificate, valid for {}", certificate.not_after.since(now));
                batch.tell(NewEvent::new(now, format!("host:{id}"), "host-renewed", format!("host:{id}"), text));
                Ok(())
            })
        })
        .await
    }

    /// The batons of every host that has any.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn batons(&self) -> Result<Vec<(HostId, Vec<u8>)>, StoreError> {
        let rows = sqlx::query("SELECT id, batons FROM hosts WHERE revoked_at IS NULL AND length(batons) > 0");
        let read = |row: &SqliteRow| {
            let id = HostId::parse(&row.try_get::<String, _>("id")?).map_err(|e| StoreError::damaged("host", e))?;
            Ok((id, row.try_get("batons")?))
        };
        rows.fetch_all(&self.readers).await?.iter().map(read).collect()
    }

    /// Keeps the batons of a host.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn keep_batons(&self, id: HostId, batons: Vec<u8>) -> Result<(), StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                let update = sqlx::query("UPDATE hosts SET batons = ? WHERE id = ?").bind(batons).bind(id.as_str());
                update.execute(batch.connection().await?).await?;
                Ok(())
            })
        })
        .await
    }

    /// Cuts a host off because two machines came with its identity.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn lock_host(&self, id: HostId, reason: String, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                let locked = sqlx::query("UPDATE hosts SET revoked_at = ?, locked = 1 WHERE id = ? AND revoked_at IS NULL")
                    .bind(signed(now.0))
                    .bind(id.as_str())
                    .execute(batch.connection().await?)
                    .await?;
                if locked.rows_affected() == 1 {
                    revoke_certificates(batch.connection().await?, &format!("host:{id}"), now).await?;
                    batch.tell(NewEvent::new(now, "controller", "host-locked", format!("host:{id}"), reason));
                }
                Ok(())
            })
        })
        .await
    }

    /// Cuts a host off. One that is locked is done with.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn revoke_host(&self, id: HostId, actor: String, reason: String, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                sqlx::query("UPDATE hosts SET revoked_at = coalesce(revoked_at, ?), locked = 0 WHERE id = ?")
                    .bind(signed(now.0))
                    .bind(id.as_str())
                    .execute(batch.connection().await?)
                    .await?;
                revoke_certificates(batch.connection().await?, &format!("host:{id}"), now).await?;
                batch.tell(NewEvent::new(now, actor, "host-revoked", format!("host:{id}"), reason));
                Ok(())
            })
        })
        .await
    }
}

#[cfg(test)]
impl Store {
    /// A host without a token.
    pub(crate) async fn add_host(&self, host: HostRecord) {
        self.write(move |batch| Box::pin(async move { insert(batch.connection().await?, &host).await })).await.unwrap();
    }
}
