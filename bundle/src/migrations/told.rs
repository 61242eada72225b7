//! What new migrations do, as far as the release tells: in the order in which they run, judged, with their SQL.

use roadstead_model::limits;
use roadstead_model::outlook::NewMigration;
use std::collections::BTreeMap;

use super::{Judge, MigrationFacts};

/// Bytes of all notes together that are told.
const NOTES_BYTES_MAX: usize = 512 * 1024;

/// Tells of migrations with these names.
#[must_use]
pub fn told(names: &[String], facts: Option<&MigrationFacts>) -> Vec<NewMigration> {
    let Some(facts) = facts else { return names.iter().cloned().map(NewMigration::named).collect() };
    let places: BTreeMap<&str, usize> = facts.migrations.iter().enumerate().map(|(place, one)| (one.name.as_str(), place)).collect();
    let mut ordered: Vec<&String> = names.iter().collect();
    ordered.sort_by_key(|name| places.get(name.as_str()).copied().unwrap_or(usize::MAX));
    let mut judge = Judge::new(facts);
    let (mut sql_left, mut notes_left) = (limits::PLAN_SQL_BYTES_MAX, NOTES_BYTES_MAX);
    let told = ordered.into_iter().map(|name| {
        let Some(migration) = places.get(name.as_str()).and_then(|place| facts.migrations.get(*place)) else {
            return NewMigration::named(name.clone());
        };
        let judged = judge.judge(migration);
        let (sql, without_sql) = match &migration.sql {
            Some(sql) if sql.len() <= sql_left => (Some(sql.clone()), None),
            Some(_) => (None, Some("the SQL of the new migrations is too long to be told here: see `roadstead bundle inspect`".to_owned())),
            None => (None, migration.without_sql.clone().or_else(|| facts.without_sql.clone())),
        };
        sql_left -= sql.as_ref().map_or(0, String::len);
        let bytes: usize = judged.notes.iter().map(String::len).sum();
        let notes = match notes_left.checked_sub(bytes) {
            Some(left) => {
                notes_left = left;
                judged.notes
            }
            None => vec!["There are too many notes to be told here: see `roadstead bundle inspect`.".to_owned()],
        };
        NewMigration {
            name: name.clone(),
            class: Some(judged.class),
            old_release: Some(judged.old_release),
            reversible: Some(judged.reversible),
            notes,
            sql_bytes: migration.sql_bytes.filter(|_| sql.is_some()),
            sql,
            without_sql,
        }
    });
    told.collect()
}
