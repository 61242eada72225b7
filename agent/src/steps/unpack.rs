//! Unpack: the release's tree, complete under its name or not there at all. What lives across releases is linked into it.

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use roadstead_bundle::spec::{Collect, RelativePath};
use roadstead_bundle::store::{Form, Store};
use roadstead_bundle::unpack::{UnpackError, lay_out};
use roadstead_model::{Failure, FailureKind, OrderKind};
use roadstead_worker::files::{sync_file_system, sync_folder};
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::StepContext;
use super::account;
use super::release::{Release, below};
use super::shared;
use super::util::{disk, io_failure, on_disk};
use crate::drift::damage::of_serving;
use crate::host::user::{Account, own, own_folder};
use crate::layout::Layout;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Prepare { release, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let release = context.release(release)?;
    let layout = context.layout.clone();
    disk(move || {
        let account = account::of(&layout, release.app())?;
        let (tree, releases) = (release.tree(&layout), layout.releases(release.app()));
        let was_here = tree.is_dir();
        if was_here && !of_serving(&layout, release.app(), &release)?.tree {
            return Ok("it was here".to_owned());
        }
        make_app_folders(&layout, &release, &account)?;
        let store = blobs(&layout)?;
        let fresh = releases.join(format!(".new-{}", release.id));
        remove_tree(&fresh)?;
        let laid = lay_out(&store, &release.manifest.code.root, &fresh).map_err(|error| unpack_failure(&error))?;
        let root = below(&fresh, &release.manifest.spec.root);
        link_shared(&layout, &release, &root, &account)?;
        link_statics(&layout, &release, &store, &root, &account)?;
        link_packages(&layout, &release, &root)?;
        link_placed(&layout, &release, &root)?;
        // Its name promises that it is complete, also after a power cut.
        sync_file_system(&fresh).map_err(|error| on_disk(&error))?;
        put_in_place(&fresh, &tree)?;
        sync_folder(&releases).map_err(|error| on_disk(&error))?;
        let files = laid.linked + laid.copied + laid.links;
        Ok(if was_here { format!("{files} files, in the place of what was changed") } else { format!("{files} files") })
    })
    .await
}

/// The blob store.
pub(crate) fn blobs(layout: &Layout) -> Result<Store, Failure> {
    Store::open(&layout.blobs(), Form::Raw).map_err(|error| Failure::new(FailureKind::Host, error.to_string(), "see the host's disk"))
}

/// What laying out a tree failed with.
pub(crate) fn unpack_failure(error: &UnpackError) -> Failure {
    match error {
        UnpackError::Io { doing, path, source } => io_failure(doing, path, source),
        UnpackError::Tree(_) => {
            Failure::new(FailureKind::Untrusted, error.to_string(), "deploy again: what is missing or damaged is fetched again")
        }
    }
}

/// Gives a folder that was made aside its name. What has it already changes places with it at one moment, and stays aside until the next
/// prune: processes may still be in it.
pub(crate) fn put_in_place(fresh: &Path, place: &Path) -> Result<(), Failure> {
    if fs::symlink_metadata(place).is_err() {
        return fs::rename(fresh, place).map_err(|error| io_failure("name", place, &error));
    }
    let name = place.file_name().unwrap_or_default().to_string_lossy();
    let gone = place.with_file_name(format!(".gone-{name}"));
    remove_tree(&gone)?;
    renameat2(AT_FDCWD, fresh, AT_FDCWD, place, RenameFlags::RENAME_EXCHANGE)
        .map_err(|error| io_failure("exchange", place, &error.into()))?;
    fs::rename(fresh, &gone).map_err(|error| io_failure("put aside", fresh, &error))
}

/// Removes a tree; one that is not there is removed.
pub(crate) fn remove_tree(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_failure("remove", path, &error)),
        _ => Ok(()),
    }
}

/// The app's folders. Code and packages can be read by the app's user and by nobody else.
fn make_app_folders(layout: &Layout, release: &Release, account: &Account) -> Result<(), Failure> {
    let app = release.app();
    let make = |path: PathBuf, owner: Option<&Account>, group: Option<&Account>, mode| {
        own_folder(&path, owner, group, mode).map_err(|error| io_failure("make the folder", &path, &error))
    };
    make(layout.apps(), None, None, 0o755)?;
    make(layout.app(app), None, None, 0o755)?;
    make(layout.releases(app), None, Some(account), 0o750)?;
    make(layout.venvs(app), None, Some(account), 0o750)?;
    make(layout.shared(app), Some(account), Some(account), 0o750)
}

