//! Names and identifiers. Each is parsed once, at the edge, and cannot hold anything that a path, a unit name or a shell could misread.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text is not a valid name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a valid {what}: {rule}")]
pub struct InvalidName {
    /// The kind of name that was expected, such as `app name`.
    pub what: &'static str,
    /// The offending text, cut to a printable length.
    pub text: String,
    /// The rule that it breaks, in words.
    pub rule: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, text: &str, rule: &'static str) -> Self {
        Self { what, text: text.chars().take(80).collect(), rule }
    }
}

fn hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            #[doc = concat!("Parses a ", $what, "; the rule: ", $rule, ".")]
            ///
            /// # Errors
            /// [`InvalidName`] when the rule is broken.
            pub fn parse(text: &str) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.to_owned())) } else { Err(InvalidName::new($what, text, $rule)) }
            }

            /// The text of the name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

fn slug(text: &str, max: usize, extra: &[u8]) -> bool {
    let bytes = text.as_bytes();
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    (1..=max).contains(&bytes.len()) && bytes.first().is_some_and(|&b| plain(b)) && bytes.iter().all(|&b| plain(b) || extra.contains(&b))
}

name!(
    /// The name of an application. It becomes a folder, a system user and the prefix of unit names.
    AppName, "app name", "1 to 24 characters: a lower-case letter first, then lower-case letters, digits and '-'",
    |t| slug(t, 24, b"-") && t.as_bytes().first().is_some_and(u8::is_ascii_lowercase) && !t.ends_with('-')
);
name!(
    /// The name of an environment, such as `staging`.
    EnvironmentName, "environment name", "1 to 32 characters of lower-case letters, digits, '-' and '_', a letter or digit first",
    |t| slug(t, 32, b"-_")
);
name!(
    /// The name of a service of an app, such as `web`.
    ServiceName, "service name", "1 to 24 characters of lower-case letters, digits and '-', a letter or digit first",
    |t| slug(t, 24, b"-")
);
name!(
    /// The name of a job of an app, such as `backfill-totals`.
    JobName, "job name", "1 to 32 characters of lower-case letters, digits and '-', a letter or digit first",
    |t| slug(t, 32, b"-")
);
name!(
    /// The identity of a host: 26 characters drawn at random by the controller when the host enrolls. It never changes and is never reused.
    HostId, "host id", "26 lower-case letters and digits",
    |t| t.len() == 26 && t.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
);
name!(
    /// The name that people use for a host; its host name when it enrolled.
    HostName, "host name", "1 to 64 characters of letters, digits, '-' and '.', a letter or digit first",
    |t| (1..=64).contains(&t.len())
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        && t.as_bytes()[0].is_ascii_alphanumeric()
);
name!(
    /// The name of an admin, as it stands in the certificate and in the event log.
    AdminName, "admin name", "1 to 64 characters of lower-case letters, digits, '.', '_' and '-', a letter or digit first",
    |t| slug(t, 64, b"._-")
);
name!(
    /// What some admins are trusted with, such as `dba`: who has it stands in the controller's settings.
    RoleName, "role", "1 to 32 characters of lower-case letters, digits, '-' and '_', a letter or digit first",
    |t| slug(t, 32, b"-_")
);
name!(
    /// The version of a release, such as `1.4.2` or `1.4.2-3-gabc1234`: from a tag or `git describe`.
    Version, "version", "1 to 48 characters of letters, digits, '.', '_', '~' and '-', a letter or digit first",
    |t| (1..=48).contains(&t.len())
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_~".contains(&b))
        && t.as_bytes()[0].is_ascii_alphanumeric()
        && !t.contains("..")
);
name!(
    /// A configuration by its content: the first eight hex digits of its digest.
    ConfigurationId, "configuration id", "eight hex digits",
    |t| hex(t, 8)
);
name!(
    /// A release as a folder and instance name: `VERSION-` and the first twelve hex digits of the manifest's digest; where it runs with a
    /// configuration, `_` and the name of that.
    ReleaseId, "release id", "a version, '-', twelve hex digits, and perhaps '_' with the eight of a configuration",
    |t| t.rsplit_once('-').is_some_and(|(version, rest)| {
        let (digest, configuration) = rest.split_once('_').map_or((rest, None), |(digest, configuration)| (digest, Some(configuration)));
        Version::parse(version).is_ok() && hex(digest, 12) && configuration.is_none_or(|configuration| hex(configuration, 8))
    })
);
name!(
    /// The name of a backup, such as `erp-r-12-1795781882`: it becomes a file name on the host that keeps it.
    BackupName, "name of a backup", "1 to 80 characters of lower-case letters, digits and '-', a letter or digit first",
    |t| slug(t, 80, b"-")
);
name!(
    /// The name that a host gives to one of its sources of secrets, such as `vault`.
    ProviderName, "name of a provider of secrets", "1 to 24 characters of lower-case letters, digits and '-', a letter or digit first",
    |t| slug(t, 24, b"-")
);
name!(
    /// The name of an environment variable that a release declares.
    VariableName, "variable name", "1 to 128 characters of letters, digits and '_', no digit first",
    |t| (1..=128).contains(&t.len())
        && t.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !t.as_bytes()[0].is_ascii_digit()
);

