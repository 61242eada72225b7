//! New migrations as text: what each is, what it locks and breaks, and its SQL. It comes from a bundle, so nothing of it may move a
//! terminal.

use roadstead_model::outlook::{Migration, NewMigration, OldRelease};

use crate::output::{printable, size};

/// Migrations of which all is told; of others the name and the class.
const TOLD_MAX: usize = 20;
/// Lines of SQL that are shown of each, unless all are asked for.
const SQL_LINES_MAX: usize = 8;
/// Characters of a line of SQL that are shown then.
const SQL_LINE_MAX: usize = 160;

/// A part for each migration, below the plan; nothing where nothing is known of any.
pub(super) fn section(migration: &Migration, whole_sql: bool) -> Option<String> {
    let known: Vec<&NewMigration> = migration.new.iter().flatten().filter(|one| one.class.is_some()).collect();
    if known.is_empty() {
        return None;
    }
    let mut parts: Vec<String> = known.iter().take(if whole_sql { usize::MAX } else { TOLD_MAX }).map(|one| part(one, whole_sql)).collect();
    if let Some(more) = known.len().checked_sub(parts.len()).filter(|more| *more > 0) {
        parts.push(format!("{more} migrations more: --sql shows all, --output json holds all"));
    }
    Some(parts.join("\n\n"))
}

/// All of one.
pub(crate) fn part(one: &NewMigration, whole_sql: bool) -> String {
    let mut lines = vec![head(one)];
    lines.extend(one.notes.iter().map(|note| format!("  - {}", printable(note))));
    lines.extend(sql(one, whole_sql));
    lines.join("\n")
}

/// Its name and what it is, such as `billing.0010_currency: contract; the release that runs breaks`.
fn head(one: &NewMigration) -> String {
    format!("{}{}", printable(&one.name), what(one))
}

/// What it is, behind its name; nothing where that is not known.
pub(crate) fn what(one: &NewMigration) -> String {
    let class = one.class.map(|class| format!(": {}", class.as_str())).unwrap_or_default();
    let old = match one.old_release {
        Some(OldRelease::Breaks) => "; the release that runs breaks",
        Some(OldRelease::MayBreak) => "; the release that runs may break",
        Some(OldRelease::Works) | None => "",
    };
    format!("{class}{old}")
}

fn sql(one: &NewMigration, whole: bool) -> Vec<String> {
    let Some(sql) = &one.sql else {
        return one.without_sql.iter().map(|why| format!("  no SQL: {}", printable(why))).collect();
    };
    // Comments repeat what Django calls the operations: in an excerpt statements say more.
    let says = |line: &&str| whole || !(line.trim().is_empty() || line.trim() == "--" || ["BEGIN;", "COMMIT;"].contains(&line.trim()));
    let lines: Vec<&str> = sql.lines().filter(says).collect();
    let shown = if whole { lines.len() } else { SQL_LINES_MAX };
    let cut = |line: &str| match line.char_indices().nth(SQL_LINE_MAX) {
        Some((place, _)) if !whole => format!("{}…", line.get(..place).unwrap_or_default()),
        _ => line.to_owned(),
    };
    let mut told: Vec<String> = lines.iter().take(shown).map(|line| format!("    {}", printable(&cut(line)))).collect();
    if let Some(more) = lines.len().checked_sub(told.len()).filter(|more| *more > 0) {
        told.push(format!("    … {more} lines more: --sql shows all"));
    }
    told.extend(one.sql_bytes.map(|bytes| format!("    … its SQL has {} in all, and the release carries no more of it", size(bytes))));
    told
}
