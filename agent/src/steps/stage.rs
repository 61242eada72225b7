//! What starting, checking and serving have in common: an app on this host, and the acts on its units.

use async_trait::async_trait;
use roadstead_bundle::spec::{HttpCheck, Service};
use roadstead_model::{AppName, Failure, FailureKind, Millis, ReleaseId, ServiceName};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use super::release::Release;
use crate::host::Host;
use crate::host::probe::{Address, Alive, ProbeError, Question, until_passed};
use crate::host::proof::taken_by;
use crate::host::systemd::{SystemdError, UnitState};
use crate::host::unit_file::release_of_unit;
use crate::layout::Layout;

/// Lines of a unit's journal in a failure.
const JOURNAL_LINES: usize = 200;
/// How often a unit is looked at while it is checked.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a connection to this host may take.
const CONNECT_AT_MOST: Duration = Duration::from_secs(5);
/// How long a connection is left for somebody to take it, and how often that is looked at.
const TAKEN_AT_MOST: Duration = Duration::from_millis(300);
const TAKEN_EVERY: Duration = Duration::from_millis(10);
/// What systemd may need beyond a service's own time.
const GRACE: Duration = Duration::from_secs(10);

/// An app on this host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stage<'a> {
    /// The host.
    pub(crate) host: &'a Host,
    /// Where things lie.
    pub(crate) layout: &'a Layout,
    /// The app.
    pub(crate) app: &'a AppName,
    /// Units of the team's own that the host's operator lets the app's releases restart or reload.
    pub(crate) own_units: &'a [String],
}

/// A running instance that is not of the release in question.
#[derive(Debug, Clone)]
pub(crate) struct Other {
    /// Its unit.
    pub(crate) unit: String,
    /// Its release.
    pub(crate) release: ReleaseId,
    /// Its service, by the unit's name.
    pub(crate) service: String,
}

/// An instance that is asked, looked at between attempts.
struct UnitAlive<'a> {
    stage: &'a Stage<'a>,
    unit: Option<&'a str>,
    looked: Instant,
}

#[async_trait]
impl Alive for UnitAlive<'_> {
    type Dead = Failure;
    async fn look(&mut self) -> Result<(), Failure> {
        let Some(unit) = self.unit.filter(|_| self.looked.elapsed() >= LOOK_EVERY) else { return Ok(()) };
        self.looked = Instant::now();
        match self.stage.host.systemd.unit(unit).await {
            Ok(state) if state.is_down() || state.sub == "auto-restart" => {
                let failure = self.stage.unit_failure(unit, "died before it was ready").await;
                Err(failure
                    .unwrap_or_else(|| Failure::new(FailureKind::Unit, format!("{unit} died before it was ready"), "see its journal")))
            }
            _ => Ok(()),
        }
    }
}

