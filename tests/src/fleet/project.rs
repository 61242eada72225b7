//! An app whose releases a story makes as it goes: a folder of sources becomes a git repository, and what the story changes
//! in it becomes versions.

use super::{Fleet, Result};
use crate::lab::{Execution, LabError, workspace};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// An app of a story's own, in a repository of its own.
#[derive(Debug)]
pub struct Project {
    name: String,
    folder: tempfile::TempDir,
}

impl Project {
    /// A repository with the sources below `tests/apps`, not committed yet.
    pub fn new(name: &str) -> Result<Self> {
        Self::named(name, name)
    }

    /// The same, as an app of another name.
    pub fn named(sources: &str, name: &str) -> Result<Self> {
        let project = Self::empty(name)?;
        let sources = workspace().join("tests/apps").join(sources);
        run(Command::new("cp").arg("-RT").arg(&sources).arg(project.repository()))?;
        Ok(project)
    }

    /// A repository with the ERP as it is at a version.
    pub fn of_erp(fleet: &Fleet, version: &str) -> Result<Self> {
        let project = Self::empty("erp")?;
        let tag = format!("v{version}");
        let archive = Command::new("git").arg("-C").arg(fleet.erp.repository()).args(["archive", &tag]).output();
        let path = project.repository().join(".tar");
        fs::write(&path, archive.map_err(LabError::io("start", "git"))?.stdout).map_err(LabError::io("write", &path))?;
        run(Command::new("tar").arg("-C").arg(project.repository()).arg("-xf").arg(&path))?;
        fs::remove_file(&path).map_err(LabError::io("remove", &path))?;
        Ok(project)
    }

    /// Leaves the ERP its web service alone: what a story does not look at need not start.
    pub fn web_alone(&self) -> Result<()> {
        let path = self.repository().join("roadstead.toml");
        let text = fs::read_to_string(&path).map_err(LabError::io("read", &path))?;
        let no_text = |text: &str| LabError::NoText { path: path.clone(), text: text.to_owned() };
        let (before, rest) = text.split_once("[services.worker]").ok_or_else(|| no_text("[services.worker]"))?;
        let (_, behind) = rest.split_once("[[checks.health]]").ok_or_else(|| no_text("[[checks.health]]"))?;
        self.write("roadstead.toml", &format!("{before}[[checks.health]]{behind}"))
    }

    fn empty(name: &str) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(LabError::io("make", "a folder for a repository"))?;
        let project = Self { name: name.to_owned(), folder };
        fs::create_dir(project.repository()).map_err(LabError::io("make", project.repository()))?;
        project.git(&["init", "-q", "-b", "main"])?;
        Ok(project)
    }

    /// The app's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The repository's folder.
    pub fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// Writes a file of the sources, with its folders.
    pub fn write(&self, path: &str, text: &str) -> Result<()> {
        let path = self.repository().join(path);
        let folder = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, text)).map_err(LabError::io("write", &path))
    }

    /// Changes a file of the sources; a text that is not there is a mistake of the story's.
    pub fn edit(&self, path: &str, from: &str, to: &str) -> Result<()> {
        let place = self.repository().join(path);
        let text = fs::read_to_string(&place).map_err(LabError::io("read", &place))?;
        if !text.contains(from) {
            return Err(LabError::NoText { path: place, text: from.to_owned() });
        }
        self.write(path, &text.replace(from, to))
    }

    /// Commits the sources as they are as a version, builds and signs its bundle, and hands it to the controller.
    pub fn release(&self, fleet: &Fleet, version: &str) -> Result<()> {
        let bundle = self.bundle(fleet, version)?;
        fleet.desk.roadstead(&["push", &bundle]).map(drop)
    }

    /// The same, but for the controller: the path of the bundle.
    pub fn bundle(&self, fleet: &Fleet, version: &str) -> Result<String> {
        let tag = format!("v{version}");
        self.write("VERSION", &format!("{version}\n"))?;
        self.git(&["add", "-A"])?;
        self.git(&["commit", "-q", "--allow-empty", "-m", version])?;
        self.git(&["tag", "-a", &tag, "-m", version])?;
        let out = self.folder.path().join(format!("{version}.bundle")).display().to_string();
        // on the machine itself: the lab's network does not reach the package index
        let mut build = Command::new(fleet.desk.program());
        build.args(["build", "--commit", &tag, "--key", &fleet.erp.key(), "--out", &out]).arg(self.repository());
        run(&mut build)?;
        Ok(out)
    }

    fn git(&self, words: &[&str]) -> Result<()> {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.repository()).args(["-c", "user.name=Team", "-c", "user.email=team@example.com"]).args(words);
        run(git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1"))
    }
}

impl Fleet {
    /// Makes the fleet's hosts take releases of another app: an environment `staging` of it, and its variables on each host.
    pub fn welcome(&self, project: &Project, environment: &str, variables: &str) -> Result<()> {
        let app = project.name();
        for host in &self.hosts {
            let path = format!("/etc/roadstead/apps/{app}.env");
            host.write(&path, variables)?;
            host.exec(&["chmod", "600", &path])?;
        }
        self.apply_for(app, environment)
    }

    /// Makes the environment `staging` of an app what the text says: its `hosts`, then tables.
    pub fn apply_for(&self, app: &str, environment: &str) -> Result<()> {
        let text = format!("[environment]\nname = \"staging\"\napp = \"{app}\"\n{environment}\n");
        let file = self.desk.write(&format!("staging-{app}.toml"), &text)?;
        self.desk.roadstead(&["apply", "-f", &file]).map(drop)
    }
}

fn run(command: &mut Command) -> Result<()> {
    let words = format!("{command:?}");
    let output = command.output().map_err(LabError::io("start", command.get_program()))?;
    Execution::of(&output).checked("machine", &words).map(drop)
}
