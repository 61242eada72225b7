//! systemd over D-Bus: the few members of its API that the agent uses.
//!
//! The connection is made when it is first needed, dropped by [`Systemd::rest`], and made anew when the bus went away. No property is
//! cached: what a unit is, is asked each time. A systemd that executes itself anew (its package was upgraded) is waited for.

mod bus;
#[cfg(test)]
mod tests;

use futures_util::StreamExt as _;
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_gettime};
use roadstead_model::{Failure, FailureKind};
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use zbus::{OwnedObjectPath, OwnedVariant, Variant};

pub(crate) use bus::Bus;
use bus::{JobRemovedStream, ManagerProxy};

/// How long one answer of systemd may take. A reload of all units on a slow host takes seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long systemd may be away while it executes itself anew.
const AWAY_AT_MOST: Duration = Duration::from_secs(30);
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// How often a job is looked after in case its signal was lost.
const JOB_LOOK_EVERY: Duration = Duration::from_secs(2);

/// What went wrong with systemd.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SystemdError {
    /// It cannot be reached.
    #[error("cannot reach systemd over D-Bus")]
    Unreachable(#[source] zbus::Error),
    /// It said no.
    #[error("systemd does not {doing}: {}", said(source))]
    Refused {
        /// What was asked.
        doing: String,
        /// What it answered.
        source: zbus::Error,
    },
    /// A job did not end well.
    #[error("systemd could not {doing}: the job ended as '{result}'")]
    Job {
        /// What was asked.
        doing: String,
        /// systemd's word for the end, such as `failed` or `timeout`.
        result: String,
    },
    /// A job did not end in time.
    #[error("systemd did not {doing} within {} s", within.as_secs())]
    Deadline {
        /// What was asked.
        doing: String,
        /// The time it had.
        within: Duration,
    },
}

fn said(error: &zbus::Error) -> String {
    match error {
        zbus::Error::MethodError(name, text, _) => text.clone().unwrap_or_else(|| name.to_string()),
        other => other.to_string(),
    }
}

impl SystemdError {
    /// Nobody heard the question, or its answer was lost: another attempt may go well.
    fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable(source) | Self::Refused { source, .. } => is_away(source),
            Self::Job { .. } | Self::Deadline { .. } => false,
        }
    }

    /// The failure for people.
    pub(crate) fn failure(&self) -> Failure {
        let (kind, hint) = match self {
            Self::Unreachable(_) => (FailureKind::Host, "see whether dbus runs on the host: systemctl status dbus"),
            Self::Refused { .. } => (FailureKind::Host, "see the host's journal: journalctl -b _PID=1 -n 50"),
            Self::Job { .. } => (FailureKind::Unit, "see the unit's journal on the host"),
            Self::Deadline { .. } => (FailureKind::Deadline, "see what the unit waits for, or give it more time in roadstead.toml"),
        };
        Failure::new(kind, roadstead_worker::failure::chain(self), hint)
    }
}

/// What a unit is at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UnitState {
    /// `active`, `activating`, `inactive`, `failed`, …; empty when systemd does not know the unit.
    pub(crate) active: String,
    /// Such as `running`, `exited`, `auto-restart`.
    pub(crate) sub: String,
    /// `loaded`, `not-found`, …
    pub(crate) load: String,
    /// Such as `success`, `exit-code`, `oom-kill`, `timeout`.
    pub(crate) result: String,
    /// The main process, 0 when there is none.
    pub(crate) main_pid: u32,
    /// Exit status or signal of the main process.
    pub(crate) status: i32,
    /// How the main process ended: `CLD_EXITED` (1), `CLD_KILLED` (2), `CLD_DUMPED` (3).
    pub(crate) code: i32,
    /// The run that it is, as 32 hex digits; empty when it never ran.
    pub(crate) invocation: String,
    /// Its cgroup below the hierarchy's root.
    pub(crate) control_group: String,
    /// The number of its job, 0 when there is none.
    pub(crate) job: u32,
    /// How often systemd started it again.
    pub(crate) restarts: u32,
    /// Since when it is active, by the clock of [`up_for`](Self::up_for); zero when it is not.
    pub(crate) active_since: Duration,
    /// What it last said of itself, as it said it.
    pub(crate) status_text: String,
    /// Since when it is not active any more, by the same clock; zero when it never was.
    pub(crate) inactive_since: Duration,
    /// How long it may take to stop before systemd kills it.
    pub(crate) stop_timeout: Duration,
    /// Where systemd found its file.
    pub(crate) fragment: String,
    /// Files that add to it.
    pub(crate) drop_ins: Vec<String>,
}

