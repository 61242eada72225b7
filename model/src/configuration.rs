//! Configuration: what an app is told in an environment, apart from its code. Variables, where its secrets are, and files, for all hosts or
//! for those with a label.
//!
//! It is named by its content. A host knows a release and the configuration that it runs with by one id, so a change of configuration is
//! brought to hosts, judged and taken back as a release is. Pure.

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::{ConfigurationId, Digest, EnvironmentSpec, InvalidSecretRef, Labels, RelativePath, SecretRef, Selector, VariableName, limits};

/// Values by what they are for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Values {
    /// Variables that releases declare.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub variables: BTreeMap<VariableName, String>,
    /// Variables that releases declare as secrets, by where each host finds their values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<VariableName, SecretRef>,
    /// Files that releases declare, by their paths within the app: UTF-8 text.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<RelativePath, String>,
}

impl Values {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.variables.is_empty() && self.secrets.is_empty() && self.files.is_empty()
    }

    /// Takes what `over` says, in the place of what was said before.
    pub fn overlay(&mut self, over: &Self) {
        // A variable has its value from one place.
        self.secrets.retain(|name, _| !over.variables.contains_key(name));
        self.variables.retain(|name, _| !over.secrets.contains_key(name));
        self.variables.extend(over.variables.iter().map(|(name, value)| (name.clone(), value.clone())));
        self.secrets.extend(over.secrets.iter().map(|(name, place)| (name.clone(), place.clone())));
        self.files.extend(over.files.iter().map(|(path, text)| (path.clone(), text.clone())));
    }

    /// What is said: each with its value; of a secret, where it is.
    pub fn entries(&self) -> impl Iterator<Item = (Key, String)> {
        let variables = self.variables.iter().map(|(name, value)| (Key::Variable(name.clone()), value.clone()));
        let secrets = self.secrets.iter().map(|(name, place)| (Key::Secret(name.clone()), place.to_string()));
        variables.chain(secrets).chain(self.files.iter().map(|(path, text)| (Key::File(path.clone()), text.clone())))
    }

    /// Says one thing; `None` takes it back.
    ///
    /// # Errors
    /// [`InvalidSecretRef`] where a secret's value says no place.
    pub fn put(&mut self, key: &Key, value: Option<String>) -> Result<(), InvalidSecretRef> {
        match (key, value) {
            (Key::Variable(name), Some(value)) => drop(self.variables.insert(name.clone(), value)),
            (Key::Variable(name), None) => drop(self.variables.remove(name)),
            (Key::Secret(name), Some(place)) => drop(self.secrets.insert(name.clone(), place.parse()?)),
            (Key::Secret(name), None) => drop(self.secrets.remove(name)),
            (Key::File(path), Some(text)) => drop(self.files.insert(path.clone(), text)),
            (Key::File(path), None) => drop(self.files.remove(path)),
        }
        Ok(())
    }

    /// What is said of one thing.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<String> {
        match key {
            Key::Variable(name) => self.variables.get(name).cloned(),
            Key::Secret(name) => self.secrets.get(name).map(ToString::to_string),
            Key::File(path) => self.files.get(path).cloned(),
        }
    }

    fn bytes(&self) -> usize {
        self.entries().map(|(key, value)| key.to_string().len() + value.len()).sum()
    }
}

/// What a value is of. As text: the variable's name; `secret:` and the name, where the value is a secret and only its place is said; or
/// `file:` and the path.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Key {
    /// A variable.
    Variable(VariableName),
    /// A variable whose value is a secret.
    Secret(VariableName),
    /// A file.
    File(RelativePath),
}

/// A text that is no [`Key`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a variable, as in DEBUG, nor a secret, as in secret:STRIPE_KEY, nor a file, as in file:config/limits.toml")]
pub struct InvalidKey(String);

