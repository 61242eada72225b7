//! `roadstead push`: a bundle goes to the controller, which gets only the blobs that it lacks.

use roadstead_bundle::container;
use roadstead_bundle::manifest::Manifest;
use roadstead_bundle::release::UntrustedRelease;
use roadstead_bundle::store::{Form, Store};
use roadstead_bundle::walk::{Met, TreeError, walk};
use roadstead_model::{Digest, limits};
use roadstead_proto::v1::{MissingBlobsRequest, PublishReleaseRequest, Signature, UploadPart, operator_client::OperatorClient};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::transport::Channel;

use crate::failure::{Failure, Result};
use crate::output::{Output, size};
use crate::remote::Controller;

/// Digests in one question.
const ASKED_AT_ONCE: usize = 16_000;

/// Uploads a bundle to the controller.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  roadstead push erp-1.4.2.bundle")]
pub(crate) struct Arguments {
    /// The bundle that `roadstead build` wrote.
    #[arg(value_name = "BUNDLE")]
    file: PathBuf,
}

/// Uploads what is missing, then makes the release known.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let unusable = |error: &dyn std::error::Error| Failure::failed(format!("{} cannot be used", arguments.file.display())).because(error);
    let folder = tempfile::tempdir().map_err(|error| Failure::failed("no temporary folder can be made").because(&error))?;
    let store = Store::open(folder.path(), Form::Compressed).map_err(|error| unusable(&error))?;
    let release = container::read(&arguments.file, &store).map_err(|error| unusable(&error))?;
    let manifest = release.claims().map_err(|error| unusable(&error))?;
    if release.signatures().is_empty() {
        let summary = format!("{} is not signed, and no host would take it", arguments.file.display());
        return Err(Failure::refused(summary).hint("sign it: `roadstead bundle sign BUNDLE --key KEY`"));
    }
    let blobs = children_first(&store, &manifest).map_err(|error| unusable(&error))?;

    let controller = Controller::of_user()?;
    let all: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    let missing = controller.call(async |client| missing(client, &all).await)?;
    let wanted: Vec<(Digest, u64)> = blobs.into_iter().filter(|(digest, _)| missing.contains(digest)).collect();
    let (count, bytes) = (wanted.len(), wanted.iter().map(|(_, bytes)| bytes).sum());
    if !wanted.is_empty() {
        let trouble: Trouble = Arc::default();
        let encoded = encoded_size(&store, &wanted).map_err(|error| unusable(&error))?;
        let bar = output.bytes("upload", encoded);
        let parts = Parts { store, wanted: wanted.into_iter(), open: None, trouble: Arc::clone(&trouble) };
        let counted = parts.inspect({
            let bar = bar.clone();
            move |part| bar.more(part.data.len() as u64)
        });
        let sent = controller.call(async |mut client| client.upload_blobs(tokio_stream::iter(counted)).await.map(drop));
        bar.clear();
        if let Some(error) = trouble.lock().unwrap_or_else(PoisonError::into_inner).take() {
            return Err(unusable(&error));
        }
        sent?;
    }
    let request = publication(&release);
    let published = controller.call(async |mut client| Ok(client.publish_release(request).await?.into_inner()))?;
    let json = serde_json::json!({ "release": published.id, "app": published.app, "blobs": count, "bytes": bytes });
    output.result(&json, || format!("{} is at the controller: {count} of {} blobs were new ({}).", published.id, all.len(), size(bytes)));
    Ok(())
}

/// Bytes that will travel: blobs as they lie in the store.
fn encoded_size(store: &Store, wanted: &[(Digest, u64)]) -> io::Result<u64> {
    wanted
        .iter()
        .try_fold(0, |sum: u64, (digest, _)| Ok(sum.saturating_add(store.file(digest).map_err(io::Error::other)?.metadata()?.len())))
}

fn publication(release: &UntrustedRelease) -> PublishReleaseRequest {
    let signature = |signature: &roadstead_bundle::sign::Signature| Signature {
        key_id: signature.key.as_bytes().to_vec(),
        signature: signature.bytes.to_vec(),
    };
    PublishReleaseRequest { manifest: release.encoded().to_vec(), signatures: release.signatures().iter().map(signature).collect() }
}

