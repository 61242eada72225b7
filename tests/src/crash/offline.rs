//! What a disk must say after a power cut before any agent runs on it.

use super::trees::Trees;
use roadstead_bundle::manifest::Manifest;
use roadstead_bundle::store::{Form, Store};
use roadstead_bundle::walk;
use roadstead_model::{AppName, Digest, Fence};
use roadstead_worker::clock::WallClock;
use roadstead_worker::disk::RealDisk;
use roadstead_worker::failure::chain;
use roadstead_worker::journal::Journals;
use roadstead_worker::state::States;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What an agent would know from a disk, and what is wrong with it.
#[derive(Debug, Default)]
pub(super) struct Offline {
    /// What does not hold, a sentence each.
    pub(super) wrong: Vec<String>,
    /// The highest fence that is remembered.
    pub(super) highest: Option<Fence>,
    /// The files of the journals.
    pub(super) journals: Vec<String>,
    /// The release that serves.
    pub(super) current: Option<String>,
}

/// Looks through a host's disk. `durable` says how many lines of each journal must be there.
pub(super) fn look(root: &Path, trees: &Trees, durable: &BTreeMap<String, usize>) -> Offline {
    let mut found = Offline::default();
    match trees.differences(root) {
        Ok(differences) => found.wrong.extend(differences),
        Err(error) => found.wrong.push(error.to_string()),
    }
    journals(root, durable, &mut found);
    serving(root, trees, &mut found);
    blobs(&root.join("var/lib/roadstead-agent"), &mut found);
    found
}

/// The fence up to which a host refuses orders, and the names of its journals.
pub(super) fn remembered(root: &Path) -> (Option<Fence>, Vec<String>) {
    let mut found = Offline::default();
    journals(root, &BTreeMap::new(), &mut found);
    (found.highest, found.journals)
}

/// Journals and states read as the agent reads them, and no durable line is missing.
fn journals(root: &Path, durable: &BTreeMap<String, usize>, found: &mut Offline) {
    let Ok(app) = AppName::parse("erp") else { return };
    let state = root.join("var/lib/roadstead-agent");
    let folder = state.join("journal");
    let disk = Arc::new(RealDisk);
    match Journals::new(disk.clone(), WallClock::of_host(), folder.clone()).peek(&app) {
        Ok(orders) => found.highest = orders.iter().map(|status| status.order.fence).max(),
        Err(error) => found.wrong.push(chain(&error)),
    }
    match States::new(disk, state.join("apps")).read(&app) {
        Ok(memory) => found.highest = found.highest.max(memory.highest),
        Err(error) => found.wrong.push(chain(&error)),
    }
    for entry in fs::read_dir(folder.join("erp")).into_iter().flatten().flatten() {
        found.journals.push(entry.file_name().to_string_lossy().into_owned());
    }
    for (journal, lines) in durable {
        let bytes = fs::read(folder.join("erp").join(journal)).unwrap_or_default();
        let there = bytes.iter().filter(|byte| **byte == b'\n').count();
        if there < *lines {
            found.wrong.push(format!("the journal {journal} has {there} lines, but {lines} were durable"));
        }
    }
}

/// What `current` names is complete, with all that it needs to serve.
fn serving(root: &Path, trees: &Trees, found: &mut Offline) {
    let app = Path::new("srv/roadstead/erp");
    let Ok(target) = fs::read_link(root.join(app).join("current")) else { return };
    let id = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let state = Path::new("var/lib/roadstead-agent/apps/erp");
    let mut needed = vec![app.join(&target), state.join(format!("manifests/{id}.json")), state.join(format!("env/{id}.env"))];
    needed.push(Path::new("etc/roadstead/units").join(format!("erp-web@{id}.service")));
    match fs::read_link(root.join(app).join(&target).join(".venv")) {
        Ok(venv) => needed.push(venv.strip_prefix("/").unwrap_or(&venv).to_owned()),
        Err(error) => found.wrong.push(format!("current names {id}, whose packages cannot be found: {error}")),
    }
    for place in needed {
        if !trees.knows(&place) || fs::symlink_metadata(root.join(&place)).is_err() {
            found.wrong.push(format!("current names {id}, but /{} is not there", place.display()));
        }
    }
    found.current = Some(id);
}

/// Every blob is what its name says, and a folder's node is there only with all below it.
fn blobs(state: &Path, found: &mut Offline) {
    let folder = state.join("blobs");
    let mut damaged = Vec::new();
    for shelf in files(&folder).into_iter().filter(|shelf| name(shelf).len() == 2) {
        for blob in files(&shelf) {
            let promised = format!("{}{}", name(&shelf), name(&blob).trim_end_matches(".x"));
            match fs::read(&blob) {
                Ok(bytes) if Digest::of(&bytes).to_string() == promised => {}
                Ok(bytes) => damaged.push(format!("{promised} is something else of {} bytes", bytes.len())),
                Err(error) => damaged.push(format!("{promised} cannot be read: {error}")),
            }
        }
    }
    if !damaged.is_empty() {
        found.wrong.push(format!("{} blobs are not what their names say: {}", damaged.len(), damaged[..damaged.len().min(3)].join(", ")));
    }
    let Ok(store) = Store::open(&folder, Form::Raw) else { return };
    for path in files(&state.join("apps/erp/manifests")).into_iter().filter(|path| !name(path).starts_with('.')) {
        // what is not a manifest was told of among the trees
        let Some(manifest) = fs::read(&path).ok().and_then(|bytes| Manifest::decode(&bytes).ok()) else { continue };
        if let Err(error) = walk::check(&store, manifest.trees().filter(|tree| store.has(&tree.root))) {
            found.wrong.push(format!("the blob store promises {} and does not hold it: {}", name(&path), chain(&error)));
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