impl Key {
    /// Reads a variable's name, `secret:NAME` or `file:PATH`.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn parse(text: &str) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey(text.chars().take(140).collect());
        if let Some(name) = text.strip_prefix("secret:") {
            return VariableName::parse(name).map(Self::Secret).map_err(|_| invalid());
        }
        match text.strip_prefix("file:") {
            Some(path) => RelativePath::parse(path).ok().filter(|path| !path.is_root()).map(Self::File).ok_or_else(invalid),
            None => VariableName::parse(text).map(Self::Variable).map_err(|_| invalid()),
        }
    }
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Variable(name) => f.write_str(name.as_str()),
            Self::Secret(name) => write!(f, "secret:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
        }
    }
}

impl std::str::FromStr for Key {
    type Err = InvalidKey;
    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Key {
    type Error = InvalidKey;
    fn try_from(text: String) -> Result<Self, InvalidKey> {
        Self::parse(&text)
    }
}

impl From<Key> for String {
    fn from(key: Key) -> String {
        key.to_string()
    }
}

/// What is said to some hosts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Layer {
    /// To which.
    #[serde(default, skip_serializing_if = "Selector::is_everything")]
    pub hosts: Selector,
    /// What.
    #[serde(flatten)]
    pub values: Values,
}

/// The configuration of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Configuration {
    /// What the environment's file says.
    #[serde(default)]
    pub applied: Vec<Layer>,
    /// What was set one by one.
    #[serde(default)]
    pub set: Vec<Layer>,
}

/// Why a configuration is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfiguration {
    /// One thing comes from two places.
    #[error(
        "{key} is said twice for {hosts}: in the environment's file and by `roadstead config set`. Say it in one place: \
         `roadstead config unset`, or take it out of the file"
    )]
    TwoPlaces {
        /// Which.
        key: Key,
        /// For whom.
        hosts: String,
    },
    /// One section of the file says it twice.
    #[error("{key} is said twice for {hosts} in the environment's file")]
    Twice {
        /// Which.
        key: Key,
        /// For whom.
        hosts: String,
    },
    /// One variable is said to be both.
    #[error("{name} has a value and is a secret, too, for {hosts}: say one of the two")]
    Both {
        /// Which.
        name: VariableName,
        /// For whom.
        hosts: String,
    },
    /// A place of a secret is none.
    #[error("{key}: {why}")]
    Reference {
        /// Which.
        key: Key,
        /// Why.
        why: InvalidSecretRef,
    },
    /// A value is too large, or holds what no value may.
    #[error("the value of {key} holds a NUL character or more than {} bytes", limits::VARIABLE_VALUE_BYTES_MAX)]
    Value {
        /// Which.
        key: Key,
    },
    /// Another one has its name, by chance.
    #[error("another configuration of the environment has the same name by chance: change something else, too")]
    SameName,
    /// Too much altogether.
    #[error(
        "{found} bytes of configuration are more than the {} that an environment may have: keep large files elsewhere",
        limits::CONFIGURATION_BYTES_MAX
    )]
    TooLarge {
        /// How much there would be.
        found: usize,
    },
    /// Too many entries.
    #[error("{found} values are more than the {} that an environment may have", limits::CONFIGURATION_ENTRIES_MAX)]
    TooMany {
        /// How many there would be.
        found: usize,
    },
}

/// Two values for one host, neither of which is meant more than the other.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} has different values for {host}: by {one:?} and by {other:?}. Let only one of these selectors match it")]
pub struct Clash {
    /// Which.
    pub key: Key,
    /// The host.
    pub host: String,
    /// One selector that says it.
    pub one: String,
    /// Another.
    pub other: String,
}

/// Selectors, for people.
#[must_use]
pub fn meant(hosts: &Selector) -> String {
    if hosts.is_everything() { "all hosts".to_owned() } else { format!("hosts with {hosts}") }
}

