//! `roadstead.toml`: what a team writes in the root of its repository, read with every mistake named at its place.
//!
//! Defaults are those of a plain Django project, which needs about ten lines. Unknown keys are mistakes: a typing error must not
//! become a default.

mod checks;
mod cursor;
mod mistakes;
mod sections;
mod services;
#[cfg(test)]
mod tests;
mod values;

pub use mistakes::{Mistake, Mistakes};

use roadstead_model::{VariableName, limits};
use std::collections::BTreeMap;
use std::path::Path;

use crate::spec::{AppSpec, RelativePath};
use cursor::Reader;

/// A project, as its `roadstead.toml` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// What travels in the manifest and what hosts run.
    pub spec: AppSpec,
    /// What only the builder needs.
    pub build: BuildSettings,
}

/// What only the builder needs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildSettings {
    /// Dependency files, relative to the app's root; looked for when empty.
    pub dependencies: Vec<RelativePath>,
    /// Packages beside those that the files name, as requirements (PEP 508).
    pub extra_packages: Vec<String>,
    /// Variables of commands that run while the release is built.
    pub environment: BTreeMap<VariableName, String>,
    /// Patterns of files to take; everything when empty.
    pub include: Vec<String>,
    /// Patterns of files to leave out.
    pub exclude: Vec<String>,
}

/// Reads the text of a `roadstead.toml`; `file` is its name in messages.
///
/// # Errors
/// All mistakes at once, in the order of their places.
pub fn read(file: &Path, text: &str) -> Result<Project, Mistakes> {
    if text.len() as u64 > limits::CONFIG_FILE_BYTES_MAX {
        let what = format!("the file has {} bytes, more than {} are not read", text.len(), limits::CONFIG_FILE_BYTES_MAX);
        return Err(Mistakes::one(file, what));
    }
    let table = match toml::de::DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => return Err(Mistakes::of_syntax(file, text, error.span().map_or(0, |span| span.start), error.message())),
    };
    let reader = Reader::default();
    let project = sections::project(&reader, &table);
    let mistakes = reader.into_mistakes();
    match project {
        Some(project) if mistakes.is_empty() => Ok(project),
        _ => Err(Mistakes::of(file, text, mistakes)),
    }
}
