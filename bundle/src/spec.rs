//! What an app says of itself in `roadstead.toml`, after validation. It travels, signed, in the manifest.
//!
//! The types here are the truth of the format: reading (with file, line, column and suggestions) is in [`crate::spec`]'s
//! `read` module, and everything that an agent runs is derived from these values and from nothing else.

pub use crate::variable::{ValueType, Variable};
pub use roadstead_model::RelativePath;
use roadstead_model::{AppName, JobName, Millis, Selector, ServiceName, VariableName};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An app, as its `roadstead.toml` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppSpec {
    /// Its name: folder, system user and prefix of its units.
    pub name: AppName,
    /// The Python that it runs on, such as `3.11`.
    pub python: PythonVersion,
    /// Folder of the app within the repository; `.` by default. All paths below are relative to it.
    pub root: RelativePath,
    /// Django, when it is a Django project.
    pub django: Option<Django>,
    /// Variables that the app reads, by name.
    pub variables: BTreeMap<VariableName, Variable>,
    /// Static files.
    pub statics: Option<Statics>,
    /// Paths that the app writes and that live across releases, kept in `shared/` and linked into each release.
    pub shared: Vec<RelativePath>,
    /// Files that each host's operator keeps outside of the release and that are seen at these paths in it.
    pub from_host: Vec<RelativePath>,
    /// Files that come from the environment's configuration and that are seen at these paths in it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configured: Vec<RelativePath>,
    /// Services, by name.
    pub services: BTreeMap<ServiceName, Service>,
    /// Checks before and after the cutover.
    pub checks: Checks,
    /// Commands of the release around the steps.
    pub hooks: Hooks,
    /// Limits of every step that runs code of the release.
    pub steps: StepLimits,
    /// Commands that somebody asks for while the release serves, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub jobs: BTreeMap<JobName, Job>,
}

/// A Python version: major and minor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PythonVersion {
    /// 3.
    pub major: u8,
    /// Such as 11.
    pub minor: u8,
}

/// A Django project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Django {
    /// `DJANGO_SETTINGS_MODULE`.
    pub settings: String,
    /// Where `manage.py` is.
    pub manage: RelativePath,
    /// Whether `migrate` is run; `true` by default.
    pub migrate: bool,
    /// How long a statement of a migration waits for a lock before it gives way; two seconds by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lock_timeout: Option<Millis>,
    /// How long a statement of a migration may take; what the database says by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statement_timeout: Option<Millis>,
}

impl Django {
    /// How long a statement of a migration waits for a lock where nothing is said.
    pub const LOCK_TIMEOUT: Millis = Millis::from_secs(2);
}

/// Static files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statics {
    /// `STATIC_ROOT`, relative to the app's root.
    pub root: RelativePath,
    /// Where `collectstatic` runs.
    pub collect: Collect,
}

/// Where `collectstatic` runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Collect {
    /// It ran when the release was built; its files are in the manifest.
    Build,
    /// It runs on each host.
    Host,
    /// Never: files are taken as they lie in the repository.
    Never,
}

/// One process of the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// What it is.
    pub kind: ServiceKind,
    /// On which hosts it runs; everywhere by default.
    pub hosts: Selector,
    /// Variables of this service alone, set by the manifest.
    pub environment: BTreeMap<VariableName, String>,
    /// Working directory relative to the app's root; the root by default.
    pub working_directory: RelativePath,
    /// Limits of its cgroup.
    pub resources: Resources,
    /// How long a new instance may take until it is ready.
    pub start_timeout: Millis,
    /// How long an old instance may take to end what it works on.
    pub stop_timeout: Millis,
}

/// The kinds of services. What runs is derived from these by the agent; there is no shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum ServiceKind {
    /// A WSGI (or ASGI, by worker class) web server.
    Gunicorn {
        /// Such as `config.wsgi:application`.
        app: String,
        /// Worker processes.
        workers: u32,
        /// Threads of each.
        threads: u32,
        /// Seconds after which a silent worker is replaced.
        timeout_seconds: u32,
        /// Further arguments; never a bind address, a config file or a way to load code from elsewhere.
        arguments: Vec<String>,
        /// Where it listens.
        listen: Listen,
    },
    /// An ASGI web server.
    Uvicorn {
        /// Such as `config.asgi:application`.
        app: String,
        /// Worker processes.
        workers: u32,
        /// Further arguments.
        arguments: Vec<String>,
        /// Where it listens.
        listen: Listen,
    },
    /// An ASGI web server.
    Daphne {
        /// Such as `config.asgi:application`.
        app: String,
        /// Further arguments.
        arguments: Vec<String>,
        /// Where it listens.
        listen: Listen,
    },
    /// A Celery worker.
    CeleryWorker {
        /// The Celery app, such as `config.celery`.
        app: String,
        /// Queues; all default ones when empty.
        queues: Vec<String>,
        /// Processes or threads; Celery's default when 0.
        concurrency: u32,
        /// Further arguments.
        arguments: Vec<String>,
    },
    /// The Celery scheduler: exactly one in an environment.
    CeleryBeat {
        /// The Celery app.
        app: String,
        /// Further arguments.
        arguments: Vec<String>,
    },
    /// Any other long-running command; the first word is looked up in the virtual environment's `bin`, `python` included.
    Command {
        /// The words of the command.
        command: Vec<String>,
        /// Exactly one in the environment.
        singleton: bool,
        /// Whether old and new may overlap at a cutover.
        overlap: bool,
    },
    /// Units that the team wrote itself and that point at `current/`.
    Units {
        /// Their names, such as `erp-web.service`; a host obeys only for names that its own file lists.
        units: Vec<String>,
        /// How they come to the new release.
        cutover: UnitCutover,
        /// Where they can be asked for health.
        listen: Option<Listen>,
    },
}

