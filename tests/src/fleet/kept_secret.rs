//! The app's key: every fleet's hosts have it, their app never tells it, and nobody else has a use for it. Wherever a fleet has been, it is
//! looked for when the fleet goes.

use super::Result;
use super::erp::KEY;
use crate::lab::{Host, LabError};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a host keeps that runs the app, but for where systemd reads the app's variables, and blobs, of which no host writes one.
const OF_A_HOST: [&str; 2] = ["var/log/journal", "var/lib/roadstead-agent"];
/// What the controller keeps.
const OF_THE_CONTROLLER: [&str; 3] = ["var/log/journal", "var/lib/roadstead-controller", "etc/roadstead"];

/// Files that hold it and should not.
pub(super) fn strays<'a>(hosts: impl Iterator<Item = &'a Host>, controller: &Host, desk: &Path) -> Result<Vec<PathBuf>> {
    let below = |host: &Host, places: &[&str]| places.iter().map(|place| host.root_path().join(place)).collect::<Vec<_>>();
    let mut places = below(controller, &OF_THE_CONTROLLER);
    places.extend(hosts.flat_map(|host| below(host, &OF_A_HOST)));
    places.push(desk.to_owned());
    // A host that has never run the app has no state of an agent's.
    places.retain(|place| place.is_dir());
    holding(&places)
}

fn holding(places: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let words =
        ["--recursive", "--devices=skip", "--files-with-matches", "--text", "--fixed-strings", "--exclude-dir=env", "--exclude-dir=blobs"];
    let found = Command::new("grep").args(words).arg("--").arg(KEY).args(places).output().map_err(LabError::io("run", "grep"))?;
    let said = String::from_utf8_lossy(&found.stderr);
    // Files may go while they are looked at; whatever else goes wrong is no answer.
    if !matches!(found.status.code(), Some(0..=2)) || said.lines().any(|line| !line.ends_with("No such file or directory")) {
        return Err(LabError::io("look for the app's key with", "grep")(std::io::Error::other(said.into_owned())));
    }
    Ok(String::from_utf8_lossy(&found.stdout).lines().map(PathBuf::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn it_is_found_wherever_it_strayed() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        write("apps/erp/env/1.env", &format!("SECRET_KEY={KEY}\n"));
        write("journal", "nothing of it");
        assert!(holding(&[folder.path().to_owned()]).unwrap().is_empty());
        let strayed = write("outputs/1", &format!("\0\u{1}settings.SECRET_KEY = '{KEY}'\n"));
        assert_eq!(holding(&[folder.path().to_owned()]).unwrap(), [strayed]);
    }
}
