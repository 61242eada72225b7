//! Small packages for tests, made here: no test needs an index or a network.

use std::fs;
use std::path::{Path, PathBuf};

use super::cache::{Cache, Work};
use super::python::{Python, find};
use super::run::{Run, on_path};
use super::toolbox::Toolbox;

const WHEEL: &str = r#"
import hashlib, json, os, sys, time, zipfile
job = json.load(sys.stdin)
name, version = job["name"], job["version"]
info = f"{name}-{version}.dist-info"
files = dict(job["files"])
files[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n" + "".join(f"Requires-Dist: {r}\n" for r in job["requires"])
files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
if job["scripts"]:
    files[f"{info}/entry_points.txt"] = "[console_scripts]\n" + job["scripts"] + "\n"
files[f"{info}/RECORD"] = "".join(f"{p},,\n" for p in files) + f"{info}/RECORD,,\n"
with zipfile.ZipFile(os.path.join(job["folder"], f"{name}-{version}-py3-none-any.whl"), "w") as archive:
    for path, text in files.items():
        archive.writestr(path, text)
"#;

/// A package to be.
#[derive(Debug, Default)]
pub(crate) struct Wheel<'a> {
    /// Name, as in file names.
    pub(crate) name: &'a str,
    /// Version.
    pub(crate) version: &'a str,
    /// Requirement lines.
    pub(crate) requires: &'a [&'a str],
    /// Paths and contents.
    pub(crate) files: &'a [(&'a str, &'a str)],
    /// Lines of console scripts.
    pub(crate) scripts: &'a str,
}

impl Wheel<'_> {
    /// Writes the wheel into a folder.
    pub(crate) fn write(&self, folder: &Path) {
        let job = serde_json::json!({
            "name": self.name, "version": self.version, "requires": self.requires, "scripts": self.scripts, "folder": folder,
            "files": self.files.iter().map(|(path, text)| [path, text]).collect::<Vec<_>>(),
        });
        Run::new(python().executable).args(["-I", "-c", WHEEL]).input(job.to_string()).expect("cannot make a wheel").unwrap();
    }
}

/// The machine's Python.
pub(crate) fn python() -> Python {
    let program = on_path(&["python3"]).into_iter().next().expect("the tests need a python3 on PATH");
    let version = Python::probe(Path::new(&program)).and_then(|python| python.version()).expect("a Python that runs");
    find(version, None).unwrap()
}

/// A project folder with a cache of its own and an index of local wheels.
#[derive(Debug)]
pub(crate) struct Project {
    folder: tempfile::TempDir,
    /// Its cache.
    pub(crate) cache: Cache,
}

impl Project {
    /// An empty project.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::at(folder.path().join("cache")).unwrap();
        // One toolbox serves all tests of a run: making it is the slow part.
        let shared = std::env::temp_dir().join(format!("roadstead-test-toolbox-{}", nix::unistd::geteuid()));
        fs::create_dir_all(&shared).unwrap();
        std::os::unix::fs::symlink(&shared, folder.path().join("cache/toolbox")).unwrap();
        fs::create_dir_all(folder.path().join("app")).unwrap();
        fs::create_dir_all(folder.path().join("wheels")).unwrap();
        Self { folder, cache }
    }

    /// The app's root.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("app").canonicalize().unwrap()
    }

    /// Where its wheels lie.
    pub(crate) fn wheels(&self) -> PathBuf {
        self.folder.path().join("wheels")
    }

    /// Writes a file of the app; `INDEX` in it becomes the options that lead pip to the local wheels alone.
    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let index = format!("--no-index\n--find-links {}", self.wheels().display());
        fs::write(path, text.replace("INDEX", &index)).unwrap();
    }

    /// A work folder.
    pub(crate) fn work(&self) -> Work {
        self.cache.work().unwrap()
    }

    /// The toolbox.
    pub(crate) fn toolbox(&self, work: &Work) -> Toolbox {
        Toolbox::open(&self.cache, work, &python()).unwrap()
    }
}
