//! What of a release hosts lack, and which files differ from what runs: read from the trees in the store. All of it blocks.

use roadstead_bundle::diff::{Difference, diff};
use roadstead_bundle::manifest::{Manifest, TreeRef};
use roadstead_bundle::migrations::MigrationFacts;
use roadstead_bundle::store::Store as Blobs;
use roadstead_bundle::walk::{TreeError, blobs_of, migration_facts, reachable};
use roadstead_model::{AppName, Digest, HostFacts, HostId, ReleaseId};
use std::collections::{BTreeMap, BTreeSet};

use roadstead_driver::ReleaseRecord;

/// Different holdings of hosts that are looked at. Of hosts with further ones it is said that they may lack everything.
const HOLDINGS_MAX: usize = 32;

/// What was read, or why it could not be.
#[derive(Debug)]
pub(crate) struct Contents {
    /// Files that differ from what the environment runs; none where it runs nothing.
    pub(crate) files: Result<Option<Difference>, String>,
    /// Bytes that each host fetches at most, as they lie in the store.
    pub(crate) bytes: Result<BTreeMap<HostId, u64>, String>,
    /// What the release says of its migrations; none where it says nothing.
    pub(crate) facts: Result<Option<MigrationFacts>, String>,
}

/// What a host has of a release already.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holding {
    /// All of it.
    Whole,
    /// What these releases share with it: those that no clean-up before the fetch takes.
    Parts {
        /// Whether it takes packages as they were installed by the builder, and not as wheels.
        linked: bool,
        /// The releases.
        releases: BTreeSet<ReleaseId>,
    },
}

impl Holding {
    /// What a host has by what it says of itself.
    pub(crate) fn of(release: &ReleaseRecord, app: &AppName, facts: Option<&HostFacts>) -> Self {
        let (id, packages) = (release.id(), &release.manifest.packages);
        let state = facts.and_then(|facts| facts.apps.get(app));
        if state.is_some_and(|state| state.releases.contains(&id) || state.current.as_ref() == Some(&id)) {
            return Self::Whole;
        }
        let fits = facts.is_none_or(|facts| facts.architecture == packages.architecture);
        let releases = state.into_iter().flat_map(|state| [state.current.clone(), state.previous.clone()]).flatten().collect();
        Self::Parts { linked: packages.installed.is_some() && (fits || packages.wheels.is_none()), releases }
    }

    /// Releases that have to be known for it.
    pub(crate) fn releases(&self) -> impl Iterator<Item = &ReleaseId> {
        let releases = if let Self::Parts { releases, .. } = self { Some(releases) } else { None };
        releases.into_iter().flatten()
    }
}

/// Reads what there is to know of a release. `known` are releases that hosts hold.
pub(crate) fn read(
    blobs: &Blobs,
    current: Option<&ReleaseRecord>,
    release: &ReleaseRecord,
    holdings: BTreeMap<HostId, Holding>,
    known: &BTreeMap<ReleaseId, Manifest>,
) -> Contents {
    let files = current.map(|current| diff((blobs, &current.manifest), (blobs, &release.manifest))).transpose();
    let mut lacks: BTreeMap<Holding, u64> = BTreeMap::new();
    let mut bytes = BTreeMap::new();
    let mut failed = None;
    for (host, holding) in holdings {
        let holding = match holding {
            Holding::Parts { linked, .. } if lacks.len() >= HOLDINGS_MAX && !lacks.contains_key(&holding) => {
                Holding::Parts { linked, releases: BTreeSet::new() }
            }
            holding => holding,
        };
        let lacking = lacks.get(&holding).copied().map_or_else(|| lacking(blobs, release, &holding, known), Ok);
        match lacking {
            Ok(lacking) => {
                lacks.insert(holding, lacking);
                bytes.insert(host, lacking);
            }
            Err(error) => failed = failed.or(Some(error.to_string())),
        }
    }
    let facts = migration_facts(blobs, &release.manifest).map_err(|error| error.to_string());
    Contents { files: files.map_err(|error| error.to_string()), bytes: failed.map_or(Ok(bytes), Err), facts }
}

/// Bytes of the blobs that a host lacks, as they lie in the store: so they are sent, or less where a patch is smaller.
fn lacking(blobs: &Blobs, release: &ReleaseRecord, holding: &Holding, known: &BTreeMap<ReleaseId, Manifest>) -> Result<u64, TreeError> {
    let Holding::Parts { linked, .. } = holding else { return Ok(0) };
    let roots = holding.releases().filter_map(|id| known.get(id)).flat_map(|manifest| trees(manifest, *linked)).map(|tree| tree.root);
    let held = reachable(blobs, roots);
    let needed = blobs_of(blobs, trees(&release.manifest, *linked))?;
    let lacks = needed.iter().filter(|(digest, _)| !held.contains(digest));
    let lies = |(digest, size): &(Digest, u64)| std::fs::metadata(blobs.path_of(digest)).map_or(*size, |metadata| metadata.len());
    Ok(lacks.map(lies).fold(release.bytes.len() as u64, u64::saturating_add))
}

/// The trees that a host fetches.
fn trees(manifest: &Manifest, linked: bool) -> impl Iterator<Item = &TreeRef> {
    let packages = &manifest.packages;
    let (first, second) = if linked { (&packages.installed, &packages.wheels) } else { (&packages.wheels, &packages.installed) };
    std::iter::once(&manifest.code).chain(first.as_ref().or(second.as_ref())).chain(&manifest.statics)
}