impl UnitState {
    /// How long it has been active, by the clock that systemd goes by: `CLOCK_MONOTONIC`, which does not jump.
    pub(crate) fn up_for(&self) -> Duration {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        if self.is_active() { now.saturating_sub(self.active_since) } else { Duration::ZERO }
    }

    /// How much of its time to stop is left, while it stops.
    pub(crate) fn left_to_stop(&self) -> Option<Duration> {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).unwrap_or_default();
        let spent = now.saturating_sub(self.inactive_since);
        self.is_stopping().then(|| self.stop_timeout.saturating_sub(spent))
    }

    /// It was told to stop, and some of it still runs.
    pub(crate) fn is_stopping(&self) -> bool {
        self.active == "deactivating"
    }

    /// It runs (or is done and stays, as a oneshot).
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.active.as_str(), "active" | "reloading")
    }

    /// It does not run and will not by itself.
    pub(crate) fn is_down(&self) -> bool {
        matches!(self.active.as_str(), "" | "inactive" | "failed")
    }

    /// Nothing of it runs, and nothing is left to be read of how it ended.
    pub(crate) fn was_cleared(&self) -> bool {
        matches!(self.active.as_str(), "" | "inactive")
    }

    /// Its main process got SIGKILL from somebody else than systemd and the kernel, who have words of their own for what they kill.
    pub(crate) fn was_killed(&self) -> bool {
        self.result == "signal" && self.code == 2 && self.status == 9
    }

    /// Systemd knows nothing of it.
    pub(crate) fn is_unknown(&self) -> bool {
        self.active.is_empty()
    }

    /// In words, such as `failed (failed, exit-code, exit status 3)`.
    pub(crate) fn words(&self) -> String {
        if self.is_unknown() {
            return "not known to systemd".to_owned();
        }
        let mut words = format!("{} ({}", self.active, self.sub);
        if !matches!(self.result.as_str(), "" | "success") {
            words.push_str(&format!(", {}", self.result));
        }
        match self.code {
            1 if self.status != 0 => words.push_str(&format!(", exit status {}", self.status)),
            2 | 3 => words.push_str(&format!(", signal {}", signal(self.status))),
            _ => {}
        }
        match self.restarts {
            0 => {}
            1 => words.push_str(", started again once"),
            restarts => words.push_str(&format!(", started again {restarts} times")),
        }
        words.push(')');
        words
    }
}

/// A signal by its number and name.
pub(crate) fn signal(number: i32) -> String {
    Signal::try_from(number).map_or_else(|_| number.to_string(), |signal| format!("{number} ({})", signal.as_str()))
}

/// A property of a transient unit.
pub(crate) type Property = (&'static str, Variant<'static>);

/// The host's service manager.
#[derive(Debug)]
pub(crate) struct Systemd {
    bus: Bus,
    manager: Mutex<Option<ManagerProxy<'static>>>,
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Start,
    Stop,
    Restart,
    Reload,
    ReloadOnly,
}

impl Verb {
    const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Reload | Self::ReloadOnly => "reload",
        }
    }
}

impl Systemd {
    /// The service manager behind a bus. Connects to nothing yet.
    pub(crate) fn new(bus: Bus) -> Self {
        Self { bus, manager: Mutex::new(None) }
    }

    /// Closes the connection: the next call makes a new one.
    pub(crate) async fn rest(&self) {
        self.manager.lock().await.take();
    }

