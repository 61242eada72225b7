//! Releases: manifests with their signatures. Their blobs lie in a folder.

use roadstead_model::{AppName, Digest, ReleaseId, Timestamp};
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::hosts::json;
use super::{NewEvent, OfRow, ReleaseRecord, Store, StoreError, signed, unsigned};

impl OfRow for ReleaseRecord {
    fn of_row(row: &SqliteRow) -> Result<Self, StoreError> {
        let damaged = |e: &dyn std::fmt::Display| StoreError::damaged("release", e);
        let bytes: Vec<u8> = row.try_get("manifest")?;
        Ok(Self {
            digest: Digest::from_slice(&row.try_get::<Vec<u8>, _>("manifest_digest")?).map_err(|e| damaged(&e))?,
            manifest: serde_json::from_slice(&bytes).map_err(|e| damaged(&e))?,
            bytes,
            signatures: serde_json::from_str(&row.try_get::<String, _>("signatures")?).map_err(|e| damaged(&e))?,
            published_at: Timestamp(unsigned(row.try_get("published_at")?)),
            published_by: row.try_get("published_by")?,
            bad: row.try_get("bad")?,
        })
    }
}

impl Store {
    /// Publishes a release; one that is there already stays as it is, but signatures that are new are added.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn publish(&self, release: ReleaseRecord, now: Timestamp) -> Result<(), StoreError> {
        let (signatures, id) = (json(&release.signatures)?, release.id());
        self.write(move |batch| {
            Box::pin(async move {
                sqlx::query(
                    "INSERT INTO releases (manifest_digest, app, id, version, manifest, signatures, published_at, published_by) \
                     VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (manifest_digest) DO UPDATE SET signatures = excluded.signatures",
                )
                .bind(release.digest.as_bytes().as_slice())
                .bind(release.manifest.app.as_str())
                .bind(id.as_str())
                .bind(release.manifest.version.as_str())
                .bind(&release.bytes)
                .bind(&signatures)
                .bind(signed(release.published_at.0))
                .bind(&release.published_by)
                .execute(batch.connection().await?)
                .await?;
                let count = release.signatures.len();
                let text = format!("{count} signature{}, commit {}", if count == 1 { "" } else { "s" }, release.manifest.source.commit);
                let subject = format!("release:{}/{id}", release.manifest.app);
                batch.tell(NewEvent::new(now, release.published_by, "release-published", subject, text));
                Ok(())
            })
        })
        .await
    }

    /// One release, by the digest of its manifest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn release(&self, digest: &Digest) -> Result<Option<ReleaseRecord>, StoreError> {
        let sql = "SELECT * FROM releases WHERE manifest_digest = ?";
        let row = sqlx::query(sql).bind(digest.as_bytes().to_vec()).fetch_optional(&self.readers).await?;
        row.as_ref().map(ReleaseRecord::of_row).transpose()
    }

    /// One release, by its id; whatever configuration the id names.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn release_by_id(&self, app: &AppName, id: &ReleaseId) -> Result<Option<ReleaseRecord>, StoreError> {
        let sql = "SELECT * FROM releases WHERE app = ? AND id = ?";
        let row = sqlx::query(sql).bind(app.as_str().to_owned()).bind(String::from(id.bare())).fetch_optional(&self.readers).await?;
        row.as_ref().map(ReleaseRecord::of_row).transpose()
    }

    /// The newest releases of an app (empty: of all), newest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn releases(&self, app: &str, limit: u32) -> Result<Vec<ReleaseRecord>, StoreError> {
        let sql = "SELECT * FROM releases WHERE ?1 = '' OR app = ?1 ORDER BY published_at DESC, id LIMIT ?2";
        let rows = sqlx::query(sql).bind(app.to_owned()).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        rows.iter().map(ReleaseRecord::of_row).collect()
    }

    /// Releases of an app that a person may mean by a text: an id, a version, or the beginning of the manifest's digest.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn releases_named(&self, app: &str, text: &str) -> Result<Vec<ReleaseRecord>, StoreError> {
        let sql = "SELECT * FROM releases WHERE (?1 = '' OR app = ?1) AND (id = ?2 OR version = ?2 OR \
                   (length(?2) >= 4 AND substr(lower(hex(manifest_digest)), 1, length(?2)) = ?2)) ORDER BY published_at DESC LIMIT 10";
        let rows = sqlx::query(sql).bind(app.to_owned()).bind(text.to_owned()).fetch_all(&self.readers).await?;
        rows.iter().map(ReleaseRecord::of_row).collect()
    }
}
