//! A virtual environment from wheels: installed by uv or pip as the app's user, in a sandbox without network, then made root's.

use roadstead_model::{Failure, FailureKind, StepName};
use roadstead_worker::files::{sync_file_system, sync_folder};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::skeleton;
use crate::host::command::{self, Command};
use crate::host::installer::Installer;
use crate::host::python::Interpreter;
use crate::host::user::{own, own_folder};
use crate::steps::StepContext;
use crate::steps::account;
use crate::steps::commands::expect_success;
use crate::steps::release::Release;
use crate::steps::unpack::{blobs, remove_tree, unpack_failure};
use crate::steps::util::{disk, io_failure, on_disk};

const SCRIPT: &str = include_str!("install_wheels.py");

/// Where the parts of an installation lie.
#[derive(Debug, Clone)]
struct Places {
    venvs: PathBuf,
    fresh: PathBuf,
    wheels: PathBuf,
    venv: PathBuf,
}

/// Makes the environment.
pub(super) async fn install(
    context: &StepContext,
    release: &Release,
    interpreter: &Interpreter,
    installer: &Installer,
) -> Result<String, Failure> {
    let (layout, name) = (&context.layout, release.venv_name());
    let venvs = layout.venvs(release.app());
    let places = Places {
        fresh: venvs.join(format!(".new-{name}")),
        wheels: venvs.join(format!(".wheels-{name}")),
        venv: release.venv(layout),
        venvs,
    };
    let command = command(context, release, interpreter, installer, &places)?;
    // An installation that an earlier agent began goes on; a fresh one begins with nothing.
    let before = context.host.systemd.unit(&command.unit).await.map_err(|error| error.failure())?;
    if before.is_unknown() || (before.is_down() && before.invocation.is_empty()) {
        prepare(context, release, interpreter, &places).await?;
    }
    let finished = command::run(&context.host, &command, &context.cancelled, |line| context.say(StepName::Venv, line));
    expect_success(
        &finished.await.map_err(|error| error.failure())?,
        &format!("the installation of the release's wheels by {}", installer.name()),
    )?;
    let done = places.clone();
    disk(move || {
        seize(&done.fresh)?;
        sync_file_system(&done.fresh).map_err(|error| on_disk(&error))?;
        fs::rename(&done.fresh, &done.venv).map_err(|error| io_failure("name", &done.venv, &error))?;
        sync_folder(&done.venvs).map_err(|error| on_disk(&error))?;
        remove_tree(&done.wheels)
    })
    .await?;
    Ok(format!("{} packages installed from wheels by {}", release.manifest.packages.list.len(), installer.name()))
}

fn command(
    context: &StepContext,
    release: &Release,
    interpreter: &Interpreter,
    installer: &Installer,
    places: &Places,
) -> Result<Command, Failure> {
    let layout = &context.layout;
    let (account, fence) = (account::of(layout, release.app())?, context.order.fence);
    let job = serde_json::json!({
        "installer": installer.name(), "program": installer.path(), "fresh": places.fresh, "final": places.venv, "wheels": places.wheels,
    });
    let words = ["-I", "-S", "-B", "-c", SCRIPT].map(str::to_owned);
    let mut argv = vec![interpreter.path.display().to_string()];
    argv.extend(words);
    argv.push(job.to_string());
    let unit = format!("roadstead-{}-venv-{}-{}.service", release.app(), fence.rollout, fence.sequence);
    let description = format!("{} packages of {}", release.app(), release.id);
    let steps = &release.manifest.spec.steps;
    Ok(Command {
        user: Some(account.name),
        writable: vec![places.fresh.clone()],
        hidden: vec![layout.agent_state(), layout.configuration()],
        memory_max: steps.memory_max,
        offline: true,
        ..Command::bare(unit, description, argv, steps.command_timeout.to_duration())
    })
}

/// The wheels where the app's user can read them, and an environment without packages that it can write.
async fn prepare(context: &StepContext, release: &Release, interpreter: &Interpreter, places: &Places) -> Result<(), Failure> {
    let (layout, places, interpreter) = (context.layout.clone(), places.clone(), interpreter.clone());
    let (app, wheels) = (release.app().clone(), release.manifest.packages.wheels.clone());
    disk(move || {
        let tree = wheels
            .ok_or_else(|| Failure::new(FailureKind::Unfit, "the release carries no wheels".to_owned(), "build it with ship = \"both\""))?;
        remove_tree(&places.fresh)?;
        remove_tree(&places.wheels)?;
        let laid = roadstead_bundle::unpack::lay_out(&blobs(&layout)?, &tree.root, &places.wheels);
        laid.map_err(|error| unpack_failure(&error))?;
        let account = account::of(&layout, &app)?;
        own_folder(&places.fresh, Some(&account), Some(&account), 0o750).map_err(|error| io_failure("make", &places.fresh, &error))?;
        skeleton(&places.fresh, &interpreter)?;
        let site = places.fresh.join(format!("lib/python{}/site-packages", interpreter.version));
        fs::create_dir_all(&site).map_err(|error| io_failure("make the folder", &site, &error))?;
        for folder in
            ["bin", "lib"].iter().map(|name| places.fresh.join(name)).chain([site.clone()]).chain(site.parent().map(Path::to_owned))
        {
            own_folder(&folder, Some(&account), Some(&account), 0o750).map_err(|error| io_failure("make", &folder, &error))?;
        }
        Ok(())
    })
    .await
}

/// Makes a tree that the app's user wrote root's own, readable and no more. The user's processes are gone, and from the first act on
/// none can enter: what is met below stays what it is.
fn seize(tree: &Path) -> Result<(), Failure> {
    let failed = |path: &Path, error: &std::io::Error| io_failure("take over", path, error);
    let mode = |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| failed(path, &error));
    own(tree, None, None).map_err(|error| failed(tree, &error))?;
    mode(tree, 0o700)?;
    let mut waiting = vec![tree.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| failed(&folder, &error))? {
            let entry = entry.map_err(|error| failed(&folder, &error))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(|error| failed(&folder, &error))?);
            own(&path, None, None).map_err(|error| failed(&path, &error))?;
            if kind.is_dir() {
                mode(&path, 0o755)?;
                waiting.push(path);
            } else if kind.is_file() {
                let executable = entry.metadata().map_err(|error| failed(&path, &error))?.permissions().mode() & 0o111 != 0;
                mode(&path, if executable { 0o755 } else { 0o644 })?;
            } else if !kind.is_symlink() {
                let summary = format!("{} is neither a file nor a folder: no wheel brings such a thing", path.display());
                return Err(Failure::new(FailureKind::Untrusted, summary, "look at the packages of the release, and build it again"));
            }
        }
    }
    mode(tree, 0o755)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, symlink};

    #[test]
    fn a_seized_tree_can_be_read_by_all_and_links_are_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let (tree, outside) = (root.path().join("tree"), root.path().join("outside"));
        fs::create_dir_all(tree.join("bin")).unwrap();
        for (path, mode) in [(tree.join("bin/tool"), 0o4750), (tree.join("lib.py"), 0o666), (outside.clone(), 0o600)] {
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        symlink(&outside, tree.join("link")).unwrap();
        seize(&tree).unwrap();
        let mode = |path: &str| fs::symlink_metadata(root.path().join(path)).unwrap().mode() & 0o7777;
        assert_eq!(["tree", "tree/bin", "tree/bin/tool", "tree/lib.py", "outside"].map(mode), [0o755, 0o755, 0o755, 0o644, 0o600]);
        nix::unistd::mkfifo(&tree.join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(seize(&tree).unwrap_err().summary.contains("neither a file nor a folder"));
    }
}