    async fn manager(&self) -> Result<ManagerProxy<'static>, SystemdError> {
        let mut slot = self.manager.lock().await;
        if let Some(manager) = slot.as_ref().filter(|manager| !manager.inner().connection().is_closed()) {
            return Ok(manager.clone());
        }
        let manager = self.bus.connect(ANSWER_TIMEOUT).await.map_err(SystemdError::Unreachable)?;
        *slot = Some(manager.clone());
        Ok(manager)
    }

    /// Asks something that may be asked twice, again and again while systemd is away.
    async fn ask<T, F>(&self, doing: &str, call: impl Fn(ManagerProxy<'static>) -> F) -> Result<T, SystemdError>
    where
        F: Future<Output = zbus::Result<T>>,
    {
        let give_up = Instant::now() + AWAY_AT_MOST;
        loop {
            let answer = match self.manager().await {
                Ok(manager) => call(manager).await.map_err(|error| refused(doing, error)),
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if error.is_passing() && Instant::now() < give_up => {
                    tracing::debug!(error = %roadstead_worker::failure::chain(&error), "systemd is away, asking again");
                    sleep(ASK_AGAIN).await;
                }
                answer => return answer,
            }
        }
    }

    /// The version, such as `252`.
    pub(crate) async fn version(&self) -> Result<u32, SystemdError> {
        let text = self.ask("tell its version", |manager| async move { manager.version().await }).await?;
        let digits: String = text.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        Ok(digits.parse().unwrap_or(0))
    }

    /// Starts a unit and waits until it is up (for `Type=notify`: until it said so).
    pub(crate) async fn start(&self, unit: &str, within: Duration) -> Result<(), SystemdError> {
        self.job(Verb::Start, unit, within).await
    }

    /// Stops a unit and waits until its last process is gone. A unit that is not there is stopped.
    pub(crate) async fn stop(&self, unit: &str, within: Duration) -> Result<(), SystemdError> {
        absent_is_done(self.job(Verb::Stop, unit, within).await)
    }

    /// Asks a unit to stop and does not wait.
    pub(crate) async fn ask_to_stop(&self, unit: &str) -> Result<(), SystemdError> {
        let doing = format!("stop {unit}");
        let asked = self.ask(&doing, |manager| async move { manager.stop_unit(unit, "replace").await }).await;
        absent_is_done(asked.map(drop))
    }

    /// Restarts a unit, or starts it.
    pub(crate) async fn restart(&self, unit: &str, within: Duration) -> Result<(), SystemdError> {
        self.job(Verb::Restart, unit, within).await
    }

    /// Lets a unit read its configuration again, or restarts it when it cannot.
    pub(crate) async fn reload(&self, unit: &str, within: Duration) -> Result<(), SystemdError> {
        self.job(Verb::Reload, unit, within).await
    }

    /// Lets a unit that runs read its configuration again, and never restarts it.
    pub(crate) async fn reload_only(&self, unit: &str, within: Duration) -> Result<(), SystemdError> {
        self.job(Verb::ReloadOnly, unit, within).await
    }

    async fn job(&self, verb: Verb, unit: &str, within: Duration) -> Result<(), SystemdError> {
        let doing = format!("{} {unit}", verb.word());
        let begin = |manager: ManagerProxy<'static>| async move {
            // Before the call: a quick job is gone before its answer is read.
            let removed = manager.receive_job_removed().await?;
            let job = match verb {
                Verb::Start => manager.start_unit(unit, "replace").await?,
                Verb::Stop => manager.stop_unit(unit, "replace").await?,
                Verb::Restart => manager.restart_unit(unit, "replace").await?,
                Verb::ReloadOnly => manager.reload_unit(unit, "replace").await?,
                Verb::Reload => manager.reload_or_restart_unit(unit, "replace").await?,
            };
            Ok((removed, job))
        };
        let (mut removed, job) = self.ask(&doing, begin).await?;
        self.finish(&mut removed, &job, &doing, within).await
    }

    /// Starts a unit that exists only while it runs, and waits for the end of its start job: for `Type=oneshot`, its end.
    pub(crate) async fn start_transient(&self, unit: &str, properties: Vec<Property>, within: Duration) -> Result<(), SystemdError> {
        let doing = format!("run {unit}");
        let give_up = Instant::now() + AWAY_AT_MOST;
        loop {
            let listen = |manager: ManagerProxy<'static>| async move { Ok((manager.receive_job_removed().await?, manager)) };
            let (mut removed, manager) = self.ask(&doing, listen).await?;
            match manager.start_transient_unit(unit, "fail", &properties, &[]).await {
                Ok(job) => return self.finish(&mut removed, &job, &doing, within).await,
                Err(error) if is_away(&error) && Instant::now() < give_up => {}
                Err(error) => return Err(refused(&doing, error)),
            }
            // It may have been heard all the same, and must not be told twice.
            let state = self.unit(unit).await?;
            if !state.is_unknown() {
                return if state.job == 0 { Ok(()) } else { self.wait_for_job(state.job, unit, within).await };
            }
        }
    }

    /// Starts a timer that exists only while it waits, with the service that it starts.
    pub(crate) async fn start_transient_timer(
        &self,
        name: &str,
        timer: Vec<Property>,
        service: Vec<Property>,
        within: Duration,
    ) -> Result<(), SystemdError> {
        let (unit, other) = (&format!("{name}.timer"), &format!("{name}.service"));
        let doing = format!("start {unit}");
        let (timer, service) = (&timer, &service);
        let begin = |manager: ManagerProxy<'static>| async move {
            let removed = manager.receive_job_removed().await?;
            Ok((removed, manager.start_transient_unit(unit, "replace", timer, &[(other, service.clone())]).await?))
        };
        let (mut removed, job) = self.ask(&doing, begin).await?;
        self.finish(&mut removed, &job, &doing, within).await
    }

    /// When systemd started, by `CLOCK_MONOTONIC`.
    pub(crate) async fn started(&self) -> Result<Duration, SystemdError> {
        let micros = self.ask("tell when it started", |manager| async move { manager.userspace_timestamp_monotonic().await }).await?;
        Ok(Duration::from_micros(micros))
    }

    /// Waits for the end of a job that someone started earlier. A job that is not there has ended.
    pub(crate) async fn wait_for_job(&self, id: u32, unit: &str, within: Duration) -> Result<(), SystemdError> {
        let doing = format!("finish the job of {unit}");
        let look = |manager: ManagerProxy<'static>| async move { Ok((manager.receive_job_removed().await?, manager.get_job(id).await?)) };
        match self.ask(&doing, look).await {
            Ok((mut removed, job)) => self.finish(&mut removed, &job, &doing, within).await,
            Err(SystemdError::Refused { source, .. }) if is_absent(&source) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn finish(
        &self,
        removed: &mut JobRemovedStream,
        job: &OwnedObjectPath,
        doing: &str,
        within: Duration,
    ) -> Result<(), SystemdError> {
        let ended = timeout(within, self.job_result(removed, job)).await;
        let result = ended.map_err(|_| SystemdError::Deadline { doing: doing.to_owned(), within })??;
        match result.as_str() {
            "done" | "skipped" | "" => Ok(()),
            _ => Err(SystemdError::Job { doing: doing.to_owned(), result }),
        }
    }

    /// How a job ended; empty when that was not heard. Survives a bus that goes away in between.
    async fn job_result(&self, removed: &mut JobRemovedStream, job: &OwnedObjectPath) -> Result<String, SystemdError> {
        let id: u32 = job.as_str().rsplit('/').next().and_then(|id| id.parse().ok()).unwrap_or(0);
        let mut hearing = true;
        loop {
            let look_at = Instant::now() + JOB_LOOK_EVERY;
            while hearing {
                match timeout_at(look_at, removed.next()).await {
                    Ok(Some(signal)) => {
                        if let Ok(arguments) = signal.args()
                            && arguments.id == id
                        {
                            return Ok(arguments.result.clone());
                        }
                    }
                    Ok(None) => hearing = false,
                    Err(_) => break,
                }
            }
            if !hearing {
                sleep(JOB_LOOK_EVERY).await;
            }
            match self.manager().await {
                Ok(manager) => match manager.get_job(id).await {
                    Err(error) if is_absent(&error) => return Ok(String::new()),
                    _ => {}
                },
                Err(error) => tracing::warn!(error = %roadstead_worker::failure::chain(&error), "systemd is away, trying again"),
            }
        }
    }

    /// What a unit is now.
    pub(crate) async fn unit(&self, unit: &str) -> Result<UnitState, SystemdError> {
        let doing = format!("tell the state of {unit}");
        let look = |manager: ManagerProxy<'static>| async move {
            let path = manager.get_unit(unit).await?;
            bus::properties(&manager, &path).await
        };
        match self.ask(&doing, look).await {
            Ok(properties) => Ok(unit_state(&properties)),
            // It is not there, or it was collected between the two calls.
            Err(SystemdError::Refused { source, .. }) if is_absent(&source) => Ok(UnitState::default()),
            Err(error) => Err(error),
        }
    }

    /// Whether there is a file of a unit, whatever it does.
    pub(crate) async fn is_installed(&self, unit: &str) -> Result<bool, SystemdError> {
        let look = |manager: ManagerProxy<'static>| async move {
            let path = manager.load_unit(unit).await?;
            bus::properties(&manager, &path).await
        };
        let properties = self.ask(&format!("load {unit}"), look).await?;
        Ok(unit_state(&properties).load == "loaded")
    }

    /// Whether a unit starts at boot, by what lies on the disk now: `enabled`, `linked`, `masked`, …; empty when there is no file.
    pub(crate) async fn file_state(&self, unit: &str) -> Result<String, SystemdError> {
        let doing = format!("tell whether {unit} starts at boot");
        match self.ask(&doing, |manager| async move { manager.get_unit_file_state(unit).await }).await {
            Err(SystemdError::Refused { source, .. }) if is_absent(&source) || is_no_file(&source) => Ok(String::new()),
            state => state,
        }
    }

    /// Lets masked units be started again.
    pub(crate) async fn unmask(&self, units: &[&str]) -> Result<(), SystemdError> {
        let doing = format!("unmask {}", units.join(", "));
        self.ask(&doing, |manager| async move { manager.unmask_unit_files(units, false).await }).await.map(drop)
    }

    /// Names of loaded units that match a glob pattern.
    pub(crate) async fn units(&self, pattern: &str) -> Result<Vec<String>, SystemdError> {
        let doing = format!("list {pattern}");
        let listed = self.ask(&doing, |manager| async move { manager.list_units_by_patterns(&[], &[pattern]).await }).await?;
        Ok(listed.into_iter().map(|unit| unit.0).collect())
    }

    /// Forgets that a unit failed.
    pub(crate) async fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        let doing = format!("reset {unit}");
        absent_is_done(self.ask(&doing, |manager| async move { manager.reset_failed_unit(unit).await }).await)
    }

    /// Reads all unit files again.
    pub(crate) async fn daemon_reload(&self) -> Result<(), SystemdError> {
        self.ask("read its unit files again", |manager| async move { manager.reload().await }).await
    }

    /// Makes unit files outside of systemd's folders known.
    pub(crate) async fn link(&self, files: &[&Path]) -> Result<(), SystemdError> {
        let files = &texts(files);
        let doing = format!("link {}", files.join(", "));
        self.ask(&doing, |manager| async move { manager.link_unit_files(files, false, true).await }).await.map(drop)
    }

    /// Starts units at boot from now on. Files outside of systemd's folders by their paths.
    pub(crate) async fn enable(&self, files: &[&Path]) -> Result<(), SystemdError> {
        let files = &texts(files);
        let doing = format!("enable {}", files.join(", "));
        self.ask(&doing, |manager| async move { manager.enable_unit_files(files, false, true).await }).await.map(drop)
    }

    /// Removes every link to units: they are neither started at boot nor known any more. What runs goes on. A unit whose file is gone
    /// has none.
    pub(crate) async fn disable(&self, units: &[&str]) -> Result<(), SystemdError> {
        match self.disable_all(units).await {
            // One that is gone keeps the others from it.
            Err(SystemdError::Refused { source, .. }) if is_absent(&source) => {
                for unit in units {
                    absent_is_done(self.disable_all(&[unit]).await)?;
                }
                Ok(())
            }
            disabled => disabled,
        }
    }

    async fn disable_all(&self, units: &[&str]) -> Result<(), SystemdError> {
        let doing = format!("disable {}", units.join(", "));
        self.ask(&doing, |manager| async move { manager.disable_unit_files(units, false).await }).await.map(drop)
    }
}

