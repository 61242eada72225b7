//! Venv: the packages as a virtual environment of this host's Python, complete under its name or not there at all. It is named by its
//! content, so that releases with the same packages share one.

mod installed;

use roadstead_bundle::manifest::{EntryKind, Node};
use roadstead_bundle::store::Store;
use roadstead_bundle::unpack::lay_out;
use roadstead_model::{Digest, Failure, FailureKind, OrderKind, limits};
use roadstead_worker::files::{sync_file_system, sync_folder};
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::StepContext;
use super::fit::{self, Here, Way};
use super::release::Release;
use super::unpack::{blobs, put_in_place, remove_tree, unpack_failure};
use super::util::{disk, io_failure, on_disk};
use crate::drift::damage::of_serving;
use crate::host::python::Interpreter;
use crate::layout::Layout;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Prepare { release, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let release = context.release(release)?;
    let layout = context.layout.clone();
    let way = fit::way(&release.manifest, &Here::of(&release.manifest))?;
    let (Way::Linked(interpreter) | Way::Installed(interpreter, _)) = &way;
    let (venv, interpreter) = (release.venv(&layout), interpreter.clone());
    let damaged = matches!(way, Way::Linked(_)) && {
        let (layout, release, app) = (layout.clone(), release.clone(), context.order.app.clone());
        disk(move || Ok(of_serving(&layout, &app, &release)?.packages)).await?
    };
    if venv.is_dir() && !damaged {
        return disk(move || repair(&venv, &interpreter)).await;
    }
    match &way {
        Way::Installed(interpreter, installer) => installed::install(context, &release, interpreter, installer).await,
        Way::Linked(_) => disk(move || build(&layout, &release, &interpreter)).await,
    }
}

/// The host's Python may have moved since (another package, another prefix): the link follows it.
fn repair(venv: &Path, interpreter: &Interpreter) -> Result<String, Failure> {
    let link = venv.join("bin/python");
    if fs::read_link(&link).is_ok_and(|target| target == interpreter.path) {
        return Ok("it was here".to_owned());
    }
    crate::host::links::point(&link, &interpreter.path, true).map_err(|error| io_failure("move the link", &link, &error))?;
    Ok(format!("it was here, its Python is now {}", interpreter.path.display()))
}

fn build(layout: &Layout, release: &Release, interpreter: &Interpreter) -> Result<String, Failure> {
    let tree = release.manifest.packages.installed.as_ref().ok_or_else(|| {
        Failure::new(FailureKind::Unfit, "the release carries no installed packages".to_owned(), "build it with ship = \"installed\"")
    })?;
    let (venvs, store) = (layout.venvs(release.app()), blobs(layout)?);
    let fresh = venvs.join(format!(".new-{}", release.venv_name()));
    remove_tree(&fresh)?;
    let (lib, bin) = parts(&store, &tree.root)?;
    let version = interpreter.version;
    let site = fresh.join(format!("lib/python{version}"));
    fs::create_dir_all(&site).map_err(|error| io_failure("make the folder", &site, &error))?;
    let laid = lay_out(&store, &lib, &site.join("site-packages")).map_err(|error| unpack_failure(&error))?;
    let programs = fresh.join("bin");
    match bin {
        Some(bin) => drop(lay_out(&store, &bin, &programs).map_err(|error| unpack_failure(&error))?),
        None => fs::create_dir(&programs).map_err(|error| io_failure("make the folder", &programs, &error))?,
    }
    skeleton(&fresh, interpreter)?;
    sync_file_system(&fresh).map_err(|error| on_disk(&error))?;
    let venv = release.venv(layout);
    put_in_place(&fresh, &venv)?;
    sync_folder(&venvs).map_err(|error| on_disk(&error))?;
    Ok(format!("{} packages, {} files", release.manifest.packages.list.len(), laid.linked + laid.copied))
}

/// What makes a folder a virtual environment: links to the interpreter beside its programs, and the file that says so.
fn skeleton(fresh: &Path, interpreter: &Interpreter) -> Result<(), Failure> {
    let version = interpreter.version;
    let programs = fresh.join("bin");
    fs::create_dir_all(&programs).map_err(|error| io_failure("make the folder", &programs, &error))?;
    let link = |name: String, target: &Path| {
        let place = fresh.join(name);
        symlink(target, &place).map_err(|error| io_failure("make the link", &place, &error))
    };
    link("bin/python".to_owned(), &interpreter.path)?;
    link("bin/python3".to_owned(), Path::new("python"))?;
    link(format!("bin/python{version}"), Path::new("python"))?;
    // Some systems look for compiled packages in lib64, as `python -m venv` makes it.
    link("lib64".to_owned(), Path::new("lib"))?;
    let settings = fresh.join("pyvenv.cfg");
    fs::write(&settings, settings_text(interpreter)).map_err(|error| io_failure("write", &settings, &error))
}

/// What `pyvenv.cfg` says.
pub(crate) fn settings_text(interpreter: &Interpreter) -> String {
    let home = interpreter.path.parent().unwrap_or(Path::new("/usr/bin"));
    format!("home = {}\ninclude-system-site-packages = false\nversion = {}\n", home.display(), interpreter.version)
}

/// The two folders of a tree of packages: `lib/` for site-packages, `bin/` for programs if there are any.
pub(crate) fn parts(store: &Store, root: &Digest) -> Result<(Digest, Option<Digest>), Failure> {
    let malformed = |why: String| {
        Failure::new(
            FailureKind::Untrusted,
            format!("the packages of the release are not laid out as they should be: {why}"),
            "build the release again",
        )
    };
    let bytes = store.read_checked(root, limits::TREE_NODE_BYTES_MAX).map_err(|error| malformed(error.to_string()))?;
    let node = Node::decode(&bytes).map_err(|error| malformed(error.to_string()))?;
    let folder = |name: &str| match node.get(name).map(|entry| &entry.kind) {
        Some(EntryKind::Folder { digest }) => Some(*digest),
        _ => None,
    };
    Ok((folder("lib").ok_or_else(|| malformed("there is no folder lib".to_owned()))?, folder("bin")))
}
