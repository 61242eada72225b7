//! Keys that everybody can make: what is signed with them is worth nothing outside of here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_bundle::sign::SigningKey;
use roadstead_bundle::trust::{TrustedKey, TrustedKeys};

/// The key of this number.
pub(crate) fn key(number: u8) -> SigningKey {
    let seed = STANDARD.encode([number; 32]);
    SigningKey::parse(&format!("-----BEGIN ROADSTEAD RELEASE KEY-----\n{seed}\n-----END ROADSTEAD RELEASE KEY-----\n")).unwrap()
}

/// Whoever believes the first key and no other.
pub(crate) fn first_only() -> TrustedKeys {
    TrustedKeys::new(1, vec![TrustedKey { name: "one".to_owned(), public: key(1).public() }]).unwrap()
}
