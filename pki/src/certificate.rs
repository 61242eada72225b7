//! Certificates as they are read: who, which one, from when until when.

use crate::limits::CERTIFICATE_BYTES_MAX;
use crate::{Identity, InvalidIdentity, KeyPin};
use roadstead_model::Timestamp;
use std::fmt;
use std::str::FromStr;
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

/// The serial number of a certificate: 16 random bytes, written as 32 hexadecimal digits. Revocation names it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Serial([u8; 16]);

/// A text or number that is no serial of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a serial number has 32 hexadecimal digits")]
pub struct InvalidSerial;

/// What a verified certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    identity: Identity,
    serial: Serial,
    not_before: Timestamp,
    not_after: Timestamp,
    key: KeyPin,
}

/// Why a certificate that the authority signed says nothing to us. The authority never issues such ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// Not a certificate, or too large for one of ours.
    #[error("it is no certificate of ours")]
    Malformed,
    /// No URI or several.
    #[error("it holds {0} names instead of one")]
    Names(usize),
    /// The one URI is no identity.
    #[error(transparent)]
    Identity(#[from] InvalidIdentity),
    /// The serial has another length.
    #[error(transparent)]
    Serial(#[from] InvalidSerial),
    /// Times before 1970.
    #[error("its times make no sense")]
    Times,
}

impl PeerCertificate {
    /// Reads a certificate in DER. It does not verify it: that is TLS's part, or [`crate::Authority`]'s.
    pub(crate) fn read(der: &[u8]) -> Result<Self, CertificateFault> {
        if der.len() > CERTIFICATE_BYTES_MAX {
            return Err(CertificateFault::Malformed);
        }
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateFault::Malformed)?;
        if !rest.is_empty() {
            return Err(CertificateFault::Malformed);
        }
        let names = certificate.subject_alternative_name().map_err(|_| CertificateFault::Malformed)?;
        let names = names.map(|extension| extension.value.general_names.as_slice()).unwrap_or_default();
        let uris: Vec<&str> = names.iter().filter_map(|name| if let GeneralName::URI(uri) = name { Some(*uri) } else { None }).collect();
        let [uri] = uris.as_slice() else { return Err(CertificateFault::Names(uris.len())) };
        let time = |at: &x509_parser::time::ASN1Time| {
            u64::try_from(at.timestamp()).map(|seconds| Timestamp(seconds.saturating_mul(1000))).map_err(|_| CertificateFault::Times)
        };
        Ok(Self {
            identity: Identity::parse_uri(uri)?,
            serial: Serial::from_der_integer(certificate.raw_serial())?,
            not_before: time(&certificate.validity().not_before)?,
            not_after: time(&certificate.validity().not_after)?,
            key: KeyPin::of_public_key(certificate.public_key().raw),
        })
    }

    /// Who it names.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Which certificate it is.
    #[must_use]
    pub const fn serial(&self) -> Serial {
        self.serial
    }

    /// Valid from.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// Valid until.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The key that it is about.
    #[must_use]
    pub const fn key(&self) -> KeyPin {
        self.key
    }
}

/// The pin of the key that a certificate is about, whoever it names.
pub(crate) fn key_of(der: &[u8]) -> Option<KeyPin> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return None;
    }
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then(|| KeyPin::of_public_key(certificate.public_key().raw))
}

impl Serial {
    /// A fresh one. The first bit is never set and the first byte never zero, so that DER neither adds nor drops a byte.
    pub(crate) fn generate() -> Result<Self, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        bytes[0] = bytes[0] & 0x7f | 0x40;
        Ok(Self(bytes))
    }

    fn from_der_integer(bytes: &[u8]) -> Result<Self, InvalidSerial> {
        bytes.try_into().map(Self).map_err(|_| InvalidSerial)
    }

    /// The 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl FromStr for Serial {
    type Err = InvalidSerial;
    fn from_str(text: &str) -> Result<Self, InvalidSerial> {
        if text.len() != 32 || !text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(InvalidSerial);
        }
        let mut bytes = [0; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = text.get(2 * index..2 * index + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or(InvalidSerial)?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn junk_is_no_certificate(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert!(PeerCertificate::read(&bytes).is_err());
        }

        #[test]
        fn serials_read_back(_turn in 0..20) {
            let serial = Serial::generate().unwrap();
            prop_assert_eq!(serial.to_string().parse::<Serial>(), Ok(serial));
        }
    }
}
