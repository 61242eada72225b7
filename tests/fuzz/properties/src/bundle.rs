//! A bundle as it comes from a stranger.

use roadstead_bundle::container::{self, Bundle};
use roadstead_bundle::release::UntrustedRelease;
use roadstead_bundle::store::{Form, Store};
use roadstead_bundle::walk::blobs;
use roadstead_model::limits;
use std::fs;
use std::path::Path;

use crate::scratch::scratch;

/// A bundle that is read is whole, and its release is written as the same bytes again.
pub fn bundle(bytes: &[u8]) {
    let scratch = scratch();
    drop(read(scratch.path(), bytes));
}

/// The release, and a store of all that the bundle carries.
pub(crate) fn read(folder: &Path, bytes: &[u8]) -> Option<(UntrustedRelease, Store)> {
    let (came, went) = (folder.join("came"), folder.join("went"));
    fs::write(&came, bytes).unwrap();
    let bundle = Bundle::open(&came).ok()?;
    let release = bundle.release().clone();
    assert!(release.signatures().len() <= limits::SIGNATURES_MAX);
    let store = Store::open(&folder.join("store"), Form::Compressed).unwrap();
    for (digest, size) in blobs(&bundle, &release.claims().unwrap()).unwrap() {
        let mut frame = vec![0; usize::try_from(bundle.frame_bytes(&digest).unwrap()).unwrap()];
        bundle.read_frame(&digest, 0, &mut frame).unwrap();
        store.take_frame(digest, size, &mut &frame[..]).unwrap();
    }
    container::write(&went, &bundle, &release).unwrap();
    assert!(fs::read(&went).unwrap() == bytes, "another bundle is written than was read");
    Some((release, store))
}
