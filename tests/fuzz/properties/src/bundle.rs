//! A bundle as it comes from a stranger.

use roadstead_bundle::container;
use roadstead_bundle::release::UntrustedRelease;
use roadstead_bundle::store::{Form, Store};
use roadstead_bundle::walk::blobs;
use roadstead_model::limits;
use std::fs;
use std::path::Path;

use crate::scratch::scratch;

/// A bundle that is read is whole, and its release is written as the same bytes again; one that is refused leaves no half blob.
pub fn bundle(bytes: &[u8]) {
    let scratch = scratch();
    drop(read(scratch.path(), bytes));
}

/// The release and the store that it was read into.
pub(crate) fn read(folder: &Path, bytes: &[u8]) -> Option<(UntrustedRelease, Store)> {
    let (came, went) = (folder.join("came"), folder.join("went"));
    fs::write(&came, bytes).unwrap();
    let store = Store::open(&folder.join("store"), Form::Compressed).unwrap();
    let release = container::read(&came, &store);
    assert_eq!(fs::read_dir(store.folder().join("new")).unwrap().count(), 0, "half a blob is left");
    let release = release.ok()?;
    assert!(release.signatures().len() <= limits::SIGNATURES_MAX);
    for (digest, size) in blobs(&store, &release.claims().unwrap()).unwrap() {
        store.check(&digest, size).unwrap();
    }
    container::write(&went, &store, &release).unwrap();
    assert!(fs::read(&went).unwrap() == bytes, "another bundle is written than was read");
    Some((release, store))
}
