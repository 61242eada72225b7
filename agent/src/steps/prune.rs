//! Prune: what no rollback can need any more goes from the disk. It runs before a fetch, so that a full disk is no reason to fail.

use roadstead_bundle::manifest::Manifest;
use roadstead_bundle::walk::reachable;
use roadstead_model::{AppName, Digest, Failure, FailureKind, OrderKind, ReleaseId, limits};
use roadstead_worker::files::{read_bounded, sync_folder};
use roadstead_worker::state::AppMemory;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::StepContext;
use super::release::Release;
use super::serve::forget_units;
use super::stage::Other;
use super::unpack::{blobs, remove_tree};
use super::util::{disk, io_failure, on_disk};
use super::verdict;
use crate::backup::shelf::Shelf;
use crate::facts::apps_on_disk;
use crate::host::links;
use crate::host::unit_file::release_of_unit;
use crate::layout::Layout;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let (keep, prepared) = match &context.order.kind {
        OrderKind::Prepare { release, keep, .. } => (*keep, Some(&release.id)),
        OrderKind::Abandon { release, condemn } => {
            if *condemn {
                verdict::condemn(&context.layout, &context.order.app, &release.id)?;
            }
            // What was prepared stays for another attempt, unless it is bad.
            (u32::MAX, (!condemn).then_some(&release.id))
        }
        _ => return Ok("nothing to do".to_owned()),
    };
    let shelf = Shelf::of(&context.settings.backup(&context.order.app).folder, &context.order.app);
    super::backup::end_all(context).await?;
    // What an order that was cut off left of a backup lies there in clear, and takes room.
    disk(move || shelf.clear()).await?;
    let mut instances: Vec<(Other, bool)> = Vec::new();
    for other in context.stage().others(None).await? {
        let state = context.host.systemd.unit(&other.unit).await.map_err(|error| error.failure())?;
        instances.push((other, state.is_down()));
    }
    let up = instances.iter().filter(|(_, is_down)| !is_down).map(|(other, _)| other.release.clone());
    let needed = needed(&context.memory()?, context.current().into_iter().chain(prepared.cloned()).chain(up), keep);
    let leftovers: Vec<Other> = instances.into_iter().map(|(other, _)| other).filter(|other| !needed.contains(&other.release)).collect();
    forget_units(&context.stage(), &leftovers).await?;
    context.states.update(&context.order.app, |memory| {
        memory.singletons.retain(|id, _| needed.contains(id));
        memory.good.retain(|id| needed.contains(id));
    })?;
    let _alone = context.blob_store.lock().await;
    let (layout, app) = (context.layout.clone(), context.order.app.clone());
    let swept = disk(move || sweep(&layout, &app, &needed)).await?;
    Ok(match swept {
        Swept { releases: 0, bytes: 0 } => "nothing to remove".to_owned(),
        Swept { releases, bytes } => format!("{releases} releases removed, {} MiB freed", bytes >> 20),
    })
}

/// The releases that stay: those that are `in_use` (the serving one, the one that is prepared, whatever has a unit that is up), the one
/// before, and the newest good ones.
fn needed(memory: &AppMemory, in_use: impl Iterator<Item = ReleaseId>, keep: u32) -> BTreeSet<ReleaseId> {
    let keep = usize::try_from(keep).unwrap_or(usize::MAX);
    in_use.chain(memory.previous.clone()).chain(newest(memory.good.iter().rev(), keep)).collect()
}

/// So many releases, the newest first; of one that ran with several configurations, what ran last.
fn newest<'a>(good: impl Iterator<Item = &'a ReleaseId>, keep: usize) -> Vec<ReleaseId> {
    let mut seen = BTreeSet::new();
    good.filter(|id| seen.insert(id.bare())).take(keep).cloned().collect()
}

struct Swept {
    releases: u64,
    bytes: u64,
}

