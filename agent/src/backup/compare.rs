//! What was seen of a database when its backup was taken, beside what the backup gave back.

use serde::Deserialize;
use std::collections::BTreeMap;

/// Differences that are told one by one.
const TOLD_MAX: usize = 12;

/// What came of taking a backup: `taken.json`. What it tells is as long as its writer liked, and may hold anything.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum TakeOutcome {
    /// There is nothing that a migration could lose.
    NotNeeded {
        /// Which run says so.
        name: String,
        /// Why.
        why: String,
    },
    /// Migrations wait to be applied, and somebody else is to make the backup.
    Waiting {
        /// Which run says so.
        name: String,
        /// Which database, in words.
        database: String,
    },
    /// It cannot be made.
    Refused(Refusal),
    /// It is there.
    Taken(Box<Taken>),
}

impl TakeOutcome {
    /// The run that tells it.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::NotNeeded { name, .. } | Self::Waiting { name, .. } => name,
            Self::Refused(refusal) => &refusal.name,
            Self::Taken(taken) => &taken.name,
        }
    }
}

/// Why a backup cannot be made, or does not pass.
#[derive(Debug, Deserialize)]
pub(crate) struct Refusal {
    /// Which run says so.
    pub(crate) name: String,
    /// What is in the way.
    pub(crate) what: String,
    /// What to do.
    pub(crate) next: String,
    /// The last output that tells more.
    #[serde(default)]
    pub(crate) detail: String,
}

/// A backup that was taken, and what the database held in the same snapshot.
#[derive(Debug, Deserialize)]
pub(crate) struct Taken {
    /// Which run took it.
    pub(crate) name: String,
    /// `postgresql` or `sqlite`.
    pub(crate) format: String,
    /// The server's major version.
    pub(crate) major: u32,
    /// Which database, in words.
    pub(crate) database: String,
    /// What tells it from every other one.
    pub(crate) identity: String,
    /// How many bytes it had; 0 in the evidence of an agent that did not look.
    #[serde(default)]
    pub(crate) bytes: u64,
    /// How many jobs wrote it; one, in evidence that does not say so.
    #[serde(default = "one")]
    pub(crate) jobs: u32,
    sequences: BTreeMap<String, i64>,
    facts: Facts,
    /// Of each table one row in so many was compared.
    #[serde(default)]
    pub(crate) every: BTreeMap<String, u64>,
    /// The columns of each table; nothing in the evidence of an agent that did not look.
    #[serde(default)]
    pub(crate) columns: BTreeMap<String, Vec<String>>,
    /// Migrations that were applied; nothing in the evidence of an agent that did not look.
    #[serde(default)]
    pub(crate) migrations: Option<Vec<String>>,
}

const fn one() -> u32 {
    1
}

impl Taken {
    /// How many rows each table had.
    pub(crate) fn rows(&self) -> BTreeMap<String, u64> {
        self.facts.tables.iter().map(|(name, table)| (name.clone(), table.rows)).collect()
    }
}

/// What came of looking at a backup: `checked.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CheckOutcome {
    /// It does not pass.
    Refused(Refusal),
    /// It could not be looked at here, which says nothing about it.
    Unable(Refusal),
    /// It was restored.
    Restored(Box<Restored>),
    /// It was read back.
    Listed {
        /// Which backup.
        name: String,
        /// The tables of the database whose rows it says it holds.
        tables: Vec<String>,
    },
}

impl Restored {
    /// The run that restored it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }
}

impl CheckOutcome {
    /// The backup that it is about.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Refused(refusal) | Self::Unable(refusal) => &refusal.name,
            Self::Restored(restored) => &restored.name,
            Self::Listed { name, .. } => name,
        }
    }
}

/// What a restored database holds.
#[derive(Debug, Deserialize)]
pub(crate) struct Restored {
    name: String,
    facts: Facts,
    sequences: BTreeMap<String, i64>,
    /// The major version of the server that it was restored into; nothing where there is none.
    major: Option<u32>,
}

/// What a database holds.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Facts {
    tables: BTreeMap<String, Rows>,
    /// Definitions by kind and name, as digests.
    objects: BTreeMap<String, String>,
    large_objects: u64,
}

/// The rows of a table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Rows {
    rows: u64,
    /// How many of them were compared one by one.
    compared: u64,
    sum: String,
}

