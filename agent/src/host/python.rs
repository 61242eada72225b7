//! Python interpreters of the host, found by their names; none is run.

use roadstead_bundle::spec::PythonVersion;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// Interpreters that were found; folders searched are few and owned by the host's operator.
const FOUND_MAX: usize = 32;

/// An interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// Its version, by its name.
    pub(crate) version: PythonVersion,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// Every `pythonX.Y` of the host, system ones first.
pub(crate) fn find(root: &Path) -> Vec<Interpreter> {
    let mut folders: Vec<PathBuf> = ["usr/bin", "usr/local/bin"].iter().map(|folder| root.join(folder)).collect();
    // Whole Pythons below /opt (/opt/python3.12/bin) and those of pyenv (/opt/pyenv/versions/3.12.4/bin).
    for below in children(&root.join("opt")) {
        folders.push(below.join("bin"));
        folders.extend(children(&below.join("versions")).into_iter().map(|version| version.join("bin")));
    }
    let mut found: Vec<Interpreter> = Vec::new();
    for folder in folders {
        for path in children(&folder) {
            if let Some(version) = version_of(&path)
                && found.len() < FOUND_MAX
            {
                found.push(Interpreter { version, path });
            }
        }
    }
    found
}

/// The interpreter for a version, or what there is instead, in words.
pub(crate) fn choose(root: &Path, wanted: PythonVersion) -> Result<Interpreter, String> {
    let found = find(root);
    match found.iter().find(|interpreter| interpreter.version == wanted) {
        Some(interpreter) => Ok(interpreter.clone()),
        None if found.is_empty() => Err("no Python was found in /usr/bin, /usr/local/bin and /opt/*/bin".to_owned()),
        None => {
            let list: Vec<String> = found.iter().map(|i| format!("{} ({})", i.version, i.path.display())).collect();
            Err(format!("found {}", list.join(", ")))
        }
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut children: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    children.sort();
    children
}

fn version_of(path: &Path) -> Option<PythonVersion> {
    let name = path.file_name()?.to_str()?.strip_prefix("python")?;
    let version = PythonVersion::parse(name).ok().filter(|version| version.to_string() == name)?;
    let metadata = std::fs::metadata(path).ok()?;
    (metadata.is_file() && metadata.permissions().mode() & 0o111 != 0).then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interpreters_are_found_where_people_put_them() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str, mode| {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        make("usr/bin/python3.11", 0o755);
        make("usr/bin/python3.11-config", 0o755);
        make("usr/bin/python3", 0o755);
        make("opt/pyenv/versions/3.12.4/bin/python3.12", 0o755);
        make("opt/py/bin/python3.13", 0o644);
        let version = |text| PythonVersion::parse(text).unwrap();
        assert_eq!(choose(root.path(), version("3.11")).unwrap().path, root.path().join("usr/bin/python3.11"));
        assert!(choose(root.path(), version("3.12")).is_ok());
        let error = choose(root.path(), version("3.13")).unwrap_err();
        assert!(error.starts_with("found 3.11 (") && error.contains("3.12"), "{error}");
        assert!(choose(Path::new("/nowhere"), version("3.11")).unwrap_err().starts_with("no Python"));
    }
}
