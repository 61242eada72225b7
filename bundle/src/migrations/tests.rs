//! Migrations and what is said of them, and facts that are none.

use super::*;
use proptest::prelude::*;
use roadstead_model::limits;
use roadstead_model::outlook::{MigrationClass, OldRelease};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Facts of PostgreSQL with one migration of these operations.
fn facts(operations: Value, atomic: bool) -> MigrationFacts {
    let facts =
        json!({ "format": 1, "engine": "postgresql", "migrations": [{ "name": "shop.0002", "atomic": atomic, "operations": operations }] });
    MigrationFacts::decode(facts.to_string().as_bytes()).unwrap()
}

fn judged(operations: Value, atomic: bool) -> Judgement {
    let facts = facts(operations, atomic);
    Judge::new(&facts).judge(&facts.migrations[0])
}

/// An operation on a table, with what it has beyond the usual.
fn on(kind: &str, more: Value) -> Value {
    let mut operation = json!({ "kind": kind, "about": format!("{kind} of item"), "reversible": true, "table": "shop_item" });
    if let (Some(all), Value::Object(more)) = (operation.as_object_mut(), more) {
        all.extend(more);
    }
    json!([operation])
}

fn add(field: Value) -> Value {
    on("AddField", json!({ "field": "size", "after": field }))
}

fn alter(before: Value, after: Value) -> Value {
    on("AlterField", json!({ "field": "size", "before": before, "after": after }))
}

fn sql(text: &str) -> Value {
    on("RunSQL", json!({ "sql": text }))
}

fn told(cases: Vec<(&str, Value)>) -> String {
    let mut text = String::new();
    for (name, operations) in cases {
        let Judgement { class, old_release, reversible, notes } = judged(operations, true);
        writeln!(text, "{name}: {} {old_release:?}{}", class.as_str(), if reversible { "" } else { ", for good" }).unwrap();
        notes.iter().for_each(|note| writeln!(text, "  - {note}").unwrap());
    }
    text
}

#[test]
fn what_is_said_of_models_and_fields() {
    let int = |more: Value| {
        let mut field = json!({ "column": "size", "type": "integer", "null": true, "default": "none" });
        if let (Some(all), Value::Object(more)) = (field.as_object_mut(), more) {
            all.extend(more);
        }
        field
    };
    let key = |nullable: bool| {
        int(json!({ "type": Value::Null, "column": "cat_id", "null": nullable, "indexed": true, "references": "shop_cat" }))
    };
    let typed = |kind: &str| int(json!({ "type": kind }));
    let many = json!({ "column": "tags", "many_to_many": true, "through": "shop_item_tags", "own_through": true });
    insta::assert_snapshot!(told(vec![
        ("a new table", on("CreateModel", json!({ "table": "shop_new", "references": ["shop_cat"], "tables": ["shop_new_tags"] }))),
        ("a table goes", on("DeleteModel", json!({}))),
        ("a table is renamed", on("RenameModel", json!({ "to": "shop_thing" }))),
        ("a model is renamed, its table not", on("RenameModel", json!({ "to": "shop_item" }))),
        ("a nullable field", add(int(json!({})))),
        ("a field with a default of Django", add(int(json!({ "null": false, "default": "constant" })))),
        ("a field with a default of the database", add(int(json!({ "null": false, "default": "constant", "db_default": true })))),
        ("a unique field with a default", add(int(json!({ "null": false, "default": "computed", "unique": true })))),
        ("a field with a check", add(int(json!({ "check": true })))),
        ("a field that the database computes", add(int(json!({ "null": false, "generated": true })))),
        ("a nullable key to another table", add(key(true))),
        ("many to many", add(many.clone())),
        ("a field goes", on("RemoveField", json!({ "before": int(json!({})) }))),
        ("many to many goes", on("RemoveField", json!({ "before": many }))),
        ("a field is renamed", on("RenameField", json!({ "before": int(json!({})), "to": "length" }))),
        ("a field is renamed, its column not", on("RenameField", json!({ "before": int(json!({})), "to": "size" }))),
        ("choices change", alter(int(json!({})), int(json!({})))),
        ("integer becomes bigint", alter(typed("integer"), typed("bigint"))),
        ("varchar grows", alter(typed("varchar(20)"), typed("varchar(40)"))),
        ("varchar shrinks", alter(typed("varchar(40)"), typed("varchar(20)"))),
        ("varchar becomes text", alter(typed("varchar(40)"), typed("text"))),
        ("numeric gets other decimals", alter(typed("numeric(10, 2)"), typed("numeric(12, 3)"))),
        ("NOT NULL", alter(int(json!({})), int(json!({ "null": false })))),
        ("NULL", alter(int(json!({ "null": false })), int(json!({})))),
        ("it becomes unique", alter(int(json!({})), int(json!({ "unique": true })))),
        ("it gets an index", alter(int(json!({})), int(json!({ "indexed": true })))),
        ("its index goes", alter(int(json!({ "indexed": true })), int(json!({})))),
        ("its default in the database goes", alter(int(json!({ "null": false, "db_default": true })), int(json!({ "null": false })))),
        ("a key becomes nullable", alter(key(false), key(true))),
        ("a number becomes a key", alter(typed("integer"), key(true))),
        ("unique together", on("AlterUniqueTogether", json!({ "adds": true, "removes": true }))),
        ("index together", on("AlterIndexTogether", json!({ "adds": true }))),
        ("a state alone", on("RemoveField", json!({ "state_only": true, "before": int(json!({})) }))),
        ("facts that lack what they should have", on("AddField", json!({}))),
    ]));
}

