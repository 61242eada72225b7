//! Verify: the release is signed by those whom this host trusts, is what the order names, is whole, and fits this host. Only then is its
//! manifest written where later steps look for it.

use roadstead_bundle::manifest::{Node, TreeRef};
use roadstead_bundle::release::{Refused, UntrustedRelease, VerifiedRelease};
use roadstead_bundle::sign::Signature;
use roadstead_bundle::store::{Form, Store, StoreError};
use roadstead_bundle::trust::TrustedKeys;
use roadstead_bundle::walk::{self, TreeError};
use roadstead_model::{AppName, Digest, Failure, FailureKind, OrderKind, ReleaseRef, Values, limits};
use roadstead_worker::files::{create_private_folder, read_bounded, write_atomically};
use serde::{Deserialize, Serialize};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::StepContext;
use super::configure;
use super::fit::{self, Here, Way};
use super::placed;
use super::release::Release;
use super::util::{disk, io_failure, on_disk};
use crate::drift::damage::{Damage, of_serving};
use crate::fetch::ReceivedRelease;
use crate::layout::Layout;

/// A received release as it is kept: its manifest is text, so it hardly grows.
const KEPT_BYTES_MAX: u64 = 4 * limits::MANIFEST_BYTES_MAX;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Prepare { release, variables, secrets, files, singletons, .. } = &context.order.kind else {
        return Ok("nothing to do".to_owned());
    };
    let (layout, app, named) = (context.layout.clone(), context.order.app.clone(), release.clone());
    let values = Values { variables: variables.clone(), secrets: secrets.clone(), files: files.clone() };
    let (note, bytes) = disk(move || {
        let kept = Kept::read(&layout, &app, &named)?;
        let verified = trusted(&layout, &app, &named, &kept)?;
        let release = Release::new(named.id.clone(), verified.manifest().clone());
        let bytes = whole(&layout, &release)?;
        // What is missing on this host is named now, before anything of the app changes.
        configure::variables(&layout, &release, &values.variables, &values.secrets)?;
        placed::configured(&release, &values)?;
        placed::look(&layout, &release)?;
        let path = layout.manifest(&app, &named.id);
        create_private_folder(&layout.manifests(&app)).map_err(|error| on_disk(&error))?;
        write_atomically(&path, verified.encoded(), 0o600).map_err(|error| on_disk(&error))?;
        Ok((verified.signed_by().join(", "), bytes))
    })
    .await?;
    context.states.update(&context.order.app, |memory| {
        memory.singletons.insert(release.id.clone(), singletons.clone());
    })?;
    Ok(format!("signed by {note}; {} KiB to lay out are whole", bytes.div_ceil(1024)))
}

