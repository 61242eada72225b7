//! What can go wrong in a lab, said so that the reader knows what to do.

use std::path::PathBuf;
use std::time::Duration;

/// Shorthand of the lab's modules.
pub(crate) type Result<T> = std::result::Result<T, LabError>;

/// Why a lab could not do what a test asked for.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Hosts are made of mounts, namespaces and cgroups.
    #[error("the lab needs root: it boots hosts, makes networks and mounts disks; run the tests as root (`sudo make test`)")]
    NotRoot,
    /// `make setup` was not run, or the recipe of the image changed since.
    #[error("the image of a host is missing ({}); run `make setup` as root first", .0.display())]
    NoImage(PathBuf),
    /// A command on this machine or in a host failed.
    #[error("{place}: `{command}` {how}{output}")]
    Command {
        /// The host, or "machine".
        place: String,
        /// What was run.
        command: String,
        /// How it ended.
        how: String,
        /// The end of what it said, on lines of its own.
        output: String,
    },
    /// A file of the lab could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// The file that describes a lab is not what was written.
    #[error("the lab's description in {} is damaged: {source}; take the lab away by hand and delete the file", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: serde_json::Error,
    },
    /// Something did not become true in time.
    #[error("waited {after:?} in vain for: {what}{last}")]
    Timeout {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// What was seen last, on lines of its own.
        last: String,
    },
    /// A name that cannot be a host's.
    #[error("`{0}` cannot be the name of a lab or host: 1 to 30 of a-z, 0-9 and -, beginning with a letter")]
    Name(String),
    /// The lab has no such host.
    #[error("lab {lab} has no host {host}")]
    NoHost {
        /// The lab.
        lab: String,
        /// The name that was asked for.
        host: String,
    },
    /// There is no such lab.
    #[error("there is no lab {0}; `roadstead-lab status` lists those that there are")]
    NoLab(String),
    /// A unit does not run.
    #[error("{unit} has no process on {host}")]
    NoProcess {
        /// The host.
        host: String,
        /// The unit.
        unit: String,
    },
    /// A host is off and cannot do what was asked.
    #[error("host {0} is not running")]
    Off(String),
    /// A host is on already.
    #[error("host {0} is running already")]
    On(String),
    /// A host's disk cannot be recorded.
    #[error("host {0} has no recorded disk")]
    NoRecorder(String),
    /// A lab is full.
    #[error("a lab holds at most {0} hosts")]
    Full(u8),
    /// Something was not packed.
    #[error("there is no package {package} in {}", folder.display())]
    NoPackage {
        /// Its name.
        package: String,
        /// Where it should be.
        folder: PathBuf,
    },
    /// A text that was to be changed is not in a file.
    #[error("{} does not hold {text:?}", path.display())]
    NoText {
        /// The file.
        path: PathBuf,
        /// The text.
        text: String,
    },
    /// Simulated agents and the controller did not get along.
    #[error("simulated agents: {0}")]
    Agents(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A thread of the lab panicked.
    #[error("a thread of the lab panicked")]
    Thread,
    /// A system call failed.
    #[error("cannot {what}: {source}")]
    System {
        /// The verb.
        what: &'static str,
        /// The reason.
        source: nix::errno::Errno,
    },
}

impl LabError {
    /// For `map_err`: an I/O error with its verb and file.
    pub fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
}
