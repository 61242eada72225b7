//! What a migration is to the release that runs, and what it locks: from facts alone. What is not known is said to be unknown, and never
//! taken to be harmless.

use roadstead_model::outlook::{MigrationClass, OldRelease};
use std::collections::{BTreeMap, BTreeSet};

use super::facts::{Field, FieldDefault, Migration, MigrationFacts, Operation};
use super::locks::{Lock, Takes, is_coercible};
use super::statements::{in_transaction, verdicts};

/// Sentences that are told of one migration; others are counted.
const NOTES_MAX: usize = 20;
const IN_PARTS: &str = "a new column, filled in parts, and a release that reads it";
const CONCURRENTLY: &str = "AddIndexConcurrently, in a migration with atomic = False";
const NOT_VALID: &str = "AddConstraintNotValid, and ValidateConstraint in a later migration";
const KEY_NOT_VALID: &str = "RunSQL with NOT VALID, and with VALIDATE CONSTRAINT in a later migration";

/// What is to be known of a migration before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// What it is to the release that runs.
    pub class: MigrationClass,
    /// Whether that release works with the database as the migration leaves it.
    pub old_release: OldRelease,
    /// `migrate` can take it back.
    pub reversible: bool,
    /// What it locks, breaks and loses, in short sentences: all for people.
    pub notes: Vec<String>,
}

/// Judges migrations in the order in which they run: a table that an earlier one made is used by nobody yet.
#[derive(Debug)]
pub struct Judge {
    locks_are_known: bool,
    /// Migrations that others stand for, with the name of that one.
    replaced: BTreeMap<String, String>,
    fresh: BTreeSet<String>,
}

/// A lock of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Effect {
    lock: Lock,
    on: String,
    takes: Takes,
    instead: Option<&'static str>,
}

/// What is found of one operation or statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) class: MigrationClass,
    pub(super) old_release: OldRelease,
    pub(super) effects: Vec<Effect>,
    /// Further sentences.
    pub(super) says: Vec<String>,
    /// Tables that it makes.
    pub(super) makes: Vec<String>,
}

impl Effect {
    pub(super) fn new(lock: Lock, on: &str, takes: Takes) -> Self {
        Self { lock, on: on.to_owned(), takes, instead: None }
    }

    /// What to do instead.
    pub(super) fn instead(mut self, what: &'static str) -> Self {
        self.instead = Some(what);
        self
    }

    fn sentence(&self) -> String {
        let Self { lock, on, takes, instead } = self;
        let instead = instead.map(|what| format!(" Instead: {what}.")).unwrap_or_default();
        format!("{on} is locked ({}) {}: {}.{instead}", lock.name(), takes.words(), lock.waits())
    }
}

impl Verdict {
    /// Nobody notices.
    pub(super) fn harmless() -> Self {
        let (effects, says, makes) = (Vec::new(), Vec::new(), Vec::new());
        Self { class: MigrationClass::Expand, old_release: OldRelease::Works, effects, says, makes }
    }

    /// Nobody knows.
    pub(super) fn unknown(says: String) -> Self {
        Self { class: MigrationClass::Unknown, old_release: OldRelease::MayBreak, says: vec![says], ..Self::harmless() }
    }

    /// Rows change.
    pub(super) fn data(says: String) -> Self {
        Self { class: MigrationClass::Data, says: vec![says], ..Self::harmless() }
    }

    /// The database refuses it: nothing of the migration comes to be.
    pub(super) fn fails(says: String) -> Self {
        Self { class: MigrationClass::Unknown, says: vec![says], ..Self::harmless() }
    }

    fn contract(old_release: OldRelease, says: String) -> Self {
        Self { class: MigrationClass::Contract, old_release, says: vec![says], ..Self::harmless() }
    }

    pub(super) fn with(mut self, effect: Effect) -> Self {
        self.effects.push(effect);
        self
    }

    /// Takes in what else is found: the worse of each counts.
    pub(super) fn merge(&mut self, other: Self) {
        self.class = self.class.max(other.class);
        self.old_release = self.old_release.max(other.old_release);
        self.effects.extend(other.effects);
        self.says.extend(other.says);
        self.makes.extend(other.makes);
    }
}

impl Judge {
    /// A judge of these facts. Locks are told of PostgreSQL alone.
    #[must_use]
    pub fn new(facts: &MigrationFacts) -> Self {
        let stands_for = |one: &Migration| one.replaces.iter().map(|name| (name.clone(), one.name.clone())).collect::<Vec<_>>();
        Self {
            locks_are_known: facts.engine == "postgresql" || facts.engine.is_empty(),
            replaced: facts.migrations.iter().flat_map(stands_for).collect(),
            fresh: BTreeSet::new(),
        }
    }