impl BackupName {
    /// The rollout that made it, as its name says: `APP-r-ROLLOUT-SECONDS`.
    #[must_use]
    pub fn rollout(&self) -> Option<RolloutId> {
        let (front, seconds) = self.0.rsplit_once('-')?;
        let (_, rollout) = front.rsplit_once("-r-")?;
        seconds.parse::<u64>().ok()?;
        rollout.parse().ok().map(RolloutId)
    }
}

impl ReleaseId {
    /// The id of the release with this version and manifest digest.
    #[must_use]
    pub fn of(version: &Version, manifest: &crate::Digest) -> Self {
        let hex = manifest.to_string();
        Self(format!("{version}-{}", &hex[..12]))
    }

    /// The release by itself, without the configuration that it runs with.
    #[must_use]
    pub fn bare(&self) -> Self {
        self.with(None)
    }

    /// The same release with another configuration, or with none.
    #[must_use]
    pub fn with(&self, configuration: Option<&ConfigurationId>) -> Self {
        let digits = self.0.rfind('-').map_or(0, |dash| dash + 1);
        let bare = self.0[digits..].find('_').map_or(self.0.as_str(), |end| &self.0[..digits + end]);
        Self(configuration.map_or_else(|| bare.to_owned(), |configuration| format!("{bare}_{configuration}")))
    }

    /// The configuration that it runs with.
    #[must_use]
    pub fn configuration(&self) -> Option<ConfigurationId> {
        let (_, rest) = self.0.rsplit_once('-')?;
        rest.split_once('_').map(|(_, configuration)| ConfigurationId(configuration.to_owned()))
    }

    /// The version part.
    #[must_use]
    pub fn version(&self) -> &str {
        self.0.rsplit_once('-').map_or(self.0.as_str(), |(version, _)| version)
    }
}

impl ConfigurationId {
    /// The name of the configuration with this digest.
    #[must_use]
    pub fn of(content: &crate::Digest) -> Self {
        Self(content.to_string()[..8].to_owned())
    }
}

/// The number of a rollout: counted up by the controller, never reused. Shown as `r-17`.
///
/// It is the *generation* of every order of the rollout: a host refuses an order of a lower number than the highest it has obeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RolloutId(pub u64);

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r-{}", self.0)
    }
}

impl FromStr for RolloutId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let digits = text.strip_prefix("r-").unwrap_or(text);
        digits.parse().map(Self).map_err(|_| InvalidName::new("rollout id", text, "a number, as in r-17"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn app_names_are_safe_in_paths_units_and_user_names() {
        for good in ["erp", "a", "shop-2"] {
            assert!(AppName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "2erp", "a/b", "..", "a.b", "erp-", "a b", "a@b", "é", &"a".repeat(25)] {
            assert!(AppName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn release_ids_carry_version_and_digest() {
        let version = Version::parse("1.1.0-3-gabc").unwrap();
        let id = ReleaseId::of(&version, &crate::Digest::of(b"x"));
        assert_eq!(id.version(), "1.1.0-3-gabc");
        assert_eq!(ReleaseId::parse(id.as_str()).unwrap(), id);
        let configured = id.with(Some(&ConfigurationId::parse("01234abc").unwrap()));
        assert_eq!(configured.as_str(), format!("{id}_01234abc"));
        assert_eq!(ReleaseId::parse(configured.as_str()).unwrap(), configured);
        assert_eq!((configured.bare(), configured.version()), (id.clone(), "1.1.0-3-gabc"));
        assert_eq!((configured.configuration().unwrap().as_str(), id.configuration()), ("01234abc", None));
        for bad in [
            "1.0",
            "../x-0123456789ab",
            "1.0-0123456789AB",
            "1.0-0123",
            "-0123456789ab",
            "1.0-0123456789ab_",
            "1.0-0123456789ab.01234567",
            "1.0-0123456789ab_0123456",
            "1.0-0123456789ab_0123456g",
            "1.0-0123456789ab_01234567_01234567",
        ] {
            assert!(ReleaseId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_backup_says_which_rollout_made_it() {
        let of = |text: &str| BackupName::parse(text).unwrap().rollout();
        assert_eq!(of("erp-r-12-1795781882"), Some(RolloutId(12)));
        assert_eq!(of("erp-r-2-r-7-1795781882"), Some(RolloutId(7)));
        assert_eq!((of("erp-r-x-5"), of("erp"), of("erp-r-7")), (None, None, None));
        for bad in ["", "../erp-r-1-5", "erp r-1", "ERP-r-1-5"] {
            assert!(BackupName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn rollout_ids_read_with_and_without_prefix() {
        assert_eq!("r-17".parse::<RolloutId>().unwrap(), RolloutId(17));
        assert_eq!("17".parse::<RolloutId>().unwrap(), RolloutId(17));
        assert!("r-x".parse::<RolloutId>().is_err());
    }

    #[test]
    fn a_refusal_names_the_rule() {
        let error = AppName::parse("My App").unwrap_err();
        assert!(error.to_string().contains("lower-case"), "{error}");
    }
}
