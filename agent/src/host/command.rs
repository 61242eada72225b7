//! Commands of a release and the few fixed ones of the agent, each in a transient unit of its own: sandboxed, limited, with a deadline
//! that ends the whole cgroup, its output followed as it comes.
//!
//! A unit outlives the agent: one of the same name that still runs is followed, one that has ended is read, never run twice.

use roadstead_model::limits::FAILURE_DETAIL_BYTES_MAX;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use zbus::Variant;

use super::Host;
use super::journal::Follower;
use super::quote;
use super::systemd::{Property, SystemdError, UnitState, signal};

/// How long a command that is told to stop may take before it is killed.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// What systemd may take beyond a command's own deadline before it counts as hung itself.
const SYSTEMD_GRACE: Duration = Duration::from_secs(30);
/// From this version on every setting of [`Command::properties`] is known.
const FULL_SANDBOX_SINCE: u32 = 247;

/// A command to run.
#[derive(Debug, Clone)]
pub(crate) struct Command {
    /// The unit's name: unique to the app, the step and the order.
    pub(crate) unit: String,
    /// For people.
    pub(crate) description: String,
    /// The words; the first is an absolute path.
    pub(crate) argv: Vec<String>,
    /// The user that it runs as; root for the agent's own fixed commands.
    pub(crate) user: Option<String>,
    /// Its current directory.
    pub(crate) working_directory: PathBuf,
    /// `NAME=value`.
    pub(crate) environment: Vec<String>,
    /// Read by systemd when it starts; later ones win.
    pub(crate) environment_files: Vec<PathBuf>,
    /// Folders that it may write; all others are read-only for the app's user.
    pub(crate) writable: Vec<PathBuf>,
    /// Folders that it does not see.
    pub(crate) hidden: Vec<PathBuf>,
    /// How long it may take.
    pub(crate) within: Duration,
    /// Bytes of memory.
    pub(crate) memory_max: Option<u64>,
    /// It has no network.
    pub(crate) offline: bool,
    /// What it sees elsewhere than where it lies.
    pub(crate) binds: Vec<Bind>,
}

/// A file or folder that a command sees under another path; those above it need not let its user in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bind {
    /// Where it lies.
    pub(crate) from: PathBuf,
    /// Where the command sees it.
    pub(crate) to: PathBuf,
    /// Whether it may be written.
    pub(crate) writable: bool,
}

/// How a command ended.
#[derive(Debug, Clone)]
pub(crate) struct Finished {
    /// What systemd says of it.
    pub(crate) state: UnitState,
    /// Why it was stopped, when it was.
    pub(crate) stopped: Option<Stopped>,
    /// The last of its output.
    pub(crate) tail: String,
}

/// Why a command was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// Its deadline passed.
    Deadline,
    /// The order was called off.
    Cancelled,
}

impl Finished {
    /// It ended by itself and well.
    pub(crate) fn is_success(&self) -> bool {
        let ended_well = self.state.code <= 1 && self.state.status == 0;
        self.stopped.is_none() && self.state.is_active() && self.state.result == "success" && ended_well
    }

    /// How it ended, in words.
    pub(crate) fn words(&self) -> String {
        match (self.stopped, self.state.result.as_str()) {
            (Some(Stopped::Cancelled), _) => "was called off".to_owned(),
            (Some(Stopped::Deadline), _) | (None, "timeout") => "took too long and was stopped".to_owned(),
            (None, "oom-kill") => "ran out of its memory and was killed".to_owned(),
            (None, "resources") => "could not be started: the host is out of processes, memory or descriptors".to_owned(),
            (None, _) if self.state.code == 1 => format!("ended with exit status {}", self.state.status),
            (None, _) if self.state.code > 1 => format!("was killed by signal {}", signal(self.state.status)),
            (None, _) => format!("ended as {}", self.state.words()),
        }
    }
}

impl Command {
    /// A command of root's with nothing but its words: in `/`, without variables, without limits but its time.
    pub(crate) fn bare(unit: String, description: String, argv: Vec<String>, within: Duration) -> Self {
        Self {
            unit,
            description,
            argv,
            user: None,
            working_directory: "/".into(),
            environment: Vec::new(),
            environment_files: Vec::new(),
            writable: Vec::new(),
            hidden: Vec::new(),
            within,
            memory_max: None,
            offline: false,
            binds: Vec::new(),
        }
    }

