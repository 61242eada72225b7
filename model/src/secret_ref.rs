//! References to secrets: where a value is, never the value. Pure.
//!
//! `PROVIDER:PATH#KEY?version=N`, such as `vault:secret/erp#stripe_key?version=3`. The provider is a name that each host explains by itself,
//! in its own settings; key and version may be missing. There is one spelling for each reference, and nothing in it can be taken for
//! another path, an option of a program, a part of an address or a line break: it is chosen far from the host that follows it.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

use crate::ProviderName;
use crate::limits::{SECRET_KEY_BYTES_MAX, SECRET_PATH_BYTES_MAX, SECRET_SEGMENT_BYTES_MAX, SECRET_SEGMENTS_MAX};

/// Bytes of a text that can still be a reference.
const TEXT_BYTES_MAX: usize = SECRET_PATH_BYTES_MAX + SECRET_KEY_BYTES_MAX + 64;
const VERSION: &str = "version=";

/// A text that is no reference to a secret.
///
/// Of a text that is none, nothing is shown: somebody may have written the secret itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecretRef {
    /// There is no provider before a colon.
    #[error(
        "this is no reference to a secret: write PROVIDER:PATH#KEY, such as vault:secret/erp#stripe_key, where PROVIDER is the name of a \
         [secrets.PROVIDER] section on the hosts; never write the secret itself"
    )]
    Provider,
    /// The path.
    #[error(
        "the path of a reference to a secret is 1 to {SECRET_SEGMENTS_MAX} parts joined by '/', each of 1 to {SECRET_SEGMENT_BYTES_MAX} \
         letters, digits, '.', '_', '-', '@', '+' and '=', a letter, a digit or '_' first, at most {SECRET_PATH_BYTES_MAX} together"
    )]
    Path,
    /// The key.
    #[error(
        "the key of a reference to a secret, behind '#', is 1 to {SECRET_KEY_BYTES_MAX} letters, digits, '.', '_' and '-', a letter, a digit \
         or '_' first"
    )]
    Key,
    /// The version.
    #[error("the version of a reference to a secret comes last and is a whole number from 1, such as ?version=3")]
    Version,
    /// Longer than any.
    #[error("a reference to a secret has at most {TEXT_BYTES_MAX} bytes")]
    TooLong,
}

/// Where a secret is with its provider.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretPath(String);

/// Which value of a secret is meant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SecretKey(String);

/// A reference to a secret.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretRef {
    /// Which of the host's sources of secrets has it.
    pub provider: ProviderName,
    /// Where it is there.
    pub path: SecretPath,
    /// Which value of it, where it has several.
    pub key: Option<SecretKey>,
    /// Which version; the newest where none is said.
    pub version: Option<u32>,
}

fn begins_well(text: &str) -> bool {
    text.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn segment(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@+=".contains(&byte);
    text.len() <= SECRET_SEGMENT_BYTES_MAX && begins_well(text) && text.bytes().all(plain)
}

impl SecretPath {
    /// Reads a path.
    ///
    /// # Errors
    /// [`InvalidSecretRef::Path`].
    pub fn parse(text: &str) -> Result<Self, InvalidSecretRef> {
        let fits = text.len() <= SECRET_PATH_BYTES_MAX && text.split('/').count() <= SECRET_SEGMENTS_MAX && text.split('/').all(segment);
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidSecretRef::Path) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its parts; at least one.
    pub fn segments(&self) -> impl Iterator<Item = &str> {
        self.0.split('/')
    }
}

impl SecretKey {
    /// Reads a key.
    ///
    /// # Errors
    /// [`InvalidSecretRef::Key`].
    pub fn parse(text: &str) -> Result<Self, InvalidSecretRef> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        let fits = text.len() <= SECRET_KEY_BYTES_MAX && begins_well(text) && text.bytes().all(plain);
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidSecretRef::Key) }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl SecretRef {
    /// Reads a reference.
    ///
    /// # Errors
    /// [`InvalidSecretRef`] for the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, InvalidSecretRef> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(InvalidSecretRef::TooLong);
        }
        let (provider, rest) = text.split_once(':').ok_or(InvalidSecretRef::Provider)?;
        let provider = ProviderName::parse(provider).map_err(|_| InvalidSecretRef::Provider)?;
        let (rest, version) = match rest.split_once('?') {
            Some((rest, query)) => (rest, Some(version(query)?)),
            None => (rest, None),
        };
        let (path, key) = match rest.split_once('#') {
            Some((path, key)) => (path, Some(SecretKey::parse(key)?)),
            None => (rest, None),
        };
        Ok(Self { provider, path: SecretPath::parse(path)?, key, version })
    }
}

/// A version as it is printed: digits without a sign, without zeros before them.
fn version(query: &str) -> Result<u32, InvalidSecretRef> {
    let digits = query.strip_prefix(VERSION).ok_or(InvalidSecretRef::Version)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    digits.parse().ok().filter(|_| plain).ok_or(InvalidSecretRef::Version)
}

impl fmt::Display for SecretPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.provider, self.path)?;
        if let Some(key) = &self.key {
            write!(f, "#{key}")?;
        }
        self.version.map_or(Ok(()), |version| write!(f, "?{VERSION}{version}"))
    }
}

impl FromStr for SecretRef {
    type Err = InvalidSecretRef;
    fn from_str(text: &str) -> Result<Self, InvalidSecretRef> {
        Self::parse(text)
    }
}

impl TryFrom<String> for SecretRef {
    type Error = InvalidSecretRef;
    fn try_from(text: String) -> Result<Self, InvalidSecretRef> {
        Self::parse(&text)
    }
}

