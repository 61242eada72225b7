//! A release from outside, and one that was checked: only the second can be used.

use roadstead_model::{Digest, ReleaseId, limits};

use crate::manifest::{InvalidManifest, Manifest};
use crate::sign::Signature;
use crate::trust::{NotTrusted, TrustedKeys};

/// A manifest and signatures as they came. Its only verb is [`UntrustedRelease::verify`].
#[derive(Debug, Clone)]
pub struct UntrustedRelease {
    manifest: Vec<u8>,
    signatures: Vec<Signature>,
}

/// A release whose manifest enough trusted keys signed, and which is well-formed.
#[derive(Debug, Clone)]
pub struct VerifiedRelease {
    manifest: Manifest,
    encoded: Vec<u8>,
    signed_by: Vec<String>,
}

/// Why a release is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too large, or too many signatures.
    #[error("the release has {what}: more than {max} are not taken")]
    TooLarge {
        /// Of what.
        what: String,
        /// The bound.
        max: u64,
    },
    /// Not signed by those who must.
    #[error(transparent)]
    NotTrusted(#[from] NotTrusted),
    /// Signed, but not a release.
    #[error(transparent)]
    Manifest(#[from] InvalidManifest),
}

impl UntrustedRelease {
    /// Takes what came from outside.
    ///
    /// # Errors
    /// [`Refused::TooLarge`].
    pub fn new(manifest: Vec<u8>, signatures: Vec<Signature>) -> Result<Self, Refused> {
        if manifest.len() as u64 > limits::MANIFEST_BYTES_MAX {
            return Err(Refused::TooLarge { what: format!("a manifest of {} bytes", manifest.len()), max: limits::MANIFEST_BYTES_MAX });
        }
        if signatures.len() > limits::SIGNATURES_MAX {
            return Err(Refused::TooLarge { what: format!("{} signatures", signatures.len()), max: limits::SIGNATURES_MAX as u64 });
        }
        Ok(Self { manifest, signatures })
    }

    /// The digest of the manifest, whoever signed it.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    /// The encoded manifest, to be passed on.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.manifest
    }

    /// The signatures, to be passed on.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// What it says of itself, for showing it to people. Nothing may be run or laid out by it.
    ///
    /// # Errors
    /// [`InvalidManifest`].
    pub fn claims(&self) -> Result<Manifest, InvalidManifest> {
        Manifest::decode(&self.manifest)
    }

    /// Checks the signatures first, then everything else.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn verify(self, keys: &TrustedKeys) -> Result<VerifiedRelease, Refused> {
        let signed_by = keys.check(&self.manifest, &self.signatures)?;
        let manifest = Manifest::decode(&self.manifest)?;
        Ok(VerifiedRelease { manifest, encoded: self.manifest, signed_by })
    }
}

impl VerifiedRelease {
    /// Its manifest.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes that were signed.
    #[must_use]
    pub fn encoded(&self) -> &[u8] {
        &self.encoded
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> ReleaseId {
        self.manifest.release_id()
    }

    /// Names of the keys that signed it.
    #[must_use]
    pub fn signed_by(&self) -> &[String] {
        &self.signed_by
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::FORMAT;
    use crate::samples;
    use crate::sign::SigningKey;
    use crate::trust::TrustedKey;

    fn keys() -> (SigningKey, TrustedKeys) {
        let key = SigningKey::generate().unwrap();
        let trusted = TrustedKey { name: "ci".to_owned(), public: key.public() };
        (key, TrustedKeys::new(1, vec![trusted]).unwrap())
    }

    fn verify(bytes: &[u8], key: &SigningKey, keys: &TrustedKeys) -> Result<VerifiedRelease, Refused> {
        UntrustedRelease::new(bytes.to_vec(), vec![key.sign(bytes)]).and_then(|release| release.verify(keys))
    }

    #[test]
    fn a_signed_release_is_taken_and_any_changed_byte_is_not() {
        let (key, keys) = keys();
        let bytes = samples::manifest().encode();
        let verified = verify(&bytes, &key, &keys).unwrap();
        assert_eq!((verified.id(), verified.signed_by()), (samples::manifest().release_id(), &["ci".to_owned()][..]));
        let signature = key.sign(&bytes);
        for place in (0..bytes.len()).step_by(7) {
            let mut changed = bytes.clone();
            changed[place] ^= 1;
            assert!(UntrustedRelease::new(changed, vec![signature]).unwrap().verify(&keys).is_err(), "byte {place}");
        }
    }

    #[test]
    fn signed_but_not_understood_is_refused() {
        let (key, keys) = keys();
        let bytes = samples::manifest().encode();
        let text = String::from_utf8(bytes).unwrap();
        let newer = text.replacen(&format!("\"format\":{FORMAT}"), "\"format\":99", 1);
        assert!(matches!(verify(newer.as_bytes(), &key, &keys), Err(Refused::Manifest(InvalidManifest::Newer(99)))));
        let spaced = format!("{text} ");
        assert!(matches!(verify(spaced.as_bytes(), &key, &keys), Err(Refused::Manifest(InvalidManifest::NotCanonical))));
        let other = text.replacen("\"app\":\"erp\"", "\"app\":\"crm\"", 1);
        assert!(matches!(verify(other.as_bytes(), &key, &keys), Err(Refused::Manifest(InvalidManifest::Names { .. }))));
        assert!(matches!(UntrustedRelease::new(vec![0; 2 << 20], vec![]), Err(Refused::TooLarge { .. })));
    }
}