/// What a check saw of a backup that passed, in words; else how it differs from what the database was. A refusal is none of both: it is told
/// before.
pub(crate) fn compare(taken: &Taken, checked: &CheckOutcome) -> Result<String, Vec<String>> {
    let mut differs = Vec::new();
    let seen = match checked {
        CheckOutcome::Refused(refusal) | CheckOutcome::Unable(refusal) => return Err(vec![refusal.what.clone()]),
        CheckOutcome::Listed { tables, .. } => {
            let missing = taken.facts.tables.keys().filter(|name| !tables.contains(name));
            differs.extend(missing.map(|name| format!("table {name} is missing")));
            format!("{} tables", tables.len())
        }
        CheckOutcome::Restored(restored) => {
            rows(&taken.facts, &restored.facts, &mut differs);
            let same_words = restored.major.is_none_or(|major| major == taken.major);
            objects(&taken.facts, &restored.facts, same_words, &mut differs);
            for (name, value) in &taken.sequences {
                let is = restored.sequences.get(name).copied();
                // It may have gone on between the look and the dump, never back.
                if is.is_none_or(|is| is < *value) {
                    differs
                        .push(format!("sequence {name} stood at {value} and is at {}", is.map_or("nothing".to_owned(), |v| v.to_string())));
                }
            }
            words(&taken.facts)
        }
    };
    match differs.len() {
        0 => Ok(seen),
        count => {
            differs.truncate(TOLD_MAX);
            if count > TOLD_MAX {
                differs.push(format!("and {} more differences", count - TOLD_MAX));
            }
            Err(differs)
        }
    }
}

fn words(facts: &Facts) -> String {
    let rows: u64 = facts.tables.values().map(|table| table.rows).sum();
    let compared: u64 = facts.tables.values().map(|table| table.compared).sum();
    format!("{} tables, {rows} rows counted, {compared} of them compared", facts.tables.len())
}

fn rows(was: &Facts, is: &Facts, differs: &mut Vec<String>) {
    for (name, had) in &was.tables {
        match is.tables.get(name) {
            None => differs.push(format!("table {name} is missing")),
            Some(has) if has.rows != had.rows => differs.push(format!("table {name} had {} rows and has {}", had.rows, has.rows)),
            Some(has) if has != had => differs.push(format!("rows of table {name} differ")),
            Some(_) => {}
        }
    }
    for name in is.tables.keys().filter(|name| !was.tables.contains_key(*name)) {
        differs.push(format!("table {name} was not there"));
    }
    if is.large_objects != was.large_objects {
        differs.push(format!("there were {} large objects and are {}", was.large_objects, is.large_objects));
    }
}