#[test]
fn what_is_said_of_indexes_constraints_and_code() {
    let constraint = |kind: &str| on("AddConstraint", json!({ "constraint": kind, "name": "c" }));
    insta::assert_snapshot!(told(vec![
        ("an index", on("AddIndex", json!({ "name": "i" }))),
        ("an index concurrently, in a transaction", on("AddIndexConcurrently", json!({ "name": "i" }))),
        ("an index goes", on("RemoveIndex", json!({ "name": "i" }))),
        ("an index is renamed", on("RenameIndex", json!({ "name": "i" }))),
        ("a check", constraint("check")),
        ("a check that is not validated", on("AddConstraintNotValid", json!({ "constraint": "check", "name": "c" }))),
        ("a check is validated", on("ValidateConstraint", json!({ "name": "c" }))),
        ("a unique constraint", constraint("unique")),
        ("a unique constraint as an index", on("AddConstraint", json!({ "constraint": "unique", "as_index": true, "name": "c" }))),
        ("an exclusion", constraint("exclusion")),
        ("a constraint of a kind of its own", constraint("other")),
        ("a constraint goes", on("RemoveConstraint", json!({ "name": "c" }))),
        ("code with a reverse", on("RunPython", json!({ "table": null, "name": "shop.migrations.0002.fill" }))),
        ("code without a reverse", on("RunPython", json!({ "table": null, "name": "shop.migrations.0002.fill", "reversible": false }))),
        ("an extension", on("TrigramExtension", json!({ "table": null }))),
        ("options", on("AlterModelOptions", json!({}))),
        ("an operation of somebody else", on("pgtrigger.migrations.AddTrigger", json!({}))),
        ("one of a newer Django", on("AlterModelPartitions", json!({}))),
        ("somebody else's that is called like Django's", on("shop.operations.AddIndex", json!({}))),
    ]));
}

