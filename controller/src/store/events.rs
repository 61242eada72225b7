//! The history: who did what, when; each line is chained to the one before it by its hash.

use roadstead_model::{Digest, Timestamp};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::{NewEvent, Store, StoreError, signed, unsigned};

/// A line of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventRecord {
    /// Its number, from 1.
    pub(crate) sequence: u64,
    /// When.
    pub(crate) at: Timestamp,
    /// Who: `admin:NAME`, `host:ID` or `controller`.
    pub(crate) actor: String,
    /// What, as a word for programs.
    pub(crate) kind: String,
    /// To what.
    pub(crate) subject: String,
    /// The rollout that it is part of; 0: none.
    pub(crate) rollout: u64,
    /// What, for people.
    pub(crate) text: String,
    /// The hash over the hash of the line before and this line.
    pub(crate) hash: Digest,
}

impl EventRecord {
    /// What the hash must be, after a line with the hash `previous`.
    fn expected_hash(&self, previous: &Digest) -> Digest {
        let mut bytes = previous.as_bytes().to_vec();
        for number in [self.sequence, self.at.0, self.rollout] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for text in [&self.actor, &self.kind, &self.subject, &self.text] {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        }
        Digest::of(&bytes)
    }

    fn of_row(row: &SqliteRow) -> Result<Self, StoreError> {
        let hash: Vec<u8> = row.try_get("hash")?;
        Ok(Self {
            sequence: unsigned(row.try_get("sequence")?),
            at: Timestamp(unsigned(row.try_get("at")?)),
            actor: row.try_get("actor")?,
            kind: row.try_get("kind")?,
            subject: row.try_get("subject")?,
            rollout: unsigned(row.try_get("rollout")?),
            text: row.try_get("text")?,
            hash: Digest::from_slice(&hash).map_err(|e| StoreError::damaged("line of the history", e))?,
        })
    }
}

/// The end of the history, to which the next line is chained.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    sequence: u64,
    hash: Digest,
}

impl Chain {
    const EMPTY: Self = Self { sequence: 0, hash: Digest::from_bytes([0; 32]) };

    pub(super) async fn load(connection: &mut SqliteConnection) -> Result<Self, StoreError> {
        let last = sqlx::query("SELECT * FROM events ORDER BY sequence DESC LIMIT 1").fetch_optional(connection).await?;
        let last = last.as_ref().map(EventRecord::of_row).transpose()?;
        Ok(last.map_or(Self::EMPTY, |event| Self { sequence: event.sequence, hash: event.hash }))
    }

    pub(super) const fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The line with its number and hash.
    pub(super) fn link(&mut self, event: NewEvent) -> EventRecord {
        let NewEvent { at, actor, kind, subject, rollout, text } = event;
        let sequence = self.sequence + 1;
        let mut line = EventRecord { sequence, at, actor, kind, subject, rollout, text, hash: self.hash };
        line.hash = line.expected_hash(&self.hash);
        *self = Self { sequence, hash: line.hash };
        line
    }
}

impl Store {
    /// Adds a line that stands for itself; it is durable when this returns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn tell(&self, event: NewEvent) -> Result<(), StoreError> {
        self.write(move |batch| {
            batch.tell(event);
            Box::pin(std::future::ready(Ok(())))
        })
        .await
    }

    /// Lines after `after`, in order, at most `limit`; of one rollout, or of all (0).
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn events(&self, rollout: u64, after: u64, limit: u32) -> Result<Vec<EventRecord>, StoreError> {
        let sql = if rollout == 0 {
            "SELECT * FROM events WHERE sequence > ?1 AND ?2 = 0 ORDER BY sequence LIMIT ?3"
        } else {
            "SELECT * FROM events WHERE rollout <> 0 AND rollout = ?2 AND sequence > ?1 ORDER BY sequence LIMIT ?3"
        };
        let rows = sqlx::query(sql).bind(signed(after)).bind(signed(rollout)).bind(i64::from(limit)).fetch_all(&self.readers).await?;
        rows.iter().map(EventRecord::of_row).collect()
    }

    /// Reads the whole history and checks that no line was changed, removed or put in between.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] naming the first line that does not hold.
    pub(crate) async fn verify_history(&self) -> Result<u64, StoreError> {
        let mut end = Chain::EMPTY;
        loop {
            let lines = self.events(0, end.sequence, 4096).await?;
            if lines.is_empty() {
                return Ok(end.sequence);
            }
            for line in lines {
                if line.sequence != end.sequence + 1 || line.hash != line.expected_hash(&end.hash) {
                    return Err(StoreError::damaged("line of the history", format!("line {} does not follow", line.sequence)));
                }
                end = Chain { sequence: line.sequence, hash: line.hash };
            }
        }
    }
}