fn texts<'a>(paths: &[&'a Path]) -> Vec<&'a str> {
    paths.iter().filter_map(|path| path.to_str()).collect()
}

fn refused(doing: &str, source: zbus::Error) -> SystemdError {
    match source {
        lost @ (zbus::Error::InputOutput(_) | zbus::Error::Handshake(_)) => SystemdError::Unreachable(lost),
        source => SystemdError::Refused { doing: doing.to_owned(), source },
    }
}

/// Nobody was there to answer, or to whom to give the answer. A socket that is not there is no matter of waiting.
fn is_away(error: &zbus::Error) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    match error {
        zbus::Error::InputOutput(error) => !matches!(error.kind(), NotFound | ConnectionRefused | PermissionDenied),
        zbus::Error::MethodError(name, _, _) => matches!(
            name.as_str(),
            "org.freedesktop.DBus.Error.NoReply"
                | "org.freedesktop.DBus.Error.Disconnected"
                | "org.freedesktop.DBus.Error.NameHasNoOwner"
                | "org.freedesktop.DBus.Error.ServiceUnknown"
        ),
        zbus::Error::FDO(error) => {
            use zbus::fdo::Error::{Disconnected, NameHasNoOwner, NoReply, ServiceUnknown};
            matches!(**error, NoReply(_) | Disconnected(_) | NameHasNoOwner(_) | ServiceUnknown(_))
        }
        _ => false,
    }
}