/// All blobs with their sizes, everything below a folder before the folder: that a folder is there says that all below it is.
fn children_first(store: &Store, manifest: &Manifest) -> std::result::Result<Vec<(Digest, u64)>, TreeError> {
    // What migrations do stands in no tree: it goes with the rest.
    let mut met: Vec<(Digest, u64)> = manifest.migration_facts.iter().map(|blob| (blob.digest, blob.bytes)).collect();
    for tree in manifest.trees() {
        walk::<TreeError>(store, &tree.root, &mut |_, found| {
            match found {
                Met::Folder { digest, encoded } => met.push((digest, encoded)),
                Met::File { digest, size, .. } => met.push((digest, size)),
                Met::Link { .. } => {}
            }
            Ok(())
        })?;
    }
    let mut seen = BTreeSet::new();
    Ok(met.into_iter().rev().filter(|(digest, _)| seen.insert(*digest)).collect())
}

async fn missing(mut client: OperatorClient<Channel>, all: &[Digest]) -> std::result::Result<BTreeSet<Digest>, tonic::Status> {
    let known: BTreeMap<Vec<u8>, Digest> = all.iter().map(|digest| (digest.as_bytes().to_vec(), *digest)).collect();
    let mut missing = BTreeSet::new();
    for part in all.chunks(ASKED_AT_ONCE) {
        let digests = part.iter().map(|digest| digest.as_bytes().to_vec()).collect();
        let answer = client.missing_blobs(MissingBlobsRequest { digests }).await?.into_inner();
        missing.extend(answer.digests.iter().filter_map(|digest| known.get(digest).copied()));
    }
    Ok(missing)
}

/// Why the upload stopped on this side.
type Trouble = Arc<Mutex<Option<io::Error>>>;

/// The parts of all wanted blobs, read as they are sent.
struct Parts {
    store: Store,
    wanted: std::vec::IntoIter<(Digest, u64)>,
    open: Option<Open>,
    trouble: Trouble,
}

struct Open {
    digest: Digest,
    size: u64,
    file: File,
    left: u64,
}

impl Parts {
    fn next_part(&mut self) -> io::Result<Option<UploadPart>> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                let Some((digest, size)) = self.wanted.next() else { return Ok(None) };
                let file = self.store.file(&digest).map_err(io::Error::other)?;
                let left = file.metadata()?.len();
                Open { digest, size, file, left }
            }
        };
        let take = usize::try_from(open.left).unwrap_or(usize::MAX).min(limits::BLOB_PART_BYTES);
        let mut data = vec![0; take];
        open.file.read_exact(&mut data)?;
        open.left -= take as u64;
        let part = UploadPart { digest: open.digest.as_bytes().to_vec(), data, size: std::mem::take(&mut open.size), last: open.left == 0 };
        if open.left > 0 {
            self.open = Some(open);
        }
        Ok(Some(part))
    }
}

impl Iterator for Parts {
    type Item = UploadPart;
    fn next(&mut self) -> Option<UploadPart> {
        self.next_part().unwrap_or_else(|error| {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_go_in_parts_and_end() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Form::Compressed).unwrap();
        let mut noise = vec![0; 200_000];
        getrandom::fill(&mut noise).unwrap();
        let wanted = vec![(store.put(&noise).unwrap(), 200_000), (store.put(b"").unwrap(), 0)];
        let parts = Parts { store, wanted: wanted.into_iter(), open: None, trouble: Arc::default() };
        let parts: Vec<UploadPart> = parts.collect();
        assert_eq!(
            parts.iter().map(|part| (part.size, part.last)).collect::<Vec<_>>(),
            [(200_000, false), (0, false), (0, false), (0, true), (0, true)]
        );
    }

    #[test]
    fn a_blob_that_is_gone_ends_the_upload_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), Form::Compressed).unwrap();
        let trouble: Trouble = Arc::default();
        let mut parts = Parts { store, wanted: vec![(Digest::of(b"gone"), 4)].into_iter(), open: None, trouble: Arc::clone(&trouble) };
        assert!(parts.next().is_none() && trouble.lock().unwrap().is_some());
    }
}
