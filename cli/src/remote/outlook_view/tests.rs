use super::*;
use roadstead_model::outlook::Batch;
use roadstead_model::outlook::{MigrationClass, OldRelease};

const NAMED: Shown = Shown { named_app: true, whole_sql: false };

#[test]
fn a_first_deployment() {
    insta::assert_snapshot!(picture(&samples::first(), Shown::default()));
}

#[test]
fn an_upgrade_with_a_canary() {
    insta::assert_snapshot!(picture(&samples::upgrade(), NAMED));
}

#[test]
fn what_stands_in_the_way_comes_first() {
    let mut without = samples::refused();
    without.plan = None;
    insta::assert_snapshot!(format!(
        "{}\n\n---\n\n{}",
        picture(&samples::refused(), Shown::default()),
        picture(&without, Shown::default())
    ));
}

#[test]
fn what_is_not_known_is_said() {
    let mut outlook = samples::upgrade();
    outlook.changes.variables = None;
    outlook.changes.files = None;
    let plan = outlook.plan.as_mut().unwrap();
    plan.bytes_at_most = None;
    plan.batches.iter_mut().flat_map(|batch| &mut batch.hosts).for_each(|host| host.bytes_at_most = None);
    plan.migration.as_mut().unwrap().new = None;
    insta::assert_snapshot!(picture(&outlook, Shown::default()));
}

#[test]
fn a_large_fleet_is_cut_and_says_so() {
    let mut outlook = samples::first();
    let plan = outlook.plan.as_mut().unwrap();
    let host = plan.batches[0].hosts[0].clone();
    plan.batches = vec![Batch { hosts: vec![host; 100], ..plan.batches[0].clone() }; 3];
    let text = picture(&outlook, Shown::default());
    assert!(text.contains("260 hosts more in the batches up to 3"), "{text}");
    assert!(text.lines().count() < 55, "{text}");
}

#[test]
fn sql_of_somebody_else_moves_no_terminal_and_buries_no_plan() {
    let mut outlook = samples::upgrade();
    let migration = outlook.plan.as_mut().unwrap().migration.as_mut().unwrap();
    let long = |number: usize| format!("INSERT INTO t VALUES ({number}, '{}');", "x".repeat(500));
    let sql = (0..5000).map(long).collect::<Vec<_>>().join("\n");
    let nasty = NewMigration {
        class: Some(MigrationClass::Irreversible),
        old_release: Some(OldRelease::Breaks),
        notes: vec!["t is \u{1b}[31mlocked\rnot".to_owned()],
        sql: Some(format!("-- \u{1b}]0;title\u{7}\n{sql}")),
        sql_bytes: Some(10 << 20),
        ..NewMigration::named("shop.0002_\u{1b}[2Jx".to_owned())
    };
    let failed = NewMigration { sql: None, without_sql: Some("ValueError: no".to_owned()), sql_bytes: None, ..nasty.clone() };
    migration.new = Some([vec![nasty], vec![failed; 30]].concat());
    let text = picture(&outlook, Shown::default());
    assert!(!text.contains(['\u{1b}', '\r', '\u{7}']) && text.lines().count() < 130, "{text}");
    assert!(text.contains("    … 4993 lines more: --sql shows all") && text.contains("11 migrations more"), "{text}");
    assert!(text.contains("its SQL has 10.0 MiB in all") && text.contains("no SQL: ValueError: no"), "{text}");
    let whole = picture(&outlook, Shown { whole_sql: true, named_app: false });
    assert!(!whole.contains('\u{1b}') && whole.contains("(4999, 'xxx") && !whole.contains("--sql"), "{}", whole.len());
}
