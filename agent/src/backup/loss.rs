//! What a restore loses: from what a backup's evidence says beside what there is now, or from what was counted row by row.

use roadstead_model::{Backup, Loss, TableLoss, Timestamp, limits};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

use super::compare::{CheckOutcome, Refusal, Taken};

/// What came of a step of a restore. Its writer runs beside the app's own code: nothing that it tells is longer or stranger than it may be.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RestoreOutcome {
    /// It cannot be done, and nothing was exchanged.
    Refused(Refusal),
    /// What there is now.
    Surveyed(Box<Surveyed>),
    /// What the restored database holds.
    Restored(Box<super::compare::Restored>),
    /// What was restored is gone.
    Discarded {
        /// Which run says so.
        name: String,
    },
    /// The databases have changed their names.
    Exchanged(Box<Exchanged>),
}

impl RestoreOutcome {
    /// The run that tells it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.name,
            Self::Surveyed(surveyed) => &surveyed.name,
            Self::Restored(restored) => restored.name(),
            Self::Discarded { name } => name,
            Self::Exchanged(exchanged) => &exchanged.name,
        }
    }

    /// What the check of a backup would say of the same.
    pub(crate) fn into_check(self) -> Option<CheckOutcome> {
        match self {
            Self::Restored(restored) => Some(CheckOutcome::Restored(restored)),
            Self::Refused(_) | Self::Surveyed(_) | Self::Discarded { .. } | Self::Exchanged(_) => None,
        }
    }
}

/// The present database.
#[derive(Debug, Deserialize)]
pub(crate) struct Surveyed {
    name: String,
    identity: String,
    notes: Vec<String>,
    tables: BTreeMap<String, u64>,
    columns: BTreeMap<String, Vec<String>>,
    migrations: Vec<String>,
}

