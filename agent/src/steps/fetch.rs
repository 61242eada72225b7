//! Fetch: the manifest and the blobs that the host lacks. Nothing is fetched for a manifest that is not trusted.

use roadstead_bundle::manifest::TreeRef;
use roadstead_bundle::store::{Form, Store};
use roadstead_model::{AppName, Digest, Failure, FailureKind, OrderKind, size};
use roadstead_worker::files::{create_private_folder, write_atomically};

use super::StepContext;
use super::fit::{self, Here};
use super::release::Release;
use super::unpack::blobs;
use super::util::{disk, io_failure, on_disk};
use super::verify::{self, Kept};
use crate::drift::damage::of_serving;
use crate::host::disk::free;
use crate::layout::Layout;

/// Bytes that stay free beside what is fetched.
const RESERVE_BYTES: u64 = 64 * 1024 * 1024;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Prepare { release, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    // From the first blob until its manifest lies where the sweep looks, nothing is swept, nor fetched for another app: what comes in
    // parts has one place in the store.
    let _alone = context.blob_store.lock().await;
    let received = context.releases.release(release.manifest, &context.cancelled).await?;
    let (layout, app, release) = (context.layout.clone(), context.order.app.clone(), release.clone());
    let roots = disk(move || {
        let kept = Kept::of(received)?;
        let verified = verify::trusted(&layout, &app, &release, &kept)?;
        let path = layout.received(&app, &release.id);
        create_private_folder(path.parent().unwrap_or(&path)).map_err(|error| on_disk(&error))?;
        write_atomically(&path, &kept.encode(), 0o600).map_err(|error| on_disk(&error))?;
        let manifest = verified.manifest().clone();
        // What this host cannot run is not fetched, and of two forms of the packages one.
        let way = fit::way(&manifest, &Here::of(&manifest))?;
        let trees = fit::trees(&manifest, &way);
        room_for(&layout, &trees)?;
        let roots: Vec<Digest> = trees.into_iter().map(|tree| tree.root).collect();
        clear_damaged(&layout, &app, Release::new(release.id.clone(), manifest.clone()), &roots)?;
        Ok(roots)
    })
    .await?;
    let bases = bases(context);
    let fetched = context.releases.fetch(&roots, &bases, &context.layout.blobs(), &context.progress, &context.cancelled).await?;
    Ok(match fetched.blobs {
        0 => "everything was here".to_owned(),
        blobs => format!("{blobs} blobs, {} over the wire", size(fetched.wire_bytes)),
    })
}

/// Whoever wrote into files of the serving release wrote into the store, with which they share their bytes: what was hurt is fetched again.
fn clear_damaged(layout: &Layout, app: &AppName, release: Release, roots: &[Digest]) -> Result<(), Failure> {
    if !release.tree(layout).is_dir() {
        return Ok(());
    }
    // What cannot be compared, because the store lacks something, is fetched all the same.
    let Ok(damage) = of_serving(layout, app, &release) else { return Ok(()) };
    let cleared = damage.clear(&blobs(layout)?, roots);
    let cleared = cleared.map_err(|error| Failure::new(FailureKind::Host, error.to_string(), "see the host's disk"))?;
    if cleared > 0 {
        tracing::warn!(%app, release = %release.id, cleared, "files of the release were written into; their contents are fetched again");
    }
    Ok(())
}

/// Trees of the serving release, in the same order: most files are the same, and the rest is sent as a difference to them.
fn bases(context: &StepContext) -> Vec<Digest> {
    let current = context.current().and_then(|id| context.release_by_id(&id).ok());
    let Some(Release { manifest, .. }) = current else { return Vec::new() };
    // As the serving release was fetched, so that trees stand beside their likes.
    let trees =
        fit::way(&manifest, &Here::of(&manifest)).map(|way| fit::trees(&manifest, &way).into_iter().map(|tree| tree.root).collect());
    trees.unwrap_or_default()
}

/// Whether what is missing fits the disk. Trees that are here already cost nothing.
fn room_for(layout: &Layout, trees: &[&TreeRef]) -> Result<(), Failure> {
    let blobs = layout.blobs();
    let store =
        Store::open(&blobs, Form::Raw).map_err(|error| Failure::new(FailureKind::Host, error.to_string(), "see the host's disk"))?;
    let missing = trees.iter().filter(|tree| !store.has(&tree.root));
    let (bytes, files) = missing.fold((RESERVE_BYTES, 0_u64), |(bytes, files), tree| {
        (bytes.saturating_add(tree.bytes), files.saturating_add(tree.entries.saturating_mul(2)))
    });
    let space = free(&blobs).map_err(|error| io_failure("look at the disk of", &blobs, &error))?;
    if space.free_bytes >= bytes && space.free_inodes >= files {
        return Ok(());
    }
    let summary = format!(
        "the release may need {} and {files} files on the disk of {}, {} and {} are left",
        size(bytes),
        blobs.display(),
        size(space.free_bytes),
        space.free_inodes
    );
    Err(Failure::new(FailureKind::Unfit, summary, "make room on the host (df -h, df -i), or keep fewer releases, then deploy again"))
}
