//! The Python that a release is built for: found among what is installed, asked what it is, or refused with what was found.

use roadstead_bundle::spec::PythonVersion;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::run::{Run, on_path};
use crate::failure::{Failure, Kind, Result};

/// A Python interpreter: the program itself, no shim and no virtual environment.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Python {
    /// The program.
    pub(crate) executable: PathBuf,
    /// Its full version, such as `3.11.7`.
    pub(crate) full: String,
    /// Such as `x86_64`.
    pub(crate) architecture: String,
    /// Such as `glibc-2.36`.
    pub(crate) libc: String,
    /// Such as `cpython-311`.
    pub(crate) tag: String,
}

const PROBE: &str = "
import json, os, platform, sys
name, release = platform.libc_ver()
print(json.dumps({
    'executable': os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable),
    'full': platform.python_version(),
    'architecture': platform.machine(),
    'libc': '-'.join(filter(None, [name or 'unknown', release])),
    'tag': sys.implementation.cache_tag,
}))
";

impl Python {
    /// Asks a program what it is. `None` when it is no Python that runs.
    pub(crate) fn probe(program: &Path) -> Option<Self> {
        let ran = Run::clean(program, &["PYENV_"]).args(["-I", "-c", PROBE]).output().ok().filter(|ran| ran.success)?;
        serde_json::from_str(ran.stdout.trim()).ok()
    }

    /// Major and minor.
    pub(crate) fn version(&self) -> Option<PythonVersion> {
        PythonVersion::parse(&self.full).ok()
    }

    /// What decides whether something installed by one interpreter serves another: version, architecture and C library.
    pub(crate) fn key(&self) -> String {
        format!("{}-{}-{}-{}", self.tag, self.full, self.architecture, self.libc)
    }
}

/// Finds an interpreter of the wanted version; `named` is one that the user insists on.
pub(crate) fn find(wanted: PythonVersion, named: Option<&Path>) -> Result<Python> {
    if let Some(program) = named {
        return match Python::probe(program) {
            Some(python) if python.version() == Some(wanted) => Ok(python),
            Some(python) => Err(Failure::usage(format!("{} is Python {}, and the app wants {wanted}", program.display(), python.full))
                .hint("name another interpreter, or change `python` in roadstead.toml")),
            None => Err(Failure::usage(format!("{} is no Python that runs", program.display()))),
        };
    }
    let mut found = Vec::new();
    for program in candidates(wanted) {
        match Python::probe(&program) {
            Some(python) if python.version() == Some(wanted) => return Ok(python),
            Some(python) => found.push(python),
            None => {}
        }
    }
    Err(missing(wanted, &found))
}

/// Some Python, to choose wheels with for one that is not there: the first on PATH.
pub(crate) fn any() -> Option<Python> {
    let programs = on_path(&["python3", "python"]);
    programs.into_iter().filter_map(|program| Python::probe(Path::new(&program))).find(|python| python.version().is_some())
}

fn missing(wanted: PythonVersion, found: &[Python]) -> Failure {
    let found: BTreeSet<String> = found.iter().map(|python| format!("{} ({})", python.full, python.executable.display())).collect();
    let list = if found.is_empty() { "no Python at all".to_owned() } else { found.into_iter().collect::<Vec<_>>().join(", ") };
    Failure::new(Kind::Failed, format!("there is no Python {wanted} on this machine")).cause(format!("found: {list}")).hint(format!(
        "install it (`apt install python{wanted} python{wanted}-venv`, `uv python install {wanted}` or `pyenv install {wanted}`), \
         name it with --python, or change `python` in roadstead.toml"
    ))
}

/// Where an interpreter of this version may be, best first: PATH, then the usual places of pyenv, uv, asdf and hand-made ones.
fn candidates(wanted: PythonVersion) -> Vec<PathBuf> {
    let exact = format!("python{wanted}");
    let mut all: Vec<PathBuf> = on_path(&[&exact, "python3", "python"]).into_iter().map(PathBuf::from).collect();
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let below = |parts: &str| home.as_ref().map(|home| home.join(parts));
    let mut parents = vec![PathBuf::from("/opt"), PathBuf::from("/usr/local")];
    parents.extend(std::env::var_os("PYENV_ROOT").map(|root| PathBuf::from(root).join("versions")));
    parents.extend(
        [".pyenv/versions", ".local/share/uv/python", ".asdf/installs/python", ".local/share/mise/installs/python"]
            .into_iter()
            .filter_map(below),
    );
    parents.extend(std::env::var_os("UV_PYTHON_INSTALL_DIR").map(PathBuf::from));
    for parent in parents {
        let mut folders: Vec<PathBuf> = std::fs::read_dir(&parent).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        folders.sort();
        folders.insert(0, parent);
        // The newest patch release of a version is the last by name, near enough: any of them will do.
        all.extend(folders.iter().rev().map(|folder| folder.join("bin").join(&exact)).filter(|file| file.is_file()));
    }
    let mut seen = BTreeSet::new();
    all.retain(|program| seen.insert(program.clone()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any() -> Python {
        let program = on_path(&["python3"]).into_iter().next().expect("the tests need a python3 on PATH");
        Python::probe(Path::new(&program)).unwrap()
    }

    #[test]
    fn the_program_itself_is_found_behind_a_shim() {
        let python = any();
        let found = find(python.version().unwrap(), None).unwrap();
        assert!(found.executable.is_absolute() && !found.executable.to_string_lossy().contains("shims"), "{found:?}");
        assert!(!found.architecture.is_empty() && found.libc.contains('-'), "{found:?}");
        assert_eq!(Python::probe(&found.executable).unwrap(), found, "asked directly, it says the same");
    }

    #[test]
    fn what_was_found_is_named_when_nothing_fits() {
        let failure = find(PythonVersion { major: 3, minor: 40 }, None).unwrap_err();
        assert!(failure.causes[0].contains(&any().full), "{failure}");
        assert!(failure.hint.unwrap().contains("apt install python3.40"));
    }

    #[test]
    fn a_named_interpreter_must_fit() {
        let python = any();
        let other = PythonVersion { major: 3, minor: 40 };
        assert_eq!(find(other, Some(&python.executable)).unwrap_err().kind, Kind::Usage);
        assert_eq!(find(other, Some(Path::new("/bin/true"))).unwrap_err().kind, Kind::Usage);
        assert!(find(python.version().unwrap(), Some(&python.executable)).is_ok());
    }
}