/// What was counted in both databases while nobody wrote.
#[derive(Debug, Deserialize)]
pub(crate) struct Exchanged {
    name: String,
    kept: String,
    tables: Vec<Counted>,
    shape: Vec<String>,
    migrations: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Counted {
    name: String,
    now: Option<u64>,
    then: Option<u64>,
    lost: Option<u64>,
    changed: Option<u64>,
    returned: Option<u64>,
}

/// What a restore would lose, as far as the evidence of the backup tells.
pub(crate) fn foreseen(backup: Backup, taken: Option<&Taken>, now: &Surveyed, at: Timestamp) -> Loss {
    let then = taken.map(Taken::rows);
    let mut notes: Vec<String> = now.notes.iter().map(|note| line(note)).collect();
    if !backup.bad.is_empty() {
        notes.push(format!("THE BACKUP WAS FOUND BAD when it was last looked at: {}", backup.bad));
    }
    if taken.is_none() {
        notes.push("the evidence of this backup does not tell its tables: what was written since cannot be told beforehand".to_owned());
    }
    if taken.is_some_and(|taken| taken.identity != now.identity && !taken.identity.starts_with("unknown")) {
        notes.push(format!("the backup is of another server or another database: {}", backup.database));
    }
    let names: BTreeSet<&String> = now.tables.keys().chain(then.iter().flat_map(BTreeMap::keys)).collect();
    let tables: Vec<TableLoss> = names
        .into_iter()
        .map(|name| TableLoss {
            name: line(name),
            then: then.as_ref().and_then(|then| then.get(name).copied()),
            now: now.tables.get(name).copied(),
            // What was counted needs a backup that names its tables, and does not name this one.
            lost: now.tables.get(name).copied().filter(|_| then.as_ref().is_some_and(|then| !then.contains_key(name))),
            changed: None,
            returned: None,
        })
        .collect();
    let (differ, same): (Vec<_>, Vec<_>) = tables.into_iter().partition(|table| table.then != table.now);
    let migrations = taken.and_then(|taken| taken.migrations.as_ref());
    let undone = migrations.map(|then| now.migrations.iter().filter(|name| !then.contains(name)).map(|name| line(name)).collect());
    bounded(Loss {
        evidence: backup,
        looked_at: at,
        exact: false,
        tables: differ,
        more: 0,
        same: count(same.len()),
        shape: taken.map(|taken| shape(&taken.columns, &now.columns)).unwrap_or_default(),
        migrations: undone.unwrap_or_default(),
        notes,
        kept_as: String::new(),
    })
}

/// What a restore lost.
pub(crate) fn counted(backup: Backup, exchanged: &Exchanged, at: Timestamp) -> Loss {
    let tables = exchanged.tables.iter().map(|table| TableLoss {
        name: line(&table.name),
        then: table.then,
        now: table.now,
        lost: table.lost,
        changed: table.changed,
        returned: table.returned,
    });
    let is_same = |table: &TableLoss| match (table.lost, table.changed, table.returned) {
        (Some(lost), Some(changed), Some(returned)) => lost + changed + returned == 0,
        _ => false,
    };
    let (same, differ): (Vec<_>, Vec<_>) = tables.partition(is_same);
    let unkeyed = differ.iter().any(|table| table.lost.is_none() && table.now.is_some() && table.then.is_some());
    let notes =
        unkeyed.then(|| "tables without a primary key, and those of more than 5000000 rows, are told by their number of rows".to_owned());
    bounded(Loss {
        evidence: backup,
        looked_at: at,
        exact: true,
        tables: differ,
        more: 0,
        same: count(same.len()),
        shape: exchanged.shape.iter().map(|text| line(text)).collect(),
        migrations: exchanged.migrations.iter().map(|text| line(text)).collect(),
        notes: notes.into_iter().collect(),
        kept_as: line(&exchanged.kept),
    })
}

/// Tables and columns that there were, and that there are.
fn shape(then: &BTreeMap<String, Vec<String>>, now: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let mut lines = Vec::new();
    if then.is_empty() {
        return lines;
    }
    for (table, columns) in now {
        let Some(had) = then.get(table) else {
            lines.push(line(&format!("table {table} goes: it is newer than the backup")));
            continue;
        };
        lines.extend(columns.iter().filter(|column| !had.contains(column)).map(|column| line(&format!("column {column} of {table} goes"))));
        lines.extend(
            had.iter().filter(|column| !columns.contains(column)).map(|column| line(&format!("column {column} of {table} comes back"))),
        );
    }
    lines.extend(then.keys().filter(|table| !now.contains_key(*table)).map(|table| line(&format!("table {table} comes back"))));
    lines
}

/// Within what travels; those with the most rows lost come first.
fn bounded(mut loss: Loss) -> Loss {
    let weight = |table: &TableLoss| table.lost.unwrap_or_else(|| table.now.unwrap_or(0).saturating_sub(table.then.unwrap_or(0)));
    loss.tables.sort_by(|a, b| weight(b).cmp(&weight(a)).then_with(|| a.name.cmp(&b.name)));
    loss.more = count(loss.tables.len().saturating_sub(limits::LOSS_LINES_MAX));
    loss.tables.truncate(limits::LOSS_LINES_MAX);
    for lines in [&mut loss.shape, &mut loss.migrations, &mut loss.notes] {
        if lines.len() > limits::LOSS_LINES_MAX {
            let more = lines.len() - limits::LOSS_LINES_MAX + 1;
            lines.truncate(limits::LOSS_LINES_MAX - 1);
            lines.push(format!("and {more} more"));
        }
    }
    loss
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// One line, within what travels.
pub(crate) fn line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(limits::BACKUP_TEXT_BYTES_MAX / 4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::compare::TakeOutcome;
    use crate::backup::retention::sample;
    use roadstead_model::BackupCheck;

    const TAKEN: &str = r#"{"taken": {"name": "erp-1", "format": "postgresql", "tools": "", "major": 15, "database": "d", "identity": "74/erp",
        "encoding": "UTF8", "roles": [], "every": {"public.a": 1}, "sequences": {}, "migrations": ["a.0001"],
        "columns": {"public.a": ["id", "email"], "public.gone": ["id"], "public.b": ["id"]},
        "facts": {"tables": {"public.a": {"rows": 3, "compared": 3, "sum": "1"}, "public.b": {"rows": 4, "compared": 4, "sum": "1"},
            "public.gone": {"rows": 2, "compared": 2, "sum": "1"}}, "objects": {}, "large_objects": 0}}}"#;

