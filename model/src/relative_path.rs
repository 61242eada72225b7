//! Paths within an app's tree.

use serde::{Deserialize, Serialize};
use std::fmt;

use crate::limits;

/// Why a text is no [`RelativePath`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a path below the app's root: no '..', no leading '/', no empty part")]
pub struct InvalidPath(String);

/// A path below the app's root: no `..`, not absolute, `/` between parts, no empty part, no control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(String);

impl RelativePath {
    /// The root itself.
    #[must_use]
    pub fn root() -> Self {
        Self(".".to_owned())
    }

    /// Parses a path; `./` in front and `/` behind are dropped.
    ///
    /// # Errors
    /// [`InvalidPath`].
    pub fn parse(text: &str) -> Result<Self, InvalidPath> {
        let trimmed = text.trim_start_matches("./").trim_end_matches('/');
        if trimmed.is_empty() || trimmed == "." {
            return if text.is_empty() || text.starts_with('/') { Err(InvalidPath(text.to_owned())) } else { Ok(Self::root()) };
        }
        let good = |part: &str| !part.is_empty() && part != "." && part != ".." && part.len() <= 255;
        let fits = trimmed.len() <= limits::PATH_BYTES_MAX
            && !trimmed.starts_with('/')
            && !trimmed.chars().any(char::is_control)
            && trimmed.split('/').all(good);
        if fits { Ok(Self(trimmed.to_owned())) } else { Err(InvalidPath(text.chars().take(200).collect())) }
    }

    /// The text of the path; `.` for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the other path, or lies below it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        other.is_root() || self == other || self.0.strip_prefix(&other.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Whether it is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0 == "."
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RelativePath {
    type Error = InvalidPath;
    fn try_from(text: String) -> Result<Self, InvalidPath> {
        Self::parse(&text)
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> String {
        path.0
    }
}
