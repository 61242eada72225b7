//! The files of a project, as far as they matter for a look at it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const FILES_MAX: usize = 20_000;
const DEPTH_MAX: usize = 8;
const TEXT_BYTES_MAX: u64 = 512 * 1024;
/// Folders that hold other people's code or nothing of interest.
const SKIPPED: [&str; 12] = [
    "node_modules",
    "__pycache__",
    "site-packages",
    "venv",
    "env",
    "virtualenv",
    "dist",
    "build",
    "htmlcov",
    "static",
    "staticfiles",
    "media",
];

/// Paths (with `/`) relative to the project, and the text of those that are worth reading.
#[derive(Debug, Default)]
pub(super) struct Files {
    texts: BTreeMap<String, String>,
    paths: Vec<String>,
}

impl Files {
    /// Reads a folder.
    pub(super) fn read(folder: &Path) -> Self {
        let mut files = Self::default();
        files.walk(folder, "", 0);
        files.paths.sort_by_key(|path| (path.matches('/').count(), path.clone()));
        files
    }

    /// Files from a table, for tests.
    #[cfg(test)]
    pub(super) fn of(files: &[(&str, &str)]) -> Self {
        let texts: BTreeMap<_, _> = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let mut paths: Vec<String> = texts.keys().cloned().collect();
        paths.sort_by_key(|path| (path.matches('/').count(), path.clone()));
        Self { texts, paths }
    }

    fn walk(&mut self, folder: &Path, prefix: &str, depth: usize) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let (Ok(name), Ok(kind)) = (entry.file_name().into_string(), entry.file_type()) else { continue };
            if self.paths.len() >= FILES_MAX {
                return;
            }
            let path = format!("{prefix}{name}");
            if kind.is_dir() {
                let foreign = name.starts_with('.') || SKIPPED.contains(&name.as_str()) || entry.path().join("pyvenv.cfg").exists();
                if !foreign && depth < DEPTH_MAX {
                    self.walk(&entry.path(), &format!("{path}/"), depth + 1);
                }
            } else if kind.is_file() {
                self.paths.push(path.clone());
                let known = [".py", ".txt", ".toml", ".lock", ".in", ".python-version", "runtime.txt", "Pipfile"]
                    .iter()
                    .any(|end| path.ends_with(end));
                let small = entry
                    .metadata()
                    .is_ok_and(|data| data.len() <= if path.ends_with(".lock") { 16 * TEXT_BYTES_MAX } else { TEXT_BYTES_MAX });
                if let Some(text) = (known && small).then(|| fs::read(entry.path()).ok()).flatten() {
                    self.texts.insert(path, String::from_utf8_lossy(&text).replace('\0', ""));
                }
            }
        }
    }

    /// Whether there is such a file.
    pub(super) fn has(&self, path: &str) -> bool {
        self.paths.iter().any(|known| known == path)
    }

    /// The text of a file.
    pub(super) fn text(&self, path: &str) -> Option<&str> {
        self.texts.get(path).map(String::as_str)
    }

    /// All paths, those nearest to the top first.
    pub(super) fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(String::as_str)
    }

    /// Paths with this file name, those nearest to the top first.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.paths().filter(move |path| path.rsplit('/').next() == Some(name))
    }

    /// All texts of Python files.
    pub(super) fn modules(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().filter(|(path, _)| path.ends_with(".py")).map(|(path, text)| (path.as_str(), text.as_str()))
    }
}

/// The folder part of a path: empty for the top, else with a trailing `/`.
pub(super) fn folder_of(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..=at])
}
