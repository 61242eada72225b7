//! The packages that hosts are made from.

use super::Result;
use crate::lab::{LabError, workspace};
use nix::fcntl::{Flock, FlockArg};
use std::path::{Path, PathBuf};
use std::process::Command;

/// How the programs are built: quickly, or as they are shipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// What tests use.
    Dev,
    /// What users get: the demo and measurements.
    Ship,
}

impl Profile {
    /// Its name for Cargo.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "dev",
            Self::Ship => "ship",
        }
    }

    fn folder(self) -> PathBuf {
        target().join(match self {
            Self::Dev => "debug",
            Self::Ship => "ship",
        })
    }

    /// A program that was built.
    pub fn program(self, name: &str) -> PathBuf {
        self.folder().join(name)
    }
}

/// The files of the packages.
#[derive(Debug, Clone)]
pub struct Packages {
    /// `roadstead`, the command.
    pub command: PathBuf,
    /// `roadstead-controller`.
    pub controller: PathBuf,
    /// `roadstead-agent`.
    pub agent: PathBuf,
}

/// Cargo's folder for what it builds.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// One process at a time past this point, for what all tests share. Held until the value is dropped.
pub(super) fn lock(name: &str) -> Result<Flock<std::fs::File>> {
    let path = target().join(format!("{name}.lock"));
    let file = std::fs::File::create(&path).map_err(LabError::io("make", &path))?;
    Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, source)| LabError::System { what: "lock a file", source })
}

/// The same package with another version, in a folder.
pub fn repacked(package: &Path, version: &str, folder: &Path) -> Result<PathBuf> {
    let tree = folder.join(version);
    std::fs::create_dir_all(folder).map_err(LabError::io("make", folder))?;
    let run = |command: &mut Command| {
        let words = format!("{command:?}");
        let done = command.output().map_err(LabError::io("start", "dpkg-deb"))?;
        crate::lab::Execution::of(&done).checked("machine", &words)
    };
    run(Command::new("dpkg-deb").arg("--raw-extract").arg(package).arg(&tree))?;
    let control = tree.join("DEBIAN/control");
    let text = std::fs::read_to_string(&control).map_err(LabError::io("read", &control))?;
    let line = |line: &str| if line.starts_with("Version: ") { format!("Version: {version}\n") } else { format!("{line}\n") };
    std::fs::write(&control, text.lines().map(line).collect::<String>()).map_err(LabError::io("write", &control))?;
    let made = folder.join(format!("newer_{version}_all.deb"));
    run(Command::new("dpkg-deb").args(["--root-owner-group", "-Znone", "--build"]).arg(&tree).arg(&made))?;
    Ok(made)
}

/// The packages of the programs as they are in the source now.
pub fn packages(profile: Profile) -> Result<Packages> {
    let _one_at_a_time = lock("packages")?;
    let mut build = Command::new(workspace().join("packaging/build-debs"));
    build.env("PROFILE", profile.name());
    // What Cargo tells a test of its own crate is no news for another Cargo: it would build anew whatever looked at one of them.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|begin| name.starts_with(begin))) {
            build.env_remove(name);
        }
    }
    let built = build.output().map_err(LabError::io("start", "packaging/build-debs"))?;
    let folder = crate::lab::Execution::of(&built).checked("machine", "packaging/build-debs")?;
    let folder = PathBuf::from(folder.trim());
    let named = |package: &str| -> Result<PathBuf> {
        let entries = std::fs::read_dir(&folder).map_err(LabError::io("read", &folder))?;
        let mut paths = entries.filter_map(|entry| entry.ok().map(|entry| entry.path()));
        let begins = format!("{package}_");
        let found = paths.find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begins)));
        found.ok_or_else(|| LabError::NoPackage { package: package.to_owned(), folder: folder.clone() })
    };
    Ok(Packages { command: named("roadstead")?, controller: named("roadstead-controller")?, agent: named("roadstead-agent")? })
}
