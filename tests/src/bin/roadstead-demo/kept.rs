//! A demo that is left running, and how to play with it.

use super::Result;
use roadstead_tests::fleet::{Fleet, Profile};
use roadstead_tests::lab::{LabError, workspace};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

/// Leaves the fleet running and prints the commands to play with.
pub(crate) fn leave(mut fleet: Fleet) -> Result<()> {
    fleet.desk.keep();
    fleet.lab.keep()?;
    let path = workspace().join("target/demo/roadstead");
    let script = format!(
        "#!/bin/sh\n# The command, at the desk of the demo's admin.\ncd {folder} && exec ip netns exec {network} env ROADSTEAD_CONFIG_DIR={folder}/config {program} \"$@\"\n",
        folder = fleet.desk.folder().display(),
        network = fleet.client().name(),
        program = Profile::Ship.program("roadstead").display(),
    );
    fs::create_dir_all(workspace().join("target/demo")).map_err(LabError::io("make", "target/demo"))?;
    fs::write(&path, script).map_err(LabError::io("write", &path))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).map_err(LabError::io("write", &path))?;
    let site = fleet.hosts.first().map(|host| host.ip()).unwrap_or_default();
    println!(
        "The fleet is still there. To play with it, as root:

  target/demo/roadstead status staging            what runs where
  target/demo/roadstead release list erp          the releases
  target/demo/roadstead deploy staging 1.1.0      forward again
  target/demo/roadstead rollback staging          and back
  target/demo/roadstead rollout list              what happened, and why

  ip netns exec {network} curl -i http://{site}/     a page of the app
  make lab-status                                 its hosts
  make lab-down                                   take all of it away",
        network = fleet.client().name(),
    );
    Ok(())
}
