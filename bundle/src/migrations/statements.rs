//! What statements of `RunSQL` do, by their leading words. What is not known is said to be unknown.

use roadstead_model::outlook::{MigrationClass, OldRelease};

use super::judge::{Effect, Verdict};
use super::locks::{Lock, Takes};
use super::words::{Word, statements};

const CONCURRENTLY: &str = "CREATE INDEX CONCURRENTLY, in a migration with atomic = False";

/// What the statements do, one after another.
pub(super) fn verdicts(sql: &str, atomic: bool) -> Vec<Verdict> {
    statements(sql).iter().map(|words| verdict(words, atomic)).collect()
}

fn texts(words: &[Word]) -> Vec<&str> {
    words.iter().map(|word| if word.plain { word.text.as_str() } else { "" }).collect()
}

fn verdict(words: &[Word], atomic: bool) -> Verdict {
    let leading = texts(words);
    match leading.as_slice() {
        ["SET" | "RESET" | "BEGIN" | "COMMIT" | "ANALYZE" | "GRANT", ..] => Verdict::harmless(),
        ["INSERT" | "UPDATE" | "DELETE" | "MERGE" | "COPY" | "WITH" | "SELECT", ..] => data(words, &leading),
        ["CREATE", "INDEX", rest @ ..] | ["CREATE", "UNIQUE", "INDEX", rest @ ..] => create_index(words, rest, atomic),
        ["DROP", "INDEX", "CONCURRENTLY", ..] if atomic => Verdict::fails(in_transaction("an index cannot be dropped concurrently")),
        ["DROP", "INDEX", "CONCURRENTLY", ..] => Verdict::harmless(),
        ["DROP", "INDEX", ..] => Verdict::harmless().with(Effect::new(Lock::AccessExclusive, "the table of the index", Takes::Brief)),
        ["CREATE", "TABLE", ..] | ["CREATE", "UNLOGGED", "TABLE", ..] => {
            // One that may be there already may be in use.
            let is_new = !leading.contains(&"EXISTS");
            Verdict { makes: name_behind(words, &leading, "TABLE").filter(|_| is_new).into_iter().collect(), ..Verdict::harmless() }
        }
        ["CREATE", "EXTENSION" | "SCHEMA" | "TYPE" | "SEQUENCE" | "VIEW" | "FUNCTION" | "COLLATION" | "TEXT", ..] => Verdict::harmless(),
        ["COMMENT", "ON", ..] => Verdict::harmless(),
        ["DROP", kind @ ("TABLE" | "VIEW" | "COLUMN" | "SEQUENCE" | "TYPE" | "FUNCTION" | "SCHEMA" | "MATERIALIZED"), ..] => {
            let name = name_behind(words, &leading, kind).unwrap_or_else(|| kind.to_lowercase());
            let effect = (*kind == "TABLE").then(|| Effect::new(Lock::AccessExclusive, &name, Takes::Brief));
            Verdict {
                effects: effect.into_iter().collect(),
                ..Verdict::breaks(format!("The release that runs fails where it uses {name}, which goes."))
            }
        }
        ["TRUNCATE", ..] => {
            let name = name_behind(words, &leading, "TRUNCATE").unwrap_or_else(|| "a table".to_owned());
            let lost = format!("All rows of {name} are lost. Only a backup brings them back.");
            Verdict::breaks(lost).with(Effect::new(Lock::AccessExclusive, &name, Takes::Brief))
        }
        ["ALTER", "TABLE", ..] => alter_table(words, &leading),
        ["ALTER", "INDEX", ..] => Verdict::harmless(),
        ["REINDEX" | "CLUSTER" | "VACUUM", ..] => {
            let on = "each table that it names";
            Verdict::harmless().with(Effect::new(Lock::AccessExclusive, on, Takes::Rewrite))
        }
        _ => Verdict::unknown(format!("The statement that begins with \"{}\" is not known: read it.", beginning(words))),
    }
}

/// The first words, as they are written.
fn beginning(words: &[Word]) -> String {
    let shown: Vec<String> = words.iter().take(4).map(|word| word.written.chars().take(40).collect()).collect();
    shown.join(" ")
}

pub(super) fn in_transaction(what: &str) -> String {
    format!("It fails: {what} within a transaction. Write atomic = False into the migration.")
}

