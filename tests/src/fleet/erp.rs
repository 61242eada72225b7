//! The ERP's releases, built once for all stories from a git history made on the fly, and signed with a key of their own.

use super::Result;
use super::packages::{Profile, lock, target};
use crate::lab::{Execution, LabError, workspace};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The password of the ERP's database in a lab that nobody else reaches.
pub const PASSWORD: &str = "only-in-the-lab";

/// nginx in front of the web service's socket, as a team writes it once.
pub const SITE: &str = "\
upstream erp { server unix:/run/roadstead/erp/web.sock; keepalive 8; }
server {
    listen 80;
    location /static/ { alias /srv/roadstead/erp/static/; expires 1y; }
    location / {
        proxy_pass http://erp;
        proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-Proto $scheme;
    }
}
";

/// The app's key, which is nobody else's business.
pub(super) const KEY: &str = "a-key-that-only-this-lab-knows-0123456789";

/// What an admin writes into `/etc/roadstead/apps/erp.env`.
pub fn secrets(data: &str) -> String {
    format!("SECRET_KEY={KEY}\nDATABASE_URL=postgres://erp:{PASSWORD}@{data}:5432/erp\nREDIS_URL=redis://{data}:6379/0\n")
}

/// The versions of the ERP as bundles.
#[derive(Debug, Clone)]
pub struct Erp {
    folder: PathBuf,
    /// The `release-keys.toml` that trusts the key of these bundles.
    pub trust: String,
}

impl Erp {
    /// Every version that the history knows: good, better, does not start, starts and fails.
    pub const VERSIONS: [&'static str; 4] = ["1.0.0", "1.1.0", "1.2.0", "1.2.1"];

    /// Builds what is not built yet by this command from these sources.
    pub fn build(profile: Profile) -> Result<Self> {
        let _one_at_a_time = lock("erp")?;
        let roadstead = profile.program("roadstead");
        let base = target().join("erp");
        let folder = base.join(format!("{:016x}", recipe(&roadstead)?));
        if !folder.exists() {
            let making = base.join("making");
            for old in [&base, &making] {
                if old.exists() {
                    fs::remove_dir_all(old).map_err(LabError::io("remove", old))?;
                }
            }
            fs::create_dir_all(&making).map_err(LabError::io("make", &making))?;
            make(&roadstead, &making)?;
            fs::rename(&making, &folder).map_err(LabError::io("rename", &making))?;
        }
        let trust = folder.join("release-keys.toml");
        let trust = fs::read_to_string(&trust).map_err(LabError::io("read", &trust))?;
        Ok(Self { folder, trust })
    }

    /// The bundle of a version.
    pub fn bundle(&self, version: &str) -> String {
        self.folder.join(format!("erp-{version}.bundle")).display().to_string()
    }

    /// The git repository that they were built from.
    pub fn repository(&self) -> PathBuf {
        self.folder.join("repository")
    }

    /// The private key that signed them.
    pub fn key(&self) -> String {
        self.folder.join("release.key").display().to_string()
    }
}

fn make(roadstead: &Path, folder: &Path) -> Result<()> {
    let repository = folder.join("repository");
    run(Command::new(workspace().join("examples/erp/versions/make-history")).arg(&repository))?;
    let key = folder.join("release.key");
    let trust = run(Command::new(roadstead).args(["key", "generate", "--name", "lab", "--out"]).arg(&key))?;
    let path = folder.join("release-keys.toml");
    fs::write(&path, trust).map_err(LabError::io("write", &path))?;
    for version in Erp::VERSIONS {
        let out = folder.join(format!("erp-{version}.bundle"));
        let mut build = Command::new(roadstead);
        build.args(["build", "--commit", &format!("v{version}"), "--key"]).arg(&key).arg("--out").arg(out).arg(&repository);
        run(&mut build)?;
    }
    Ok(())
}

/// Runs a program of this machine to its end; a bad end is an error with what it said.
pub fn run(command: &mut Command) -> Result<String> {
    let words = format!("{command:?}");
    let output = command.output().map_err(LabError::io("start", command.get_program()))?;
    Execution::of(&output).checked("machine", &words)
}

/// Changes when the command or the ERP's sources do.
fn recipe(roadstead: &Path) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    fs::read(roadstead).map_err(LabError::io("read", roadstead))?.hash(&mut hasher);
    let mut folders = vec![workspace().join("examples/erp")];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(LabError::io("read", &folder))? {
            let path = entry.map_err(LabError::io("read", &folder))?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.sort();
    for file in files {
        file.hash(&mut hasher);
        fs::read(&file).map_err(LabError::io("read", &file))?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}