    /// The unit's properties. Everything that the release's code may do is here.
    fn properties(&self, systemd: u32) -> Vec<Property> {
        let text = |value: &str| Variant::from(value.to_owned());
        let paths = |paths: &[PathBuf]| Variant::from(paths.iter().map(|path| format!("-{}", path.display())).collect::<Vec<_>>());
        let micros = |duration: Duration| Variant::from(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        let words: Vec<String> = self.argv.iter().map(|word| quote::transient_argument(word)).collect();
        // However it ends, the unit stays up until it was read and is cleared away: of one that fails at once, the journal may come too
        // late to know whose output it has. How the command ended is told by its status.
        let stays = true;
        let exec = vec![(self.argv.first().cloned().unwrap_or_default(), words, stays)];
        let mut properties: Vec<Property> = vec![
            ("Description", text(&self.description)),
            // The start job lasts as long as the command; what it ended with stays until it is read.
            ("Type", text("oneshot")),
            ("RemainAfterExit", Variant::from(true)),
            ("ExecStart", Variant::from(exec)),
            ("TimeoutStartUSec", micros(self.within)),
            ("TimeoutStopUSec", micros(STOP_GRACE)),
            ("KillMode", text("control-group")),
            ("WorkingDirectory", text(&self.working_directory.display().to_string())),
            ("Environment", Variant::from(self.environment.clone())),
            ("StandardOutput", text("journal")),
            ("StandardError", text("inherit")),
            ("TasksMax", Variant::from(512_u64)),
            ("CPUWeight", Variant::from(50_u64)),
            ("OOMScoreAdjust", Variant::from(500_i32)),
        ];
        let files: Vec<(String, bool)> = self.environment_files.iter().map(|file| (file.display().to_string(), false)).collect();
        properties.push(("EnvironmentFiles", Variant::from(files)));
        if let Some(bytes) = self.memory_max {
            properties.push(("MemoryMax", Variant::from(bytes)));
        }
        if self.offline {
            properties.push(("PrivateNetwork", Variant::from(true)));
        }
        for (name, writable) in [("BindPaths", true), ("BindReadOnlyPaths", false)] {
            let of = self.binds.iter().filter(|bind| bind.writable == writable);
            let shown = |path: &PathBuf| path.display().to_string();
            let binds: Vec<(String, String, bool, u64)> = of.map(|bind| (shown(&bind.from), shown(&bind.to), false, 0)).collect();
            if !binds.is_empty() {
                properties.push((name, Variant::from(binds)));
            }
        }
        let Some(user) = &self.user else { return properties };
        properties.extend([
            ("User", text(user)),
            ("UMask", Variant::from(0o027_u32)),
            ("NoNewPrivileges", Variant::from(true)),
            ("CapabilityBoundingSet", Variant::from(0_u64)),
            ("ProtectSystem", text("strict")),
            ("ProtectHome", text("yes")),
            ("PrivateTmp", Variant::from(true)),
            ("PrivateDevices", Variant::from(true)),
            ("ProtectKernelModules", Variant::from(true)),
            ("ProtectKernelTunables", Variant::from(true)),
            ("ProtectControlGroups", Variant::from(true)),
            ("RestrictRealtime", Variant::from(true)),
            ("ReadWritePaths", paths(&self.writable)),
            ("InaccessiblePaths", paths(&self.hidden)),
        ]);
        if systemd >= FULL_SANDBOX_SINCE {
            for name in ["ProtectClock", "ProtectHostname", "ProtectKernelLogs", "RestrictSUIDSGID", "LockPersonality"] {
                properties.push((name, Variant::from(true)));
            }
            properties.push(("ProtectProc", text("invisible")));
        }
        properties
    }
}

/// Runs a command to its end, or follows the one that an earlier agent began.
pub(crate) async fn run(
    host: &Host,
    command: &Command,
    cancelled: &CancellationToken,
    line: impl FnMut(&str),
) -> Result<Finished, SystemdError> {
    carry_out(host, command, cancelled, line).await
}

/// Runs a command to its end. What an earlier agent left of it is ended first: how that went says nothing any more.
pub(crate) async fn run_anew(
    host: &Host,
    command: &Command,
    cancelled: &CancellationToken,
    line: impl FnMut(&str),
) -> Result<Finished, SystemdError> {
    clear(host, &command.unit).await?;
    carry_out(host, command, cancelled, line).await
}

async fn carry_out(
    host: &Host,
    command: &Command,
    cancelled: &CancellationToken,
    mut line: impl FnMut(&str),
) -> Result<Finished, SystemdError> {
    let mut tail = Tail::default();
    let mut take = |text: &str| {
        tail.push(text);
        line(text);
    };
    let before = host.systemd.unit(&command.unit).await?;
    let stopped = if before.is_unknown() || (before.is_down() && before.invocation.is_empty()) {
        let properties = command.properties(host.systemd.version().await?);
        let within = command.within + STOP_GRACE + SYSTEMD_GRACE;
        let job = host.systemd.start_transient(&command.unit, properties, within);
        wait(host, command, job, cancelled, &mut take).await?
    } else {
        let job = async {
            match before.job {
                0 => Ok(()),
                job => host.systemd.wait_for_job(job, &command.unit, command.within + STOP_GRACE + SYSTEMD_GRACE).await,
            }
        };
        wait(host, command, job, cancelled, &mut take).await?
    };
    let state = host.systemd.unit(&command.unit).await?;
    clear(host, &command.unit).await?;
    Ok(Finished { state, stopped, tail: tail.text() })
}

/// Waits for the end of the start job while the output passes by.
async fn wait(
    host: &Host,
    command: &Command,
    job: impl Future<Output = Result<(), SystemdError>>,
    cancelled: &CancellationToken,
    line: &mut impl FnMut(&str),
) -> Result<Option<Stopped>, SystemdError> {
    tokio::pin!(job);
    let deadline = tokio::time::sleep(command.within + SYSTEMD_GRACE);
    tokio::pin!(deadline);
    let mut output = Output::Unknown;
    let mut stopped = None;
    let ended = loop {
        tokio::select! {
            biased;
            ended = &mut job => break ended,
            () = cancelled.cancelled(), if stopped.is_none() => {
                stopped = Some(Stopped::Cancelled);
                host.systemd.ask_to_stop(&command.unit).await?;
            }
            // systemd keeps the deadline itself, even without an agent; this is for when it does not.
            () = &mut deadline, if stopped.is_none() => {
                stopped = Some(Stopped::Deadline);
                host.systemd.ask_to_stop(&command.unit).await?;
            }
            () = output.step(host, &command.unit, line) => {}
        }
    };
    last_words(host, &command.unit).await?;
    if let Output::Followed(follower) = output {
        host.journal.finish(*follower, &mut *line).await;
    } else if let Ok(follower) = host.journal.follow(&command.unit, &host.systemd.unit(&command.unit).await?.invocation) {
        // It was over before it could be followed.
        host.journal.finish(follower, &mut *line).await;
    }
    match ended {
        // How the command ended is read from the unit.
        Ok(()) | Err(SystemdError::Job { .. }) => Ok(stopped),
        Err(error) => Err(error),
    }
}

/// The start job ends as soon as somebody else stops the unit: what runs in it may still tell why, until it is down.
async fn last_words(host: &Host, unit: &str) -> Result<(), SystemdError> {
    let end = Instant::now() + STOP_GRACE;
    while Instant::now() < end && host.systemd.unit(unit).await?.is_stopping() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// The output of a unit whose run is not known at first.
enum Output {
    Unknown,
    Followed(Box<Follower>),
    Gone,
}

impl Output {
    /// One step of following; cancellation loses nothing.
    async fn step(&mut self, host: &Host, unit: &str, line: &mut impl FnMut(&str)) {
        match self {
            Self::Unknown => match host.systemd.unit(unit).await {
                Ok(state) if !state.invocation.is_empty() => match host.journal.follow(unit, &state.invocation) {
                    Ok(follower) => *self = Self::Followed(Box::new(follower)),
                    Err(error) => {
                        tracing::warn!(%error, "cannot run journalctl: the output of commands is not shown");
                        *self = Self::Gone;
                    }
                },
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            },
            Self::Followed(follower) => {
                if follower.next(line).await.is_none() {
                    *self = Self::Gone;
                }
            }
            Self::Gone => std::future::pending().await,
        }
    }
}

/// Removes what a unit left: processes in its cgroup, its result.
pub(crate) async fn clear(host: &Host, unit: &str) -> Result<(), SystemdError> {
    match host.systemd.stop(unit, STOP_GRACE + SYSTEMD_GRACE).await {
        Ok(()) | Err(SystemdError::Job { .. }) => {}
        Err(error) => return Err(error),
    }
    host.systemd.reset_failed(unit).await
}

/// The last lines, within the size of a failure's detail.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    bytes: usize,
}

impl Tail {
    fn push(&mut self, line: &str) {
        self.bytes += line.len() + 1;
        self.lines.push_back(line.to_owned());
        while self.bytes > FAILURE_DETAIL_BYTES_MAX {
            let Some(first) = self.lines.pop_front() else { break };
            self.bytes -= first.len() + 1;
        }
    }

    fn text(self) -> String {
        Vec::from(self.lines).join("\n")
    }
}
