//! What is kept of the output of steps.

use roadstead_model::{HostId, RolloutId};

use super::{OutputRecord, Store, StoreError, signed, unsigned};

impl Store {
    /// Keeps the output of steps; what was kept of them before is replaced.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn keep_outputs(&self, rollout: RolloutId, outputs: Vec<OutputRecord>) -> Result<(), StoreError> {
        self.write(move |batch| {
            Box::pin(async move {
                for output in outputs {
                    sqlx::query("INSERT OR REPLACE INTO outputs (rollout, host, step, head, dropped, tail) VALUES (?, ?, ?, ?, ?, ?)")
                        .bind(signed(rollout.0))
                        .bind(output.host.as_str())
                        .bind(output.step.as_str())
                        .bind(&output.head)
                        .bind(signed(output.dropped))
                        .bind(&output.tail)
                        .execute(batch.connection().await?)
                        .await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// The kept output of a rollout.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) async fn outputs(&self, rollout: RolloutId) -> Result<Vec<OutputRecord>, StoreError> {
        let sql = "SELECT host, step, head, dropped, tail FROM outputs WHERE rollout = ? ORDER BY host, step";
        let rows: Vec<(String, String, String, i64, String)> = sqlx::query_as(sql).bind(signed(rollout.0)).fetch_all(&self.readers).await?;
        let damaged = |e: &dyn std::fmt::Display| StoreError::damaged("output", e);
        let record = |(host, step, head, dropped, tail): (String, String, String, i64, String)| {
            Ok(OutputRecord {
                host: HostId::parse(&host).map_err(|e| damaged(&e))?,
                step: step.parse().map_err(|e| damaged(&e))?,
                head,
                dropped: unsigned(dropped),
                tail,
            })
        };
        rows.into_iter().map(record).collect()
    }
}