    /// What the next migration is.
    pub fn judge(&mut self, migration: &Migration) -> Judgement {
        let mut all = Verdict::harmless();
        for operation in &migration.operations {
            let found = self.operation(operation, migration.atomic);
            all.merge(found);
        }
        if !migration.replaces.is_empty() {
            // Where the database has what it stands for, it makes nothing.
            self.fresh.retain(|table| !all.makes.contains(table));
        }
        let mut notes = Vec::new();
        if let Some(by) = self.replaced.get(&migration.name) {
            notes.push(format!("{by} stands for it: it runs only where the database has some of those that {by} stands for."));
        }
        if !migration.replaces.is_empty() {
            let count = migration.replaces.len();
            notes.push(format!("It stands for {count} older ones: where the database has all of these, nothing of it runs."));
        }
        let lasting: Vec<&Operation> = migration.operations.iter().filter(|operation| !operation.reversible).collect();
        if let Some(first) = lasting.first() {
            all.class = MigrationClass::Irreversible;
            notes.push(format!("migrate cannot take it back: \"{}\" has no reverse.", first.about));
        }
        let transaction = (migration.atomic && migration.operations.len() > 1).then(|| kept_until_its_end(&all)).flatten();
        notes.append(&mut all.says);
        if self.locks_are_known {
            notes.extend(sentences(all.effects));
            notes.extend(transaction);
        }
        if migration.assumes {
            notes.push("Its SQL was made without a database: names of constraints in it are those that Django gives.".to_owned());
        }
        let mut seen = BTreeSet::new();
        notes.retain(|note| seen.insert(note.clone()));
        if let Some(more) = notes.len().checked_sub(NOTES_MAX).filter(|more| *more > 0) {
            notes.truncate(NOTES_MAX);
            notes.push(format!("And {more} notes more: read its SQL."));
        }
        Judgement { class: all.class, old_release: all.old_release, reversible: lasting.is_empty(), notes }
    }

    /// What an operation does, but to tables that nobody uses yet.
    fn operation(&mut self, operation: &Operation, atomic: bool) -> Verdict {
        if operation.state_only {
            return Verdict::harmless();
        }
        let is_fresh = operation.table.as_ref().is_some_and(|table| self.fresh.contains(table));
        let mut found = verdict(operation, atomic);
        let renames = matches!(operation.kind.as_str(), "RenameModel" | "AlterModelTable");
        if is_fresh && found.class == MigrationClass::Contract {
            found = Verdict { class: MigrationClass::Expand, old_release: OldRelease::Works, says: Vec::new(), ..found };
            self.fresh.extend(operation.to.clone().filter(|_| renames));
        }
        self.fresh.extend(found.makes.iter().cloned());
        found.effects.retain(|effect| !self.fresh.contains(&effect.on));
        found
    }
}

/// The strongest and longest lock of each table comes first, each sentence once.
fn sentences(mut effects: Vec<Effect>) -> Vec<String> {
    effects.sort_by(|a, b| (b.takes, b.lock, &a.on).cmp(&(a.takes, a.lock, &b.on)));
    // A brief lock says nothing where the same one is held for longer.
    let lasting: BTreeSet<(Lock, String)> =
        effects.iter().filter(|effect| effect.takes > Takes::Brief).map(|effect| (effect.lock, effect.on.clone())).collect();
    let told = effects.iter().filter(|effect| effect.takes > Takes::Brief || !lasting.contains(&(effect.lock, effect.on.clone())));
    told.map(Effect::sentence).collect()
}

/// In a transaction even a brief lock lasts as long as all that comes with it.
fn kept_until_its_end(all: &Verdict) -> Option<String> {
    let locks = all.effects.iter().filter(|effect| effect.lock >= Lock::Share).count();
    let long = all.effects.iter().filter(|effect| effect.takes > Takes::Brief).count();
    let works =
        matches!(all.class, MigrationClass::Data | MigrationClass::Unknown) || all.says.iter().any(|says| says.contains("how long"));
    let lasts = (locks > 0 && works) || (locks > 1 && long > 0);
    lasts.then(|| "It is one transaction: every lock is kept until its end. Instead: a migration for each.".to_owned())
}

