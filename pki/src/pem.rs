//! Keys and certificates as text: one private key, then certificates, in PEM (RFC 7468).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::{PemObject as _, SectionKind};
use std::fmt::Write as _;

/// What a PEM file of ours holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sections {
    /// The private key in PKCS #8.
    pub(crate) key: Vec<u8>,
    /// Certificates in the order of the file.
    pub(crate) certificates: Vec<Vec<u8>>,
}

/// Why a text holds no keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PemFault {
    #[error("it is not PEM")]
    Malformed,
    #[error("it holds no private key")]
    NoKey,
    #[error("it holds more than one private key")]
    TwoKeys,
    #[error("it holds something else than a private key and certificates")]
    Unexpected,
}

/// Reads the sections of a file.
pub(crate) fn read(text: &[u8]) -> Result<Sections, PemFault> {
    let mut key = None;
    let mut certificates = Vec::new();
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
        match section.map_err(|_| PemFault::Malformed)? {
            (SectionKind::PrivateKey, bytes) if key.is_none() => key = Some(bytes),
            (SectionKind::PrivateKey, _) => return Err(PemFault::TwoKeys),
            (SectionKind::Certificate, bytes) => certificates.push(bytes),
            _ => return Err(PemFault::Unexpected),
        }
    }
    Ok(Sections { key: key.ok_or(PemFault::NoKey)?, certificates })
}

/// Writes the sections as a file.
pub(crate) fn write(sections: &Sections) -> String {
    let mut text = String::new();
    push(&mut text, "PRIVATE KEY", &sections.key);
    for certificate in &sections.certificates {
        push(&mut text, "CERTIFICATE", certificate);
    }
    text
}

fn push(text: &mut String, label: &str, bytes: &[u8]) {
    let encoded = STANDARD.encode(bytes);
    let _written: std::fmt::Result = writeln!(text, "-----BEGIN {label}-----");
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    let _written: std::fmt::Result = writeln!(text, "-----END {label}-----");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_reads_back(key in proptest::collection::vec(any::<u8>(), 1..200), certificate in proptest::collection::vec(any::<u8>(), 1..300)) {
            let sections = Sections { key, certificates: vec![certificate.clone(), certificate] };
            prop_assert_eq!(read(write(&sections).as_bytes()).unwrap(), sections);
        }

        #[test]
        fn junk_is_refused_without_a_panic(text in "(-----BEGIN [A-Z ]{0,20}-----\\n)?[A-Za-z0-9+/=\\n]{0,200}(-----END [A-Z ]{0,20}-----\\n)?") {
            drop(read(text.as_bytes()));
        }
    }

    #[test]
    fn only_one_key_and_certificates_are_taken() {
        let one = write(&Sections { key: vec![1], certificates: vec![vec![2]] });
        assert_eq!(read(format!("{one}{one}").as_bytes()).unwrap_err(), PemFault::TwoKeys);
        assert_eq!(read(b"").unwrap_err(), PemFault::NoKey);
        assert_eq!(read(one.replace("CERTIFICATE", "X509 CRL").as_bytes()).unwrap_err(), PemFault::Unexpected);
        assert_eq!(read(b"-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n").unwrap_err(), PemFault::Malformed);
    }
}
