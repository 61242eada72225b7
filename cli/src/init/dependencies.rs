//! Which dependency files a project has, and what they name.

use super::files::Files;

/// The dependency files of a project.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dependencies {
    /// The file to name in `roadstead.toml`.
    pub(super) file: Option<String>,
    /// Lower-case words of all that it names, for a look whether a package is among them.
    words: String,
}

/// Locks first, then what is most likely meant for servers.
const PREFERRED: [&str; 13] = [
    "uv.lock",
    "poetry.lock",
    "requirements.lock",
    "requirements/production.txt",
    "requirements/prod.txt",
    "requirements-prod.txt",
    "requirements-production.txt",
    "requirements/production.in",
    "requirements.txt",
    "requirements/base.txt",
    "requirements/common.txt",
    "requirements/requirements.txt",
    "pyproject.toml",
];

impl Dependencies {
    /// Looks in these folders (each empty or with a trailing `/`), in order.
    pub(super) fn look(files: &Files, folders: &[&str]) -> Self {
        let candidates = folders.iter().flat_map(|folder| PREFERRED.iter().map(move |name| format!("{folder}{name}")));
        let file = candidates.into_iter().find(|path| files.has(path) && lists_something(files, path));
        let mut words = String::new();
        if let Some(file) = &file {
            let folder = super::files::folder_of(file);
            let beside = files.paths().filter(|path| {
                path.starts_with(folder)
                    && (path.ends_with(".txt") || path.ends_with(".in") || *path == file || path.ends_with("pyproject.toml"))
            });
            for text in beside
                .filter(|path| path.ends_with(".txt") || path.ends_with(".in") || path.ends_with(".lock") || path.ends_with(".toml"))
                .filter_map(|path| files.text(path))
            {
                words.push_str(&text.to_lowercase());
                words.push('\n');
            }
        }
        Self { file, words }
    }

    /// Whether a package is named, as a word of its own.
    pub(super) fn name(&self, package: &str) -> bool {
        let edge = |c: Option<char>| !c.is_some_and(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '.');
        let mut places = self.words.match_indices(package);
        places.any(|(at, _)| edge(self.words[..at].chars().next_back()) && edge(self.words[at + package.len()..].chars().next()))
    }
}

/// A `pyproject.toml` may hold nothing but settings of tools.
fn lists_something(files: &Files, path: &str) -> bool {
    if !path.ends_with("pyproject.toml") {
        return true;
    }
    let table: Option<toml::Table> = files.text(path).and_then(|text| text.parse().ok());
    table.is_some_and(|table| {
        table.contains_key("dependency-groups") || table.get("project").is_some_and(|project| project.get("dependencies").is_some())
    })
}
