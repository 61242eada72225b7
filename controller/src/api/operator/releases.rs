//! Releases: taking them in, and showing them.

use roadstead_bundle::manifest::Manifest;
use roadstead_bundle::store::Store as Blobs;
use roadstead_bundle::walk;
use roadstead_model::{AppName, Digest, ReleaseId, limits};
use roadstead_proto::v1;
use tonic::Status;

use super::super::Context;
use super::super::status::{internal, invalid, not_now, stored, unknown};
use super::Admin;
use crate::clock;
use crate::store::{ReleaseRecord, SignatureRecord};

/// Sizes of a signature and of the id of its key.
const SIGNATURE_BYTES: usize = 64;
const KEY_ID_BYTES: usize = 16;
/// Releases that one answer shows.
const SHOWN_MAX: u32 = 500;
/// A reason that someone gives.
const REASON_BYTES_MAX: usize = 1024;

/// A reason as it came, when it is one.
pub(super) fn reason(text: &str) -> Result<String, Status> {
    if text.len() > REASON_BYTES_MAX {
        return Err(invalid(format!("the reason is longer than {REASON_BYTES_MAX} bytes")));
    }
    Ok(crate::store::printable(text))
}

pub(super) async fn publish(context: &Context, admin: &Admin, request: v1::PublishReleaseRequest) -> Result<v1::Release, Status> {
    if request.manifest.len() as u64 > limits::MANIFEST_BYTES_MAX {
        return Err(invalid(format!("the manifest is larger than {} bytes", limits::MANIFEST_BYTES_MAX)));
    }
    let manifest = read(&request.manifest)?;
    let mut signatures = signatures(request.signatures)?;
    let digest = Digest::of(&request.manifest);
    let (blobs, named) = (context.blobs.clone(), manifest.clone());
    let whole = tokio::task::spawn_blocking(move || check_trees(&blobs, &named)).await.map_err(internal)?;
    whole.map_err(|why| not_now(why, "push it again: what is missing is sent then"))?;
    let now = clock::now();
    let known = context.store.release(&digest).await.map_err(stored)?;
    if let Some(known) = &known {
        signatures.extend(
            known.signatures.iter().filter(|old| !signatures.iter().any(|new| new.key_id == old.key_id)).cloned().collect::<Vec<_>>(),
        );
        signatures.truncate(limits::SIGNATURES_MAX);
    }
    let unchanged = known.as_ref().is_some_and(|known| same(&known.signatures, &signatures));
    let mut release = ReleaseRecord {
        digest,
        bytes: request.manifest,
        manifest,
        signatures,
        published_at: now,
        published_by: admin.actor(),
        bad: String::new(),
    };
    if !unchanged {
        context.store.publish(release.clone(), now).await.map_err(stored)?;
    }
    if let Some(known) = known {
        release = ReleaseRecord { signatures: release.signatures, ..known };
    }
    shown(context, &release).await
}

/// Whether both lists hold the same signatures. One that holds a signature twice (by a changed database) is not the same as one that does not.
fn same(a: &[SignatureRecord], b: &[SignatureRecord]) -> bool {
    let within = |a: &[SignatureRecord], b: &[SignatureRecord]| a.iter().all(|signature| b.contains(signature));
    a.len() == b.len() && within(a, b) && within(b, a)
}

fn read(bytes: &[u8]) -> Result<Manifest, Status> {
    Manifest::decode(bytes)
        .map_err(|error| not_now(error.to_string(), "build the release again, with a command of the controller's version"))
}

fn signatures(wire: Vec<v1::Signature>) -> Result<Vec<SignatureRecord>, Status> {
    if wire.is_empty() {
        return Err(not_now("the release is not signed, and no host would take it", "sign it: `roadstead bundle sign BUNDLE --key KEY`"));
    }
    if wire.len() > limits::SIGNATURES_MAX {
        return Err(invalid("it has more signatures than a release may have"));
    }
    if wire.iter().any(|s| s.key_id.len() != KEY_ID_BYTES || s.signature.len() != SIGNATURE_BYTES) {
        return Err(invalid("one of the signatures is malformed"));
    }
    for (index, signature) in wire.iter().enumerate() {
        if wire.iter().take(index).any(|earlier| earlier.key_id == signature.key_id) {
            return Err(not_now(
                "one key signed the release twice, which counts once",
                "sign it with different keys: `roadstead bundle sign`",
            ));
        }
    }
    Ok(wire.into_iter().map(|s| SignatureRecord { key_id: s.key_id, signature: s.signature }).collect())
}