/// A release as it was received: signatures beside the text that they are about.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    manifest: String,
    signatures: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Kept {
    /// What came, to be kept.
    pub(crate) fn of(received: ReceivedRelease) -> Result<Self, Failure> {
        let manifest = String::from_utf8(received.manifest).map_err(|_| untrusted("its manifest is not text".to_owned()))?;
        Ok(Self { manifest, signatures: received.signatures.into_iter().map(|s| (s.key_id, s.signature)).collect() })
    }

    /// The file's content.
    pub(crate) fn encode(&self) -> Vec<u8> {
        // Strings and numbers always encode.
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn read(layout: &Layout, app: &AppName, release: &ReleaseRef) -> Result<Self, Failure> {
        let path = layout.received(app, &release.id);
        let bytes = read_bounded(&path, KEPT_BYTES_MAX).map_err(|error| on_disk(&error))?;
        let damaged = |error: serde_json::Error| untrusted(format!("{} is damaged: {error}", path.display()));
        serde_json::from_slice(&bytes).map_err(damaged)
    }
}

fn untrusted(why: String) -> Failure {
    Failure::new(
        FailureKind::Untrusted,
        format!("the release is not taken: {why}"),
        "build and push the release again; nothing of it was used",
    )
}

/// Signed by others than this host believes is another matter than broken: it is the host's or the signer's to change.
fn refused(layout: &Layout, error: &Refused) -> Failure {
    let failure = untrusted(error.to_string());
    if !matches!(error, Refused::NotTrusted(_)) {
        return failure;
    }
    let keys = layout.release_keys();
    let hint = format!(
        "nothing of it was used: sign it with keys that {} of the host names (`roadstead bundle sign`), then push and deploy it again",
        keys.display()
    );
    Failure { hint, ..failure }
}

/// The keys that this host's operator wrote down. A file that others could have written trusts nobody.
pub(crate) fn trusted_keys(layout: &Layout) -> Result<TrustedKeys, Failure> {
    let path = layout.release_keys();
    let unfit = |why: String, hint: &str| Failure::new(FailureKind::Unfit, why, hint);
    let metadata = std::fs::metadata(&path).map_err(|error| {
        let hint = "write the public keys that may sign releases into it, as `roadstead key generate` prints them";
        unfit(format!("this host trusts nobody to sign releases: {} cannot be read: {error}", path.display()), hint)
    })?;
    if metadata.mode() & 0o022 != 0 || !owned_by_us(&metadata, &path)? {
        let why = format!("{} could have been written by others: it must belong to root and nobody else may write it", path.display());
        return Err(unfit(why, "look at what it says, then run chown root and chmod 644 on it"));
    }
    let bytes = read_bounded(&path, limits::CONFIG_FILE_BYTES_MAX).map_err(|error| on_disk(&error))?;
    let keys = TrustedKeys::read(&String::from_utf8_lossy(&bytes));
    keys.map_err(|error| unfit(format!("{}: {error}", path.display()), "correct the file on the host, as root"))
}

/// The file and the folder that it lies in belong to the agent's user, which is root.
fn owned_by_us(file: &std::fs::Metadata, path: &Path) -> Result<bool, Failure> {
    let own = nix::unistd::Uid::effective().as_raw();
    let Some(folder) = path.parent() else { return Ok(false) };
    let metadata = std::fs::metadata(folder).map_err(|error| io_failure("look at", folder, &error))?;
    Ok(file.uid() == own && metadata.uid() == own && metadata.mode() & 0o022 == 0)
}

/// The release, if it is the one that the order names and trusted keys signed it.
pub(crate) fn trusted(layout: &Layout, app: &AppName, named: &ReleaseRef, kept: &Kept) -> Result<VerifiedRelease, Failure> {
    if Digest::of(kept.manifest.as_bytes()) != named.manifest {
        return Err(untrusted("its manifest is not the one that the order names".to_owned()));
    }
    let signatures = kept.signatures.iter().map(|(key, bytes)| Signature::from_parts(key, bytes)).collect::<Result<Vec<_>, _>>();
    let signatures = signatures.map_err(|error| untrusted(error.to_string()))?;
    let release = UntrustedRelease::new(kept.manifest.clone().into_bytes(), signatures);
    let keys = trusted_keys(layout)?;
    let verified = release.and_then(|release| release.verify(&keys)).map_err(|error| refused(layout, &error))?;
    if verified.id() != named.id.bare() || verified.manifest().app != *app {
        return Err(untrusted(format!("it is {} of {}, the order names {} of {app}", verified.id(), verified.manifest().app, named.id)));
    }
    Ok(verified)
}

/// Whether this host can run what was built, and reads every blob through that will be laid out for that. A damaged one is removed, so
/// that the next attempt fetches it again.
fn whole(layout: &Layout, release: &Release) -> Result<u64, Failure> {
    let store = Store::open(&layout.blobs(), Form::Raw);
    let store = store.map_err(|error| Failure::new(FailureKind::Host, error.to_string(), "see the host's disk"))?;
    let manifest = &release.manifest;
    let here = Here::of(manifest);
    let way = fit::way(manifest, &here)?;
    let damaged = |error: TreeError| {
        if let TreeError::Store(StoreError::Damaged(digest)) = &error {
            // When this fails too, the next attempt meets the same blob and says so again.
            drop(store.remove(digest));
        }
        Failure::new(
            FailureKind::Untrusted,
            format!("the release is not whole here: {error}"),
            "deploy again: what is missing is fetched again",
        )
    };
    let differs = of_serving(layout, release.app(), release)?;
    let bytes = walk::check(&store, to_lay_out(layout, release, &way, &differs)).map_err(damaged)?;
    if let (Way::Installed(..), Some(wheels)) = (&way, &manifest.packages.wheels) {
        let node = store.read_checked(&wheels.root, limits::TREE_NODE_BYTES_MAX).map_err(|error| untrusted(error.to_string()))?;
        let node = Node::decode(&node).map_err(|error| untrusted(error.to_string()))?;
        fit::wheels_fit(node.0.iter().map(|entry| entry.name.as_str()), manifest, &here)?;
    }
    Ok(bytes)
}

/// The trees that a host needs and has not laid out under their final names yet, or that were changed since. The others were read through
/// before that.
fn to_lay_out<'a>(layout: &Layout, release: &'a Release, way: &Way, damage: &Damage) -> impl Iterator<Item = &'a TreeRef> {
    let code_here = release.tree(layout).is_dir() && !damage.tree;
    let venv_here = release.venv(layout).is_dir() && !damage.packages;
    let packages = &release.manifest.packages;
    fit::trees(&release.manifest, way).into_iter().filter(move |tree| {
        let of_venv = packages.installed.iter().chain(&packages.wheels).any(|own| own == *tree);
        if of_venv { !venv_here } else { !code_here }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::python::Interpreter;
    use crate::host::samples;

    #[test]
    fn what_is_laid_out_is_not_read_again() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let mut manifest = samples::manifest("1.0");
        manifest.code.root = Digest::of(b"another tree than that of the packages");
        let release = Release::new(manifest.release_id(), manifest);
        let way = Way::Linked(Interpreter { path: "/usr/bin/python3".into(), version: release.manifest.spec.python });
        let all = fit::trees(&release.manifest, &way).len();
        assert!(release.manifest.packages.installed.is_some() && all > 1);
        let left = || to_lay_out(&layout, &release, &way, &Damage::default()).count();
        assert_eq!(left(), all);
        std::fs::create_dir_all(release.venv(&layout)).unwrap();
        assert_eq!(left(), all - 1);
        assert!(to_lay_out(&layout, &release, &way, &Damage::default()).any(|tree| *tree == release.manifest.code));
        std::fs::create_dir_all(release.tree(&layout)).unwrap();
        assert_eq!(left(), 0);
        let changed = Damage { tree: true, ..Damage::default() };
        assert!(to_lay_out(&layout, &release, &way, &changed).any(|tree| *tree == release.manifest.code), "what was changed is read again");
    }
}