impl Configuration {
    /// What an environment's file says, with what was set one by one.
    ///
    /// # Errors
    /// [`InvalidConfiguration`].
    pub fn new(spec: &EnvironmentSpec, set: Vec<Layer>) -> Result<Self, InvalidConfiguration> {
        let base = Layer {
            hosts: Selector::default(),
            values: Values { variables: spec.variables.clone(), secrets: spec.secrets.clone(), files: spec.files.clone() },
        };
        let applied = std::iter::once(base).chain(spec.overrides.iter().cloned()).filter(|layer| !layer.values.is_empty());
        let canonical = |layer: Layer| Layer { hosts: layer.hosts.canonical(), ..layer };
        let configuration = Self { applied: applied.map(canonical).collect(), set };
        configuration.check()?;
        Ok(configuration)
    }

    /// The same, with one value set for some hosts, or taken back.
    ///
    /// # Errors
    /// [`InvalidConfiguration`].
    pub fn with(&self, hosts: &Selector, key: &Key, value: Option<String>) -> Result<Self, InvalidConfiguration> {
        let (mut new, hosts) = (self.clone(), hosts.canonical());
        let place = new.set.iter().position(|layer| layer.hosts == hosts);
        let mut values = place.map(|place| new.set.remove(place).values).unwrap_or_default();
        values.put(key, value).map_err(|why| InvalidConfiguration::Reference { key: key.clone(), why })?;
        if !values.is_empty() {
            new.set.push(Layer { hosts, values });
            new.set.sort_by_key(|layer| layer.hosts.to_string());
        }
        new.check()?;
        Ok(new)
    }

    fn check(&self) -> Result<(), InvalidConfiguration> {
        let mut seen: BTreeMap<(String, Key), bool> = BTreeMap::new();
        let mut bytes = 0;
        for (layer, is_set) in self.layers() {
            let values = &layer.values;
            bytes += values.bytes() + layer.hosts.to_string().len();
            for (key, value) in values.entries() {
                if value.len() > limits::VARIABLE_VALUE_BYTES_MAX || value.contains('\0') {
                    return Err(InvalidConfiguration::Value { key });
                }
                let hosts = meant(&layer.hosts);
                let other = match &key {
                    Key::Variable(name) => Some((name, Key::Secret(name.clone()))),
                    Key::Secret(name) => Some((name, Key::Variable(name.clone()))),
                    Key::File(_) => None,
                };
                if let Some((name, _)) = other.filter(|(_, other)| seen.contains_key(&(hosts.clone(), other.clone()))) {
                    return Err(InvalidConfiguration::Both { name: name.clone(), hosts });
                }
                match seen.insert((hosts.clone(), key.clone()), is_set) {
                    Some(before) if before != is_set => return Err(InvalidConfiguration::TwoPlaces { key, hosts }),
                    Some(_) => return Err(InvalidConfiguration::Twice { key, hosts }),
                    None => {}
                }
            }
        }
        if bytes > limits::CONFIGURATION_BYTES_MAX {
            return Err(InvalidConfiguration::TooLarge { found: bytes });
        }
        if seen.len() > limits::CONFIGURATION_ENTRIES_MAX {
            return Err(InvalidConfiguration::TooMany { found: seen.len() });
        }
        Ok(())
    }

    /// Every layer, and whether it was set one by one.
    pub fn layers(&self) -> impl Iterator<Item = (&Layer, bool)> {
        self.applied.iter().map(|layer| (layer, false)).chain(self.set.iter().map(|layer| (layer, true)))
    }

    /// What is said, by whom it is meant for.
    #[must_use]
    pub fn by_hosts(&self) -> BTreeMap<String, Values> {
        let mut all: BTreeMap<String, Values> = BTreeMap::new();
        for (layer, _) in self.layers() {
            all.entry(layer.hosts.to_string()).or_default().overlay(&layer.values);
        }
        all
    }

