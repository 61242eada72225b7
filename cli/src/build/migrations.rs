//! What the project's migrations do, and their SQL: asked of the project when the release is built, without a database.
//!
//! Nothing of it fails a build: a project that cannot tell builds as it did, and what is missing is said.

use roadstead_bundle::migrations::{FACTS_FORMAT, InvalidFacts, Migration, MigrationFacts};
use roadstead_model::hidden::Hidden;
use roadstead_model::limits;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

use super::cache::Work;
use super::django::{self, Project};
use crate::output::{Output, count};

const SCRIPT: &str = include_str!("scripts/migrations.py");
/// The time for SQL. A state of a project with hundreds of models takes seconds to draw, and each operation changes one.
const SQL_TIME_MAX: Duration = Duration::from_secs(180);
/// The time for all of it, after which the project is killed.
const TIME_MAX: Duration = Duration::from_secs(300);
/// The largest answer that is read: JSON writes a byte as six at most.
const ANSWER_BYTES_MAX: u64 = 6 * limits::MIGRATION_FACTS_BYTES_MAX;
/// Parts of the names of variables whose values are nobody's business.
const SECRET: [&str; 7] = ["SECRET", "KEY", "PASSWORD", "TOKEN", "DSN", "URL", "CREDENTIAL"];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    facts: Option<MigrationFacts>,
    failed: Option<String>,
}

/// What the migrations do, encoded; nothing where the project cannot tell, which is said.
pub(crate) fn facts(project: &Project<'_>, work: &Work, output: &Output) -> Option<Vec<u8>> {
    let told = ask(project, work).and_then(|facts| finished(facts, project.environment));
    match told {
        Ok((facts, bytes)) => {
            advise(&facts, output);
            Some(bytes)
        }
        Err(why) => {
            output.warn(format!("the release does not tell what its migrations do: {why}"));
            None
        }
    }
}

fn ask(project: &Project<'_>, work: &Work) -> Result<MigrationFacts, String> {
    let report = work.join("migrations.json");
    let job = serde_json::json!({
        "manage": project.manage, "root": project.root, "report": report, "seconds_max": SQL_TIME_MAX.as_secs(),
        "sql_bytes_max": limits::MIGRATION_SQL_BYTES_MAX, "sql_all_bytes_max": limits::MIGRATIONS_SQL_BYTES_MAX,
        "run_sql_bytes_max": limits::RUN_SQL_BYTES_MAX, "run_sql_all_bytes_max": limits::RUN_SQL_ALL_BYTES_MAX,
    });
    let run = django::command(project, work, "python").map_err(|error| error.summary)?;
    let ran = run.args(["-B", "-c", SCRIPT]).input(job.to_string()).at_most(TIME_MAX).output().map_err(|error| error.summary)?;
    let Ok(size) = std::fs::metadata(&report).map(|metadata| metadata.len()) else {
        return Err(format!("the project ended before it could be asked ({})", ran.status));
    };
    if size > ANSWER_BYTES_MAX {
        return Err(format!("its answer has {size} bytes, more than {ANSWER_BYTES_MAX} are not read"));
    }
    let bytes = std::fs::read(&report).map_err(|error| error.to_string())?;
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|error| format!("its answer cannot be read: {error}"))?;
    answer.facts.ok_or_else(|| answer.failed.unwrap_or_else(|| "it did not say why".to_owned()))
}

