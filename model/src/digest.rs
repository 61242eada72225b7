//! Content digests: BLAKE3, 256 bits, written as 64 lower-case hex digits.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The BLAKE3 digest of some bytes; the name of a blob.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// A text that is not 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a digest: expected 64 lower-case hex digits")]
pub struct InvalidDigest(String);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The digest with these 32 raw bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The digest in a byte string that came over the wire.
    ///
    /// # Errors
    /// [`InvalidDigest`] when it is not 32 bytes long.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, InvalidDigest> {
        bytes.try_into().map(Self).map_err(|_| InvalidDigest(format!("{} bytes", bytes.len())))
    }

    /// The 32 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first twelve hex digits: enough for people.
    #[must_use]
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;
    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let invalid = || InvalidDigest(text.chars().take(80).collect());
        let digits = text.as_bytes();
        if digits.len() != 64 {
            return Err(invalid());
        }
        let nibble = |b: u8| match b {
            b'0'..=b'9' => Ok(b - b'0'),
            b'a'..=b'f' => Ok(b - b'a' + 10),
            _ => Err(invalid()),
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;
    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

/// The beginning of a digest by which somebody means it: the twelve digits that people are shown, or more of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestStart(String);

/// A text that is not the beginning of a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the beginning of a digest: expected 12 to 64 lower-case hex digits")]
pub struct InvalidDigestStart(String);

impl DigestStart {
    /// Digits that are enough for people, and the fewest that are taken.
    const DIGITS_MIN: usize = 12;
    /// Those of a whole digest.
    const DIGITS_MAX: usize = 64;

    /// Reads 12 to 64 lower-case hex digits.
    ///
    /// # Errors
    /// [`InvalidDigestStart`].
    pub fn parse(text: &str) -> Result<Self, InvalidDigestStart> {
        let digits = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        match (Self::DIGITS_MIN..=Self::DIGITS_MAX).contains(&text.len()) && digits {
            true => Ok(Self(text.to_owned())),
            false => Err(InvalidDigestStart(text.chars().take(80).collect())),
        }
    }

    /// Whether a digest begins so.
    #[must_use]
    pub fn begins(&self, digest: &Digest) -> bool {
        digest.to_string().starts_with(&self.0)
    }
}

impl fmt::Display for DigestStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DigestStart {
    type Err = InvalidDigestStart;
    fn from_str(text: &str) -> Result<Self, InvalidDigestStart> {
        Self::parse(text)
    }
}

/// A digest in the making, for bytes that arrive in parts.
#[derive(Debug, Clone, Default)]
pub struct DigestHasher(blake3::Hasher);

impl DigestHasher {
    /// A hasher that has seen nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in the next part.
    pub fn update(&mut self, part: &[u8]) {
        self.0.update(part);
    }

    /// The digest of all parts so far.
    #[must_use]
    pub fn finish(&self) -> Digest {
        Digest(*self.0.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_junk_is_refused() {
        let digest = Digest::of(b"roadstead");
        assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
        for bad in ["", "ab", &"g".repeat(64), &"A".repeat(64), &"é".repeat(32)] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_digest_is_meant_by_its_beginning() {
        let digest = Digest::of(b"roadstead");
        for start in [digest.short(), digest.to_string()] {
            assert!(DigestStart::parse(&start).unwrap().begins(&digest));
            assert!(!DigestStart::parse(&start).unwrap().begins(&Digest::of(b"other")));
        }
        for bad in ["", &digest.short()[1..], &"A".repeat(12), &"0".repeat(65), "é23456789012"] {
            assert!(DigestStart::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parts_hash_as_the_whole() {
        let mut hasher = DigestHasher::new();
        hasher.update(b"road");
        hasher.update(b"stead");
        assert_eq!(hasher.finish(), Digest::of(b"roadstead"));
    }
}