#[test]
fn what_is_said_of_sql() {
    let cases = [
        "",
        "-- nothing; DROP TABLE a\n/* DROP TABLE b; */",
        "SET lock_timeout = '5s'; RESET ALL",
        "UPDATE shop_item SET a = 'x; DROP TABLE y' WHERE b = $tag$;$tag$",
        "insert into shop_item values (1); DELETE FROM shop_cat",
        "CREATE INDEX i ON shop_item (a)",
        "CREATE UNIQUE INDEX IF NOT EXISTS i ON ONLY shop_item (a)",
        "CREATE INDEX CONCURRENTLY i ON shop_item (a)",
        "DROP INDEX i",
        "CREATE TABLE shop_new (a int); ALTER TABLE shop_new ADD b int",
        "DROP TABLE IF EXISTS \"shop_old\" CASCADE",
        "TRUNCATE TABLE shop_item",
        "ALTER TABLE shop_item ADD COLUMN a int, ADD b int NOT NULL, DROP COLUMN c",
        "alter table only shop_item add column a text default md5('x')",
        "ALTER TABLE shop_item ADD COLUMN a numeric(10, 2) NOT NULL DEFAULT 0",
        "ALTER TABLE shop_item ALTER a TYPE bigint",
        "ALTER TABLE shop_item ALTER COLUMN a SET NOT NULL, ALTER COLUMN b DROP DEFAULT",
        "ALTER TABLE shop_item ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES shop_cat (id)",
        "ALTER TABLE shop_item ADD CONSTRAINT f FOREIGN KEY (a) REFERENCES shop_cat (id) NOT VALID",
        "ALTER TABLE shop_item VALIDATE CONSTRAINT f",
        "ALTER TABLE shop_item ADD CONSTRAINT u UNIQUE USING INDEX i",
        "ALTER TABLE shop_item RENAME TO thing",
        "ALTER TABLE shop_item ENABLE ROW LEVEL SECURITY",
        "ALTER TABLE",
        "VACUUM FULL shop_item",
        "DO $$ BEGIN DROP TABLE x; END $$",
        "SELECT E'it\\'s'; DROP TABLE x; SELECT '",
        "LOCK shop_item",
    ];
    insta::assert_snapshot!(told(cases.into_iter().map(|text| (text, sql(text))).collect()));
    let cut = on("RunSQL", json!({ "sql": "SET a = b", "sql_cut": true }));
    assert_eq!(judged(cut, true).class, MigrationClass::Unknown);
}

#[test]
fn outside_of_a_transaction_indexes_are_built_beside_the_writes() {
    let index = judged(on("AddIndexConcurrently", json!({})), false);
    assert_eq!((index.class, index.old_release), (MigrationClass::Expand, OldRelease::Works));
    assert_eq!(
        index.notes,
        ["shop_item is locked (SHARE UPDATE EXCLUSIVE) while an index is built: only other changes of the schema wait."]
    );
    assert_eq!(judged(sql("CREATE INDEX CONCURRENTLY i ON shop_item (a)"), false).notes, index.notes);
    assert!(judged(sql("DROP INDEX CONCURRENTLY i"), false).notes.is_empty());
}

#[test]
fn nobody_waits_for_a_table_that_is_new_in_the_same_plan() {
    let text = json!({ "format": 1, "engine": "postgresql", "migrations": [
        { "name": "shop.0001", "atomic": true, "operations": [{ "kind": "CreateModel", "table": "shop_new", "reversible": true }] },
        { "name": "shop.0002", "atomic": true, "operations": [
            { "kind": "AddIndex", "table": "shop_new", "reversible": true },
            { "kind": "RemoveField", "table": "shop_new", "reversible": true, "before": { "column": "a" } },
            { "kind": "RenameModel", "table": "shop_new", "to": "shop_newer", "reversible": true },
            { "kind": "AddIndex", "table": "shop_newer", "reversible": true },
        ] },
        { "name": "shop.0003", "atomic": true, "replaces": ["shop.0002"], "operations": [{ "kind": "CreateModel", "table": "shop_x", "reversible": true }] },
        { "name": "shop.0004", "atomic": true, "operations": [{ "kind": "AddIndex", "table": "shop_x", "reversible": true }] },
    ] });
    let facts = MigrationFacts::decode(text.to_string().as_bytes()).unwrap();
    let names = ["shop.0001", "shop.0002", "shop.0003", "shop.0004"].map(str::to_owned);
    let told = super::told(&names, Some(&facts));
    let notes: Vec<usize> = told.iter().map(|one| one.notes.len()).collect();
    assert!(told[0].notes.is_empty() && told[1].class == Some(MigrationClass::Expand), "{told:?}");
    assert_eq!(notes, [0, 1, 1, 1], "{told:#?}");
    assert!(told[1].notes[0].contains("shop.0003 stands for it") && told[2].notes[0].contains("stands for 1 older"), "{told:?}");
    let one = super::told(&names[1..2], Some(&facts));
    assert_eq!(
        (one[0].class, one[0].old_release),
        (Some(MigrationClass::Contract), Some(OldRelease::Breaks)),
        "the database has the table"
    );
}

