//! `roadstead.toml`: what a team writes in the root of its repository, read with every mistake named at its place.
//!
//! Defaults are those of a plain Django project, which needs about ten lines. Unknown keys are mistakes: a typing error must not
//! become a default.

mod checks;
mod cursor;
mod jobs;
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
    /// Extras of the project (`[project.optional-dependencies]`).
    pub extras: Vec<String>,
    /// Dependency groups (`[dependency-groups]`, Poetry's groups).
    pub groups: Vec<String>,
    /// In which form packages go into the release.
    pub ship: Ship,
    /// Variables of commands that run while the release is built.
    pub environment: BTreeMap<VariableName, String>,
    /// Commands that make files of the release, before static files are collected.
    pub before_collectstatic: Vec<Vec<String>>,
    /// Commands that work on the collected static files.
    pub after_collectstatic: Vec<Vec<String>>,
    /// Nobody said where static files are collected: at build where the settings allow it, else on the hosts.
    pub collect_anywhere: bool,
    /// Patterns of files to take; everything when empty.
    pub include: Vec<String>,
    /// Patterns of files to leave out.
    pub exclude: Vec<String>,
}

/// In which form packages go into a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Ship {
    /// Installed where the machine that builds has the app's Python, as wheels where it has not.
    #[default]
    Auto,
    /// As a tree that hosts link: the least work for them.
    Installed,
    /// As wheels that each host installs.
    Wheels,
    /// In both forms: a host that cannot use the tree (an older C library, another architecture) installs the wheels.
    Both,
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
