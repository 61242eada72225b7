//! A manifest, whoever signed it.

use roadstead_bundle::manifest::Manifest;
use roadstead_bundle::release::UntrustedRelease;
use roadstead_model::Digest;

use crate::keys::{first_only, key};

/// What reads a manifest says the same of the same bytes.
pub fn manifest(bytes: &[u8]) {
    let keys = first_only();
    let read = Manifest::decode(bytes);
    let Ok(signed) = UntrustedRelease::new(bytes.to_vec(), vec![key(1).sign(bytes)]) else {
        assert!(read.is_err(), "a manifest that is too large is read");
        return;
    };
    let by_another = UntrustedRelease::new(bytes.to_vec(), vec![key(2).sign(bytes)]).unwrap();
    assert!(by_another.verify(&keys).is_err(), "a stranger's release is taken");
    let verified = signed.verify(&keys);
    assert_eq!(verified.is_ok(), read.is_ok());
    if let (Ok(read), Ok(verified)) = (read, verified) {
        assert_eq!(read.encode(), bytes, "one manifest has two encodings");
        assert_eq!((verified.manifest(), verified.encoded()), (&read, bytes));
        assert!(verified.id().as_str().ends_with(&Digest::of(bytes).short()));
    }
}
