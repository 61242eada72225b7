//! The admin's desk: a folder of its own, and the `roadstead` command as a user runs it.

use super::Result;
use super::packages::Profile;
use crate::lab::{Execution, Host, LabError, Network};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A place from which an admin works: outside all hosts, on the lab's network.
#[derive(Debug)]
pub struct Desk {
    network: Network,
    folder: tempfile::TempDir,
    program: PathBuf,
    controller: String,
}

impl Desk {
    pub(super) fn new(network: Network, profile: Profile, controller: &Host) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(LabError::io("make", "a folder for the admin"))?;
        Ok(Self { network, folder, program: profile.program("roadstead"), controller: format!("{}:7443", controller.ip()) })
    }

    /// Another admin's desk, who is nobody yet.
    pub fn another(&self) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(LabError::io("make", "a folder for the admin"))?;
        Ok(Self { network: self.network.clone(), folder, program: self.program.clone(), controller: self.controller.clone() })
    }

    /// The desk of another admin, who is logged in.
    pub fn of_admin(&self, name: &str) -> Result<Self> {
        let other = self.another()?;
        let token = self.json(&["admin", "token", name])?;
        let token = other.write("token", token["token"].as_str().unwrap_or_default())?;
        other.roadstead(&["login", "--controller", other.controller(), "--token-file", &token])?;
        Ok(other)
    }

    /// Where the controller is, `HOST:PORT`.
    pub fn controller(&self) -> &str {
        &self.controller
    }

    /// Its place in the network.
    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The `roadstead` program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Leaves the folder there when the desk is dropped.
    pub fn keep(&mut self) {
        self.folder.disable_cleanup(true);
    }

    /// Writes a file that only its owner reads, and returns its path.
    pub fn write(&self, name: &str, text: &str) -> Result<String> {
        let path = self.folder.path().join(name);
        let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        made.and_then(|mut file| file.write_all(text.as_bytes())).map_err(LabError::io("write", &path))?;
        Ok(path.display().to_string())
    }

    /// Runs the command and returns what it printed; anything but success is an error that shows what it said.
    pub fn roadstead(&self, words: &[&str]) -> Result<String> {
        self.try_roadstead(words)?.checked("desk", &format!("roadstead {}", words.join(" ")))
    }

    /// Runs the command and returns how it ended.
    pub fn try_roadstead(&self, words: &[&str]) -> Result<Execution> {
        let program = self.program.display().to_string();
        self.run(&[&[program.as_str()], words].concat())
    }

    /// The lines of this kind in the controller's history: to what, and the text.
    pub fn history(&self, kind: &str) -> Result<Vec<(String, String)>> {
        let lines = self.json(&["history", "--limit", "1000000"])?;
        let text = |line: &serde_json::Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
        let of_kind = lines.as_array().into_iter().flatten().filter(|line| line["kind"] == kind);
        Ok(of_kind.map(|line| (text(line, "subject"), text(line, "text"))).collect())
    }

    /// How many hosts the controller hears.
    pub fn connected(&self) -> Result<usize> {
        let hosts = self.json(&["host", "list"])?;
        Ok(hosts.as_array().into_iter().flatten().filter(|host| host["state"] == "connected").count())
    }

    /// Runs the command on this machine, outside of the lab's network: where releases are built, a package index can be reached.
    pub fn roadstead_outside(&self, words: &[&str]) -> Result<Execution> {
        let output = self.command(&self.program).args(words).stdin(Stdio::null()).output();
        Ok(Execution::of(&output.map_err(LabError::io("start", &self.program))?))
    }

    /// Runs the command and reads the JSON that it printed.
    pub fn json(&self, words: &[&str]) -> Result<serde_json::Value> {
        let text = self.roadstead(&[words, &["--output", "json"]].concat())?;
        serde_json::from_str(&text).map_err(|source| LabError::State { path: words.join(" ").into(), source })
    }

    /// Begins the command and returns at once.
    pub fn begin(&self, words: &[&str]) -> Result<Child> {
        let mut command = self.command(&self.program);
        command.args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        self.network.enter(|| command.spawn().map_err(LabError::io("start", &self.program)))?
    }

    /// Runs a program of this machine's at the desk.
    pub fn run(&self, words: &[&str]) -> Result<Execution> {
        let [program, arguments @ ..] = words else { return Err(LabError::Thread) };
        let mut command = self.command(Path::new(program));
        command.args(arguments).stdin(Stdio::null());
        let output = self.network.enter(|| command.output().map_err(LabError::io("start", *program)))??;
        Ok(Execution::of(&output))
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("ROADSTEAD_CONFIG_DIR", self.folder.path().join("config")).env("TZ", "UTC").current_dir(self.folder.path());
        command
    }
}
