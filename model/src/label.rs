//! Labels of hosts and the selectors that match them.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

use crate::limits;

/// The labels of a host: key to value. Set by admins (through the join token), never by the host itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Labels(BTreeMap<String, String>);

/// A text that is not `key=value` with permitted characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a label: write key=value with letters, digits, '-', '_', '.' and '/', at most 63 characters each")]
pub struct InvalidLabel(pub String);

/// A selector that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a selector: {why}; write for instance role=web, zone=a|b, !canary")]
pub struct InvalidSelector {
    /// The offending text.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

fn word(text: &str) -> bool {
    (1..=63).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(&b))
}

/// The name of a label, such as `zone`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LabelKey(String);

/// A text that is no name of a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a label: write letters, digits, '-', '_', '.' and '/', at most 63 characters")]
pub struct InvalidLabelKey(pub String);

impl LabelKey {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for LabelKey {
    type Error = InvalidLabelKey;
    fn try_from(text: String) -> Result<Self, InvalidLabelKey> {
        if word(&text) { Ok(Self(text)) } else { Err(InvalidLabelKey(text.chars().take(80).collect())) }
    }
}

impl From<LabelKey> for String {
    fn from(key: LabelKey) -> Self {
        key.0
    }
}

impl Labels {
    /// Labels from `key=value` texts.
    ///
    /// # Errors
    /// [`InvalidLabel`] for a text of another form, a key given twice, or more than [`limits::LABELS_MAX`].
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidLabel> {
        let mut labels = BTreeMap::new();
        for text in texts {
            let invalid = || InvalidLabel(text.chars().take(140).collect());
            let (key, value) = text.split_once('=').filter(|(k, v)| word(k) && word(v)).ok_or_else(invalid)?;
            if labels.insert(key.to_owned(), value.to_owned()).is_some() || labels.len() > limits::LABELS_MAX {
                return Err(invalid());
            }
        }
        Ok(Self(labels))
    }

    /// The value of a label.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All labels as `key=value`, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (key, value)) in self.iter().enumerate() {
            write!(f, "{}{key}={value}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

/// Which hosts are meant: terms joined by commas, all of which must hold. The empty selector matches every host.
///
/// A term is `key=value`, `key=a|b` (one of), `key!=value`, `key` (has it) or `!key` (has it not).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector(Vec<Term>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Term {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Has(String),
    HasNot(String),
}

impl Selector {
    /// Parses a selector.
    ///
    /// # Errors
    /// [`InvalidSelector`] with the offending text.
    pub fn parse(text: &str) -> Result<Self, InvalidSelector> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(Self::default());
        }
        let invalid = |why| InvalidSelector { text: text.chars().take(140).collect(), why };
        let mut terms = Vec::new();
        for part in trimmed.split(',').map(str::trim) {
            let term = if let Some((key, values)) = part.split_once("!=") {
                Term::NotIn(key.to_owned(), values.split('|').map(str::to_owned).collect())
            } else if let Some((key, values)) = part.split_once('=') {
                Term::In(key.to_owned(), values.split('|').map(str::to_owned).collect())
            } else if let Some(key) = part.strip_prefix('!') {
                Term::HasNot(key.to_owned())
            } else {
                Term::Has(part.to_owned())
            };
            let fits = match &term {
                Term::In(key, values) | Term::NotIn(key, values) => word(key) && values.iter().all(|v| word(v)),
                Term::Has(key) | Term::HasNot(key) => word(key),
            };
            if !fits {
                return Err(invalid("a term has an empty or forbidden key or value"));
            }
            terms.push(term);
            if terms.len() > limits::LABELS_MAX {
                return Err(invalid("it has too many terms"));
            }
        }
        Ok(Self(terms))
    }

    /// The same hosts, in the one spelling that all have which mean them term by term.
    #[must_use]
    pub fn canonical(&self) -> Self {
        let mut terms = self.0.clone();
        for term in &mut terms {
            if let Term::In(_, values) | Term::NotIn(_, values) = term {
                values.sort();
                values.dedup();
            }
        }
        terms.sort_by_key(|term| Self(vec![term.clone()]).to_string());
        terms.dedup();
        Self(terms)
    }

    /// Whether a host with these labels is meant.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|term| match term {
            Term::In(key, values) => labels.get(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Term::NotIn(key, values) => !labels.get(key).is_some_and(|v| values.iter().any(|w| w == v)),
            Term::Has(key) => labels.get(key).is_some(),
            Term::HasNot(key) => labels.get(key).is_none(),
        })
    }

    /// Whether it matches every host.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, term) in self.0.iter().enumerate() {
            f.write_str(if index == 0 { "" } else { "," })?;
            match term {
                Term::In(key, values) => write!(f, "{key}={}", values.join("|"))?,
                Term::NotIn(key, values) => write!(f, "{key}!={}", values.join("|"))?,
                Term::Has(key) => write!(f, "{key}")?,
                Term::HasNot(key) => write!(f, "!{key}")?,
            }
        }
        Ok(())
    }
}

impl TryFrom<String> for Selector {
    type Error = InvalidSelector;
    fn try_from(text: String) -> Result<Self, InvalidSelector> {
        Self::parse(&text)
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> String {
        selector.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_match_as_they_read() {
        let labels = Labels::parse(["role=web", "zone=a"]).unwrap();
        for (selector, expected) in [
            ("", true),
            ("role=web", true),
            ("role=web,zone=b", false),
            ("zone=a|b", true),
            ("zone!=a", false),
            ("zone", true),
            ("!canary", true),
            ("!zone", false),
        ] {
            assert_eq!(Selector::parse(selector).unwrap().matches(&labels), expected, "{selector}");
            assert_eq!(Selector::parse(selector).unwrap().to_string(), selector);
        }
        for bad in [",", "role=", "=web", "a=b c", "!"] {
            assert!(Selector::parse(bad).is_err(), "{bad}");
        }
    }
}