fn verdict(operation: &Operation, atomic: bool) -> Verdict {
    let table = operation.table.as_deref().unwrap_or("a table");
    let exclusive = |takes| Verdict::harmless().with(Effect::new(Lock::AccessExclusive, table, takes));
    match operation.kind.as_str() {
        "CreateModel" => create_model(operation, table),
        "DeleteModel" => {
            let says = format!(
                "The release that runs fails where it uses {table}, which goes. Its rows are lost: only a backup brings them back."
            );
            exclusive(Takes::Brief).and(Verdict::contract(OldRelease::Breaks, says))
        }
        "RenameModel" | "AlterModelTable" => rename_table(operation, table),
        "AddField" => operation.after.as_ref().map_or_else(|| unknown(operation), |field| add_field(field, table, atomic)),
        "RemoveField" => operation.before.as_ref().map_or_else(|| unknown(operation), |field| remove_field(field, table)),
        "RenameField" => rename_field(operation, table),
        "AlterField" => match (&operation.before, &operation.after) {
            (Some(before), Some(after)) => alter_field(operation, before, after, table),
            _ => unknown(operation),
        },
        "AlterUniqueTogether" | "AlterIndexTogether" => together(operation, table),
        "AlterOrderWithRespectTo" => exclusive(Takes::Brief).and(Verdict::contract(
            OldRelease::MayBreak,
            format!("The column _order of {table} comes or goes: a release without it cannot insert into it, or fails where it reads it."),
        )),
        "AddIndex" => Verdict::harmless().with(Effect::new(Lock::Share, table, Takes::Build).instead(CONCURRENTLY)),
        "AddIndexConcurrently" if atomic => Verdict::fails(in_transaction("an index cannot be built concurrently")),
        "RemoveIndexConcurrently" if atomic => Verdict::fails(in_transaction("an index cannot be dropped concurrently")),
        "AddIndexConcurrently" => Verdict::harmless().with(Effect::new(Lock::ShareUpdateExclusive, table, Takes::Build)),
        "RemoveIndexConcurrently" | "RenameIndex" => Verdict::harmless(),
        "RemoveIndex" | "RemoveConstraint" => exclusive(Takes::Brief),
        "AddConstraint" | "AddConstraintNotValid" => constraint(operation, table),
        "ValidateConstraint" => Verdict::harmless().with(Effect::new(Lock::ShareUpdateExclusive, table, Takes::Scan)),
        "AlterModelOptions" | "AlterModelManagers" | "AlterModelTableComment" | "AlterConstraint" | "CreateCollation" => {
            Verdict::harmless()
        }
        "CreateExtension" | "BloomExtension" | "BtreeGinExtension" | "BtreeGistExtension" | "CITextExtension" | "CryptoExtension"
        | "HStoreExtension" | "TrigramExtension" | "UnaccentExtension" => {
            let name = operation.name.as_deref().unwrap_or(&operation.kind);
            let says = format!("Where the database lacks the extension {name}, its user must be allowed to make it.");
            Verdict { says: vec![says], ..Verdict::harmless() }
        }
        "RunPython" => {
            let name = operation.name.as_deref().unwrap_or("code");
            Verdict::data(format!("It runs {name}: how long is not known. Rows that it writes are locked until it ends."))
        }
        "RunSQL" => run_sql(operation, atomic),
        _ => unknown(operation),
    }
}

fn unknown(operation: &Operation) -> Verdict {
    let Operation { kind, about, .. } = operation;
    Verdict::unknown(format!("What {kind} does is not known (\"{about}\"): read its code."))
}

impl Verdict {
    /// Both.
    pub(super) fn and(mut self, other: Self) -> Self {
        self.merge(other);
        self
    }
}

fn create_model(operation: &Operation, table: &str) -> Verdict {
    let refers = operation.references.iter().map(|other| Effect::new(Lock::ShareRowExclusive, other, Takes::Brief));
    let makes = std::iter::once(table.to_owned()).chain(operation.tables.iter().cloned());
    Verdict { effects: refers.collect(), makes: makes.collect(), ..Verdict::harmless() }
}

fn rename_table(operation: &Operation, table: &str) -> Verdict {
    let Some(to) = operation.to.as_deref().filter(|to| *to != table) else { return Verdict::harmless() };
    let says = format!("The release that runs fails where it uses {table}, which becomes {to}. Instead: keep the name by db_table.");
    Verdict::contract(OldRelease::Breaks, says).with(Effect::new(Lock::AccessExclusive, table, Takes::Brief))
}

