//! What a rollout would be, before it is: its plan told for people and programs. The controller makes it, the command shows it, and
//! `roadstead plan --output json` prints it as it is.
//!
//! Only what [`Course::digest`] covers decides; estimates, bytes and names of files are there to be read.

use serde::{Deserialize, Serialize};

use crate::{
    Analysis, AppName, BackupDemand, Digest, EnvironmentName, HostId, HostName, Key, Millis, OnFailure, Promotion, ReleaseId, RolloutId,
    ServiceName, StepName, Timeouts,
};

/// What would become of a release in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outlook {
    /// Where it would go.
    pub environment: EnvironmentName,
    /// Of which app.
    pub app: AppName,
    /// The release.
    pub release: ReleaseId,
    /// What the environment runs.
    pub current: Option<ReleaseId>,
    /// What refuses it now, the first reason first.
    pub obstacles: Vec<Obstacle>,
    /// What it would wait for before any host hears of it.
    #[serde(default)]
    pub gates: Vec<GateOutlook>,
    /// What deserves a look, or is not known.
    pub notes: Vec<String>,
    /// What would happen; absent where there can be no plan, which is an obstacle.
    pub plan: Option<Course>,
    /// What it changes against what the environment runs.
    pub changes: Changes,
}

/// Something that refuses a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// Its kind, as a word for programs: `busy`, `bad-release`, `hosts-ahead`, `no-hosts`, `too-many-hosts`.
    pub kind: String,
    /// What, for people.
    pub what: String,
    /// What to do about it.
    pub next: String,
}

/// A gate that is closed now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateOutlook {
    /// Why, for people.
    pub why: String,
    /// Who opens it and how, or when it opens by itself.
    pub way: String,
}

/// What balancers would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficOutlook {
    /// Which.
    pub balancers: Vec<HostName>,
    /// How long the requests in flight of a host are waited for.
    pub drain: Millis,
    /// The hosts from which all of the traffic goes to those that move; empty where each is drained by itself.
    pub switched_from: Vec<HostName>,
}

/// What would happen, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Course {
    /// Of all that decides.
    pub digest: Digest,
    /// Hosts that move together, in the order in which they do.
    pub batches: Vec<Batch>,
    /// Hosts that may be out at once.
    pub max_unavailable: usize,
    /// Hosts that may fail or be away.
    pub failure_budget: usize,
    /// What becomes of it when more do.
    pub on_failure: OnFailure,
    /// Deadlines.
    pub timeouts: Timeouts,
    /// What balancers do about it; absent where there are none.
    #[serde(default)]
    pub traffic: Option<TrafficOutlook>,
    /// By what it is judged while its batches bake; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// Absent: none runs.
    pub migration: Option<Migration>,
    /// What happens to each service.
    pub services: Vec<ServiceOutlook>,
    /// Bytes that all hosts together fetch at most; absent where it is not known.
    pub bytes_at_most: Option<u64>,
    /// How long it takes.
    pub estimate: Estimate,
}

/// A batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its hosts, by name.
    pub hosts: Vec<HostOutlook>,
    /// How long it bakes before anything else moves.
    pub bake: Millis,
    /// Who says that it goes on then.
    pub promotion: Promotion,
}

/// A host's share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostOutlook {
    /// Its identity.
    pub id: HostId,
    /// Its name.
    pub name: HostName,
    /// The release that it serves now.
    pub serves: Option<ReleaseId>,
    /// Whether it is not heard now.
    pub away: bool,
    /// Services that run there because it was chosen for them: by its labels, or as the only host.
    pub chosen_for: Vec<ServiceName>,
    /// Bytes that it fetches at most, as they lie with the controller: what its current and previous release do not hold. Files that
    /// changed are sent as patches, which are smaller. Absent where it is not known.
    pub bytes_at_most: Option<u64>,
}

/// The migration of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// The host that runs it, if it is prepared then: the first that is, in the order of batches and names.
    pub host: HostName,
    /// Whether Django's `migrate` is run.
    pub django: bool,
    /// Migrations that only the new release has. What the database has of them is known to the database alone. Absent where the release
    /// lists none, because it could not be asked when it was built.
    pub new: Option<Vec<NewMigration>>,
    /// Whether commands of the release run before or after.
    pub hooks: bool,
    /// The backup of the database that has to be there before it.
    pub backup: BackupDemand,
}

