//! Keys that everybody can make: what is signed with them is worth nothing outside of here.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead_bundle::sign::SigningKey;

/// The key of this number.
pub(crate) fn key(number: u8) -> SigningKey {
    let seed = STANDARD.encode([number; 32]);
    SigningKey::parse(&format!("-----BEGIN ROADSTEAD RELEASE KEY-----\n{seed}\n-----END ROADSTEAD RELEASE KEY-----\n")).unwrap()
}
