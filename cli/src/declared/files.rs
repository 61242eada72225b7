//! The files that declare environments: all of them are read before anything is sent, and every mistake is told at once.

use roadstead_model::{EnvironmentSpec, limits};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::failure::{self, Failure, Result};
use crate::remote::environment_file;

/// An environment, and the file that says what it is.
#[derive(Debug)]
pub(crate) struct Declared {
    /// The file.
    pub(crate) file: PathBuf,
    /// What it says.
    pub(crate) spec: EnvironmentSpec,
}

/// Reads files, and the files of folders.
///
/// # Errors
/// One failure with every mistake of every file; an environment that two files declare is one.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<Declared>> {
    let (mut all, mut mistakes) = (Vec::<Declared>::new(), Vec::new());
    let mut seen = BTreeMap::new();
    for file in files(paths, &mut mistakes) {
        let spec = match environment_file::read(&file) {
            Ok(spec) => spec,
            Err(error) => {
                mistakes.push(error.to_string());
                continue;
            }
        };
        if let Some(other) = seen.insert((spec.name.clone(), spec.app.clone()), file.clone()) {
            mistakes.push(format!("{} and {} both say what {} of {} is", other.display(), file.display(), spec.name, spec.app));
        }
        all.push(Declared { file, spec });
    }
    if mistakes.is_empty() { Ok(all) } else { Err(mistaken(&mistakes)) }
}

/// The failure that a list of mistakes amounts to.
pub(super) fn mistaken(mistakes: &[String]) -> Failure {
    Failure::usage(mistakes.join("\n")).hint("nothing was changed: see docs/configuration.md")
}

/// The files that are meant, those of a folder by name.
fn files(paths: &[PathBuf], mistakes: &mut Vec<String>) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match inside(path) {
            Ok(inside) if inside.is_empty() => mistakes.push(format!("{} holds no *.toml", path.display())),
            Ok(mut inside) => files.append(&mut inside),
            Err(failure) => mistakes.push([vec![failure.summary], failure.causes].concat().join(": ")),
        }
    }
    if files.len() > limits::ENVIRONMENT_FILES_MAX {
        mistakes.push(format!("{} files are more than the {} that may be applied together", files.len(), limits::ENVIRONMENT_FILES_MAX));
        files.clear();
    }
    files
}

fn inside(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error| failure::file("list", folder, &error);
    let mut inside = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        if file.extension().is_some_and(|extension| extension == "toml") && file.is_file() {
            inside.push(file);
        }
    }
    inside.sort();
    Ok(inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[environment]\nname = \"staging\"\napp = \"erp\"\n";

    fn write(folder: &Path, name: &str, text: &str) {
        std::fs::write(folder.join(name), text).unwrap();
    }

    #[test]
    fn a_folder_is_all_its_files_in_order() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "b.toml", &GOOD.replace("staging", "production"));
        write(folder.path(), "a.toml", GOOD);
        write(folder.path(), "README", "no environment");
        let names: Vec<String> = read_all(&[folder.path().to_owned()]).unwrap().iter().map(|one| one.spec.name.to_string()).collect();
        assert_eq!(names, ["staging", "production"]);
        write(folder.path(), "c.toml", &GOOD.replace("erp", "shop"));
        assert_eq!(read_all(&[folder.path().to_owned()]).unwrap().len(), 3, "an environment's name may be used once for each app");
    }

    #[test]
    fn every_mistake_of_every_file_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.toml", GOOD);
        write(folder.path(), "b.toml", &format!("{GOOD}[strategy]\nbathc = 1\n"));
        write(folder.path(), "c.toml", GOOD);
        write(folder.path(), "d.toml", "");
        write(folder.path(), "e.toml", &"#".repeat(300_000));
        write(folder.path(), "f.toml", "\u{0}");
        std::fs::write(folder.path().join("g.toml"), [0xff, 0xfe]).unwrap();
        let empty = folder.path().join("empty");
        std::fs::create_dir(&empty).unwrap();
        let failure = read_all(&[empty, folder.path().to_owned(), folder.path().join("missing.toml")]).unwrap_err();
        assert_eq!(failure.kind.code(), 2);
        insta::assert_snapshot!(failure.to_string().replace(&folder.path().display().to_string(), "env"));
    }

    #[test]
    fn a_file_without_an_end_is_not_read_to_its_end() {
        let failure = read_all(&["/dev/zero".into()]).unwrap_err();
        assert!(failure.summary.contains("at most"), "{failure}");
    }

    #[test]
    fn more_files_than_anybody_has_are_refused() {
        let paths = vec![PathBuf::from("missing.toml"); limits::ENVIRONMENT_FILES_MAX + 1];
        assert!(read_all(&paths).unwrap_err().summary.starts_with("1001 files are more than the 1000"));
    }
}