fn is_absent(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(name, _, _) => matches!(
            name.as_str(),
            "org.freedesktop.systemd1.NoSuchUnit" | "org.freedesktop.systemd1.NoSuchJob" | "org.freedesktop.DBus.Error.UnknownObject"
        ),
        zbus::Error::FDO(error) => matches!(**error, zbus::fdo::Error::UnknownObject(_)),
        _ => false,
    }
}

fn is_no_file(error: &zbus::Error) -> bool {
    match error {
        zbus::Error::MethodError(name, _, _) => name.as_str() == "org.freedesktop.DBus.Error.FileNotFound",
        zbus::Error::FDO(error) => matches!(**error, zbus::fdo::Error::FileNotFound(_)),
        _ => false,
    }
}

fn absent_is_done(result: Result<(), SystemdError>) -> Result<(), SystemdError> {
    match result {
        Err(SystemdError::Refused { source, .. }) if is_absent(&source) => Ok(()),
        other => other,
    }
}

fn unit_state(properties: &HashMap<String, OwnedVariant>) -> UnitState {
    let text = |name: &str| properties.get(name).and_then(|v| String::try_from(v.clone()).ok()).unwrap_or_default();
    let number = |name: &str| properties.get(name).and_then(|v| u32::try_from(v.clone()).ok()).unwrap_or_default();
    let micros = |name: &str| properties.get(name).and_then(|v| u64::try_from(v.clone()).ok()).unwrap_or_default();
    let signed = |name: &str| properties.get(name).and_then(|v| i32::try_from(v.clone()).ok()).unwrap_or_default();
    let bytes = |name: &str| properties.get(name).and_then(|v| Vec::<u8>::try_from(v.clone()).ok()).unwrap_or_default();
    let job = |name: &str| properties.get(name).and_then(|v| <(u32, OwnedObjectPath)>::try_from(v.clone()).ok()).unwrap_or_default();
    UnitState {
        active: text("ActiveState"),
        sub: text("SubState"),
        load: text("LoadState"),
        result: text("Result"),
        main_pid: number("MainPID"),
        status: signed("ExecMainStatus"),
        code: signed("ExecMainCode"),
        invocation: bytes("InvocationID").iter().map(|byte| format!("{byte:02x}")).collect(),
        control_group: text("ControlGroup"),
        job: job("Job").0,
        restarts: number("NRestarts"),
        active_since: Duration::from_micros(micros("ActiveEnterTimestampMonotonic")),
        status_text: text("StatusText"),
        inactive_since: Duration::from_micros(micros("ActiveExitTimestampMonotonic")),
        stop_timeout: Duration::from_micros(micros("TimeoutStopUSec")),
        fragment: text("FragmentPath"),
        drop_ins: properties.get("DropInPaths").and_then(|v| Vec::<String>::try_from(v.clone()).ok()).unwrap_or_default(),
    }
}