impl Stage<'_> {
    /// Starts an instance unless it runs, and waits until systemd counts it as up. A failure carries what the unit said.
    pub(crate) async fn start(&self, unit: &str, service: &Service) -> Result<(), Failure> {
        let state = self.host.systemd.unit(unit).await.map_err(|error| error.failure())?;
        if state.is_active() {
            return Ok(());
        }
        if state.active == "failed" {
            self.host.systemd.reset_failed(unit).await.map_err(|error| error.failure())?;
        }
        self.make_known(unit).await?;
        // What was told to stop a moment ago ends its work first: only then can it start again.
        let ending = if state.is_stopping() { service.stop_timeout.to_duration() } else { Duration::ZERO };
        let within = service.start_timeout.to_duration() + ending + GRACE;
        let mut started = self.host.systemd.start(unit, within).await;
        if started.is_err() && self.host.systemd.unit(unit).await.is_ok_and(|state| state.was_killed()) {
            tracing::warn!(unit, "it was killed while it started, by nothing of its own; it is started once more");
            started = self.host.systemd.start(unit, within).await;
        }
        self.told(unit, started).await
    }

    /// Restarts an instance, and waits until systemd counts it as up.
    pub(crate) async fn restart(&self, unit: &str, service: &Service) -> Result<(), Failure> {
        let within = service.start_timeout.to_duration() + service.stop_timeout.to_duration() + GRACE;
        let started = self.host.systemd.restart(unit, within).await;
        self.told(unit, started).await
    }

    /// What came of a start: a failure carries what the unit said.
    async fn told(&self, unit: &str, started: Result<(), SystemdError>) -> Result<(), Failure> {
        match started {
            Ok(()) => Ok(()),
            Err(error @ (SystemdError::Job { .. } | SystemdError::Deadline { .. })) => {
                Err(self.unit_failure(unit, "did not start").await.unwrap_or_else(|| error.failure()))
            }
            Err(error) => Err(error.failure()),
        }
    }

    /// systemd knows an instance by a link to its file. A crash while those of two releases are exchanged may have left none.
    async fn make_known(&self, unit: &str) -> Result<(), Failure> {
        let (systemd, file) = (&self.host.systemd, self.layout.units().join(unit));
        if !file.exists() || systemd.is_installed(unit).await.map_err(|error| error.failure())? {
            return Ok(());
        }
        tracing::warn!(unit, "systemd did not know the unit any more; it is linked again");
        systemd.link(&[&file]).await.map_err(|error| error.failure())?;
        systemd.daemon_reload().await.map_err(|error| error.failure())
    }

    /// Stops an instance and waits until its last process is gone. What it was then, before systemd forgets it.
    pub(crate) async fn stop(&self, unit: &str, stop_timeout: Millis) -> Result<UnitState, Failure> {
        match self.host.systemd.stop(unit, stop_timeout.to_duration() + GRACE).await {
            // A unit that had to be killed is stopped all the same.
            Ok(()) | Err(SystemdError::Job { .. }) => {}
            Err(error) => return Err(error.failure()),
        }
        let ended = self.host.systemd.unit(unit).await.map_err(|error| error.failure())?;
        self.host.systemd.reset_failed(unit).await.map_err(|error| error.failure())?;
        Ok(ended)
    }

    /// What is wrong with a unit, with the end of its journal; `None` when systemd does not answer.
    pub(crate) async fn unit_failure(&self, unit: &str, what: &str) -> Option<Failure> {
        let state = self.host.systemd.unit(unit).await.ok()?;
        let tail = self.tail(unit, &state).await;
        let summary = format!("{unit} {what}: it is {}", state.words());
        let hint = format!("see its last lines, or on the host: journalctl -u '{unit}'");
        Some(Failure::new(FailureKind::Unit, summary, hint).with_detail(&tail))
    }

    /// What is told of a unit that was up and is not, or was started again.
    pub(crate) async fn does_not_stay(&self, unit: &str) -> Failure {
        let failure = self.unit_failure(unit, "does not stay up").await;
        failure.unwrap_or_else(|| Failure::new(FailureKind::Unit, format!("{unit} does not stay up"), "see its journal"))
    }

    /// Waits until an instance takes connections of a socket that it shares with others.
    pub(crate) async fn joined(&self, unit: &str, address: SocketAddr, within: Duration) -> Result<(), Failure> {
        let end = Instant::now() + within;
        let mut alive = UnitAlive { stage: self, unit: Some(unit), looked: Instant::now() };
        let state = self.host.systemd.unit(unit).await.map_err(|error| error.failure())?;
        while Instant::now() < end {
            // Nothing is asked: it only matters who takes it. Who shares the socket takes some of the connections, never all.
            if let Ok(Ok(stream)) = timeout(CONNECT_AT_MOST, TcpStream::connect(address)).await
                && let Ok(ours) = stream.local_addr()
            {
                let given_up = Instant::now() + TAKEN_AT_MOST;
                let mut taken = taken_by(&self.host.root, ours, &state);
                while taken.is_none() && Instant::now() < given_up {
                    sleep(TAKEN_EVERY).await;
                    taken = taken_by(&self.host.root, ours, &state);
                }
                if taken == Some(true) {
                    return Ok(());
                }
            }
            alive.look().await?;
            sleep(TAKEN_EVERY).await;
        }
        let failure = self.unit_failure(unit, &format!("takes no connections of {address}")).await;
        Err(failure
            .unwrap_or_else(|| Failure::new(FailureKind::Unit, format!("{unit} takes no connections of {address}"), "see its journal")))
    }

    /// Asks an instance one check until it passes or its time is over, or until its unit dies.
    pub(crate) async fn check(&self, unit: Option<&str>, address: &Address, check: &HttpCheck, within: Duration) -> Result<(), Failure> {
        self.ask(unit, address, &Question { check, any_answer: false }, within).await
    }

    /// Waits until an instance answers anything at all below 500: for services without a check of their own.
    pub(crate) async fn answers(&self, unit: Option<&str>, address: &Address, name: &ServiceName, within: Duration) -> Result<(), Failure> {
        let check = HttpCheck {
            service: name.clone(),
            path: "/".to_owned(),
            status: 200,
            contains: None,
            headers: std::collections::BTreeMap::new(),
            timeout: Millis::from_secs(10),
            within: Millis(0),
            successes: 1,
        };
        self.ask(unit, address, &Question { check: &check, any_answer: true }, within).await
    }

    async fn ask(&self, unit: Option<&str>, address: &Address, question: &Question<'_>, within: Duration) -> Result<(), Failure> {
        let alive = UnitAlive { stage: self, unit, looked: Instant::now() };
        match until_passed(address, question, within, alive).await? {
            Ok(_) => Ok(()),
            Err(error) => Err(self.check_failure(unit, address, question, &error).await),
        }
    }

    async fn check_failure(&self, unit: Option<&str>, address: &Address, question: &Question<'_>, error: &ProbeError) -> Failure {
        let check = question.check;
        let summary = format!("the check {} of {} at {address} does not pass: {error}", check.path, check.service);
        let hint = match error {
            ProbeError::Wrong { status: 400, .. } => {
                "Django answers 400 when ALLOWED_HOSTS lacks the Host header: set headers = { Host = \"…\" }"
            }
            ProbeError::Wrong { status: 301 | 302 | 307 | 308, .. } => {
                "redirects are not followed: set headers = { X-Forwarded-Proto = \"https\" } or the status that is meant"
            }
            ProbeError::Wrong { .. } => {
                "see the answer and the last lines of its unit; path, status and headers of checks are set in roadstead.toml"
            }
            ProbeError::Connect(_) => "the service does not listen: see its last lines",
            ProbeError::Slow(_) | ProbeError::Broken(_) => "see the last lines of its unit; the check's timeout is set in roadstead.toml",
            ProbeError::Unaskable(_) => "correct the check's path or headers in roadstead.toml",
        };
        let failure = Failure::new(FailureKind::Check, summary, hint);
        let Some(unit) = unit else { return failure };
        self.with_unit(failure, unit).await
    }

    /// A failure with what its unit said last, and how the unit is when that is not well.
    pub(crate) async fn with_unit(&self, mut failure: Failure, unit: &str) -> Failure {
        let state = self.host.systemd.unit(unit).await.unwrap_or_default();
        let is_well = state.is_unknown() || (state.is_active() && state.restarts == 0);
        if !is_well && !failure.summary.contains(&state.words()) {
            failure.summary.push_str(&format!("; {unit} is {}", state.words()));
        }
        failure.with_detail(&self.tail(unit, &state).await)
    }

    /// The last words of a unit: of this run, and where systemd started it again, of those before.
    async fn tail(&self, unit: &str, state: &UnitState) -> String {
        match state.restarts {
            0 => self.host.journal.tail(unit, &state.invocation, JOURNAL_LINES).await,
            _ => self.host.journal.tail_of_all(unit, JOURNAL_LINES).await,
        }
    }

    /// Instances of other releases of the app that systemd has loaded.
    pub(crate) async fn others(&self, not: Option<&ReleaseId>) -> Result<Vec<Other>, Failure> {
        let units = self.host.systemd.units(&format!("{}-*@*.service", self.app)).await.map_err(|error| error.failure())?;
        let mut others = Vec::new();
        for unit in units {
            let Some(release) = release_of_unit(self.app, &unit) else { continue };
            // Another app's name may begin with this one's: what counts is that the release is this app's.
            if not == Some(&release) || !self.layout.manifest(self.app, &release).exists() {
                continue;
            }
            let service = unit.split_once('@').and_then(|(front, _)| front.get(self.app.as_str().len() + 1..)).unwrap_or_default();
            others.push(Other { service: service.to_owned(), release, unit });
        }
        Ok(others)
    }

    /// Where an instance listens for itself.
    pub(crate) fn private_address(&self, release: &Release, name: &ServiceName) -> Address {
        Address::Unix(self.private_socket(release, name))
    }

    /// The socket at which an instance listens for itself.
    pub(crate) fn private_socket(&self, release: &Release, name: &ServiceName) -> PathBuf {
        self.layout.instance_socket(self.app, name, &release.id)
    }
}