fn data(words: &[Word], leading: &[&str]) -> Verdict {
    let behind = ["INTO", "FROM", "UPDATE", "COPY"].into_iter().find_map(|keyword| name_behind(words, leading, keyword));
    let on = behind.unwrap_or_else(|| "the rows that it names".to_owned());
    Verdict::data(format!(
        "It runs {} on {on}: how long is not known. Rows that it writes are locked until it ends.",
        leading.first().unwrap_or(&"SQL")
    ))
}

fn create_index(words: &[Word], rest: &[&str], atomic: bool) -> Verdict {
    let leading = texts(words);
    let table = name_behind(words, &leading, "ON").unwrap_or_else(|| "its table".to_owned());
    let unique = leading.get(1) == Some(&"UNIQUE");
    let mut verdict = match rest.first() == Some(&"CONCURRENTLY") {
        true if atomic => return Verdict::fails(in_transaction("an index cannot be built concurrently")),
        true => Verdict::harmless().with(Effect::new(Lock::ShareUpdateExclusive, &table, Takes::Build)),
        false => Verdict::harmless().with(Effect::new(Lock::Share, &table, Takes::Build).instead(CONCURRENTLY)),
    };
    if unique {
        verdict.merge(Verdict::may_break(format!("Writes of the release that runs fail where they break the unique index on {table}.")));
    }
    verdict
}

/// The name behind a keyword, over words that are no name.
fn name_behind(words: &[Word], leading: &[&str], keyword: &str) -> Option<String> {
    place_behind(words, leading, keyword).and_then(|place| words.get(place)).map(|word| word.written.chars().take(80).collect())
}

/// The place of the name behind a keyword.
fn place_behind(words: &[Word], leading: &[&str], keyword: &str) -> Option<usize> {
    let start = leading.iter().position(|word| *word == keyword)? + 1;
    let fillers = ["IF", "NOT", "EXISTS", "ONLY", "TABLE", "CONCURRENTLY", "VIEW"];
    let place = start + leading.iter().skip(start).position(|leading| !fillers.contains(leading))?;
    words.get(place).is_some_and(|word| !["(", ")", ",", "'"].contains(&word.text.as_str())).then_some(place)
}

fn alter_table(words: &[Word], leading: &[&str]) -> Verdict {
    let (Some(table), Some(place)) = (name_behind(words, leading, "TABLE"), place_behind(words, leading, "TABLE")) else {
        return Verdict::unknown("It alters a table without a name: read it.".to_owned());
    };
    let mut all = Verdict::harmless();
    for action in actions(words.get(place + 1..).unwrap_or_default()) {
        all.merge(alter_action(action, &table));
    }
    all
}

/// The actions, which commas part that stand in no parentheses.
fn actions(words: &[Word]) -> Vec<&[Word]> {
    let mut depth = 0_usize;
    let mut is_comma = |word: &Word| {
        match word.text.as_str() {
            "(" => depth = depth.saturating_add(1),
            ")" => depth = depth.saturating_sub(1),
            "," if depth == 0 => return true,
            _ => {}
        }
        false
    };
    words.split(|word| is_comma(word)).collect()
}