impl From<SecretRef> for String {
    fn from(reference: SecretRef) -> Self {
        reference.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn references_say_where_a_secret_is() {
        let full = SecretRef::parse("vault:secret/erp#stripe_key?version=3").unwrap();
        assert_eq!((full.provider.as_str(), full.path.as_str(), full.version), ("vault", "secret/erp", Some(3)));
        assert_eq!(full.key.unwrap().as_str(), "stripe_key");
        for good in ["credential:erp.key", "age:deploy/prod.env.age#KEY", "aws:prod/erp@live", "v:a?version=4294967295", "v:_x/a=b+c"] {
            assert_eq!(SecretRef::parse(good).unwrap().to_string(), good);
        }
    }

    #[test]
    fn what_could_be_misread_is_no_reference() {
        use InvalidSecretRef::{Key, Path, Provider, TooLong, Version};
        let segments = |count: usize| format!("vault:{}", vec!["a"; count].join("/"));
        assert!(SecretRef::parse(&segments(SECRET_SEGMENTS_MAX)).is_ok());
        assert!(SecretRef::parse(&format!("vault:{}", "a".repeat(SECRET_SEGMENT_BYTES_MAX))).is_ok());
        for (text, why) in [
            (String::new(), Provider),
            ("secret/erp".into(), Provider),
            (":secret/erp".into(), Provider),
            ("Vault:secret/erp".into(), Provider),
            ("https://vault/v1/secret".into(), Path),
            ("vault:".into(), Path),
            ("vault:/secret".into(), Path),
            ("vault:secret/".into(), Path),
            ("vault:secret//erp".into(), Path),
            ("vault:../erp".into(), Path),
            ("vault:secret/../sys".into(), Path),
            ("vault:secret/./erp".into(), Path),
            ("vault:.hidden".into(), Path),
            ("vault:-rf".into(), Path),
            ("vault:secret/--help".into(), Path),
            ("vault:secret/%2e%2e".into(), Path),
            ("vault:secret\\erp".into(), Path),
            ("vault:secret/e rp".into(), Path),
            ("vault:secret/erp\n".into(), Path),
            ("vault:secret/erp\0".into(), Path),
            ("vault:secret/\u{e9}".into(), Path),
            ("vault:secret/$(id)".into(), Path),
            ("vault:secret/{path}".into(), Path),
            ("vault:secret:erp".into(), Path),
            (segments(SECRET_SEGMENTS_MAX + 1), Path),
            (format!("vault:{}", "a".repeat(SECRET_SEGMENT_BYTES_MAX + 1)), Path),
            (format!("vault:{}", vec!["a".repeat(100); 6].join("/")), Path),
            (format!("vault:{}", "a".repeat(TEXT_BYTES_MAX)), TooLong),
            ("vault:secret/erp#".into(), Key),
            ("vault:secret/erp#a/b".into(), Key),
            ("vault:secret/erp#-x".into(), Key),
            ("vault:secret/erp#a#b".into(), Key),
            ("vault:secret/erp#..".into(), Key),
            (format!("vault:a#{}", "k".repeat(SECRET_KEY_BYTES_MAX + 1)), Key),
            ("vault:a?version=0".into(), Version),
            ("vault:a?version=03".into(), Version),
            ("vault:a?version=+3".into(), Version),
            ("vault:a?version=-3".into(), Version),
            ("vault:a?version=4294967296".into(), Version),
            ("vault:a?version=".into(), Version),
            ("vault:a?Version=3".into(), Version),
            ("vault:a?version=3&list=true".into(), Version),
            ("vault:a?version=3#key".into(), Version),
            ("vault:a?list=true".into(), Version),
            ("vault:a?".into(), Version),
        ] {
            assert_eq!(SecretRef::parse(&text), Err(why), "{text:?}");
        }
    }

    #[test]
    fn a_secret_that_was_written_in_place_of_its_reference_is_not_shown() {
        for written in ["hunter2-canary", "postgres://erp:hunter2-canary@db/erp", "vault:hunter2-canary secret", "v:a#hunter2-canary/x"] {
            let error = SecretRef::parse(written).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
            let json = serde_json::to_string(written).unwrap();
            assert!(!serde_json::from_str::<SecretRef>(&json).unwrap_err().to_string().contains("canary"));
        }
    }

    fn any_reference() -> impl Strategy<Value = SecretRef> {
        let path = prop::collection::vec("[A-Za-z0-9_][A-Za-z0-9._@+=-]{0,20}", 1..=SECRET_SEGMENTS_MAX);
        let key = prop::option::of("[A-Za-z0-9_][A-Za-z0-9._-]{0,40}");
        ("[a-z0-9][a-z0-9-]{0,23}", path, key, prop::option::of(1_u32..)).prop_map(|(provider, path, key, version)| SecretRef {
            provider: ProviderName::parse(&provider).unwrap(),
            path: SecretPath::parse(&path.join("/")).unwrap(),
            key: key.map(|key| SecretKey::parse(&key).unwrap()),
            version,
        })
    }

    proptest! {
        #[test]
        fn every_reference_is_read_as_it_is_printed(reference in any_reference()) {
            prop_assert_eq!(SecretRef::parse(&reference.to_string()), Ok(reference));
        }

        #[test]
        fn what_is_read_has_one_spelling_and_is_plain(text in "[a-z]{1,3}:[-a-z0-9./#?=\\\\%\u{0}\n _]{1,24}|\\PC{0,40}") {
            if let Ok(reference) = SecretRef::parse(&text) {
                prop_assert_eq!(reference.to_string(), text.clone());
                prop_assert!(text.bytes().all(|byte| byte.is_ascii_graphic()));
                let steps_out = reference.path.segments().any(|part| part.is_empty() || part.starts_with(['.', '-']));
                prop_assert!(!steps_out, "{}", text);
            }
        }
    }
}
