//! Admins.

use roadstead_model::{AdminName, Timestamp};
use sqlx::SqliteConnection;

use super::hosts::revoke_certificates;
use super::{CertificateRecord, NewEvent, Store, StoreError, signed};

pub(super) async fn insert(connection: &mut SqliteConnection, name: &AdminName, by: &str, now: Timestamp) -> Result<(), StoreError> {
    sqlx::query("INSERT INTO admins (name, created_at, created_by) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING")
        .bind(name.as_str())
        .bind(signed(now.0))
        .bind(by)
        .execute(connection)
        .await?;
    Ok(())
}

impl Store {
    /// Every admin and whether they were cut off.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn admins(&self) -> Result<Vec<(AdminName, bool)>, StoreError> {
        let sql = "SELECT name, revoked_at IS NOT NULL FROM admins ORDER BY name";
        let rows: Vec<(String, bool)> = sqlx::query_as(sql).fetch_all(&self.readers).await?;
        let admin = |(name, revoked): (String, bool)| AdminName::parse(&name).map(|name| (name, revoked));
        rows.into_iter().map(|row| admin(row).map_err(|e| StoreError::damaged("admin", e))).collect()
    }

    /// Lets an admin in whose certificate was made by whoever owns this machine.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn add_admin(&self, name: AdminName, certificate: CertificateRecord, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                insert(batch.connection().await?, &name, "init", now).await?;
                certificate.insert(batch.connection().await?).await?;
                batch.tell(NewEvent::new(now, "init", "admin-added", format!("admin:{name}"), "the first credential was written"));
                Ok(())
            })
        })
        .await
    }

    /// Records the certificate of an admin's renewal.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn renew_admin(&self, name: AdminName, certificate: CertificateRecord, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                certificate.insert(batch.connection().await?).await?;
                let text = format!("a new certificate, valid for {}", certificate.not_after.since(now));
                batch.tell(NewEvent::new(now, format!("admin:{name}"), "admin-renewed", format!("admin:{name}"), text));
                Ok(())
            })
        })
        .await
    }

    /// Cuts an admin off; says whether that was done: the last one is not.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn revoke_admin(&self, name: AdminName, actor: String, reason: String, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                let others: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM admins WHERE revoked_at IS NULL AND name <> ?")
                    .bind(name.as_str())
                    .fetch_one(batch.connection().await?)
                    .await?;
                if others == 0 {
                    return Ok(false);
                }
                sqlx::query("UPDATE admins SET revoked_at = ?, revoked_reason = ? WHERE name = ? AND revoked_at IS NULL")
                    .bind(signed(now.0))
                    .bind(&reason)
                    .bind(name.as_str())
                    .execute(batch.connection().await?)
                    .await?;
                revoke_certificates(batch.connection().await?, &format!("admin:{name}"), now).await?;
                batch.tell(NewEvent::new(now, actor, "admin-revoked", format!("admin:{name}"), reason));
                Ok(true)
            })
        })
        .await
    }
}