fn add_field(field: &Field, table: &str, atomic: bool) -> Verdict {
    if field.many_to_many {
        return Verdict { makes: field.through.clone().filter(|_| field.own_through).into_iter().collect(), ..Verdict::harmless() };
    }
    let takes = match () {
        () if field.generated => Takes::Rewrite,
        // Django makes the index in the same transaction, which has the table already.
        () if field.unique || (field.indexed && atomic) => Takes::Build,
        () if field.check || (field.references.is_some() && field.default != FieldDefault::None) => Takes::Scan,
        () => Takes::Brief,
    };
    let mut found = Verdict::harmless().with(Effect::new(Lock::AccessExclusive, table, takes));
    if field.indexed && !atomic {
        found.effects.push(Effect::new(Lock::Share, table, Takes::Build).instead(CONCURRENTLY));
    }
    found.effects.extend(field.references.as_ref().map(|other| Effect::new(Lock::ShareRowExclusive, other, Takes::Brief)));
    if !field.null && !field.db_default && !field.generated {
        let column = &field.column;
        let says = format!(
            "The release that runs cannot insert into {table}: {column} is NOT NULL, and Django leaves no default in the database. \
             Instead: db_default, or null=True until all hosts have the new release."
        );
        found.merge(Verdict::contract(OldRelease::Breaks, says));
        if field.unique && field.default != FieldDefault::None {
            found.says.push(format!("It fails where {table} has more than one row: all get the same value, and {column} is to be unique."));
        }
    }
    found
}

fn remove_field(field: &Field, table: &str) -> Verdict {
    let Field { column, many_to_many, through, own_through, .. } = field;
    if *many_to_many && !own_through {
        return Verdict::harmless();
    }
    let what = match through {
        Some(through) if *many_to_many => through.clone(),
        _ => format!("{table}.{column}"),
    };
    let on = if *many_to_many { what.as_str() } else { table };
    let says = format!(
        "The release that runs fails where it uses {what}, which goes. Its values are lost: only a backup brings them back. \
         Instead: take it out of the code in one release, and out of the database in the next."
    );
    Verdict::contract(OldRelease::Breaks, says).with(Effect::new(Lock::AccessExclusive, on, Takes::Brief))
}

fn rename_field(operation: &Operation, table: &str) -> Verdict {
    let (Some(before), Some(to)) = (&operation.before, &operation.to) else { return unknown(operation) };
    let column = &before.column;
    if column == to && !before.many_to_many {
        return Verdict::harmless();
    }
    let says =
        format!("The release that runs fails where it uses {table}.{column}, which becomes {to}. Instead: keep the name by db_column.");
    Verdict::contract(OldRelease::Breaks, says).with(Effect::new(Lock::AccessExclusive, table, Takes::Brief))
}

fn alter_field(operation: &Operation, before: &Field, after: &Field, table: &str) -> Verdict {
    if before.many_to_many || after.many_to_many {
        return if before == after { Verdict::harmless() } else { unknown(operation) };
    }
    let exclusive = |takes| Effect::new(Lock::AccessExclusive, table, takes);
    let mut found = Verdict::harmless();
    let column = &before.column;
    if *column != after.column {
        let says = format!("The release that runs fails where it uses {table}.{column}, which becomes {}.", after.column);
        found.merge(Verdict::contract(OldRelease::Breaks, says).with(exclusive(Takes::Brief)));
    }
    found.merge(alter_type(before, after, table));
    if before.null && !after.null {
        let says = format!("The release that runs fails where it writes no value into {table}.{column}.");
        found.merge(
            Verdict::contract(OldRelease::MayBreak, says)
                .with(exclusive(Takes::Scan).instead("a check that it IS NOT NULL, NOT VALID first")),
        );
        if after.default != FieldDefault::None {
            found.says.push(format!("It first writes the default into every row of {table} that has no {column}: how long is not known."));
        }
    }
    let defaults = before.db_default != after.db_default || operation.db_default_changes;
    if (!before.null && after.null) || defaults {
        found.effects.push(exclusive(Takes::Brief));
    }
    if before.db_default && !after.db_default && !after.null {
        let says = format!("The release that runs cannot insert into {table} where it counts on the default of {column}, which goes.");
        found.merge(Verdict::contract(OldRelease::MayBreak, says));
    }
    if !before.unique && after.unique {
        let says = format!("The release that runs fails where it writes a value of {table}.{column} twice.");
        let effect = exclusive(Takes::Build).instead("a unique index that is built concurrently first");
        found.merge(Verdict::contract(OldRelease::MayBreak, says).with(effect));
    }
    if !before.indexed && after.indexed {
        found.effects.push(Effect::new(Lock::Share, table, Takes::Build).instead(CONCURRENTLY));
    }
    if !before.check && after.check {
        let says = format!("The release that runs fails where it writes a negative value into {table}.{column}.");
        found.merge(Verdict::contract(OldRelease::MayBreak, says).with(exclusive(Takes::Scan)));
    }
    let goes = (before.unique && !after.unique) || (before.indexed && !after.indexed) || (before.check && !after.check);
    if goes {
        found.effects.push(exclusive(Takes::Brief));
    }
    found
}

