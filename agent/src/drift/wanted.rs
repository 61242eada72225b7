//! What of a release should lie on the host: its trees, and what the agent lays over them.

use roadstead_bundle::spec::{Collect, RelativePath};
use roadstead_bundle::store::Store;
use roadstead_model::{DriftPart, Failure};
use std::collections::BTreeSet;
use std::path::PathBuf;

use super::tree::{Overlay, Tree, Wanted};
use crate::host::python::Interpreter;
use crate::layout::Layout;
use crate::steps::fit::{self, Here, Way};
use crate::steps::release::Release;
use crate::steps::venv;

/// The trees of a release: its files, those that were collected when it was built, and its packages where they are linked. Packages that
/// were installed from wheels on the host are nobody's list: they are not compared.
pub(crate) fn trees(layout: &Layout, store: &Store, release: &Release) -> Result<Vec<Tree>, Failure> {
    let mut trees = code(layout, release);
    if let Way::Linked(interpreter) = fit::way(&release.manifest, &Here::of(&release.manifest))? {
        trees.extend(packages(layout, store, release, &interpreter)?);
    }
    Ok(trees)
}

/// The release's files, and what was collected from them.
pub(crate) fn code(layout: &Layout, release: &Release) -> Vec<Tree> {
    let spec = &release.manifest.spec;
    let mut overlay = Overlay::new();
    let mut lay = |path: &RelativePath, target: PathBuf| drop(overlay.insert(within(&spec.root, path.as_str()), Wanted::Link(target)));
    for path in &spec.shared {
        lay(path, layout.shared(release.app()).join(path.as_str()));
    }
    for path in spec.from_host.iter().chain(&spec.configured) {
        lay(path, layout.placed_of(release.app(), &release.id).join(path.as_str()));
    }
    let collected = layout.collected_of(release.app(), &release.id);
    let statics = spec.statics.as_ref().filter(|statics| statics.collect != Collect::Never);
    if let Some(statics) = statics {
        lay(&statics.root, collected.clone());
    }
    let packages = release.venv(layout);
    let mut trees = vec![Tree {
        part: DriftPart::Tree,
        place: release.tree(layout),
        root: Some(release.manifest.code.root),
        overlay,
        apart: BTreeSet::new(),
        unless_there: Some((within(&spec.root, ".venv"), Wanted::Link(packages))),
    }];
    if let (Some(Collect::Build), Some(tree)) = (statics.map(|statics| statics.collect), &release.manifest.statics) {
        trees.push(Tree { part: DriftPart::Tree, place: collected, root: Some(tree.root), ..Tree::default() });
    }
    trees
}

/// The virtual environment: a skeleton of the agent's, and the two trees of packages within.
fn packages(layout: &Layout, store: &Store, release: &Release, interpreter: &Interpreter) -> Result<Vec<Tree>, Failure> {
    let Some(tree) = &release.manifest.packages.installed else { return Ok(Vec::new()) };
    let (lib, bin) = venv::parts(store, &tree.root)?;
    let (place, version) = (release.venv(layout), interpreter.version);
    let site = format!("lib/python{version}/site-packages");
    let link = |target: &str| Wanted::Link(PathBuf::from(target));
    let skeleton = [
        ("pyvenv.cfg".to_owned(), Wanted::Text(venv::settings_text(interpreter))),
        ("lib64".to_owned(), link("lib")),
        ("bin".to_owned(), Wanted::Folder(None)),
        (site.clone(), Wanted::Folder(None)),
    ];
    let programs = [
        ("python".to_owned(), Wanted::Link(interpreter.path.clone())),
        ("python3".to_owned(), link("python")),
        (format!("python{version}"), link("python")),
    ];
    let part = DriftPart::Packages;
    let apart = BTreeSet::from(["bin".to_owned(), site.clone()]);
    Ok(vec![
        Tree { part, place: place.clone(), overlay: skeleton.into(), apart, ..Tree::default() },
        Tree { part, place: place.join("bin"), root: bin, overlay: programs.into(), ..Tree::default() },
        Tree { part, place: place.join(site), root: Some(lib), ..Tree::default() },
    ])
}

/// A path below the app's root, as one below the root of the release's tree.
fn within(root: &RelativePath, path: &str) -> String {
    if root.is_root() { path.to_owned() } else { format!("{}/{path}", root.as_str()) }
}