fn alter_action(action: &[Word], table: &str) -> Verdict {
    let leading = texts(action);
    let has = |wanted: &[&str]| leading.windows(wanted.len()).any(|part| part == wanted);
    let locked = |takes| Verdict::harmless().with(Effect::new(Lock::AccessExclusive, table, takes));
    match leading.as_slice() {
        ["VALIDATE", "CONSTRAINT", ..] => Verdict::harmless().with(Effect::new(Lock::ShareUpdateExclusive, table, Takes::Scan)),
        ["ADD", "CONSTRAINT" | "UNIQUE" | "PRIMARY" | "FOREIGN" | "CHECK" | "EXCLUDE", ..] => add_constraint(&leading, table),
        ["ADD", ..] => add_column(action, &leading, table),
        ["DROP", "CONSTRAINT", ..] | ["RENAME", "CONSTRAINT", ..] => locked(Takes::Brief),
        ["DROP", ..] => locked(Takes::Brief).and(Verdict::breaks(format!(
            "The release that runs fails where it uses the column of {table} that goes. Its values are lost."
        ))),
        ["RENAME", ..] => {
            locked(Takes::Brief).and(Verdict::breaks(format!("The release that runs fails where it uses the old name in or of {table}.")))
        }
        ["ALTER", ..] if has(&["SET", "NOT", "NULL"]) => locked(Takes::Scan)
            .and(Verdict::may_break(format!("The release that runs fails where it writes no value into that column of {table}."))),
        ["ALTER", ..] if has(&["TYPE"]) => {
            locked(Takes::Rewrite).and(Verdict::may_break(format!("The release that runs meets another type in {table}.")))
        }
        ["ALTER", ..] if has(&["DROP", "DEFAULT"]) => locked(Takes::Brief)
            .and(Verdict::may_break(format!("The release that runs cannot insert into {table} where it counts on the default that goes."))),
        ["ALTER", ..] if has(&["SET", "DEFAULT"]) || has(&["DROP", "NOT", "NULL"]) => locked(Takes::Brief),
        ["ALTER", ..] if has(&["SET", "STATISTICS"]) => Verdict::harmless(),
        _ => locked(Takes::Unknown)
            .and(Verdict::unknown(format!("What ALTER TABLE {table} {} does is not known: read it.", beginning(action)))),
    }
}

fn add_constraint(leading: &[&str], table: &str) -> Verdict {
    let has = |word: &str| leading.contains(&word);
    let not_valid = leading.windows(2).any(|part| part == ["NOT", "VALID"]);
    let effect = match () {
        () if has("FOREIGN") && not_valid => Effect::new(Lock::ShareRowExclusive, table, Takes::Brief),
        () if has("FOREIGN") => {
            Effect::new(Lock::ShareRowExclusive, table, Takes::Scan).instead("NOT VALID now, VALIDATE CONSTRAINT in a later migration")
        }
        () if has("USING") || not_valid => Effect::new(Lock::AccessExclusive, table, Takes::Brief),
        () if has("CHECK") => {
            Effect::new(Lock::AccessExclusive, table, Takes::Scan).instead("NOT VALID now, VALIDATE CONSTRAINT in a later migration")
        }
        () => Effect::new(Lock::AccessExclusive, table, Takes::Build)
            .instead("CREATE UNIQUE INDEX CONCURRENTLY, then ADD CONSTRAINT … USING INDEX"),
    };
    Verdict::may_break(format!("Writes of the release that runs fail where they break the new constraint of {table}.")).with(effect)
}

fn add_column(action: &[Word], leading: &[&str], table: &str) -> Verdict {
    let has = |wanted: &[&str]| leading.windows(wanted.len()).any(|part| part == wanted);
    let default = leading.iter().position(|word| *word == "DEFAULT");
    // A function may give another value for each row, and then each row is written.
    let computed =
        default.is_some_and(|place| leading.get(place + 1..).is_some_and(|rest| rest.iter().skip(1).take(1).any(|word| *word == "(")));
    let serial = leading.iter().any(|word| ["SERIAL", "BIGSERIAL", "SMALLSERIAL", "IDENTITY", "STORED"].contains(word));
    let indexed = has(&["UNIQUE"]) || has(&["PRIMARY", "KEY"]);
    let takes = match () {
        () if computed || serial => Takes::Rewrite,
        () if indexed => Takes::Build,
        () if has(&["CHECK"]) || (has(&["REFERENCES"]) && default.is_some()) => Takes::Scan,
        () => Takes::Brief,
    };
    let verdict = Verdict::harmless().with(Effect::new(Lock::AccessExclusive, table, takes));
    if has(&["NOT", "NULL"]) && default.is_none() && !serial {
        let what = beginning(action);
        return verdict.and(Verdict::breaks(format!(
            "The release that runs cannot insert into {table}: \"{what} …\" is NOT NULL without a default."
        )));
    }
    verdict
}

impl Verdict {
    fn breaks(says: String) -> Self {
        Self { class: MigrationClass::Contract, old_release: OldRelease::Breaks, says: vec![says], ..Self::harmless() }
    }

    fn may_break(says: String) -> Self {
        Self { class: MigrationClass::Contract, old_release: OldRelease::MayBreak, says: vec![says], ..Self::harmless() }
    }
}
