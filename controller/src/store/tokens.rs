//! Join tokens: made by admins, redeemed exactly once.

use roadstead_model::{AdminName, EnvironmentName, Labels, Timestamp};
use roadstead_pki::TokenHash;
use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;

use super::hosts::json;
use super::writer::Batch;
use super::{CertificateRecord, HostRecord, NewEvent, Store, StoreError, admins, hosts, signed, unsigned};

/// Refused attempts with one token that are in the history.
const REFUSALS_NOTED_MAX: i64 = 10;

/// What a token lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TokenPurpose {
    /// One host, for an environment, with labels.
    Host(EnvironmentName, Labels),
    /// One admin.
    Admin(AdminName),
}

/// A token that is to be recorded.
#[derive(Debug, Clone)]
pub(crate) struct NewToken {
    /// The hash of its secret.
    pub(crate) hash: [u8; 32],
    /// What it lets in.
    pub(crate) purpose: TokenPurpose,
    /// Until when it is good.
    pub(crate) expires_at: Timestamp,
    /// Who made it.
    pub(crate) by: String,
}

/// Why a token does not let anyone in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenRefused {
    /// Nobody made it.
    #[error("the join token is not one of this controller's")]
    Unknown,
    /// A host came with it.
    #[error("the join token is for an admin, not for a host")]
    Admins,
    /// An admin came with it.
    #[error("the join token is for a host, not for an admin")]
    Hosts,
    /// The admin for whom it was made was cut off since.
    #[error("the admin whom the join token is for was cut off")]
    CutOff,
    /// It let someone in before.
    #[error("the join token was used before")]
    Used,
    /// It was good for a time that is over.
    #[error("the join token has expired")]
    Expired,
}

