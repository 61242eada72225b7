//! What a release says of its migrations.

use roadstead_bundle::migrations::{Judge, MigrationFacts, told};
use roadstead_model::limits;
use roadstead_model::outlook::{MigrationClass, OldRelease};

/// What is read is within its bounds and can be written again; judging it ends, and takes nothing that is not known to be harmless.
pub fn migration_facts(bytes: &[u8]) {
    let Ok(facts) = MigrationFacts::decode(bytes) else { return };
    assert!(bytes.len() as u64 <= limits::MIGRATION_FACTS_BYTES_MAX && facts.migrations.len() <= limits::MIGRATIONS_MAX);
    if let Ok(encoded) = facts.encode() {
        assert_eq!(MigrationFacts::decode(&encoded).unwrap(), facts);
    }
    let mut judge = Judge::new(&facts);
    for migration in &facts.migrations {
        let judged = judge.judge(migration);
        assert!(judged.notes.len() <= 21, "{} notes", judged.notes.len());
        let irreversible = migration.operations.iter().any(|operation| !operation.reversible);
        assert_eq!((judged.class == MigrationClass::Irreversible, !judged.reversible), (irreversible, irreversible));
        let foreign = migration.operations.iter().any(|operation| operation.kind.contains('.') && !operation.state_only);
        assert!(!foreign || (judged.class > MigrationClass::Data && judged.old_release > OldRelease::Works), "a stranger is harmless");
    }
    let names: Vec<String> = facts.migrations.iter().map(|migration| migration.name.clone()).collect();
    let all = told(&names, Some(&facts));
    assert_eq!(all.iter().map(|one| &one.name).collect::<Vec<_>>(), names.iter().collect::<Vec<_>>());
    let sql: usize = all.iter().filter_map(|one| one.sql.as_ref()).map(String::len).sum();
    assert!(sql <= limits::PLAN_SQL_BYTES_MAX);
}
