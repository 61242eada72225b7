//! The facts as they travel: one JSON document with a format of its own.
//!
//! Format versions (a reader refuses a higher number than it knows, and skips fields that it does not):
//! - 1: first.

use roadstead_model::limits;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The newest format of the facts that this code reads, and the one that it writes.
pub const FACTS_FORMAT: u32 = 1;

/// What the migrations of a release do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationFacts {
    /// See [`FACTS_FORMAT`].
    pub format: u32,
    /// Django's version.
    #[serde(default)]
    pub django: String,
    /// The database engine that the SQL is for, in Django's word: `postgresql`, `sqlite`, `mysql`. Empty where none could be loaded.
    #[serde(default)]
    pub engine: String,
    /// The settings named no engine when the release was built: PostgreSQL was assumed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub assumed: bool,
    /// Why there is SQL of no migration at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_sql: Option<String>,
    /// The migrations in the order in which an empty database gets them; behind them those that others replace.
    #[serde(default)]
    pub migrations: Vec<Migration>,
}

/// A migration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Migration {
    /// Its name, as `app_label.name`.
    pub name: String,
    /// Migrations that it stands for: where a database has all of these, nothing of it runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replaces: Vec<String>,
    /// It runs in one transaction.
    pub atomic: bool,
    /// What it does, in its order.
    pub operations: Vec<Operation>,
    /// What `sqlmigrate` prints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// Bytes that the SQL has in all, where its end was cut off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql_bytes: Option<u64>,
    /// Why there is no SQL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub without_sql: Option<String>,
    /// The database would have been asked for something, such as names of constraints: these are as Django gives them.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub assumes: bool,
}

/// One operation of a migration. Which fields there are depends on its kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Operation {
    /// Django's class, such as `AddField`; of any other class its whole name, which has dots.
    pub kind: String,
    /// What it says of itself.
    pub about: String,
    /// `migrate` can take it back.
    pub reversible: bool,
    /// It changes what Django knows, and nothing in the database.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub state_only: bool,
    /// The table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// Further tables that it makes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// Tables that a new table refers to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub references: Vec<String>,
    /// The new name of the table or column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    /// The field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// The field as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Field>,
    /// The field as it will be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Field>,
    /// Its default in the database becomes another one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub db_default_changes: bool,
    /// The name of an index, a constraint, an extension or a function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The kind of constraint: `check`, `unique`, `exclusion`, `other`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub constraint: Option<String>,
    /// The constraint is made as an index: it has a condition or expressions.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub as_index: bool,
    /// Sets of columns come that are to be unique or indexed together.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub adds: bool,
    /// Such sets go.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub removes: bool,
    /// The SQL of `RunSQL`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
    /// Its end was cut off.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sql_cut: bool,
    /// `atomic` of `RunPython`, where it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub atomic: Option<bool>,
}

/// A field as far as the database sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Field {
    /// Its column.
    pub column: String,
    /// The column's type; absent where it follows another table or is not known.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// It may be NULL.
    pub null: bool,
    /// The default that Django gives when it writes.
    pub default: FieldDefault,
    /// The database has a default of its own.
    pub db_default: bool,
    /// No two rows have the same.
    pub unique: bool,
    /// It has an index that is not that of `unique`.
    pub indexed: bool,
    /// Its type comes with a CHECK.
    pub check: bool,
    /// The database computes it.
    pub generated: bool,
    /// The table that it refers to by a constraint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub references: Option<String>,
    /// It is a table of its own, and no column.
    pub many_to_many: bool,
    /// That table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// That table is made and dropped with the field.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub own_through: bool,
}

/// The default that Django gives a field when it writes a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldDefault {
    /// None.
    #[default]
    None,
    /// The same each time.
    Constant,
    /// The project computes it.
    Computed,
}

/// Why bytes are not the facts of migrations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidFacts {
    /// Larger than any may be.
    #[error("what a release says of its migrations has {0} bytes: more than {max} are not taken", max = limits::MIGRATION_FACTS_BYTES_MAX)]
    TooLarge(u64),
    /// Written by a newer Roadstead.
    #[error(
        "what the release says of its migrations has format {0}, this version of Roadstead reads up to {FACTS_FORMAT}: upgrade it first"
    )]
    Newer(u32),
    /// Not their JSON.
    #[error("what the release says of its migrations cannot be read: {0}")]
    Unreadable(String),
    /// Too many.
    #[error("the release tells of {0} migrations: more than {max} are not taken", max = limits::MIGRATIONS_MAX)]
    TooMany(usize),
    /// One of them stands there twice.
    #[error("the release tells twice of the migration {0:?}")]
    Twice(String),
}

impl MigrationFacts {
    /// Reads encoded facts.
    ///
    /// # Errors
    /// [`InvalidFacts`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidFacts> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let length = bytes.len() as u64;
        if length > limits::MIGRATION_FACTS_BYTES_MAX {
            return Err(InvalidFacts::TooLarge(length));
        }
        let unreadable = |error: serde_json::Error| InvalidFacts::Unreadable(error.to_string());
        let Format { format } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if format > FACTS_FORMAT {
            return Err(InvalidFacts::Newer(format));
        }
        let facts: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        if facts.migrations.len() > limits::MIGRATIONS_MAX {
            return Err(InvalidFacts::TooMany(facts.migrations.len()));
        }
        let mut seen = BTreeSet::new();
        match facts.migrations.iter().find(|migration| !seen.insert(&migration.name)) {
            Some(twice) => Err(InvalidFacts::Twice(twice.name.chars().take(80).collect())),
            None => Ok(facts),
        }
    }

    /// The encoded facts.
    ///
    /// # Errors
    /// [`InvalidFacts`] where no reader would take them.
    pub fn encode(&self) -> Result<Vec<u8>, InvalidFacts> {
        let bytes = serde_json::to_vec(self).map_err(|error| InvalidFacts::Unreadable(error.to_string()))?;
        Self::decode(&bytes).map(|_| bytes)
    }

    /// What they say of a migration.
    #[must_use]
    pub fn migration(&self, name: &str) -> Option<&Migration> {
        self.migrations.iter().find(|migration| migration.name == name)
    }
}
