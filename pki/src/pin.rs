//! Public keys by their digest.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::fmt;
use std::str::FromStr;

/// The SHA-256 digest of a public key (of its `SubjectPublicKeyInfo`), written as 43 characters of base64url.
///
/// It names the authority in a join token, and the key of a host in the record of a redeemed token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyPin([u8; 32]);

/// A text that is not a key pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a key fingerprint: expected 43 characters of base64url")]
pub struct InvalidPin(String);

impl KeyPin {
    /// The pin of a public key in DER.
    pub(crate) fn of_public_key(spki: &[u8]) -> Self {
        Self(Sha256::digest(spki).into())
    }

    /// The pin with these 32 bytes, as stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for KeyPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPin({self})")
    }
}

impl FromStr for KeyPin {
    type Err = InvalidPin;
    fn from_str(text: &str) -> Result<Self, InvalidPin> {
        decode_32(text).map(Self).ok_or_else(|| InvalidPin(text.chars().take(80).collect()))
    }
}

/// Exactly 32 bytes from exactly 43 characters; no padding, no slack bits.
pub(crate) fn decode_32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 43 {
        return None;
    }
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pins_read_back(bytes: [u8; 32]) {
            let pin = KeyPin::from_bytes(bytes);
            prop_assert_eq!(pin.to_string().parse::<KeyPin>(), Ok(pin));
        }

        #[test]
        fn one_pin_has_one_spelling(text in "[A-Za-z0-9_=-]{42,44}") {
            if let Ok(pin) = text.parse::<KeyPin>() {
                prop_assert_eq!(pin.to_string(), text);
            }
        }
    }
}
