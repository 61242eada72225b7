//! The manifest: the one signed document of a release. Everything else is reached from it by digest.
//!
//! Format versions (a reader refuses a higher number than it knows and says what to upgrade):
//! - 1: first.
//! - 2: a release may name what its migrations do. A reader of format 1 takes no field that it does not know, since a manifest has one
//!   encoding: it would call the release malformed. The number tells it to say what helps. A release without that is still written as 1,
//!   and every host takes it.
//! - 3: roadstead.toml may limit how long migrations wait for locks and how long their statements take. As with format 2, only a release
//!   that says so has it.
//! - 4: roadstead.toml may say what the values of variables are, who needs them and which are secret, and may take files from the
//!   environment's configuration. As before, only a release that says so has it.
//! - 5: roadstead.toml may declare jobs. As before, only a release that says so has it.

use roadstead_model::{AppName, Digest, ReleaseId, Timestamp, Version, limits};
use serde::{Deserialize, Serialize};

use crate::spec::{AppSpec, Django, PythonVersion, RelativePath, Variable};

/// The newest manifest format that this code reads, and the one that it writes.
pub const FORMAT: u32 = 5;
/// The oldest format that can name what migrations do.
const FORMAT_OF_FACTS: u32 = 2;
/// The oldest format that can limit what migrations wait for.
const FORMAT_OF_MIGRATION_LIMITS: u32 = 3;
/// The oldest format that can say more of variables than that they are there.
const FORMAT_OF_TYPES: u32 = 4;
/// The oldest format that can declare jobs.
const FORMAT_OF_JOBS: u32 = 5;

/// A release, described. Encoded as canonical JSON: fields in this order, maps sorted, no spaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// See [`FORMAT`].
    pub format: u32,
    /// The app's name, as in [`AppSpec::name`].
    pub app: AppName,
    /// From a tag or `git describe`.
    pub version: Version,
    /// Where the code comes from.
    pub source: Source,
    /// What the app needs and runs.
    pub spec: AppSpec,
    /// The app's files.
    pub code: TreeRef,
    /// Its Python packages.
    pub packages: Packages,
    /// Collected static files, as they are served below the static address.
    pub statics: Option<TreeRef>,
    /// Migrations that the release contains, as `app_label.name`, sorted.
    pub migrations: Vec<String>,
    /// What they do, and their SQL: a blob of [`crate::migrations::MigrationFacts`]. Hosts do not fetch it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration_facts: Option<BlobRef>,
}

/// A blob that stands for itself, and in no tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    /// Its digest.
    pub digest: Digest,
    /// Its size.
    pub bytes: u64,
}

/// The commit that a release was built from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Full hash of the commit.
    pub commit: String,
    /// The branch that was checked out, when there was one.
    pub branch: Option<String>,
    /// Author of the commit.
    pub author: String,
    /// Time of the commit: the release carries no other time, so that a build repeats.
    pub committed_at: Timestamp,
    /// Built from files that differ from the commit.
    pub dirty: bool,
}

/// A tree of files: the digest of its root node and what it amounts to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TreeRef {
    /// Digest of the encoded root [`Node`].
    pub root: Digest,
    /// Files and links in all.
    pub entries: u64,
    /// Bytes of all files.
    pub bytes: u64,
}

/// The Python packages of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Packages {
    /// Digest of the lock: the sorted `name==version --hash=…` lines.
    pub lock: Digest,
    /// The Python that they are installed for.
    pub python: PythonVersion,
    /// Such as `x86_64`.
    pub architecture: String,
    /// Such as `glibc-2.36`: what the builder had; a host needs at least this.
    pub libc: String,
    /// The installed tree: `lib/` is site-packages, `bin/` the scripts. `None` when only wheels are carried.
    pub installed: Option<TreeRef>,
    /// The wheels, for hosts that cannot use the installed tree, as a flat tree of `*.whl` and `lock.txt`.
    pub wheels: Option<TreeRef>,
    /// Names and versions, for people and for `bundle diff`.
    pub list: Vec<Package>,
}

/// One package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    /// Normalised name.
    pub name: String,
    /// Version.
    pub version: String,
}

/// One folder: its entries sorted by name (bytewise). Encoded as canonical JSON; its digest names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Node(pub Vec<Entry>);

/// One name in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The name: not empty, not `.` or `..`, no `/` and no NUL, at most 255 bytes.
    #[serde(rename = "n")]
    pub name: String,
    /// What it is.
    #[serde(flatten)]
    pub kind: EntryKind,
}