/// Checks that everything that the trees name is there, every folder is well-formed, and nothing is beyond its bound.
fn check_trees(blobs: &Blobs, manifest: &Manifest) -> Result<(), String> {
    let all = walk::blobs(blobs, manifest).map_err(|error| error.to_string())?;
    match all.iter().find(|(digest, _)| !blobs.has(digest)) {
        Some((digest, size)) => Err(format!("blob {} ({size} bytes) is not here", digest.short())),
        None => Ok(()),
    }
}

pub(super) async fn list(context: &Context, request: v1::ListReleasesRequest) -> Result<v1::ListReleasesResponse, Status> {
    let limit = if request.limit == 0 { SHOWN_MAX } else { request.limit.min(SHOWN_MAX) };
    let mut releases = Vec::new();
    for release in context.store.releases(&request.app, limit).await.map_err(stored)? {
        releases.push(shown(context, &release).await?);
    }
    Ok(v1::ListReleasesResponse { releases })
}

pub(super) async fn get(context: &Context, request: v1::GetReleaseRequest) -> Result<v1::GetReleaseResponse, Status> {
    let app = match request.app.as_str() {
        "" => None,
        name => Some(AppName::parse(name).map_err(invalid)?),
    };
    let release = meant(context, app.as_ref(), &request.release).await?;
    let signatures = release.signatures.iter().map(|s| v1::Signature { key_id: s.key_id.clone(), signature: s.signature.clone() });
    let signatures = signatures.collect();
    Ok(v1::GetReleaseResponse { release: Some(shown(context, &release).await?), manifest: release.bytes, signatures })
}

/// The release that a person means by an id, a version, or the beginning of its manifest's digest.
pub(super) async fn meant(context: &Context, app: Option<&AppName>, text: &str) -> Result<ReleaseRecord, Status> {
    if text.is_empty() || text.len() > 128 {
        return Err(invalid("name a release by its id, its version, or the beginning of its digest"));
    }
    // A release is the same with whatever configuration it runs.
    let bare = ReleaseId::parse(text).map_or_else(|_| text.to_owned(), |id| String::from(id.bare()));
    let mut found = context.store.releases_named(app.map_or("", AppName::as_str), &bare).await.map_err(stored)?;
    match found.len() {
        0 => {
            let of_app = app.map(|app| format!(" of {app}")).unwrap_or_default();
            Err(unknown(format!("there is no release {text:?}{of_app}"), "see `roadstead release list`; `roadstead push` brings one"))
        }
        1 => Ok(found.remove(0)),
        count => {
            let ids: Vec<String> = found.iter().map(|release| format!("{} of {}", release.id(), release.manifest.app)).collect();
            Err(not_now(format!("{text} may be {count} releases: {}", ids.join(", ")), "give the whole id, and --app where apps share it"))
        }
    }
}

async fn shown(context: &Context, release: &ReleaseRecord) -> Result<v1::Release, Status> {
    let manifest = &release.manifest;
    let environments = context.store.environments("").await.map_err(stored)?;
    let current = environments
        .iter()
        .filter(|e| e.spec.app == manifest.app && e.current.as_ref().is_some_and(|current| current.release.manifest == release.digest));
    Ok(v1::Release {
        app: manifest.app.to_string(),
        id: release.id().to_string(),
        manifest: release.digest.as_bytes().to_vec(),
        version: manifest.version.to_string(),
        commit: manifest.source.commit.clone(),
        branch: manifest.source.branch.clone().unwrap_or_default(),
        author: manifest.source.author.clone(),
        committed_at_ms: manifest.source.committed_at.0,
        published_at_ms: release.published_at.0,
        published_by: release.published_by.clone(),
        dirty: manifest.source.dirty,
        bytes: manifest.trees().map(|tree| tree.bytes).fold(0, u64::saturating_add),
        bad: release.bad.clone(),
        current_in: current.map(|e| e.spec.name.to_string()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_that_stands_twice_hides_no_new_one() {
        let by = |key: u8| SignatureRecord { key_id: vec![key; 16], signature: vec![key; 64] };
        assert!(same(&[by(1), by(2)], &[by(2), by(1)]));
        assert!(!same(&[by(1), by(1)], &[by(1), by(2)]));
        assert!(!same(&[by(1), by(2)], &[by(1), by(1)]));
        assert!(!same(&[by(1)], &[by(1), by(2)]));
    }
}