/// What becomes of the column's type, and of the table that it refers to.
fn alter_type(before: &Field, after: &Field, table: &str) -> Verdict {
    let column = &before.column;
    let exclusive = |takes| Effect::new(Lock::AccessExclusive, table, takes);
    let refers = |found: Verdict| match &after.references {
        Some(other) => found.with(Effect::new(Lock::ShareRowExclusive, table, Takes::Scan).instead(KEY_NOT_VALID)).with(Effect::new(
            Lock::ShareRowExclusive,
            other,
            Takes::Scan,
        )),
        None => found.with(exclusive(Takes::Brief)),
    };
    if before.generated != after.generated {
        return Verdict::unknown(format!("What becomes of {table}.{column} is not known: one of both is computed by the database."));
    }
    match (&before.kind, &after.kind) {
        (Some(old), Some(new)) if old == new => Verdict::harmless(),
        (Some(old), Some(new)) if is_coercible(old, new) => Verdict::harmless().with(exclusive(Takes::Brief)),
        (Some(old), Some(new)) => {
            let says = format!("The release that runs meets {new} in {table}.{column}, where it knows {old}.");
            Verdict::contract(OldRelease::MayBreak, says).with(exclusive(Takes::Rewrite).instead(IN_PARTS))
        }
        // Django drops the constraint and makes it again where anything of the field changes.
        (None, None) if before.references == after.references && after.references.is_some() => match before == after {
            true => Verdict::harmless(),
            false => refers(Verdict::harmless()),
        },
        _ => {
            let says = format!("The type of {table}.{column} may change: which it has follows another table, or is not known.");
            refers(Verdict::contract(OldRelease::MayBreak, says).with(exclusive(Takes::Rewrite)))
        }
    }
}

fn together(operation: &Operation, table: &str) -> Verdict {
    let unique = operation.kind == "AlterUniqueTogether";
    let mut found = Verdict::harmless();
    if operation.adds && unique {
        let says = format!("Writes of the release that runs fail where they break the new constraint of {table}.");
        found.merge(Verdict::contract(OldRelease::MayBreak, says).with(Effect::new(Lock::AccessExclusive, table, Takes::Build)));
    } else if operation.adds {
        found.effects.push(Effect::new(Lock::Share, table, Takes::Build).instead(CONCURRENTLY));
    }
    if operation.removes {
        found.effects.push(Effect::new(Lock::AccessExclusive, table, Takes::Brief));
    }
    found
}

fn constraint(operation: &Operation, table: &str) -> Verdict {
    let not_valid = operation.kind == "AddConstraintNotValid";
    let name = operation.name.as_deref().unwrap_or("a constraint");
    let effect = match operation.constraint.as_deref() {
        Some("check") if not_valid => Effect::new(Lock::AccessExclusive, table, Takes::Brief),
        Some("check") => Effect::new(Lock::AccessExclusive, table, Takes::Scan).instead(NOT_VALID),
        Some("unique") if operation.as_index => Effect::new(Lock::Share, table, Takes::Build),
        Some("unique") => {
            Effect::new(Lock::AccessExclusive, table, Takes::Build).instead("a unique index that is built concurrently first")
        }
        Some("exclusion") => Effect::new(Lock::AccessExclusive, table, Takes::Build),
        _ => Effect::new(Lock::AccessExclusive, table, Takes::Unknown),
    };
    let says = format!("Writes of the release that runs fail where they break {name} of {table}.");
    Verdict::contract(OldRelease::MayBreak, says).with(effect)
}

fn run_sql(operation: &Operation, atomic: bool) -> Verdict {
    let mut all = Verdict::harmless();
    verdicts(operation.sql.as_deref().unwrap_or_default(), atomic).into_iter().for_each(|found| all.merge(found));
    if operation.sql_cut {
        all.merge(Verdict::unknown("Its SQL is too long to be read whole: what the rest does is not known.".to_owned()));
    }
    all
}
