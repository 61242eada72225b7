//! An app of one file, built on the fly, that misbehaves as a story wants.

use super::Result;
use super::erp::{Erp, run};
use super::packages::Profile;
use crate::lab::LabError;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// What a good version says in `roadstead.toml`.
const SPEC: &str = "\
[app]
name = \"tiny\"
python = \"3.11\"

[dependencies]
files = [\"requirements.txt\"]

[services.web]
kind = \"gunicorn\"
app = \"app:application\"
workers = 1
start-timeout = \"10s\"
stop-timeout = \"5s\"
";

/// What a good version is asked.
const CHECK: &str = "\
[[checks.health]]
service = \"web\"
path = \"/healthz\"
contains = \"fine\"
timeout = \"2s\"
within = \"10s\"
";

/// What a good version answers.
const APP: &str = "\
import os

def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain'), ('X-Release', os.environ['ROADSTEAD_VERSION'])])
    return [b'fine']
";

/// A git repository of the app, and where its bundles go.
#[derive(Debug)]
pub struct Tiny {
    folder: tempfile::TempDir,
    program: PathBuf,
    key: String,
}

/// How a version differs from a good one.
#[derive(Debug, Default)]
pub struct Twist<'a> {
    /// Added to the table of the web service.
    pub service: &'a str,
    /// Instead of the good health check.
    pub check: Option<&'a str>,
    /// Added to `roadstead.toml`.
    pub spec: &'a str,
    /// Instead of the good `app.py`.
    pub app: Option<&'a str>,
    /// Further files.
    pub files: &'a [(&'a str, &'a str)],
}

impl Tiny {
    /// A repository without a commit yet, whose releases are signed with the ERP's key.
    pub fn new(profile: Profile, erp: &Erp) -> Result<Self> {
        Self::signed(profile, &erp.key())
    }

    /// A repository without a commit yet, whose releases are signed with a key.
    pub fn signed(profile: Profile, key: &str) -> Result<Self> {
        let folder = tempfile::tempdir().map_err(LabError::io("make", "a folder for an app"))?;
        let this = Self { folder, program: profile.program("roadstead"), key: key.to_owned() };
        fs::create_dir(this.repository()).map_err(LabError::io("make", this.repository()))?;
        this.git(&["init", "-q", "-b", "main", "."])?;
        Ok(this)
    }

    /// Commits, tags and builds a version; returns the path of its bundle.
    pub fn build(&self, version: &str, twist: &Twist<'_>) -> Result<String> {
        let spec = format!("{SPEC}{}\n{}\n{}", twist.service, twist.check.unwrap_or(CHECK), twist.spec);
        let own = [("roadstead.toml", spec.as_str()), ("requirements.txt", "gunicorn==23.0.0\n"), ("app.py", twist.app.unwrap_or(APP))];
        for (name, text) in own.iter().chain(twist.files) {
            let path = self.repository().join(name);
            fs::write(&path, text).map_err(LabError::io("write", &path))?;
        }
        self.git(&["add", "--all"])?;
        self.git(&["commit", "-q", "--allow-empty", "-m", version])?;
        self.git(&["tag", "-a", &format!("v{version}"), "-m", version])?;
        let bundle = self.folder.path().join(format!("tiny-{version}.bundle"));
        let mut build = Command::new(&self.program);
        run(build.args(["build", "--key", &self.key, "--out"]).arg(&bundle).arg(self.repository()))?;
        Ok(bundle.display().to_string())
    }

    fn repository(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    fn git(&self, words: &[&str]) -> Result<String> {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.repository()).args(["-c", "user.name=Tiny Team", "-c", "user.email=tiny@example.com"]);
        run(git.args(words))
    }
}
