//! Keys that sign releases, and their signatures: Ed25519 (RFC 8032) over the encoded manifest and nothing else.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{Signer as _, VerifyingKey};
use std::fmt;
use std::str::FromStr;

/// Keeps a signature of a release from ever being one of anything else that the same key signs.
const CONTEXT: &[u8] = b"roadstead-release-v1\n";
const ALGORITHM: &str = "ed25519:";
const BEGIN: &str = "-----BEGIN ROADSTEAD RELEASE KEY-----";
const END: &str = "-----END ROADSTEAD RELEASE KEY-----";

/// Which key made a signature: the first 16 bytes of the BLAKE3 digest of the public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

/// A signature and the key that is said to have made it. Nothing is believed of it before [`crate::trust::TrustedKeys`] checked it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// Which key.
    pub key: KeyId,
    /// The 64 bytes.
    pub bytes: [u8; 64],
}

/// A public key, written as `ed25519:BASE64`.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// A private key that signs releases. Its `Debug` shows nothing of it.
pub struct SigningKey(ed25519_dalek::SigningKey);

/// Why a text or some bytes are no key or signature. Messages never repeat what may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not a public key of ours.
    #[error("a public key is written as {ALGORITHM}BASE64, as `roadstead key generate` prints it")]
    Public,
    /// A key with which anyone could sign.
    #[error("the public key is one of the known weak ones: nobody should sign with it")]
    Weak,
    /// Not a file of a private key.
    #[error("the file holds no release key: it should be what `roadstead key generate` wrote")]
    Private,
    /// Not a signature.
    #[error("a signature has a key id of 16 bytes and 64 bytes of its own")]
    Signature,
    /// The system has no randomness.
    #[error("the system has no randomness for a new key")]
    Randomness,
}

impl SigningKey {
    /// A fresh key.
    ///
    /// # Errors
    /// [`InvalidKey::Randomness`].
    pub fn generate() -> Result<Self, InvalidKey> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|_| InvalidKey::Randomness)?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// Reads the text of a key file.
    ///
    /// # Errors
    /// [`InvalidKey::Private`].
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let body = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(InvalidKey::Private)?;
        let seed: [u8; 32] = STANDARD.decode(body.trim()).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(InvalidKey::Private)?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&seed)))
    }

    /// The text of a key file. It is the secret itself: there is deliberately no `Display`.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(self.0.as_bytes()))
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key())
    }

    /// Signs an encoded manifest.
    #[must_use]
    pub fn sign(&self, manifest: &[u8]) -> Signature {
        Signature { key: self.public().id(), bytes: self.0.sign(&message(manifest)).to_bytes() }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?})", self.public().id())
    }
}

impl PublicKey {
    /// Its short name in signatures.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let digest = blake3::hash(self.0.as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&digest.as_bytes()[..16]);
        KeyId(id)
    }

    /// Whether this key signed this encoded manifest.
    #[must_use]
    pub fn verifies(&self, manifest: &[u8], signature: &Signature) -> bool {
        let bytes = ed25519_dalek::Signature::from_bytes(&signature.bytes);
        signature.key == self.id() && self.0.verify_strict(&message(manifest), &bytes).is_ok()
    }
}

fn message(manifest: &[u8]) -> Vec<u8> {
    [CONTEXT, manifest].concat()
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}{}", STANDARD.encode(self.0.as_bytes()))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let encoded = text.trim().strip_prefix(ALGORITHM).ok_or(InvalidKey::Public)?;
        let bytes: [u8; 32] = STANDARD.decode(encoded).ok().and_then(|bytes| bytes.try_into().ok()).ok_or(InvalidKey::Public)?;
        let key = VerifyingKey::from_bytes(&bytes).map_err(|_| InvalidKey::Public)?;
        if key.is_weak() { Err(InvalidKey::Weak) } else { Ok(Self(key)) }
    }
}

impl KeyId {
    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl Signature {
    /// A signature as it came: id and bytes apart.
    ///
    /// # Errors
    /// [`InvalidKey::Signature`] when one of the two has another length.
    pub fn from_parts(key: &[u8], bytes: &[u8]) -> Result<Self, InvalidKey> {
        let key = key.try_into().map_err(|_| InvalidKey::Signature)?;
        Ok(Self { key: KeyId(key), bytes: bytes.try_into().map_err(|_| InvalidKey::Signature)? })
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature(by {})", self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_read_back_and_only_the_public_half_is_shown() {
        let key = SigningKey::generate().unwrap();
        let read = SigningKey::parse(&key.reveal()).unwrap();
        assert_eq!(read.public(), key.public());
        assert_eq!(key.public().to_string().parse::<PublicKey>().unwrap(), key.public());
        let secret = key.reveal().lines().nth(1).unwrap().to_owned();
        assert!(!format!("{key:?}{:?}", key.public()).contains(&secret[..8]));
    }

    #[test]
    fn a_signature_holds_for_one_manifest_and_one_key() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let signature = key.sign(b"manifest");
        assert!(key.public().verifies(b"manifest", &signature));
        assert!(!key.public().verifies(b"manifest ", &signature));
        assert!(!other.public().verifies(b"manifest", &signature));
        // A signature over the bare bytes is not one over a release.
        let bare = Signature { key: key.public().id(), bytes: key.0.sign(b"manifest").to_bytes() };
        assert!(!key.public().verifies(b"manifest", &bare));
    }

    #[test]
    fn weak_keys_are_refused() {
        let weak = format!("ed25519:{}", STANDARD.encode([0; 32]));
        assert_eq!(weak.parse::<PublicKey>(), Err(InvalidKey::Weak));
    }

    proptest! {
        #[test]
        fn junk_is_no_key(text in "(ed25519:|-----BEGIN ROADSTEAD RELEASE KEY-----)?[A-Za-z0-9+/=\\n]{0,60}(-----END ROADSTEAD RELEASE KEY-----)?") {
            if let Ok(key) = text.parse::<PublicKey>() {
                prop_assert_eq!(key.to_string(), text.trim());
            }
            drop(SigningKey::parse(&text));
        }
    }
}
