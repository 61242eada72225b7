//! `roadstead push`: a bundle goes to the controller, which gets only the blobs that it lacks.

use roadstead_bundle::blobs::Blobs;
use roadstead_bundle::container::{Bundle, BundleError};
use roadstead_bundle::manifest::Manifest;
use roadstead_bundle::release::UntrustedRelease;
use roadstead_bundle::walk::{Met, TreeError, walk};
use roadstead_model::{Digest, limits};
use roadstead_proto::v1::{MissingBlobsRequest, PublishReleaseRequest, Signature, UploadPart, operator_client::OperatorClient};
use std::collections::{BTreeMap, BTreeSet};
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
    let bundle = Arc::new(Bundle::open(&arguments.file).map_err(|error| unusable(&error))?);
    let release = bundle.release();
    let manifest = release.claims().map_err(|error| unusable(&error))?;
    if release.signatures().is_empty() {
        let summary = format!("{} is not signed, and no host would take it", arguments.file.display());
        return Err(Failure::refused(summary).hint("sign it: `roadstead bundle sign BUNDLE --key KEY`"));
    }
    let blobs = children_first(&*bundle, &manifest).map_err(|error| unusable(&error))?;

    let controller = Controller::of_user()?;
    let all: Vec<Digest> = blobs.iter().map(|(digest, _)| *digest).collect();
    let missing = controller.call(async |client| missing(client, &all).await)?;
    let lacks = blobs.into_iter().filter(|(digest, _)| missing.contains(digest));
    let of_bundle = |(digest, size)| bundle.frame_bytes(&digest).map(|frame| Wanted { digest, size, frame });
    let wanted: Vec<Wanted> = lacks.filter_map(of_bundle).collect();
    let (count, bytes) = (wanted.len(), wanted.iter().map(|blob| blob.size).sum());
    if !wanted.is_empty() {
        let trouble: Trouble = Arc::default();
        let bar = output.bytes("upload", wanted.iter().map(|blob| blob.frame).sum());
        let source = Arc::clone(&bundle);
        let read: Box<ReadFrame> = Box::new(move |digest, offset, part| source.read_frame(digest, offset, part));
        let parts = Parts { read, wanted: wanted.into_iter(), open: None, trouble: Arc::clone(&trouble) };
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
    let request = publication(release);
    let published = controller.call(async |mut client| Ok(client.publish_release(request).await?.into_inner()))?;
    let json = serde_json::json!({ "release": published.id, "app": published.app, "blobs": count, "bytes": bytes });
    output.result(&json, || format!("{} is at the controller: {count} of {} blobs were new ({}).", published.id, all.len(), size(bytes)));
    Ok(())
}

fn publication(release: &UntrustedRelease) -> PublishReleaseRequest {
    let signature = |signature: &roadstead_bundle::sign::Signature| Signature {
        key_id: signature.key.as_bytes().to_vec(),
        signature: signature.bytes.to_vec(),
    };
    PublishReleaseRequest { manifest: release.encoded().to_vec(), signatures: release.signatures().iter().map(signature).collect() }
}

/// All blobs with their sizes, everything below a folder before the folder: that a folder is there says that all below it is.
fn children_first(bundle: &dyn Blobs, manifest: &Manifest) -> std::result::Result<Vec<(Digest, u64)>, TreeError> {
    // What migrations do stands in no tree: it goes with the rest.
    let mut met: Vec<(Digest, u64)> = manifest.migration_facts.iter().map(|blob| (blob.digest, blob.bytes)).collect();
    for tree in manifest.trees() {
        walk::<TreeError>(bundle, &tree.root, &mut |_, found| {
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
type Trouble = Arc<Mutex<Option<BundleError>>>;

/// Fills a part with what a blob's frame holds from an offset on.
type ReadFrame = dyn Fn(&Digest, u64, &mut [u8]) -> std::result::Result<(), BundleError> + Send;

/// A blob that the controller lacks.
struct Wanted {
    digest: Digest,
    /// Bytes of its content.
    size: u64,
    /// Bytes of its frame: what travels.
    frame: u64,
}

/// The parts of all wanted blobs, read as they are sent.
struct Parts {
    read: Box<ReadFrame>,
    wanted: std::vec::IntoIter<Wanted>,
    /// The one that is being sent, and how much of its frame was.
    open: Option<(Wanted, u64)>,
    trouble: Trouble,
}

impl Parts {
    fn next_part(&mut self) -> std::result::Result<Option<UploadPart>, BundleError> {
        let Some((blob, sent)) = self.open.take().or_else(|| Some((self.wanted.next()?, 0))) else { return Ok(None) };
        let left = blob.frame - sent;
        let take = usize::try_from(left).unwrap_or(usize::MAX).min(limits::BLOB_PART_BYTES);
        let mut data = vec![0; take];
        (self.read)(&blob.digest, sent, &mut data)?;
        // The first part says how large the blob is.
        let size = if sent == 0 { blob.size } else { 0 };
        let part = UploadPart { digest: blob.digest.as_bytes().to_vec(), data, size, last: left == take as u64 };
        if !part.last {
            self.open = Some((blob, sent + take as u64));
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
    use roadstead_bundle::store::StoreError;

    fn parts(wanted: Vec<Wanted>, read: Box<ReadFrame>) -> Parts {
        Parts { read, wanted: wanted.into_iter(), open: None, trouble: Arc::default() }
    }

    #[test]
    fn blobs_go_in_parts_and_end() {
        let (first, second) = (Digest::of(b"first"), Digest::of(b"second"));
        let wanted = vec![Wanted { digest: first, size: 200_000, frame: 200_010 }, Wanted { digest: second, size: 0, frame: 9 }];
        let read = |_: &Digest, offset: u64, part: &mut [u8]| {
            (offset..).zip(part).for_each(|(place, byte)| *byte = u8::try_from(place % 251).unwrap());
            Ok(())
        };
        let parts: Vec<UploadPart> = parts(wanted, Box::new(read)).collect();
        assert_eq!(
            parts.iter().map(|part| (part.size, part.last)).collect::<Vec<_>>(),
            [(200_000, false), (0, false), (0, false), (0, true), (0, true)]
        );
        let first: Vec<u8> = parts.iter().take(4).flat_map(|part| part.data.clone()).collect();
        assert!(first.len() == 200_010 && first.iter().enumerate().all(|(place, byte)| usize::from(*byte) == place % 251));
        assert_eq!(parts[4].data.len(), 9);
    }

    #[test]
    fn a_blob_that_is_gone_ends_the_upload_with_its_reason() {
        let wanted = vec![Wanted { digest: Digest::of(b"gone"), size: 4, frame: 13 }];
        let mut parts = parts(wanted, Box::new(|digest, _, _| Err(StoreError::Missing(*digest).into())));
        let trouble = Arc::clone(&parts.trouble);
        assert!(parts.next().is_none() && trouble.lock().unwrap().is_some());
    }
}
