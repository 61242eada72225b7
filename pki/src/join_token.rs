//! Join tokens: what an admin hands to a new host so that it may enroll once.
//!
//! A token carries a secret, which proves to the controller that the host was invited, and the digest of the authority's
//! key, which proves to the host that it speaks to the controller that invited it. The controller keeps only the secret's
//! hash; that a token is used once, in time and for what it was made is the controller's record to keep.

use crate::KeyPin;
use crate::pin::decode_32;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};
use std::fmt;

const PREFIX: &str = "rst1";
/// `rst1.`, 43 characters, `.`, 43 characters.
const LENGTH: usize = PREFIX.len() + 2 * 44;
/// Keeps a token's hash from ever equalling a hash made for another purpose.
const HASH_CONTEXT: &[u8] = b"roadstead join token v1\0";

/// A one-use invitation for one host. Its text is shown once, to the admin who asked for it.
#[derive(Clone)]
pub struct JoinToken {
    secret: [u8; 32],
    authority: KeyPin,
}

/// The hash under which the controller stores a token. Comparison takes the same time whatever the difference.
#[derive(Clone, Copy)]
pub struct TokenHash([u8; 32]);

/// Why a text is not a join token. None of the messages repeats the text: it may be a secret with a typing error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJoinToken {
    /// Another length than all tokens have.
    #[error("the join token has {0} characters instead of {LENGTH}: copy the whole line that `roadstead host token` printed")]
    Length(usize),
    /// It is no token, or one of another version of Roadstead.
    #[error("this is not a join token of this version: it should begin with \"{PREFIX}.\"; make one with `roadstead host token`")]
    Prefix,
    /// Characters that no token has.
    #[error("the join token is damaged: copy the whole line that `roadstead host token` printed")]
    Encoding,
    /// A secret of the wrong size came over the wire.
    #[error("the secret of a join token has 32 bytes, not {0}")]
    SecretLength(usize),
}

impl JoinToken {
    /// A fresh token that leads hosts to the controller of this authority.
    ///
    /// # Errors
    /// The system's source of randomness failed.
    pub fn generate(authority: KeyPin) -> Result<Self, getrandom::Error> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        Ok(Self { secret, authority })
    }

    /// Reads a token as a person pasted it; white space around it does not matter.
    ///
    /// # Errors
    /// [`InvalidJoinToken`] for everything that is not a whole token.
    pub fn parse(text: &str) -> Result<Self, InvalidJoinToken> {
        let text = text.trim();
        if !text.starts_with("rst") {
            return Err(InvalidJoinToken::Prefix);
        }
        let (prefix, rest) = text.split_once('.').ok_or(InvalidJoinToken::Length(text.len()))?;
        if prefix != PREFIX {
            return Err(InvalidJoinToken::Prefix);
        }
        if text.len() != LENGTH {
            return Err(InvalidJoinToken::Length(text.len()));
        }
        let (secret, pin) = rest.split_once('.').ok_or(InvalidJoinToken::Encoding)?;
        let secret = decode_32(secret).ok_or(InvalidJoinToken::Encoding)?;
        let authority = KeyPin::from_bytes(decode_32(pin).ok_or(InvalidJoinToken::Encoding)?);
        Ok(Self { secret, authority })
    }

    /// The text to hand to the host. It is the secret itself: there is deliberately no `Display`.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{PREFIX}.{}.{}", URL_SAFE_NO_PAD.encode(self.secret), self.authority)
    }

    /// The part that the host sends to the controller once it knows that it speaks to the right one.
    #[must_use]
    pub const fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// The authority that the host must find at the other end.
    #[must_use]
    pub const fn authority(&self) -> KeyPin {
        self.authority
    }

    /// What the controller stores instead of the token.
    #[must_use]
    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.secret)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken").field("secret", &"[redacted]").field("authority", &self.authority).finish()
    }
}

impl TokenHash {
    fn of(secret: &[u8; 32]) -> Self {
        // A single round is enough: the secret has 256 random bits, there is nothing to guess.
        Self(Sha256::new().chain_update(HASH_CONTEXT).chain_update(secret).finalize().into())
    }

    /// The hash of a secret that a host sent.
    ///
    /// # Errors
    /// [`InvalidJoinToken::SecretLength`] when it is not 32 bytes long.
    pub fn of_secret(secret: &[u8]) -> Result<Self, InvalidJoinToken> {
        secret.try_into().map(Self::of).map_err(|_| InvalidJoinToken::SecretLength(secret.len()))
    }

    /// A hash as it was stored.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The bytes to store.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl PartialEq for TokenHash {
    fn eq(&self, other: &Self) -> bool {
        let difference = self.0.iter().zip(&other.0).fold(0, |acc, (a, b)| std::hint::black_box(acc | (a ^ b)));
        difference == 0
    }
}

impl Eq for TokenHash {}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenHash({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn token() -> JoinToken {
        JoinToken::generate(KeyPin::from_bytes([7; 32])).unwrap()
    }

    #[test]
    fn a_token_reads_back_and_hashes_the_same_on_both_sides() {
        let token = token();
        let read = JoinToken::parse(&format!("  {}\n", token.reveal())).unwrap();
        assert_eq!(read.authority(), token.authority());
        assert_eq!(TokenHash::of_secret(read.secret()).unwrap(), token.hash());
        assert_eq!(TokenHash::from_bytes(*token.hash().as_bytes()), token.hash());
        assert_ne!(self::token().hash(), token.hash(), "two tokens never share a secret");
        assert!(TokenHash::of_secret(&[0; 31]).is_err());
    }

    #[test]
    fn debug_output_never_shows_the_secret() {
        let token = token();
        let secret = URL_SAFE_NO_PAD.encode(token.secret());
        assert!(!format!("{token:?} {:?}", token.hash()).contains(&secret[..8]));
    }

    #[test]
    fn each_kind_of_damage_has_its_message() {
        let good = token().reveal();
        assert_eq!(JoinToken::parse(&good[..80]).unwrap_err(), InvalidJoinToken::Length(80));
        assert_eq!(JoinToken::parse(&"rst1.".repeat(1 << 20)).unwrap_err(), InvalidJoinToken::Length(5 << 20));
        assert_eq!(JoinToken::parse(&good.replace("rst1", "rst2")).unwrap_err(), InvalidJoinToken::Prefix);
        assert_eq!(JoinToken::parse("ghp_secret").unwrap_err(), InvalidJoinToken::Prefix);
        assert_eq!(JoinToken::parse(&good.replacen(&good[6..8], "!!", 1)).unwrap_err(), InvalidJoinToken::Encoding);
        assert_eq!(JoinToken::parse(&format!("rst1.{}", "a".repeat(87))).unwrap_err(), InvalidJoinToken::Encoding);
    }

    proptest! {
        #[test]
        fn one_token_has_one_spelling(text in "rst1[.][A-Za-z0-9_=-]{42,44}[.][A-Za-z0-9_=-]{42,44}") {
            if let Ok(token) = JoinToken::parse(&text) {
                prop_assert_eq!(token.reveal(), text);
            }
        }

        #[test]
        fn junk_is_refused_without_a_panic(text in "\\PC{0,120}") {
            if let Ok(token) = JoinToken::parse(&text) {
                prop_assert_eq!(token.reveal(), text.trim());
            }
        }
    }
}
