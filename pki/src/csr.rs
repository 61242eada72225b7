//! A key that was made here and waits for its certificate.

use crate::limits::REQUEST_BYTES_MAX;
use crate::{Credentials, CredentialsError};
use rcgen::{CertificateParams, CertificateSigningRequestParams, KeyPair, PublicKey};

/// No key or request could be made.
#[derive(Debug, thiserror::Error)]
#[error("no key could be made: {0}")]
pub struct KeyError(#[from] rcgen::Error);

/// Why a certificate request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestFault {
    /// Larger than a request of ours can be.
    #[error("the certificate request has {0} bytes, more than {REQUEST_BYTES_MAX} are not taken")]
    TooLarge(usize),
    /// Not a request, or its signature does not fit its key.
    #[error("the certificate request is malformed, or is not signed with the key that it names")]
    Malformed,
    /// A key of another kind than ours.
    #[error("the certificate request names a key that is not ECDSA P-256")]
    Key,
}

/// A key pair of this machine, and the request for a certificate about it. The key never leaves the machine.
pub struct PendingCredentials {
    key: KeyPair,
    request: Vec<u8>,
}

impl std::fmt::Debug for PendingCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PendingCredentials([redacted])")
    }
}

impl PendingCredentials {
    /// Makes a fresh key (ECDSA P-256) and a request, which names nobody: who it is for is the authority's to say.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate() -> Result<Self, KeyError> {
        let key = KeyPair::generate()?;
        let request = CertificateParams::default().serialize_request(&key)?.der().to_vec();
        Ok(Self { key, request })
    }

    /// The request in DER (PKCS #10).
    #[must_use]
    pub fn request(&self) -> &[u8] {
        &self.request
    }

    /// Joins the key with the certificate that was issued for it; both in DER.
    ///
    /// # Errors
    /// When the certificate is not about this key, not signed by that authority, or names nobody.
    pub fn complete(self, certificate: &[u8], authority: &[u8]) -> Result<Credentials, CredentialsError> {
        Credentials::assemble(self.key.serialize_der(), certificate.to_vec(), authority.to_vec())
    }

    /// The key, for certificates that are issued on the spot.
    pub(crate) const fn key(&self) -> &KeyPair {
        &self.key
    }
}

/// The public key of a request whose signature holds. Everything else that the request asks for is ignored.
pub(crate) fn public_key(request: &[u8]) -> Result<PublicKey, RequestFault> {
    if request.len() > REQUEST_BYTES_MAX {
        return Err(RequestFault::TooLarge(request.len()));
    }
    let parsed = CertificateSigningRequestParams::from_der(&request.to_vec().into()).map_err(|_| RequestFault::Malformed)?;
    if *parsed.public_key.algorithm() == rcgen::PKCS_ECDSA_P256_SHA256 { Ok(parsed.public_key) } else { Err(RequestFault::Key) }
}
