//! Whom a host believes: the keys in a file of its own, and how many of them must agree.

use serde::Deserialize;
use std::collections::BTreeSet;

use crate::sign::{KeyId, PublicKey, Signature};
use roadstead_model::{limits, mistake};

/// Keys in one file.
const KEYS_MAX: usize = 64;

/// The keys that may sign releases, and how many different ones have to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKeys {
    threshold: usize,
    keys: Vec<TrustedKey>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// What people call it.
    pub name: String,
    /// The key.
    pub public: PublicKey,
}

/// Why a file of keys is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTrust {
    /// Not the TOML that is expected.
    #[error("{0}")]
    Text(String),
    /// A key that is none.
    #[error("the key {name:?}: {why}")]
    Key {
        /// Its name.
        name: String,
        /// Why it is none.
        why: crate::sign::InvalidKey,
    },
    /// One key stands twice, and would count twice.
    #[error("the keys {one:?} and {two:?} are the same")]
    Twice {
        /// One name.
        one: String,
        /// The other.
        two: String,
    },
    /// Nobody could sign, or nobody has to.
    #[error("threshold = {threshold} makes no sense with {keys} keys: it is at least 1 and at most the number of keys")]
    Threshold {
        /// The threshold.
        threshold: usize,
        /// Keys in the file.
        keys: usize,
    },
    /// Too many.
    #[error("more than {KEYS_MAX} keys are not taken")]
    TooMany,
}

/// Too few signatures that count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", told(.found, *.needed, .strangers))]
pub struct NotTrusted {
    /// Names of trusted keys whose signatures hold.
    pub found: Vec<String>,
    /// How many are needed.
    pub needed: usize,
    /// Keys that signed and are not trusted here.
    pub strangers: Vec<KeyId>,
}

fn told(found: &[String], needed: usize, strangers: &[KeyId]) -> String {
    let mut text = match found {
        [] => format!("no trusted key signed the release, {needed} must"),
        names => format!("only {} signed the release, {needed} trusted keys must", names.join(", ")),
    };
    if !strangers.is_empty() {
        let ids: Vec<String> = strangers.iter().map(ToString::to_string).collect();
        text.push_str(&format!("; signatures by keys that are not trusted here, or that do not hold: {}", ids.join(", ")));
    }
    text
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default = "one")]
    threshold: usize,
    #[serde(default)]
    key: Vec<Key>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    name: String,
    public: String,
}

const fn one() -> usize {
    1
}

impl TrustedKeys {
    /// Reads the text of a `release-keys.toml`.
    ///
    /// # Errors
    /// [`InvalidTrust`]: a file that is not fully understood is not used at all.
    pub fn read(text: &str) -> Result<Self, InvalidTrust> {
        if text.len() as u64 > limits::CONFIG_FILE_BYTES_MAX {
            return Err(InvalidTrust::Text("the file is too large".to_owned()));
        }
        let file: File = toml::from_str(text)
            .map_err(|error| InvalidTrust::Text(mistake::located(text, error.span().map_or(0, |span| span.start), error.message())))?;
        let keys = file.key.into_iter().map(|key| match key.public.parse() {
            Ok(public) => Ok(TrustedKey { name: key.name, public }),
            Err(why) => Err(InvalidTrust::Key { name: key.name, why }),
        });
        Self::new(file.threshold, keys.collect::<Result<_, _>>()?)
    }

    /// A set of keys made by hand.
    ///
    /// # Errors
    /// [`InvalidTrust`].
    pub fn new(threshold: usize, keys: Vec<TrustedKey>) -> Result<Self, InvalidTrust> {
        if keys.len() > KEYS_MAX {
            return Err(InvalidTrust::TooMany);
        }
        for (index, two) in keys.iter().enumerate() {
            if let Some(one) = keys.iter().take(index).find(|one| one.public == two.public) {
                return Err(InvalidTrust::Twice { one: one.name.clone(), two: two.name.clone() });
            }
        }
        if threshold == 0 || threshold > keys.len() {
            return Err(InvalidTrust::Threshold { threshold, keys: keys.len() });
        }
        Ok(Self { threshold, keys })
    }

    /// How many different ones have to sign.
    #[must_use]
    pub const fn threshold(&self) -> usize {
        self.threshold
    }

    /// The keys.
    #[must_use]
    pub fn keys(&self) -> &[TrustedKey] {
        &self.keys
    }

    /// Whether enough different keys signed this encoded manifest; gives their names.
    ///
    /// # Errors
    /// [`NotTrusted`].
    pub fn check(&self, manifest: &[u8], signatures: &[Signature]) -> Result<Vec<String>, NotTrusted> {
        let mut found = BTreeSet::new();
        let mut strangers = Vec::new();
        for signature in signatures.iter().take(limits::SIGNATURES_MAX) {
            match self.keys.iter().position(|key| key.public.verifies(manifest, signature)) {
                Some(index) => {
                    found.insert(index);
                }
                None => strangers.push(signature.key),
            }
        }
        let names: Vec<String> = found.iter().filter_map(|index| self.keys.get(*index)).map(|key| key.name.clone()).collect();
        if names.len() >= self.threshold { Ok(names) } else { Err(NotTrusted { found: names, needed: self.threshold, strangers }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::SigningKey;

    fn key(name: &str) -> (SigningKey, TrustedKey) {
        let key = SigningKey::generate().unwrap();
        let trusted = TrustedKey { name: name.to_owned(), public: key.public() };
        (key, trusted)
    }

    #[test]
    fn one_key_signing_twice_counts_once() {
        let ((one, trusted_one), (two, trusted_two), (stranger, _)) = (key("ci"), key("release"), key("x"));
        let keys = TrustedKeys::new(2, vec![trusted_one, trusted_two]).unwrap();
        let refused = keys.check(b"m", &[one.sign(b"m"), one.sign(b"m"), stranger.sign(b"m")]).unwrap_err();
        assert_eq!((refused.found, refused.strangers), (vec!["ci".to_owned()], vec![stranger.public().id()]));
        assert_eq!(keys.check(b"m", &[two.sign(b"m"), one.sign(b"m")]).unwrap(), ["ci", "release"]);
        assert!(keys.check(b"other", &[two.sign(b"m"), one.sign(b"m")]).is_err());
    }

    #[test]
    fn the_file_is_read_strictly() {
        let public = key("a").0.public();
        let good = format!("threshold = 1\n[[key]]\nname = \"ci\"\npublic = \"{public}\"\n");
        assert_eq!(TrustedKeys::read(&good).unwrap().keys()[0].name, "ci");
        assert!(matches!(TrustedKeys::read(&good.replace("= 1", "= 0")), Err(InvalidTrust::Threshold { .. })));
        assert!(matches!(TrustedKeys::read(&good.replace("= 1", "= 2")), Err(InvalidTrust::Threshold { .. })));
        assert!(matches!(TrustedKeys::read(""), Err(InvalidTrust::Threshold { keys: 0, .. })));
        assert!(matches!(TrustedKeys::read(&good.replace("threshold", "treshold")), Err(InvalidTrust::Text(_))));
        assert!(matches!(TrustedKeys::read(&good.replace("ed25519", "rsa")), Err(InvalidTrust::Key { .. })));
        let twice = format!("{good}[[key]]\nname = \"again\"\npublic = \"{public}\"\n");
        assert!(matches!(TrustedKeys::read(&twice), Err(InvalidTrust::Twice { .. })));
    }
}
