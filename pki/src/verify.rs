//! Who is believed: chains to the fleet's authority, and nothing else.

use crate::KeyPin;
use crate::certificate::key_of;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// The `SubjectPublicKeyInfo` of a key in DER.
pub(crate) fn spki(key: &KeyPair) -> Vec<u8> {
    key.subject_public_key_info()
}

/// Whether the authority's key signed a certificate; both in DER. Times and names are not asked. The authority signed itself, too: so
/// nothing of its certificate can be altered unseen.
pub(crate) fn signed_by(certificate: &[u8], authority: &[u8]) -> bool {
    let (Ok((_, certificate)), Ok((_, authority))) = (X509Certificate::from_der(certificate), X509Certificate::from_der(authority)) else {
        return false;
    };
    authority.is_ca() && authority.verify_signature(None).is_ok() && certificate.verify_signature(Some(authority.public_key())).is_ok()
}

/// The only root there is.
pub(crate) fn root_store(authority: CertificateDer<'static>) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add(authority)?;
    Ok(roots)
}

/// Believes a server whose chain ends in the authority with a known key: what a join token names.
///
/// The authority's certificate comes with the chain; only the digest of its key is known before. Once it is found, everything is
/// checked as with a known root.
#[derive(Debug)]
pub(crate) struct PinnedAuthority {
    pub(crate) pin: KeyPin,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl PinnedAuthority {
    fn verifier(&self, intermediates: &[CertificateDer<'_>]) -> Result<Arc<WebPkiServerVerifier>, Error> {
        let authority = intermediates.iter().find(|der| key_of(der) == Some(self.pin));
        let authority = authority.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?;
        let roots = Arc::new(root_store(authority.clone().into_owned())?);
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))
    }
}

impl ServerCertVerifier for PinnedAuthority {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verifier(intermediates)?.verify_server_cert(end_entity, &[], server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(rustls::PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
