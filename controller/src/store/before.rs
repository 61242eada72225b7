//! A database as the version before configurations left it, for tests of what is made of it.

use roadstead_driver::ReleaseRecord;
use roadstead_model::EnvironmentSpec;
use std::path::Path;

use super::schema;

/// Makes one in which each environment runs the release.
pub(crate) async fn database_of_before(path: &Path, release: &ReleaseRecord, environments: &[EnvironmentSpec]) {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    schema::migrate_to(&mut connection, 5).await.unwrap();
    let sql = "INSERT INTO releases (manifest_digest, app, id, version, manifest, signatures, published_at, published_by, bad) \
               VALUES (?, 'erp', ?, '1.0', ?, '[]', 1, 'admin:ada', '')";
    let digest = release.digest.as_bytes().as_slice();
    let query = sqlx::query(sql).bind(digest).bind(release.id().to_string()).bind(&release.bytes);
    query.execute(&mut connection).await.unwrap();
    for spec in environments {
        let sql = "INSERT INTO environments (name, app, spec, applied_at, applied_by, current) VALUES (?, ?, ?, 7, 'admin:ada', ?)";
        let text = serde_json::to_string(spec).unwrap();
        let query = sqlx::query(sql).bind(spec.name.as_str()).bind(spec.app.as_str()).bind(text);
        query.bind(digest).execute(&mut connection).await.unwrap();
    }
}
