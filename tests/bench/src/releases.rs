//! Releases that differ from 1.0.0 in a few files, as those of an ordinary day do.

use crate::Result;
use roadstead_tests::fleet::Fleet;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Files of the ERP that such a release changes, each by a comment.
const CHANGED: [&str; 4] = ["core/pages.py", "orders/api.py", "catalog/pages.py", "billing/services.py"];

/// Builds so many releases, each a few lines on from the one before; returns their versions. They are pushed already.
pub(crate) fn build(fleet: &Fleet, count: usize) -> Result<Vec<String>> {
    let repository = fleet.desk.folder().join("erp");
    run(Command::new("git").args(["clone", "--quiet"]).arg(fleet.erp.repository()).arg(&repository))?;
    git(&repository, &["checkout", "--quiet", "-b", "bench", "v1.0.0"])?;
    let key = fleet.erp.key();
    (1..=count)
        .map(|number| {
            let version = format!("1.0.{number}");
            change(&repository, &version)?;
            let bundle = fleet.desk.folder().join(format!("{version}.bundle")).display().to_string();
            let (folder, commit) = (repository.display().to_string(), format!("v{version}"));
            fleet.desk.roadstead(&["build", "--commit", &commit, "--key", &key, "--out", &bundle, &folder])?;
            fleet.desk.roadstead(&["push", &bundle])?;
            Ok(version)
        })
        .collect()
}

fn change(repository: &Path, version: &str) -> Result<()> {
    for file in CHANGED {
        let path = repository.join(file);
        let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        fs::write(&path, format!("{text}\n\n# As of {version}.\nSINCE = \"{version}\"\n"))?;
    }
    fs::write(repository.join("VERSION"), format!("{version}\n"))?;
    git(repository, &["commit", "--quiet", "--all", "-m", &format!("As of {version}")])?;
    git(repository, &["tag", "-a", &format!("v{version}"), "-m", version])
}

fn git(repository: &Path, words: &[&str]) -> Result<()> {
    let who = ["-c", "user.name=ERP Team", "-c", "user.email=erp@example.com"];
    run(Command::new("git").arg("-C").arg(repository).args(who).args(words))
}

fn run(command: &mut Command) -> Result<()> {
    let done = command.output()?;
    if done.status.success() { Ok(()) } else { Err(format!("{command:?}: {}", String::from_utf8_lossy(&done.stderr)).into()) }
}