/// The facts as they are released: without secrets, and within what readers take. SQL that does not fit is left out, and that is said.
fn finished(mut facts: MigrationFacts, environment: &BTreeMap<String, String>) -> Result<(MigrationFacts, Vec<u8>), String> {
    facts.format = FACTS_FORMAT;
    let is_secret = |name: &str| SECRET.iter().any(|part| name.to_uppercase().contains(part));
    let secrets = environment.iter().filter(|(name, _)| is_secret(name));
    let hidden = Hidden::new(secrets.map(|(name, value)| (format!("[value of {name}]"), value.clone())));
    facts.migrations.iter_mut().for_each(|migration| hide(migration, &hidden));
    match facts.encode() {
        Ok(bytes) => Ok((facts, bytes)),
        Err(InvalidFacts::TooLarge(size)) => {
            for migration in facts.migrations.iter_mut().filter(|migration| migration.sql.is_some()) {
                (migration.sql, migration.sql_bytes) = (None, None);
                migration.without_sql = Some(format!("all that is told of the release's migrations has {size} bytes with it"));
            }
            facts.encode().map(|bytes| (facts, bytes)).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

fn hide(migration: &mut Migration, hidden: &Hidden) {
    let clean = |text: &mut String| *text = without_passwords(&hidden.hide(text));
    [&mut migration.sql, &mut migration.without_sql].into_iter().flatten().for_each(clean);
    for operation in &mut migration.operations {
        clean(&mut operation.about);
        operation.sql.iter_mut().for_each(clean);
    }
}

/// SQL without what stands behind `PASSWORD`: a role's.
fn without_passwords(sql: &str) -> String {
    const WORD: &str = "password";
    let (lower, mut kept, mut from) = (sql.to_ascii_lowercase(), String::with_capacity(sql.len()), 0);
    while let Some(place) = lower.get(from..).and_then(|rest| rest.find(WORD)).map(|place| from + place + WORD.len()) {
        kept.push_str(sql.get(from..place).unwrap_or_default());
        from = place;
        let behind = sql.get(place..).unwrap_or_default();
        let quote = behind.len() - behind.trim_start().len();
        if quote > 0 && behind.trim_start().starts_with('\'') {
            let end = behind.get(quote + 1..).and_then(|rest| rest.find('\'')).map_or(behind.len(), |end| quote + end + 2);
            kept.push_str(" '[hidden]'");
            from = place + end;
        }
    }
    kept.push_str(sql.get(from..).unwrap_or_default());
    kept
}

/// What of it a person should know now.
fn advise(facts: &MigrationFacts, output: &Output) {
    if let Some(why) = &facts.without_sql {
        output.warn(format!("the release carries no SQL of its migrations: {why}"));
        return;
    }
    let without: Vec<(&str, &str)> =
        facts.migrations.iter().filter_map(|one| Some((one.name.as_str(), one.without_sql.as_deref()?))).collect();
    if let Some((name, why)) = without.first() {
        output.warn(format!("{} without SQL in the release; {name}: {why}", count(without.len(), "migration")));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_bundle::migrations::Operation;

    #[test]
    fn what_is_secret_is_not_released() {
        let sql = "CREATE ROLE a PASSWORD 'hunter22' LOGIN; SELECT 'for-the-build-alone'; ALTER ROLE b password  'x' -- no password\nSELECT passwords";
        let about = "uses for-the-build-alone".to_owned();
        let operation = Operation { about, sql: Some(sql.to_owned()), ..Operation::default() };
        let migration = Migration { name: "a.1".into(), sql: Some(sql.to_owned()), operations: vec![operation], ..Migration::default() };
        let facts = MigrationFacts { migrations: vec![migration], ..MigrationFacts::default() };
        let environment =
            [("API_KEY", "for-the-build-alone"), ("TIME_ZONE", "SELECT")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (facts, bytes) = finished(facts, &environment.into()).unwrap();
        let expected = "CREATE ROLE a PASSWORD '[hidden]' LOGIN; SELECT '[value of API_KEY]'; ALTER ROLE b password '[hidden]' -- no password\nSELECT passwords";
        assert_eq!(facts.migrations[0].sql.as_deref(), Some(expected));
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("hunter22") && !text.contains("for-the-build-alone"), "{text}");
    }

    #[test]
    fn what_no_reader_would_take_comes_without_its_sql_and_says_so() {
        let half = usize::try_from(limits::MIGRATION_FACTS_BYTES_MAX).unwrap() / 2 + 1;
        let migration = |name: &str| Migration { name: name.to_owned(), sql: Some("x".repeat(half)), ..Migration::default() };
        let facts = MigrationFacts { migrations: vec![migration("a.1"), migration("a.2")], ..MigrationFacts::default() };
        let (facts, bytes) = finished(facts, &BTreeMap::new()).unwrap();
        assert!(bytes.len() < 1000 && facts.migrations.iter().all(|one| one.sql.is_none() && one.without_sql.is_some()));
        let twice = MigrationFacts { migrations: vec![Migration::default(), Migration::default()], ..MigrationFacts::default() };
        assert!(finished(twice, &BTreeMap::new()).unwrap_err().contains("twice"));
    }
}