fn sweep(layout: &Layout, app: &AppName, needed: &BTreeSet<ReleaseId>) -> Result<Swept, Failure> {
    let mut swept = Swept { releases: 0, bytes: 0 };
    let venvs: BTreeSet<String> = needed.iter().filter_map(|id| Some(Release::load(layout, app, id, None).ok()?.venv_name())).collect();
    for (folder, kept) in [(layout.releases(app), 1), (layout.collected(app), 0), (layout.placed(app), 0)] {
        for name in names(&folder) {
            if ReleaseId::parse(&name).is_ok_and(|id| needed.contains(&id)) {
                continue;
            }
            discard(&folder, &name, &remove_tree)?;
            swept.releases += kept;
        }
    }
    for name in names(&layout.venvs(app)) {
        if !venvs.contains(&name) {
            discard(&layout.venvs(app), &name, &remove_tree)?;
        }
    }
    let received = layout.app_state(app).join("received");
    for folder in [layout.manifests(app), received, layout.environment_files(app), layout.secret_files(app)] {
        for name in names(&folder) {
            if !needed.iter().any(|id| belongs(&name, id)) {
                remove_file(&folder.join(name))?;
            }
        }
    }
    for name in names(&layout.units()) {
        if release_of_unit(app, &name).is_some_and(|id| !needed.contains(&id) && is_ours(layout, app, &name)) {
            remove_file(&layout.units().join(name))?;
        }
    }
    swept.bytes = sweep_blobs(layout)?;
    Ok(swept)
}

/// Removes a tree. Its name promises that all of it is there, so the name goes first: a power cut leaves the whole of it or a leftover.
fn discard(folder: &Path, name: &str, remove: &dyn Fn(&Path) -> Result<(), Failure>) -> Result<(), Failure> {
    let tree = folder.join(name);
    if name.starts_with('.') {
        return remove(&tree);
    }
    let aside = folder.join(format!(".gone-{name}"));
    remove(&aside)?;
    fs::rename(&tree, &aside).map_err(|error| io_failure("put aside", &tree, &error))?;
    sync_folder(folder).map_err(|error| on_disk(&error))?;
    remove(&aside)
}

/// Whether a small file is of this release: `ID.json`, `ID.env`, `ID.SERVICE.env`.
fn belongs(name: &str, id: &ReleaseId) -> bool {
    name.strip_prefix(id.as_str()).is_some_and(|rest| rest.starts_with('.'))
}

/// An app's name may begin with another's: a unit is this app's when it says so in its description.
fn is_ours(layout: &Layout, app: &AppName, unit: &str) -> bool {
    let text = fs::read_to_string(layout.units().join(unit)).unwrap_or_default();
    text.lines().any(|line| line.strip_prefix("Description=").is_some_and(|rest| rest.split(' ').next() == Some(app.as_str())))
}

/// Removes blobs that no release of any app on this host has. Nobody fetches meanwhile.
fn sweep_blobs(layout: &Layout) -> Result<u64, Failure> {
    let store = blobs(layout)?;
    let mut roots: Vec<Digest> = Vec::new();
    for app in apps_on_disk(layout) {
        for folder in [layout.manifests(&app), layout.app_state(&app).join("received")] {
            for name in names(&folder) {
                roots.extend(trees_of(&folder.join(name)));
            }
        }
    }
    let keep = reachable(&store, roots);
    store.remove_all_but(&keep).map_err(|error| Failure::new(FailureKind::Host, error.to_string(), "see the host's disk"))
}

/// Roots that a kept manifest names, verified or as it was received.
fn trees_of(path: &Path) -> Vec<Digest> {
    #[derive(serde::Deserialize)]
    struct Received {
        manifest: String,
    }
    let Ok(bytes) = read_bounded(path, 4 * limits::MANIFEST_BYTES_MAX) else { return Vec::new() };
    let inner = serde_json::from_slice::<Received>(&bytes).map(|received| received.manifest.into_bytes()).unwrap_or(bytes);
    Manifest::decode(&inner).map(|manifest| manifest.trees().map(|tree| tree.root).collect()).unwrap_or_default()
}