/// A migration that only the new release has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewMigration {
    /// Its name, as `app_label.name`.
    pub name: String,
    /// What it is to the release that runs; absent where the release does not tell what its migrations do.
    #[serde(default)]
    pub class: Option<MigrationClass>,
    /// Whether the release that runs works with it; absent as above.
    #[serde(default)]
    pub old_release: Option<OldRelease>,
    /// `migrate` can take it back; absent as above.
    #[serde(default)]
    pub reversible: Option<bool>,
    /// What it locks and what it breaks, in sentences.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Its SQL, as Django's `sqlmigrate` prints it, or its beginning.
    #[serde(default)]
    pub sql: Option<String>,
    /// Bytes of all of its SQL, where only the beginning is here.
    #[serde(default)]
    pub sql_bytes: Option<u64>,
    /// Why its SQL is not here.
    #[serde(default)]
    pub without_sql: Option<String>,
}

impl NewMigration {
    /// One of which only the name is known.
    #[must_use]
    pub const fn named(name: String) -> Self {
        Self { name, class: None, old_release: None, reversible: None, notes: Vec::new(), sql: None, sql_bytes: None, without_sql: None }
    }
}

/// What a migration is to the release that runs while it is made. Of several that fit, the last one counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MigrationClass {
    /// It only adds: the release that runs does not notice.
    Expand,
    /// It changes rows.
    Data,
    /// What it does is not known.
    Unknown,
    /// It takes away, renames or demands what the release that runs may not give.
    Contract,
    /// `migrate` cannot take it back.
    Irreversible,
}

impl MigrationClass {
    /// Its word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expand => "expand",
            Self::Data => "data",
            Self::Unknown => "unknown",
            Self::Contract => "contract",
            Self::Irreversible => "irreversible",
        }
    }
}

/// Whether the release that runs works with the database as a migration leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OldRelease {
    /// It does.
    Works,
    /// It is not known to.
    MayBreak,
    /// It does not.
    Breaks,
}

/// What happens to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceOutlook {
    /// Its name.
    pub name: ServiceName,
    /// What happens.
    pub change: ServiceChange,
    /// On how many hosts; absent for one that goes.
    pub hosts: Option<usize>,
    /// The only host that it runs on, where it runs only once.
    pub only_on: Option<HostName>,
}

/// What happens to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceChange {
    /// It is new.
    Starts,
    /// An instance of the new release takes its place.
    Restarts,
    /// The team's own unit is reloaded.
    Reloads,
    /// The new release has it no more.
    Goes,
}

/// What a release changes against what the environment runs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Changes {
    /// Files of the app; absent where nothing runs yet, or it is not known.
    pub files: Option<FileChanges>,
    /// Packages, by name.
    pub packages: Vec<PackageChange>,
    /// Migrations that only the release that runs has: the database may be ahead of the new code.
    pub lost_migrations: Vec<String>,
    /// What the configuration says to the app: against the rollout that brought what runs. Absent where that one is not known.
    pub variables: Option<Vec<VariableDifference>>,
}

/// Files that change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileChanges {
    /// All of them.
    pub all: Counts,
    /// By the topmost folder, those with the most changes first; `.` for files that lie in none.
    pub folders: Vec<(String, Counts)>,
    /// Folders with changes beyond those.
    pub more_folders: usize,
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// That are new.
    pub added: usize,
    /// That are others.
    pub changed: usize,
    /// That go.
    pub removed: usize,
}

impl Counts {
    /// All together.
    #[must_use]
    pub const fn total(self) -> usize {
        self.added.saturating_add(self.changed).saturating_add(self.removed)
    }
}

/// A package that changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackageChange {
    /// Its name.
    pub name: String,
    /// The version that runs; absent for a new one.
    pub before: Option<String>,
    /// The version of the release; absent for one that goes.
    pub after: Option<String>,
}

/// Something that the configuration says, and that changes. Its values are not told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VariableDifference {
    /// Which.
    pub name: Key,
    /// How.
    pub change: VariableChange,
}

/// How a variable changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum VariableChange {
    /// It had no value of the environment.
    Set,
    /// It has another one.
    Changed,
    /// It has none any more.
    Removed,
}

/// How long a rollout takes, by what earlier ones took.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Estimate {
    /// From the beginning to the end, bakes included, promotions of an operator not. Absent where there is no history.
    pub total: Option<Millis>,
    /// Of that, the bakes: fixed, not estimated.
    pub bakes: Millis,
    /// How often it then waits for an operator.
    pub promotions: usize,
    /// The median of each step over hosts, in their order.
    pub steps: Vec<StepEstimate>,
    /// Steps that would run and never ran in those rollouts: their time is not in the total.
    pub unknown: Vec<StepName>,
    /// The rollouts that it is taken from, newest first.
    pub from: Vec<RolloutId>,
}

/// How long a step takes on a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepEstimate {
    /// Which.
    pub step: StepName,
    /// The median.
    pub median: Millis,
    /// Over so many runs of it.
    pub runs: usize,
}
