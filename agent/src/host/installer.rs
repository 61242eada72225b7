//! What a host can install wheels with: uv, or the pip that every whole Python brings along.

use std::path::{Path, PathBuf};

use super::python::Interpreter;

/// Where an operator puts uv so that every user can run it.
const UV_PLACES: [&str; 2] = ["usr/local/bin/uv", "usr/bin/uv"];
/// Where Debian keeps the wheels of `ensurepip`.
const DEBIAN_WHEELS: &str = "usr/share/python-wheels";

/// A program that installs wheels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Installer {
    /// uv.
    Uv(PathBuf),
    /// A wheel of pip, which runs as it lies.
    Pip(PathBuf),
}

impl Installer {
    /// Its name for people.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Uv(_) => "uv",
            Self::Pip(_) => "pip",
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Uv(path) | Self::Pip(path) => path,
        }
    }
}

/// The installer for an interpreter: uv when it is there, else pip.
pub(crate) fn find(root: &Path, interpreter: &Interpreter) -> Option<Installer> {
    let uv = UV_PLACES.iter().map(|place| root.join(place)).find(|path| path.is_file());
    uv.map(Installer::Uv).or_else(|| pip(root, interpreter).map(Installer::Pip))
}

fn pip(root: &Path, interpreter: &Interpreter) -> Option<PathBuf> {
    // A link in /usr/local/bin may lead to a Python of /opt: its library lies beside the program itself.
    let program = std::fs::canonicalize(&interpreter.path).unwrap_or_else(|_| interpreter.path.clone());
    let prefix = program.parent().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
    let bundled = prefix.join(format!("lib/python{}/ensurepip/_bundled", interpreter.version));
    [bundled, root.join(DEBIAN_WHEELS)].iter().find_map(|folder| {
        let entries = std::fs::read_dir(folder).ok()?;
        let mut wheels: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(|path| is_pip(path)).collect();
        wheels.sort();
        wheels.pop()
    })
}

fn is_pip(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("pip-") && name.ends_with(".whl"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_bundle::spec::PythonVersion;

    #[test]
    fn uv_comes_first_then_the_pip_of_the_interpreter_then_debians() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let make = |path: &str| {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, "").unwrap();
            path
        };
        let interpreter = Interpreter { version: PythonVersion { major: 3, minor: 12 }, path: make("opt/python3.12/bin/python3.12") };
        assert_eq!(find(&root, &interpreter), None);
        let debian = make("usr/share/python-wheels/pip-23.0.1-py3-none-any.whl");
        assert_eq!(find(&root, &interpreter), Some(Installer::Pip(debian)));
        make("opt/python3.12/lib/python3.12/ensurepip/_bundled/setuptools-65-py3-none-any.whl");
        let own = make("opt/python3.12/lib/python3.12/ensurepip/_bundled/pip-24.0-py3-none-any.whl");
        assert_eq!(find(&root, &interpreter), Some(Installer::Pip(own)));
        let uv = make("usr/local/bin/uv");
        assert_eq!(find(&root, &interpreter), Some(Installer::Uv(uv)));
    }
}