/// How a team's own unit comes to a new release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitCutover {
    /// `systemctl restart`.
    Restart,
    /// `systemctl reload`.
    Reload,
}

/// Where a web service listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "on")]
pub enum Listen {
    /// `/run/roadstead/APP/SERVICE.sock`: a symbolic link that moves from release to release. The default.
    Unix,
    /// A TCP port whose socket systemd holds while releases hand over.
    Tcp {
        /// An IP address, such as `127.0.0.1`.
        address: std::net::IpAddr,
        /// The port.
        port: u16,
    },
}

/// Limits of a service's cgroup; absent means systemd's default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Resources {
    /// Bytes of memory (`MemoryMax=`).
    pub memory_max: Option<u64>,
    /// Processor time in percent of one core (`CPUQuota=`).
    pub cpu_percent: Option<u32>,
    /// Processes and threads (`TasksMax=`).
    pub tasks_max: Option<u32>,
    /// Open files (`LimitNOFILE=`).
    pub open_files_max: Option<u32>,
}

/// Checks of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Checks {
    /// Asked of the candidate before the cutover, and of the public address after it.
    pub health: Vec<HttpCheck>,
    /// Asked of the candidate before the cutover only.
    pub smoke: Vec<HttpCheck>,
}

/// One HTTP check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpCheck {
    /// The web service that is asked.
    pub service: ServiceName,
    /// Path and query.
    pub path: String,
    /// Expected status.
    pub status: u16,
    /// A text that the first 64 KiB of the body must contain.
    pub contains: Option<String>,
    /// Request headers, such as `Host` and `X-Forwarded-Proto`.
    pub headers: BTreeMap<String, String>,
    /// How long one request may take.
    pub timeout: Millis,
    /// How long to try again before it counts as failed.
    pub within: Millis,
    /// Successes in a row that are asked for.
    pub successes: u32,
}

/// Commands of the release around the steps, each a list of words, run in order as the app's user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub struct Hooks {
    /// On the migrating host, before `migrate`.
    pub before_migrate: Vec<Vec<String>>,
    /// On the migrating host, after `migrate`.
    pub after_migrate: Vec<Vec<String>>,
    /// On every host, after its cutover and health checks.
    pub after_cutover: Vec<Vec<String>>,
}

/// A command that somebody asks for while the release serves, such as the long part of a migration of data. It goes on where it stopped when it
/// is run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its words, run as the app's user.
    pub command: Vec<String>,
    /// How long it may take.
    pub timeout: Millis,
}

/// Limits of steps that run code of the release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepLimits {
    /// Working directory of `migrate`, `collectstatic` and hooks, relative to the app's root; the root by default.
    pub working_directory: RelativePath,
    /// How long `migrate` and its hooks may take.
    pub migrate_timeout: Millis,
    /// How long any other command may take.
    pub command_timeout: Millis,
    /// Bytes of memory of one step.
    pub memory_max: Option<u64>,
}

impl Default for StepLimits {
    fn default() -> Self {
        Self {
            working_directory: RelativePath::root(),
            migrate_timeout: Millis::from_secs(30 * 60),
            command_timeout: Millis::from_secs(5 * 60),
            memory_max: None,
        }
    }
}

impl ServiceKind {
    /// Where it listens, for the kinds that do.
    #[must_use]
    pub const fn listen(&self) -> Option<&Listen> {
        match self {
            Self::Gunicorn { listen, .. } | Self::Uvicorn { listen, .. } | Self::Daphne { listen, .. } => Some(listen),
            Self::Units { listen, .. } => listen.as_ref(),
            Self::CeleryWorker { .. } | Self::CeleryBeat { .. } | Self::Command { .. } => None,
        }
    }

    /// Whether there is exactly one in an environment.
    #[must_use]
    pub const fn is_singleton(&self) -> bool {
        matches!(self, Self::CeleryBeat { .. } | Self::Command { singleton: true, .. })
    }

    /// Whether the old instance must be gone before the new one starts.
    #[must_use]
    pub const fn never_overlaps(&self) -> bool {
        matches!(self, Self::CeleryBeat { .. } | Self::Command { overlap: false, .. } | Self::Command { singleton: true, .. })
    }
}

/// Why a text is no [`PythonVersion`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSpecText {
    /// Not `3.MINOR`.
    #[error("{0:?} is not a Python version: write major and minor, as in \"3.11\"")]
    Python(String),
}

impl PythonVersion {
    /// Parses `3.11`; a patch number is accepted and dropped.
    ///
    /// # Errors
    /// [`InvalidSpecText::Python`].
    pub fn parse(text: &str) -> Result<Self, InvalidSpecText> {
        let invalid = || InvalidSpecText::Python(text.chars().take(40).collect());
        let mut parts = text.trim().split('.');
        let mut number = || parts.next().and_then(|p| p.parse::<u8>().ok()).ok_or_else(invalid);
        let (major, minor) = (number()?, number()?);
        if major == 3 && (8..=40).contains(&minor) { Ok(Self { major, minor }) } else { Err(invalid()) }
    }
}

impl std::fmt::Display for PythonVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl TryFrom<String> for PythonVersion {
    type Error = InvalidSpecText;
    fn try_from(text: String) -> Result<Self, InvalidSpecText> {
        Self::parse(&text)
    }
}

impl From<PythonVersion> for String {
    fn from(version: PythonVersion) -> String {
        version.to_string()
    }
}