#[test]
fn locks_are_kept_until_the_end_of_a_transaction() {
    let operations = json!([
        { "kind": "AddField", "table": "shop_item", "reversible": true, "after": { "column": "a", "null": true } },
        { "kind": "RunPython", "name": "fill", "reversible": true },
    ]);
    let kept = |atomic| judged(operations.clone(), atomic).notes.iter().any(|note| note.contains("kept until its end"));
    assert!(kept(true) && !kept(false));
}

#[test]
fn of_other_databases_no_lock_is_told() {
    let mut facts = facts(on("AddIndex", json!({})), true);
    facts.engine = "sqlite".to_owned();
    assert!(Judge::new(&facts).judge(&facts.migrations[0]).notes.is_empty());
}

#[test]
fn sql_that_is_too_long_for_a_plan_is_left_out_and_that_is_said() {
    let migration = |name: &str, bytes: usize| Migration { name: name.into(), sql: Some("x".repeat(bytes)), ..Migration::default() };
    let half = limits::PLAN_SQL_BYTES_MAX / 2 + 1;
    let facts = MigrationFacts {
        migrations: vec![migration("b.1", half), migration("a.2", half), migration("a.3", 10)],
        ..MigrationFacts::default()
    };
    let told = super::told(&["a.2", "a.3", "b.1", "c.4"].map(str::to_owned), Some(&facts));
    let names: Vec<&str> = told.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["b.1", "a.2", "a.3", "c.4"], "as they run, what is not known last");
    let there: Vec<bool> = told.iter().map(|one| one.sql.is_some()).collect();
    assert_eq!(there, [true, false, true, false]);
    assert!(told[1].without_sql.as_ref().unwrap().contains("bundle inspect") && told[3].class.is_none());
}

#[test]
fn facts_that_are_none_are_refused() {
    let read = |text: &str| MigrationFacts::decode(text.as_bytes());
    assert!(matches!(read(r#"{"format":2,"new":{}}"#), Err(InvalidFacts::Newer(2))));
    for text in ["", "[]", "{}", r#"{"format":1,"migrations":{}}"#, r#"{"format":1,"migrations":[{"operations":[7]}]}"#] {
        assert!(matches!(read(text), Err(InvalidFacts::Unreadable(_))), "{text}");
    }
    assert!(matches!(read(r#"{"format":1,"migrations":[{"name":"a.1"},{"name":"a.1"}]}"#), Err(InvalidFacts::Twice(_))));
    let many: Vec<Value> = (0..=limits::MIGRATIONS_MAX).map(|number| json!({ "name": number.to_string() })).collect();
    assert!(matches!(read(&json!({ "format": 1, "migrations": many }).to_string()), Err(InvalidFacts::TooMany(_))));
    let large = vec![b' '; usize::try_from(limits::MIGRATION_FACTS_BYTES_MAX).unwrap() + 1];
    assert!(matches!(MigrationFacts::decode(&large), Err(InvalidFacts::TooLarge(_))));
    assert!(
        read(r#"{"format":1,"later":1,"migrations":[{"name":"a.1","later":[]}]}"#).is_ok(),
        "what is new in the same format is skipped"
    );
}

proptest! {
    #[test]
    fn any_sql_is_read_without_a_panic_and_nothing_unknown_is_harmless(text in "[a-zA-Z0-9'\"$;(),*/ \\-\n\\\\é]{0,200}") {
        let found = judged(sql(&text), true);
        let words = super::words::statements(&text);
        let known = ["SET", "RESET", "BEGIN", "COMMIT", "ANALYZE", "GRANT", "CREATE", "COMMENT", "ALTER", "DROP", "REINDEX", "CLUSTER", "VACUUM"];
        if words.iter().any(|words| words.first().is_none_or(|word| !known.contains(&word.text.as_str()))) {
            prop_assert!(found.class > MigrationClass::Expand, "{text:?}");
        }
    }
}