fn link_shared(layout: &Layout, release: &Release, root: &Path, account: &Account) -> Result<(), Failure> {
    let folder = layout.shared(release.app());
    for path in &release.manifest.spec.shared {
        let place = plain_place(root, path)?;
        shared::provide(&folder, path, &place, account)
            .map_err(|error| io_failure("make the shared", &folder.join(path.as_str()), &error))?;
        replace_by_link(&place, &folder.join(path.as_str()))?;
    }
    Ok(())
}

/// What of the team's own points at `current/` finds the packages there too, and moves to others with the same rename.
fn link_packages(layout: &Layout, release: &Release, root: &Path) -> Result<(), Failure> {
    let place = root.join(".venv");
    match fs::symlink_metadata(&place) {
        Ok(_) => Ok(()),
        Err(_) => symlink(release.venv(layout), &place).map_err(|error| io_failure("make the link", &place, &error)),
    }
}

/// Files of the host and of the configuration are links, too: their content follows with each preparation.
fn link_placed(layout: &Layout, release: &Release, root: &Path) -> Result<(), Failure> {
    let folder = layout.placed_of(release.app(), &release.id);
    let spec = &release.manifest.spec;
    for path in spec.from_host.iter().chain(&spec.configured) {
        replace_by_link(&plain_place(root, path)?, &folder.join(path.as_str()))?;
    }
    Ok(())
}

/// Static files lie apart from the code: web servers read them, and `collectstatic` may write them.
fn link_statics(layout: &Layout, release: &Release, store: &Store, root: &Path, account: &Account) -> Result<(), Failure> {
    let Some(statics) = release.manifest.spec.statics.as_ref().filter(|statics| statics.collect != Collect::Never) else { return Ok(()) };
    let (all, own_one) = (layout.collected(release.app()), layout.collected_of(release.app(), &release.id));
    own_folder(&all, None, None, 0o755).map_err(|error| io_failure("make the folder", &all, &error))?;
    match (&release.manifest.statics, statics.collect) {
        (Some(tree), Collect::Build) => {
            let fresh = all.join(format!(".new-{}", release.id));
            remove_tree(&fresh)?;
            lay_out(store, &tree.root, &fresh).map_err(|error| unpack_failure(&error))?;
            put_in_place(&fresh, &own_one)?;
        }
        // What the serving release collected is served until it collects again.
        _ if release.tree(layout).is_dir() && own_one.is_dir() => {}
        _ => {
            remove_tree(&own_one)?;
            own_folder(&own_one, Some(account), Some(account), 0o755).map_err(|error| io_failure("make the folder", &own_one, &error))?;
        }
    }
    replace_by_link(&plain_place(root, &statics.root)?, &own_one)
}

/// A path below the root whose folders are real ones, made where they are missing: a link among them could lead elsewhere.
fn plain_place(root: &Path, path: &RelativePath) -> Result<PathBuf, Failure> {
    if path.is_root() {
        let summary = "the whole app cannot be shared or collected into".to_owned();
        return Err(Failure::new(FailureKind::Unfit, summary, "name a folder below the app's root in roadstead.toml"));
    }
    let mut place = root.to_owned();
    let parts: Vec<&str> = path.as_str().split('/').collect();
    for part in parts.iter().take(parts.len().saturating_sub(1)) {
        place.push(part);
        match fs::symlink_metadata(&place) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => {
                let summary = format!("{path} of roadstead.toml leads through {}, which is no folder of the release", place.display());
                return Err(Failure::new(FailureKind::Unfit, summary, "name the folder itself in roadstead.toml"));
            }
            Err(_) => {
                fs::create_dir(&place).map_err(|error| io_failure("make the folder", &place, &error))?;
                own(&place, None, None).map_err(|error| io_failure("own", &place, &error))?;
            }
        }
    }
    Ok(root.join(path.as_str()))
}

fn replace_by_link(place: &Path, target: &Path) -> Result<(), Failure> {
    match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => remove_tree(place)?,
        Ok(_) => fs::remove_file(place).map_err(|error| io_failure("remove", place, &error))?,
        Err(_) => {}
    }
    symlink(target, place).map_err(|error| io_failure("make the link", place, &error))
}
