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

/// Why a release is below the floor, or nothing. `facts` are those of the release that serves.
pub(crate) fn below(current: &Manifest, facts: Option<&MigrationFacts>, target: (&ReleaseId, &Manifest)) -> Option<String> {
    let (id, older) = target;
    let lacks = |name: &&String| !older.migrations.contains(name);
    let names: Vec<String> = current.migrations.iter().filter(lacks).cloned().collect();
    let breaking: Vec<NewMigration> =
        told(&names, facts).into_iter().filter(|migration| migration.old_release == Some(OldRelease::Breaks)).collect();
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

    fn told_of(operations: &str, older: &[&str]) -> Option<String> {
        let id = samples::release("0.9").id();
        below(&manifest(&["a.0001_first", "a.0002_next"]), Some(&facts(operations)), (&id, &manifest(older)))
    }

    #[test]
    fn what_took_a_table_away_is_a_floor() {
        let drop = r#"{"kind":"DeleteModel","table":"t","reversible":true}"#;
        let why = told_of(drop, &["a.0001_first"]).unwrap();
        assert!(why.contains("does not get along") && why.contains("a.0002_next: "), "{why}");
        assert_eq!(told_of(drop, &["a.0001_first", "a.0002_next"]), None, "the older release has that migration, too");
    }

    #[test]
    fn what_only_adds_or_says_nothing_is_none() {
        assert_eq!(told_of("", &["a.0001_first"]), None);
        let id = samples::release("0.9").id();
        assert_eq!(below(&manifest(&["a.0001_first"]), None, (&id, &manifest(&[]))), None);
    }
}
