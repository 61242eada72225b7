//! Formats of the database: each step is applied once, in order, and recorded in the file itself.

use sqlx::{Connection as _, Executor as _, SqliteConnection};

use super::StoreError;

/// The steps from an empty file to the newest format.
const STEPS: [&str; 6] = [
    include_str!("../../migrations/0001_first.sql"),
    include_str!("../../migrations/0002_batons.sql"),
    include_str!("../../migrations/0003_gates.sql"),
    include_str!("../../migrations/0004_traffic.sql"),
    include_str!("../../migrations/0005_leases.sql"),
    include_str!("../../migrations/0006_configuration.sql"),
];

/// Brings the database to the newest format.
///
/// # Errors
/// [`StoreError`]; the file is then of the format that it had.
pub(super) async fn migrate(connection: &mut SqliteConnection) -> Result<(), StoreError> {
    migrate_to(connection, STEPS.len()).await
}

/// Brings the database to a format; one that is newer already stays so.
pub(super) async fn migrate_to(connection: &mut SqliteConnection, format: usize) -> Result<(), StoreError> {
    let known = i64::try_from(STEPS.len()).unwrap_or(i64::MAX);
    let found: i64 = sqlx::query_scalar("PRAGMA user_version").fetch_one(&mut *connection).await?;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for (number, step) in (1i64..).zip(STEPS).take(format).filter(|(number, _)| *number > found) {
        let mut transaction = connection.begin().await?;
        transaction.execute(sqlx::raw_sql(step)).await?;
        // A number of ours: pragmas take no parameters.
        let mark = sqlx::AssertSqlSafe(format!("PRAGMA user_version = {number}"));
        transaction.execute(sqlx::raw_sql(mark)).await?;
        transaction.commit().await?;
    }
    Ok(())
}
