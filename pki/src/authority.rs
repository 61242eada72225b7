//! The fleet's own certificate authority: one key, which issues every certificate and trusts nothing else.

use crate::certificate::{PeerCertificate, Serial, key_of};
use crate::csr::{self, PendingCredentials};
use crate::files::{Existing, FileError, read_private, write_private};
use crate::pem::{self, Sections};
use crate::{Credentials, CredentialsError, Identity, KeyError, KeyPin, RequestFault, profile};
use rcgen::{Issuer, KeyPair, PublicKeyData, SerialNumber};
use roadstead_model::{Millis, Timestamp};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use std::path::Path;

/// Why the authority cannot be made or used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Its file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The file holds something else.
    #[error("the file of the fleet's authority cannot be used: {0}; restore it from a backup, every certificate hangs on it")]
    Damaged(String),
    /// No key could be made.
    #[error("no authority could be made")]
    Key(#[from] KeyError),
    /// No randomness.
    #[error("the system has no randomness")]
    Randomness(#[from] getrandom::Error),
}

/// Why no certificate was issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// What was asked for.
    #[error(transparent)]
    Request(#[from] RequestFault),
    /// The certificate could not be signed.
    #[error("the certificate could not be signed: {0}")]
    Sign(#[from] rcgen::Error),
    /// No randomness.
    #[error("the system has no randomness")]
    Randomness(#[from] getrandom::Error),
    /// What was issued does not read back: a bug.
    #[error("the certificate that was issued cannot be read: {0}")]
    Unreadable(#[from] crate::CertificateFault),
    /// As [`IssueError::Unreadable`], for credentials made on the spot.
    #[error("the credentials that were made cannot be used: {0}")]
    Unusable(#[from] Box<CredentialsError>),
    /// No key.
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// A certificate that was just issued.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    /// The certificate in DER.
    pub der: Vec<u8>,
    /// What it says: the identity, the serial to record, and its times.
    pub says: PeerCertificate,
}

/// The fleet's authority. Its key lies in one file, mode 0600, and in this value.
pub struct Authority {
    key: Vec<u8>,
    certificate: Vec<u8>,
    pin: KeyPin,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("pin", &self.pin).finish_non_exhaustive()
    }
}

impl Authority {
    /// Makes a new authority.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn create(now: Timestamp) -> Result<Self, AuthorityError> {
        let key = KeyPair::generate().map_err(KeyError::from)?;
        let mut params = profile::authority(now);
        params.serial_number = Some(SerialNumber::from_slice(Serial::generate()?.as_bytes()));
        let certificate = params.self_signed(&key).map_err(KeyError::from)?;
        Self::assemble(key.serialize_der(), certificate.der().to_vec())
    }

    /// Reads the authority from its file.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn load(path: &Path) -> Result<Self, AuthorityError> {
        let sections = pem::read(&read_private(path)?).map_err(|fault| AuthorityError::Damaged(fault.to_string()))?;
        let [certificate] = sections.certificates.as_slice() else {
            return Err(AuthorityError::Damaged(format!("it holds {} certificates", sections.certificates.len())));
        };
        Self::assemble(sections.key, certificate.clone())
    }

    /// Writes the authority to its file, which must not be there yet: nothing would survive its loss.
    ///
    /// # Errors
    /// [`AuthorityError::File`].
    pub fn save_new(&self, path: &Path) -> Result<(), AuthorityError> {
        let text = pem::write(&Sections { key: self.key.clone(), certificates: vec![self.certificate.clone()] });
        Ok(write_private(path, text.as_bytes(), Existing::Keep)?)
    }

    fn assemble(key: Vec<u8>, certificate: Vec<u8>) -> Result<Self, AuthorityError> {
        let damaged = |why: &str| AuthorityError::Damaged(why.to_owned());
        let pair = KeyPair::from_pkcs8_der_and_sign_algo(&PrivatePkcs8KeyDer::from(key.as_slice()), &rcgen::PKCS_ECDSA_P256_SHA256)
            .map_err(|_| damaged("its key is not an ECDSA P-256 key"))?;
        let pin = key_of(&certificate).ok_or_else(|| damaged("its certificate is malformed"))?;
        if pin != KeyPin::of_public_key(&crate::verify::spki(&pair)) {
            return Err(damaged("its certificate is about another key"));
        }
        let issuer = Issuer::from_ca_cert_der(&CertificateDer::from(certificate.as_slice()), pair);
        let issuer = issuer.map_err(|_| damaged("its certificate is not an authority's"))?;
        Ok(Self { key, certificate, pin, issuer })
    }

    /// The digest of its key, for join tokens.
    #[must_use]
    pub const fn pin(&self) -> KeyPin {
        self.pin
    }

    /// Its certificate in DER, which every host and admin keeps beside their own.
    #[must_use]
    pub fn certificate_der(&self) -> &[u8] {
        &self.certificate
    }

    /// Issues a certificate for the key of a request (PKCS #10 in DER) and for this identity. What the request asks for beyond its
    /// key is ignored: names, uses and times follow from the identity.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue(&self, request: &[u8], identity: &Identity, lifetime: Millis, now: Timestamp) -> Result<IssuedCertificate, IssueError> {
        self.sign(&csr::public_key(request)?, identity, lifetime, now)
    }

    /// Makes a key and its certificate on the spot: for the controller itself, and for the first admin.
    ///
    /// # Errors
    /// [`IssueError`].
    pub fn issue_credentials(&self, identity: &Identity, lifetime: Millis, now: Timestamp) -> Result<Credentials, IssueError> {
        let pending = PendingCredentials::generate()?;
        let issued = self.sign(pending.key(), identity, lifetime, now)?;
        Ok(pending.complete(&issued.der, &self.certificate).map_err(Box::new)?)
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        identity: &Identity,
        lifetime: Millis,
        now: Timestamp,
    ) -> Result<IssuedCertificate, IssueError> {
        let mut params = profile::leaf(identity, now, lifetime)?;
        params.serial_number = Some(SerialNumber::from_slice(Serial::generate()?.as_bytes()));
        let der = params.signed_by(key, &self.issuer)?.der().to_vec();
        let says = PeerCertificate::read(&der)?;
        Ok(IssuedCertificate { der, says })
    }
}
