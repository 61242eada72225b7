//! The rollback floor: the schema of the database stays as the newest release made it, and an older release may no longer get along with it.
//! Read from what the release that serves says of its migrations; nothing is guessed where it says nothing.

use roadstead_bundle::manifest::Manifest;
use roadstead_bundle::migrations::{MigrationFacts, told};
use roadstead_model::ReleaseId;
use roadstead_model::outlook::{NewMigration, OldRelease};

/// Migrations that are named one by one.
const NAMED_MAX: usize = 3;
/// What one can do instead.
pub(crate) const WAYS_OUT: &str = "release a correction of what serves; or take those migrations back by hand, if what they removed can be \
     missed; or restore the backup of the rollout that applied them (`roadstead db list`), which loses what was written since; or, if you \
     know that the older release gets along, ask again with --despite-schema";

/// Why a release is below the floor, or nothing. `current` is the release whose migrations made the schema, `facts` are what it tells of them,
/// asked for where it has some that the other one lacks; `newer`: the other one was published later.
pub(crate) fn below(
    current: &Manifest,
    facts: impl FnOnce() -> Option<MigrationFacts>,
    target: (&ReleaseId, &Manifest),
    newer: bool,
) -> Option<String> {
    let (id, older) = target;
    let lacks = |name: &&String| !(older.migrations.contains(name) || newer && leaves_behind(current, older, name));
    let names: Vec<String> = current.migrations.iter().filter(lacks).cloned().collect();
    if names.is_empty() {
        return None;
    }
    let breaking: Vec<NewMigration> =
        told(&names, facts().as_ref()).into_iter().filter(|migration| migration.old_release == Some(OldRelease::Breaks)).collect();
    if breaking.is_empty() {
        return None;
    }
    let why = |migration: &NewMigration| {
        let note = migration.notes.first().map_or("it takes away what older releases need", String::as_str);
        format!("{}: {note}", migration.name)
    };
    let mut reasons: Vec<String> = breaking.iter().take(NAMED_MAX).map(why).collect();
    if breaking.len() > NAMED_MAX {
        reasons.push(format!("and {} more", breaking.len() - NAMED_MAX));
    }
    Some(format!("{id} does not get along with the database as it is now: {}", reasons.join("; ")))
}

/// The migrations of a release that another one lacks and that take away what that one needs, or may need, by what the release tells of them.
pub(crate) fn breaking(release: &Manifest, runs: &Manifest, facts: Option<&MigrationFacts>) -> Vec<String> {
    let names: Vec<String> = release.migrations.iter().filter(|name| !runs.migrations.contains(name)).cloned().collect();
    let breaks = |migration: &NewMigration| migration.old_release == Some(OldRelease::Breaks);
    told(&names, facts).into_iter().filter(breaks).map(|migration| migration.name).collect()
}

/// Whether a newer release lacks a migration since it is squashed by now, or its app is gone: it has others of that app, or none at all.
fn leaves_behind(current: &Manifest, newer: &Manifest, name: &str) -> bool {
    let label = |name: &str| name.split_once('.').map_or_else(|| name.to_owned(), |(label, _)| label.to_owned());
    let mut of_app = newer.migrations.iter().filter(|other| label(other) == label(name)).peekable();
    of_app.peek().is_none() || of_app.any(|other| !current.migrations.contains(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_driver::samples;

    fn manifest(migrations: &[&str]) -> Manifest {
        let mut manifest = samples::release("1.0").manifest;
        manifest.migrations = migrations.iter().map(|name| (*name).to_owned()).collect();
        manifest
    }

    fn facts(operations: &str) -> MigrationFacts {
        let text = format!(
            r#"{{"format":1,"engine":"postgresql","migrations":[{{"name":"a.0001_first","operations":[]}},{{"name":"a.0002_next","operations":[{operations}]}}]}}"#
        );
        MigrationFacts::decode(text.as_bytes()).unwrap()
    }

    fn told_of(operations: &str, other: &[&str], newer: bool) -> Option<String> {
        let id = samples::release("0.9").id();
        below(&manifest(&["a.0001_first", "a.0002_next"]), || Some(facts(operations)), (&id, &manifest(other)), newer)
    }

    #[test]
    fn what_took_a_table_away_is_a_floor() {
        let drop = r#"{"kind":"DeleteModel","table":"t","reversible":true}"#;
        let why = told_of(drop, &["a.0001_first"], false).unwrap();
        assert!(why.contains("does not get along") && why.contains("a.0002_next: "), "{why}");
        assert_eq!(told_of(drop, &["a.0001_first", "a.0002_next"], false), None, "the older release has that migration, too");
    }

    #[test]
    fn a_newer_release_is_below_it_only_where_it_comes_from_before() {
        let drop = r#"{"kind":"DeleteModel","table":"t","reversible":true}"#;
        assert!(told_of(drop, &["a.0001_first"], true).is_some(), "a correction that was made from the release before");
        assert_eq!(told_of(drop, &["a.0001_squashed_0002_next"], true), None, "squashed");
        assert_eq!(told_of(drop, &["b.0001_first"], true), None, "the app is gone");
        assert!(told_of(drop, &["b.0001_first"], false).is_some());
    }

    #[test]
    fn what_only_adds_or_says_nothing_is_none() {
        assert_eq!(told_of("", &["a.0001_first"], false), None);
        let id = samples::release("0.9").id();
        assert_eq!(below(&manifest(&["a.0001_first"]), || None, (&id, &manifest(&[])), false), None);
    }
}