    /// Its name by its content, whoever said it.
    ///
    /// # Panics
    /// Never: names and texts always encode as JSON.
    #[must_use]
    #[expect(clippy::expect_used, reason = "maps of texts always encode as JSON")]
    pub fn id(&self) -> ConfigurationId {
        ConfigurationId::of(&Digest::of(&serde_json::to_vec(&self.by_hosts()).expect("texts")))
    }

    /// What each host is told: what is said to all, and further values, of which a host has those at its places.
    ///
    /// # Errors
    /// [`Clash`] where two selectors say different things to one host.
    pub fn resolve<'a>(&self, hosts: impl IntoIterator<Item = (String, &'a Labels)>) -> Result<Resolved, Clash> {
        let mut base = Values::default();
        let mut overrides: Vec<(Selector, Values)> = Vec::new();
        for (layer, _) in self.layers() {
            if layer.hosts.is_everything() {
                base.overlay(&layer.values);
            } else if let Some((_, values)) = overrides.iter_mut().find(|(hosts, _)| *hosts == layer.hosts) {
                values.overlay(&layer.values);
            } else {
                overrides.push((layer.hosts.clone(), layer.values.clone()));
            }
        }
        let mut of = Vec::new();
        for (host, labels) in hosts {
            let places: Vec<usize> = (0..overrides.len()).filter(|place| overrides[*place].0.matches(labels)).collect();
            if let Some(clash) = clash(&host, places.iter().map(|place| &overrides[*place])) {
                return Err(clash);
            }
            of.push(places.into_iter().filter_map(|place| u32::try_from(place).ok()).collect());
        }
        Ok(Resolved { base, overrides: overrides.into_iter().map(|(_, values)| values).collect(), of })
    }
}

fn clash<'a>(host: &str, layers: impl Iterator<Item = &'a (Selector, Values)>) -> Option<Clash> {
    let mut said: BTreeMap<Key, (&Selector, String)> = BTreeMap::new();
    for (hosts, values) in layers {
        for (key, value) in values.entries() {
            match said.get(&key) {
                Some((one, before)) if *before != value => {
                    return Some(Clash { key, host: host.to_owned(), one: one.to_string(), other: hosts.to_string() });
                }
                _ => drop(said.insert(key, (hosts, value))),
            }
        }
    }
    None
}

/// A configuration as hosts are told it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolved {
    /// What all are told.
    pub base: Values,
    /// What some are told beside that, or instead.
    pub overrides: Vec<Values>,
    /// For each host that was asked for, in their order, its places among those.
    pub of: Vec<Vec<u32>>,
}

/// What differs between two configurations: the things that do, by whom they are meant for, with both values.
#[must_use]
pub fn compare(before: &Configuration, after: &Configuration) -> Vec<Change> {
    let (old, new) = (before.by_hosts(), after.by_hosts());
    let (nothing, mut changes) = (Values::default(), Vec::new());
    for hosts in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let (old, new) = (old.get(hosts).unwrap_or(&nothing), new.get(hosts).unwrap_or(&nothing));
        for key in old.entries().chain(new.entries()).map(|(key, _)| key).collect::<BTreeSet<_>>() {
            let (before, after) = (old.get(&key), new.get(&key));
            if before != after {
                changes.push(Change { hosts: hosts.clone(), key, before, after });
            }
        }
    }
    changes
}

/// One thing that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// For whom, as a selector; empty: for all.
    pub hosts: String,
    /// Which.
    pub key: Key,
    /// What it was; absent where it was not said.
    pub before: Option<String>,
    /// What it is.
    pub after: Option<String>,
}

/// As a history tells it, without values: it is read by more people than may read them.
impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { hosts, key, before, after } = self;
        let word = match (before, after) {
            (None, _) => "set",
            (_, None) => "removed",
            _ => "changed",
        };
        if hosts.is_empty() { write!(f, "{key} {word}") } else { write!(f, "{key} {word} for {hosts}") }
    }
}

#[cfg(test)]
mod tests;
