//! What is remembered of environments, releases, hosts and rollouts, as plain values.

use roadstead_bundle::manifest::Manifest;
use roadstead_model::{
    Configuration, ConfigurationId, Digest, EnvironmentName, EnvironmentSpec, HostFacts, HostId, HostName, Labels, ReleaseId, ReleaseRef,
    RolloutId, StepName, Timestamp,
};
use roadstead_rollout::{Plan, State};
use serde::{Deserialize, Serialize};

/// An environment of an app.
#[derive(Debug, Clone)]
pub struct EnvironmentRecord {
    /// The set of hosts that has the traffic, where it was ever switched.
    pub live_set: Option<String>,
    /// Its policy.
    pub spec: EnvironmentSpec,
    /// When it was applied.
    pub applied_at: Timestamp,
    /// By whom.
    pub applied_by: String,
    /// What it runs.
    pub current: Option<Runs>,
    /// What it ran before, and ran well.
    pub previous: Option<Runs>,
}

/// What runs: a release as hosts know it, and the version of the configuration that it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    /// The release.
    pub release: ReleaseRef,
    /// The version; 0: nothing was ever said.
    pub configuration: u64,
}

impl Runs {
    /// What a rollout brings.
    pub fn by(plan: &Plan) -> Self {
        Self { release: plan.release.clone(), configuration: plan.configuration }
    }
}

/// A signature as it came: hosts check it against the keys that they pin, the controller hands it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureRecord {
    /// Which key.
    pub key_id: Vec<u8>,
    /// What it signed.
    pub signature: Vec<u8>,
}

/// A release that was published.
#[derive(Debug, Clone)]
pub struct ReleaseRecord {
    /// The digest of the bytes below.
    pub digest: Digest,
    /// The manifest as it was signed.
    pub bytes: Vec<u8>,
    /// The same, read.
    pub manifest: Manifest,
    /// Its signatures.
    pub signatures: Vec<SignatureRecord>,
    /// When it was published.
    pub published_at: Timestamp,
    /// By whom.
    pub published_by: String,
    /// Why it must not be rolled out again; empty while it may.
    pub bad: String,
}

impl ReleaseRecord {
    /// Its id.
    pub fn id(&self) -> ReleaseId {
        ReleaseId::of(&self.manifest.version, &self.digest)
    }

    /// As orders name it.
    pub fn reference(&self) -> ReleaseRef {
        ReleaseRef { id: self.id(), manifest: self.digest }
    }
}

/// A configuration as it was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationRecord {
    /// Counted up with each change in its environment; 0: nothing was ever said there.
    pub version: u64,
    /// What it says.
    pub content: Configuration,
    /// When it was made.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl ConfigurationRecord {
    /// That of an environment of which nothing was ever said.
    pub fn none() -> Self {
        Self { version: 0, content: Configuration::default(), at: Timestamp(0), by: String::new(), reason: String::new() }
    }

    /// Its name. What was never said has none, and what was taken back again has: it is another thing than what was said before.
    pub fn id(&self) -> Option<ConfigurationId> {
        (self.version > 0).then(|| self.content.id())
    }
}

/// A release with the configuration that it runs with: hosts know both by one id.
#[derive(Debug, Clone)]
pub struct Configured {
    /// The release.
    pub release: ReleaseRecord,
    /// Its configuration.
    pub configuration: ConfigurationRecord,
    reference: ReleaseRef,
}

impl Configured {
    /// A release that is to run with a configuration.
    pub fn new(release: ReleaseRecord, configuration: ConfigurationRecord) -> Self {
        let id = release.id().with(configuration.id().as_ref());
        let reference = ReleaseRef { id, manifest: release.digest };
        Self { release, configuration, reference }
    }

    /// A release as hosts were told it: one whose configuration had no name yet keeps its id.
    pub fn known(release: ReleaseRecord, configuration: ConfigurationRecord, reference: ReleaseRef) -> Self {
        Self { release, configuration, reference }
    }

    /// The id that hosts know it by.
    pub fn id(&self) -> ReleaseId {
        self.reference.id.clone()
    }

    /// As orders name it.
    pub fn reference(&self) -> ReleaseRef {
        self.reference.clone()
    }

    /// The release's manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.release.manifest
    }
}

/// A host as it is known.
#[derive(Debug, Clone)]
pub struct HostRecord {
    /// Its identity.
    pub id: HostId,
    /// Its name when it enrolled.
    pub name: HostName,
    /// The environment that its token was for.
    pub environment: EnvironmentName,
    /// The labels of its token.
    pub labels: Labels,
    /// What it last said of itself.
    pub facts: HostFacts,
    /// When it enrolled.
    pub enrolled_at: Timestamp,
    /// When it was last heard, as far as that was written down.
    pub last_seen: Timestamp,
    /// When it was cut off.
    pub revoked_at: Option<Timestamp>,
    /// Whether that was because two machines came with its identity, and nobody has dealt with it yet.
    pub locked: bool,
    /// Until when its newest certificate is valid.
    pub certificate_not_after: Timestamp,
}

/// A rollout with who wanted it.
#[derive(Debug, Clone)]
pub struct RolloutRecord {
    /// Its state.
    pub state: State,
    /// Why it was wanted.
    pub reason: String,
    /// Who wanted it.
    pub started_by: String,
    /// What a repeat of the request would carry.
    pub idempotency_key: String,
}

/// The kept output of one step on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputRecord {
    /// On which host.
    pub host: HostId,
    /// Of which step.
    pub step: StepName,
    /// Its beginning.
    pub head: String,
    /// Bytes between beginning and end that were not kept.
    pub dropped: u64,
    /// Its end.
    pub tail: String,
}

/// A text of the history is cut to this many bytes.
const TEXT_BYTES_MAX: usize = 4 * 1024;

/// A line that is to be written.
#[derive(Debug, Clone)]
pub struct NewEvent {
    /// When.
    pub at: Timestamp,
    /// Who: `admin:NAME`, `host:ID` or `controller`.
    pub actor: String,
    /// What, as a word for programs.
    pub kind: String,
    /// To what.
    pub subject: String,
    /// The rollout that it is part of; 0: none.
    pub rollout: u64,
    /// What, for people.
    pub text: String,
}

impl NewEvent {
    /// A line about something that `actor` did to `subject`.
    pub fn new(at: Timestamp, actor: impl Into<String>, kind: &str, subject: impl Into<String>, text: impl AsRef<str>) -> Self {
        Self {
            at,
            actor: printable(&actor.into()),
            kind: kind.to_owned(),
            subject: printable(&subject.into()),
            rollout: 0,
            text: printable(text.as_ref()),
        }
    }

    /// The same, as part of a rollout.
    #[must_use]
    pub const fn of(mut self, rollout: RolloutId) -> Self {
        self.rollout = rollout.0;
        self
    }
}

/// A text without control characters, cut to what a line of the history holds.
pub fn printable(text: &str) -> String {
    let mut kept = String::new();
    for character in text.chars() {
        if kept.len() + character.len_utf8() > TEXT_BYTES_MAX {
            break;
        }
        kept.push(if character.is_control() { ' ' } else { character });
    }
    kept
}
