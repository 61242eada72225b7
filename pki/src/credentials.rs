//! A key with its certificate and the authority behind it: what a program shows to say who it is.

use crate::certificate::{CertificateFault, PeerCertificate, key_of};
use crate::files::{Existing, FileError, read_private, write_private};
use crate::pem::{self, Sections};
use crate::{Identity, KeyPin, Serial, verify};
use roadstead_model::Timestamp;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::Path;

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file holds something else.
    #[error("the file does not hold one key, its certificate and the authority's: {0}")]
    Sections(String),
    /// The certificate says nothing to us.
    #[error("the certificate cannot be used: {0}")]
    Certificate(#[from] CertificateFault),
    /// The certificate is about another key.
    #[error("the certificate is about another key than the one beside it")]
    AnotherKey,
    /// The authority beside it did not sign it.
    #[error("the certificate is not signed by the authority beside it")]
    NotSigned,
}

/// A key, its certificate and its authority. In a file: three PEM sections, mode 0600.
#[derive(Clone)]
pub struct Credentials {
    key: Vec<u8>,
    certificate: Vec<u8>,
    authority: Vec<u8>,
    says: PeerCertificate,
    authority_key: KeyPin,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("certificate", &self.says).field("key", &"[redacted]").finish_non_exhaustive()
    }
}

impl Credentials {
    pub(crate) fn assemble(key: Vec<u8>, certificate: Vec<u8>, authority: Vec<u8>) -> Result<Self, CredentialsError> {
        let says = PeerCertificate::read(&certificate)?;
        let own = rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key.as_slice()), &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|_| CredentialsError::Sections("the key is not an ECDSA P-256 key".to_owned()))?;
        if KeyPin::of_public_key(&verify::spki(&own)) != says.key() {
            return Err(CredentialsError::AnotherKey);
        }
        if !verify::signed_by(&certificate, &authority) {
            return Err(CredentialsError::NotSigned);
        }
        let authority_key = key_of(&authority).ok_or(CredentialsError::NotSigned)?;
        Ok(Self { key, certificate, authority, says, authority_key })
    }

    /// Reads credentials from a file, which must be readable by its owner alone. That they are still valid is not asked.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn load(path: &Path) -> Result<Self, CredentialsError> {
        Self::parse(&read_private(path)?)
    }

    /// Reads credentials from the text of such a file.
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn parse(text: &[u8]) -> Result<Self, CredentialsError> {
        let sections = pem::read(text).map_err(|fault| CredentialsError::Sections(fault.to_string()))?;
        let [certificate, authority] = sections.certificates.as_slice() else {
            return Err(CredentialsError::Sections(format!("it holds {} certificates", sections.certificates.len())));
        };
        Self::assemble(sections.key, certificate.clone(), authority.clone())
    }

    /// The text of such a file. It holds the key: write it only where nobody else reads.
    #[must_use]
    pub fn reveal(&self) -> String {
        pem::write(&Sections { key: self.key.clone(), certificates: vec![self.certificate.clone(), self.authority.clone()] })
    }

    /// Writes the file, replacing an older one, with mode 0600.
    ///
    /// # Errors
    /// [`CredentialsError::File`].
    pub fn save(&self, path: &Path) -> Result<(), CredentialsError> {
        Ok(write_private(path, self.reveal().as_bytes(), Existing::Replace)?)
    }

    /// Writes the file where none is yet, with mode 0600.
    ///
    /// # Errors
    /// [`CredentialsError::File`], also when a file is there.
    pub fn save_new(&self, path: &Path) -> Result<(), CredentialsError> {
        Ok(write_private(path, self.reveal().as_bytes(), Existing::Keep)?)
    }

    /// Who they are of.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        self.says.identity()
    }

    /// The certificate's number.
    #[must_use]
    pub const fn serial(&self) -> Serial {
        self.says.serial()
    }

    /// Valid from.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.says.not_before()
    }

    /// Valid until.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.says.not_after()
    }

    /// The key of the authority behind them.
    #[must_use]
    pub const fn authority(&self) -> KeyPin {
        self.authority_key
    }

    pub(crate) fn chain(&self) -> Vec<CertificateDer<'static>> {
        // The authority goes along: a host that enrolls knows only the digest of its key.
        vec![self.certificate.clone().into(), self.authority.clone().into()]
    }

    pub(crate) fn root(&self) -> CertificateDer<'static> {
        self.authority.clone().into()
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.clone()).into()
    }
}