impl Store {
    /// Records a token.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn add_token(&self, token: NewToken, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                let (admin, environment, labels) = match &token.purpose {
                    TokenPurpose::Host(environment, labels) => (String::new(), environment.to_string(), labels.clone()),
                    TokenPurpose::Admin(name) => (name.to_string(), String::new(), Labels::default()),
                };
                sqlx::query("INSERT INTO tokens (hash, admin, environment, labels, created_at, created_by, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)")
                    .bind(token.hash.as_slice())
                    .bind(&admin)
                    .bind(&environment)
                    .bind(json(&labels)?)
                    .bind(signed(now.0))
                    .bind(&token.by)
                    .bind(signed(token.expires_at.0))
                    .execute(batch.connection().await?)
                    .await?;
                let (kind, subject) = match &token.purpose {
                    TokenPurpose::Host(..) => ("host-token", format!("environment:{environment}")),
                    TokenPurpose::Admin(_) => ("admin-token", format!("admin:{admin}")),
                };
                let text = format!("a join token for {labels}, good for {}", token.expires_at.since(now));
                batch.tell(NewEvent::new(now, token.by, kind, subject, text));
                Ok(())
            })
        })
        .await
    }

    /// What a token would let in now, without using it.
    ///
    /// # Errors
    /// [`StoreError`]; [`TokenRefused`] inside.
    pub(crate) async fn token(&self, hash: &TokenHash, now: Timestamp) -> Result<Result<TokenPurpose, TokenRefused>, StoreError> {
        let row = sqlx::query("SELECT * FROM tokens WHERE hash = ?").bind(hash.as_bytes().to_vec()).fetch_optional(&self.readers).await?;
        let Some(row) = row else { return Ok(Err(TokenRefused::Unknown)) };
        if let Some(why) = spent_or_expired(&row, now)? {
            return Ok(Err(why));
        }
        let damaged = |e: &dyn std::fmt::Display| StoreError::damaged("join token", e);
        let admin: String = row.try_get("admin")?;
        if !admin.is_empty() {
            return Ok(Ok(TokenPurpose::Admin(AdminName::parse(&admin).map_err(|e| damaged(&e))?)));
        }
        let environment = EnvironmentName::parse(&row.try_get::<String, _>("environment")?).map_err(|e| damaged(&e))?;
        let labels = serde_json::from_str(&row.try_get::<String, _>("labels")?).map_err(|e| damaged(&e))?;
        Ok(Ok(TokenPurpose::Host(environment, labels)))
    }

    /// Notes that someone came with a token that does not let them in: it may have been stolen. Of one token only so many attempts are
    /// noted, and none of a token that nobody made, so that no stranger can fill the history.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn token_refused(&self, hash: TokenHash, why: TokenRefused, from: String, now: Timestamp) -> Result<(), StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                let sql = "UPDATE tokens SET refused = refused + 1 WHERE hash = ? AND refused < ? RETURNING created_by, used_by, environment, admin";
                let noted = sqlx::query(sql).bind(hash.as_bytes().as_slice()).bind(REFUSALS_NOTED_MAX);
                let Some(row) = noted.fetch_optional(batch.connection().await?).await? else { return Ok(()) };
                let (made_by, environment): (String, String) = (row.try_get("created_by")?, row.try_get("environment")?);
                let used_by: Option<String> = row.try_get("used_by")?;
                let purpose = if environment.is_empty() { format!("admin:{}", row.try_get::<String, _>("admin")?) } else { format!("environment:{environment}") };
                let mut text = format!("{from} came with a join token of {made_by}: {why}");
                if let Some(user) = &used_by {
                    text.push_str(&format!(" by {user}"));
                }
                batch.tell(NewEvent::new(now, "controller", "join-refused", used_by.unwrap_or(purpose), text));
                Ok(())
            })
        })
        .await
    }

    /// Uses a host's token: the token is spent and the host is there, or neither.
    ///
    /// # Errors
    /// [`StoreError`]; [`TokenRefused`] inside.
    pub(crate) async fn enroll_host(
        &self,
        hash: TokenHash,
        host: HostRecord,
        certificate: CertificateRecord,
        now: Timestamp,
    ) -> Result<Result<(), TokenRefused>, StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                let subject = format!("host:{}", host.id);
                if let Err(refused) = spend(batch, &hash, &subject, now).await? {
                    return Ok(Err(refused));
                }
                hosts::insert(batch.connection().await?, &host).await?;
                certificate.insert(batch.connection().await?).await?;
                let text = format!("{} joins {} with {}", host.name, host.environment, host.labels);
                batch.tell(NewEvent::new(now, subject.clone(), "host-enrolled", subject, text));
                Ok(Ok(()))
            })
        })
        .await
    }

    /// Uses an admin's token.
    ///
    /// # Errors
    /// [`StoreError`]; [`TokenRefused`] inside.
    pub(crate) async fn enroll_admin(
        &self,
        hash: TokenHash,
        name: AdminName,
        certificate: CertificateRecord,
        now: Timestamp,
    ) -> Result<Result<(), TokenRefused>, StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                let subject = format!("admin:{name}");
                if let Err(refused) = spend(batch, &hash, &subject, now).await? {
                    return Ok(Err(refused));
                }
                let by: String = sqlx::query_scalar("SELECT created_by FROM tokens WHERE hash = ?")
                    .bind(hash.as_bytes().as_slice())
                    .fetch_one(batch.connection().await?)
                    .await?;
                admins::insert(batch.connection().await?, &name, &by, now).await?;
                let revoked: bool = sqlx::query_scalar("SELECT revoked_at IS NOT NULL FROM admins WHERE name = ?")
                    .bind(name.as_str())
                    .fetch_one(batch.connection().await?)
                    .await?;
                if revoked {
                    return Ok(Err(TokenRefused::CutOff));
                }
                certificate.insert(batch.connection().await?).await?;
                batch.tell(NewEvent::new(now, subject.clone(), "admin-added", subject, "logged in with a token"));
                Ok(Ok(()))
            })
        })
        .await
    }
}

/// Why a token that there is lets nobody in any more, if it does not.
fn spent_or_expired(row: &SqliteRow, now: Timestamp) -> Result<Option<TokenRefused>, StoreError> {
    if row.try_get::<Option<i64>, _>("used_at")?.is_some() {
        return Ok(Some(TokenRefused::Used));
    }
    let over = unsigned(row.try_get("expires_at")?) <= now.0;
    Ok(over.then_some(TokenRefused::Expired))
}

/// Spends a token. That this runs in the one writing transaction is what makes it happen once.
async fn spend(batch: &mut Batch, hash: &TokenHash, by: &str, now: Timestamp) -> Result<Result<(), TokenRefused>, StoreError> {
    let spent = sqlx::query("UPDATE tokens SET used_at = ?1, used_by = ?2 WHERE hash = ?3 AND used_at IS NULL AND expires_at > ?1")
        .bind(signed(now.0))
        .bind(by)
        .bind(hash.as_bytes().as_slice())
        .execute(batch.connection().await?)
        .await?;
    if spent.rows_affected() == 1 {
        return Ok(Ok(()));
    }
    let row = sqlx::query("SELECT * FROM tokens WHERE hash = ?")
        .bind(hash.as_bytes().as_slice())
        .fetch_optional(batch.connection().await?)
        .await?;
    let why = row.as_ref().map(|row| spent_or_expired(row, now)).transpose()?.flatten();
    Ok(Err(why.unwrap_or(TokenRefused::Unknown)))
}