fn names(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

fn remove_file(path: &Path) -> Result<(), Failure> {
    links::remove(path).map_err(|error| io_failure("remove", path, &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_counts_once_with_however_many_configurations() {
        let id = |text: &str| ReleaseId::parse(text).unwrap();
        let good = ["1.2-0123456789ab_00000002", "1.2-0123456789ab_00000001", "1.1-0123456789ab", "1.0-0123456789ab"].map(id);
        assert_eq!(newest(good.iter(), 2), [good[0].clone(), good[2].clone()]);
    }

    #[test]
    fn what_is_in_use_and_what_a_rollback_wants_is_needed() {
        let id = |text: &str| ReleaseId::parse(text).unwrap();
        let [one, two, three, four] = ["1.0-0123456789ab", "1.1-0123456789ab", "1.2-0123456789ab", "1.3-0123456789ab"].map(id);
        let memory = AppMemory { previous: Some(two.clone()), good: vec![one.clone(), two.clone(), three.clone()], ..AppMemory::default() };
        let stay = |in_use: &[&ReleaseId], keep| needed(&memory, in_use.iter().map(|id| (*id).clone()), keep);
        assert_eq!(stay(&[&four], 0), [two.clone(), four.clone()].into());
        assert_eq!(stay(&[&four], 1), [two.clone(), three.clone(), four.clone()].into());
        assert_eq!(stay(&[&four, &one], 0), [one, two, four].into(), "a unit of the first one is still up");
    }

    use crate::host::samples;

    #[test]
    fn what_is_removed_in_part_has_no_name_that_promises_a_whole() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("1.0-0");
        fs::create_dir(&tree).unwrap();
        let cut_short = |path: &Path| {
            if path.exists() { Err(Failure::new(FailureKind::Host, "the power failed".to_owned(), "")) } else { Ok(()) }
        };
        assert!(discard(folder.path(), "1.0-0", &cut_short).is_err());
        assert_eq!(names(folder.path()), [".gone-1.0-0"]);
        // the next one removes what is left, and what came anew under the name
        fs::create_dir(&tree).unwrap();
        discard(folder.path(), "1.0-0", &remove_tree).unwrap();
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn what_is_needed_stays_and_the_rest_goes_with_all_that_belongs_to_it() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let app = samples::app();
        let (kept, gone) = (samples::manifest("2.0"), samples::manifest("1.0"));
        let store = blobs(&layout).unwrap();
        let stray = store.put(b"stray").unwrap();
        for manifest in [&kept, &gone] {
            let id = manifest.release_id();
            fs::create_dir_all(layout.release(&app, &id)).unwrap();
            fs::create_dir_all(layout.manifests(&app)).unwrap();
            fs::write(layout.manifest(&app, &id), manifest.encode()).unwrap();
            fs::create_dir_all(layout.environment_files(&app)).unwrap();
            fs::write(layout.environment_files(&app).join(format!("{id}.web.env")), "").unwrap();
            // The same release with a configuration is another one.
            fs::write(layout.environment_files(&app).join(format!("{id}_0123abcd.env")), "").unwrap();
        }
        fs::create_dir_all(layout.releases(&app).join(".new-3.0-000000000000")).unwrap();
        fs::create_dir_all(layout.venvs(&app).join("unused")).unwrap();
        let swept = sweep(&layout, &app, &BTreeSet::from([kept.release_id()])).unwrap();
        assert_eq!(swept.releases, 2);
        assert!(layout.release(&app, &kept.release_id()).exists() && layout.manifest(&app, &kept.release_id()).exists());
        assert_eq!(names(&layout.releases(&app)), [kept.release_id().as_str()]);
        assert_eq!(names(&layout.environment_files(&app)).len(), 1);
        assert!(names(&layout.venvs(&app)).is_empty() && !store.has(&stray));
    }
}