    fn taken() -> Taken {
        let TakeOutcome::Taken(taken) = serde_json::from_str(TAKEN).unwrap() else { panic!("not taken") };
        *taken
    }

    fn surveyed(text: &str) -> Surveyed {
        let RestoreOutcome::Surveyed(surveyed) = serde_json::from_str(text).unwrap() else { panic!("not surveyed") };
        *surveyed
    }

    const NOW: &str = r#"{"surveyed": {"name": "r", "identity": "74/erp", "notes": ["a\u001b[2J"], "migrations": ["a.0001", "a.0002"],
        "tables": {"public.a": 5, "public.b": 4, "public.new": 7}, "database": "d",
        "columns": {"public.a": ["id", "flag"], "public.b": ["id"], "public.new": ["id"]}}}"#;

    #[test]
    fn what_would_be_lost_is_told_from_the_evidence() {
        let loss = foreseen(sample("erp-r-1-5", 5, BackupCheck::Restored), Some(&taken()), &surveyed(NOW), Timestamp(9));
        let told: Vec<String> = loss.tables.iter().map(|table| table.words(loss.exact)).collect();
        assert_eq!(
            told,
            [
                "public.new: 7 rows now, the backup has no such table: all are lost",
                "public.a: 5 rows now, 3 in the backup: at least 2 are lost",
                "public.gone: it is back, with 2 rows"
            ]
        );
        assert_eq!((loss.same, loss.migrations.clone()), (1, vec!["a.0002".to_owned()]));
        for says in
            ["column email of public.a comes back", "column flag of public.a goes", "table public.new goes", "table public.gone comes back"]
        {
            assert!(loss.shape.iter().any(|line| line.contains(says)), "{says}: {:?}", loss.shape);
        }
        assert!(loss.notes[0] == "a[2J", "what a terminal would obey is no text: {:?}", loss.notes);
    }

    #[test]
    fn a_backup_of_before_says_less_and_says_so() {
        let loss = foreseen(sample("erp-r-1-5", 5, BackupCheck::Restored), None, &surveyed(NOW), Timestamp(9));
        assert!(loss.notes.iter().any(|note| note.contains("does not tell its tables")) && loss.shape.is_empty());
        let other = NOW.replace("74/erp", "75/erp");
        let loss = foreseen(sample("erp-r-1-5", 5, BackupCheck::Restored), Some(&taken()), &surveyed(&other), Timestamp(9));
        assert!(loss.notes.iter().any(|note| note.contains("another server")), "{:?}", loss.notes);
    }

    #[test]
    fn what_was_counted_is_bounded_and_the_largest_comes_first() {
        let table = |n: u64| format!(r#"{{"name": "t{n}", "now": {n}, "then": 0, "lost": {n}, "changed": 0, "returned": 0}}"#);
        let tables: Vec<String> = (0..130).map(table).collect();
        let text = format!(
            r#"{{"exchanged": {{"name": "r", "kept": "erp_before", "tables": [{}], "shape": [], "migrations": []}}}}"#,
            tables.join(",")
        );
        let RestoreOutcome::Exchanged(exchanged) = serde_json::from_str(&text).unwrap() else { panic!() };
        let loss = counted(sample("erp-r-1-5", 5, BackupCheck::Restored), &exchanged, Timestamp(9));
        assert_eq!((loss.tables.len(), loss.more, loss.same), (limits::LOSS_LINES_MAX, 29, 1));
        assert_eq!((loss.tables[0].name.as_str(), loss.kept_as.as_str()), ("t129", "erp_before"));
    }
}