/// Definitions; the same ones read otherwise in another major version of the server.
fn objects(was: &Facts, is: &Facts, same_words: bool, differs: &mut Vec<String>) {
    for (name, had) in &was.objects {
        match is.objects.get(name) {
            None => differs.push(format!("{name} is missing")),
            Some(has) if same_words && has != had => differs.push(format!("{name} differs")),
            Some(_) => {}
        }
    }
    for name in is.objects.keys().filter(|name| !was.objects.contains_key(*name)) {
        differs.push(format!("{name} was not there"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(text: &str) -> Taken {
        let TakeOutcome::Taken(taken) = serde_json::from_str(text).unwrap() else { panic!("not taken") };
        *taken
    }

    fn checked(text: &str) -> CheckOutcome {
        serde_json::from_str(text).unwrap()
    }

    const TAKEN: &str = r#"{"taken": {"name": "erp-1", "format": "postgresql", "tools": "/usr/lib/postgresql/15/bin", "major": 15,
        "database": "PostgreSQL 15.8, database erp on db-1:5432", "identity": "74/erp", "encoding": "UTF8", "roles": [], "every": {},
        "sequences": {"public.a_id_seq": 7},
        "facts": {"tables": {"public.a": {"rows": 3, "compared": 3, "sum": "12"}, "public.b": {"rows": 0, "compared": 0, "sum": "0"}},
                  "objects": {"index public.a_pkey": "d1", "columns public.a": "d2"}, "large_objects": 0}}}"#;

    fn restored(change: impl Fn(&str) -> String) -> Result<String, Vec<String>> {
        let same = r#"{"restored": {"name": "erp-1", "major": 15, "sequences": {"public.a_id_seq": 7},
            "facts": {"tables": {"public.a": {"rows": 3, "compared": 3, "sum": "12"}, "public.b": {"rows": 0, "compared": 0, "sum": "0"}},
                      "objects": {"index public.a_pkey": "d1", "columns public.a": "d2"}, "large_objects": 0}}}"#;
        compare(&taken(TAKEN), &checked(&change(same)))
    }

    #[test]
    fn the_same_passes_and_says_what_was_looked_at() {
        assert_eq!(restored(str::to_owned).unwrap(), "2 tables, 3 rows counted, 3 of them compared");
        let ahead = restored(|same| same.replace("\"public.a_id_seq\": 7", "\"public.a_id_seq\": 9"));
        assert!(ahead.is_ok(), "a sequence goes on while it is dumped: {ahead:?}");
    }

    #[test]
    fn every_difference_is_told() {
        for (from, to, says) in [
            ("\"rows\": 3", "\"rows\": 2", "table public.a had 3 rows and has 2"),
            ("\"sum\": \"12\"", "\"sum\": \"13\"", "rows of table public.a differ"),
            ("\"public.b\"", "\"public.c\"", "table public.b is missing"),
            ("\"public.b\"", "\"public.c\"", "table public.c was not there"),
            ("\"d1\"", "\"d9\"", "index public.a_pkey differs"),
            ("columns public.a", "columns public.z", "columns public.a is missing"),
            ("\"public.a_id_seq\": 7", "\"public.a_id_seq\": 6", "stood at 7 and is at 6"),
            ("\"public.a_id_seq\": 7", "", "stood at 7 and is at nothing"),
            ("\"large_objects\": 0", "\"large_objects\": 4", "there were 0 large objects and are 4"),
        ] {
            let differs = restored(|same| same.replacen(from, to, 1)).unwrap_err();
            assert!(differs.iter().any(|line| line.contains(says)), "{says}: {differs:?}");
        }
    }

    #[test]
    fn definitions_read_otherwise_in_another_version() {
        let newer = |same: &str| same.replace("\"major\": 15", "\"major\": 17").replace("\"d1\"", "\"d9\"");
        assert!(restored(newer).is_ok());
        assert!(
            restored(|same| newer(same).replace("index public.a_pkey", "index public.other")).is_err(),
            "names are the same everywhere"
        );
    }

    #[test]
    fn a_list_names_every_table_of_the_database() {
        let list = |tables: &str| compare(&taken(TAKEN), &checked(&format!(r#"{{"listed": {{"name": "erp-1", "tables": [{tables}]}}}}"#)));
        assert!(list("\"public.a\", \"public.b\"").is_ok());
        assert_eq!(list("\"public.a\", \"public.c\"").unwrap_err(), ["table public.b is missing"]);
    }

    #[test]
    fn whoever_tells_something_says_of_which_run() {
        let taken: TakeOutcome = serde_json::from_str(r#"{"not-needed": {"name": "erp-7", "why": "empty"}}"#).unwrap();
        assert_eq!(taken.name(), "erp-7");
        assert!(serde_json::from_str::<TakeOutcome>(r#"{"not-needed": {"why": "empty"}}"#).is_err());
        let refused = checked(r#"{"refused": {"name": "erp-7", "what": "x", "next": "y"}}"#);
        assert_eq!((refused.name(), compare(&super::tests::taken(TAKEN), &refused).unwrap_err()), ("erp-7", vec!["x".to_owned()]));
    }

    #[test]
    fn many_differences_are_counted() {
        let tables: Vec<String> = (0..40).map(|n| format!("\"t{n}\": {{\"rows\": 1, \"compared\": 1, \"sum\": \"1\"}}")).collect();
        let text = format!(
            r#"{{"restored": {{"name": "erp-1", "major": 15, "sequences": {{"public.a_id_seq": 7}}, "facts": {{"tables": {{{}}}, "objects": {{}}, "large_objects": 0}}}}}}"#,
            tables.join(",")
        );
        let differs = compare(&taken(TAKEN), &checked(&text)).unwrap_err();
        assert_eq!(differs.len(), TOLD_MAX + 1);
        assert!(differs.last().unwrap().ends_with("more differences"));
    }
}