/// What a name in a folder is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "t")]
pub enum EntryKind {
    /// A file.
    #[serde(rename = "f")]
    File {
        /// Digest of its content.
        #[serde(rename = "d")]
        digest: Digest,
        /// Its size in bytes.
        #[serde(rename = "s")]
        size: u64,
        /// Whether it may be executed.
        #[serde(rename = "x", default, skip_serializing_if = "std::ops::Not::not")]
        executable: bool,
    },
    /// A folder.
    #[serde(rename = "d")]
    Folder {
        /// Digest of its encoded node.
        #[serde(rename = "d")]
        digest: Digest,
    },
    /// A symbolic link to another place within the same tree.
    #[serde(rename = "l")]
    Link {
        /// Its target, relative, never leading out of the tree.
        #[serde(rename = "to")]
        target: String,
    },
}

/// Why bytes are not a manifest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidManifest {
    /// Larger than any may be.
    #[error("a manifest of {0} bytes is larger than allowed ({max})", max = limits::MANIFEST_BYTES_MAX)]
    TooLarge(u64),
    /// Written by a newer Roadstead.
    #[error("the release has format {0}, this version of Roadstead reads up to {FORMAT}: upgrade it first")]
    Newer(u32),
    /// Not the JSON of a manifest.
    #[error("the manifest cannot be read: {0}")]
    Unreadable(String),
    /// Not the one encoding that this manifest has.
    #[error("the manifest is not in canonical form")]
    NotCanonical,
    /// The name of the app stands there twice, differently.
    #[error("the manifest is of the app {app}, its roadstead.toml of {spec}")]
    Names {
        /// One.
        app: AppName,
        /// The other.
        spec: AppName,
    },
    /// It has a field that its format has not.
    #[error("the manifest tells what migrations do, limits them, or says what variables are, which its format {0} cannot")]
    Field(u32),
    /// It carries nothing to run with.
    #[error("the release carries neither installed packages nor wheels")]
    NoPackages,
}

impl Manifest {
    /// Reads an encoded manifest. It says nothing about who signed it.
    ///
    /// # Errors
    /// [`InvalidManifest`].
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidManifest> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let length = bytes.len() as u64;
        if length > limits::MANIFEST_BYTES_MAX {
            return Err(InvalidManifest::TooLarge(length));
        }
        let unreadable = |error: serde_json::Error| InvalidManifest::Unreadable(error.to_string());
        // A newer format may have fields that this code cannot read: its number comes first.
        let Format { format } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if format > FORMAT {
            return Err(InvalidManifest::Newer(format));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        if manifest.encode() != bytes {
            return Err(InvalidManifest::NotCanonical);
        }
        if manifest.app != manifest.spec.name {
            return Err(InvalidManifest::Names { app: manifest.app, spec: manifest.spec.name });
        }
        if manifest.packages.installed.is_none() && manifest.packages.wheels.is_none() {
            return Err(InvalidManifest::NoPackages);
        }
        if format < Self::format_with(manifest.migration_facts.as_ref(), &manifest.spec) {
            return Err(InvalidManifest::Field(format));
        }
        Ok(manifest)
    }

    /// The format of a manifest with these facts and this spec: the oldest that can say it, so that older hosts take what they can.
    #[must_use]
    pub fn format_with(facts: Option<&BlobRef>, spec: &AppSpec) -> u32 {
        let is_limited = |django: &Django| django.lock_timeout.is_some() || django.statement_timeout.is_some();
        if !spec.jobs.is_empty() {
            FORMAT_OF_JOBS
        } else if spec.variables.values().any(Variable::is_typed) || !spec.configured.is_empty() {
            FORMAT_OF_TYPES
        } else if spec.django.as_ref().is_some_and(is_limited) {
            FORMAT_OF_MIGRATION_LIMITS
        } else if facts.is_some() {
            FORMAT_OF_FACTS
        } else {
            1
        }
    }

    /// All its trees: code, packages, static files.
    pub fn trees(&self) -> impl Iterator<Item = &TreeRef> {
        let packages = self.packages.installed.iter().chain(&self.packages.wheels);
        std::iter::once(&self.code).chain(packages).chain(&self.statics)
    }

    /// The folder of the app within the release's tree.
    #[must_use]
    pub const fn app_root(&self) -> &RelativePath {
        &self.spec.root
    }

    /// The encoded manifest: the bytes that are signed and whose digest names the release.
    ///
    /// # Panics
    /// Never: every field is plain data with string keys.
    #[must_use]
    #[expect(clippy::expect_used, reason = "plain structs with string keys always encode as JSON")]
    pub fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a manifest is plain data")
    }

    /// The id of the release: version and digest.
    #[must_use]
    pub fn release_id(&self) -> ReleaseId {
        ReleaseId::of(&self.version, &Digest::of(&self.encode()))
    }
}
