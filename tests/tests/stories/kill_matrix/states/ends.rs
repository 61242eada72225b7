//! What must be true after a kill in a state: the rollout is done, or went back and says why; every host serves one release, the balancer
//! gives everybody their share, and no request failed.

use super::cells::State;
use super::holds::Held;
use super::street::Street;
use super::users::Seen;
use crate::SOON;
use roadstead_tests::fleet::strays;
use roadstead_tests::lab::wait_until;
use serde_json::Value;
use std::fmt;

/// How a kill ended.
#[derive(Debug)]
pub(super) struct End {
    pub(super) came: Came,
    /// Requests that were answered meanwhile.
    pub(super) requests: u64,
    /// Requests that failed while a host had no power.
    pub(super) in_the_moment: Option<u64>,
}

/// What the rollout came to.
#[derive(Debug)]
pub(super) enum Came {
    Done,
    /// The old release serves, and this is why.
    Back(String),
}

impl Came {
    pub(super) const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

impl fmt::Display for Came {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done => f.write_str("done"),
            Self::Back(why) => write!(f, "back: {why}"),
        }
    }
}

impl Street {
    /// Follows the rollout to its end and looks at everything; an error tells what is not as it must be.
    pub(super) fn end_of(&self, held: &Held, before: &[String], seen: Seen) -> Result<End, String> {
        let watched = self.fleet.watch(&held.rollout).map_err(|error| error.to_string())?;
        let said = format!("{}{}", watched.stdout, watched.stderr);
        let shown = self.fleet.rollout(&held.rollout).map_err(|error| error.to_string())?;
        let phase = shown["phase"].as_str().unwrap_or_default();
        let why = shown["failure"]["summary"].as_str().unwrap_or_default();
        let came = match (watched.code, phase) {
            (Some(0), "done") => Came::Done,
            (Some(1), "rolled-back" | "failed") if !why.is_empty() && said.contains(why) => Came::Back(why.to_owned()),
            (code, phase) => return Err(format!("{} is {phase} ({code:?}), and nothing says why: {said}{shown:#}", held.rollout)),
        };
        let expected = self.expected(held, before, &came);
        self.is_whole(&expected).map_err(|error| format!("{came}, but {error}: {said}"))?;
        let requests = self.users.since(&seen).map_err(|error| format!("{came}, but {error}"))?;
        Ok(End { came, requests, in_the_moment: seen.in_the_moment })
    }

    /// What each host is to serve in the end, and its percentage of the traffic.
    fn expected(&self, held: &Held, before: &[String], came: &Came) -> Vec<(String, u64)> {
        let hosts = self.fleet.hosts.iter().zip(before);
        let of_host = |(host, before): (&roadstead_tests::lab::Host, &String)| {
            let moves = host.name() == held.host.name();
            match (held.state, came) {
                (State::Switching, Came::Done) if moves => (held.version.clone(), 100),
                (State::Switching, Came::Done) => (before.clone(), 0),
                (State::Switching, Came::Back(_)) => (before.clone(), if moves { 0 } else { 100 }),
                (_, Came::Done) => (held.version.clone(), 100),
                (_, Came::Back(_)) => (before.clone(), 100),
            }
        };
        hosts.map(of_host).collect()
    }

    fn is_whole(&self, expected: &[(String, u64)]) -> Result<(), String> {
        let releases: Vec<&String> = expected.iter().map(|(release, _)| release).collect();
        let serve = || self.fleet.serving().is_ok_and(|serving| serving.iter().eq(releases.iter().copied()));
        wait_until(&format!("{releases:?} to serve"), SOON, serve).map_err(|error| format!("{error}: {:?}", self.fleet.serving()))?;
        let mut environment = Value::Null;
        let shared = || {
            environment = self.environment();
            self.is_shared_out(&environment, expected)
        };
        wait_until(&format!("{expected:?} of the traffic"), SOON, shared).map_err(|error| format!("{error}: {environment:#}"))?;
        for (host, (release, _)) in self.fleet.hosts.iter().zip(expected) {
            let current = host.sh("basename \"$(readlink /srv/roadstead/erp/current)\"").map_err(|error| error.to_string())?;
            let current = current.trim();
            if !current.starts_with(&format!("{release}-")) {
                return Err(format!("{} has {current} as current", host.name()));
            }
            let at_rest = || strays(host, &format!("{current}.")).is_ok_and(|strays| strays.is_empty());
            let what = format!("{} to be at rest", host.name());
            wait_until(&what, SOON, at_rest).map_err(|error| format!("{error}: {:?}", strays(host, current)))?;
        }
        Ok(())
    }

    /// Whether everybody is heard, the environment runs what has the traffic, and the balancer gives that.
    fn is_shared_out(&self, environment: &Value, expected: &[(String, u64)]) -> bool {
        let Some((release, _)) = expected.iter().find(|(_, percent)| *percent > 0) else { return false };
        let runs = environment.to_string().contains(&format!("\"current\":\"{release}-"));
        let servers = environment["balancers"][0]["servers"].as_array().cloned().unwrap_or_default();
        let gives = |name: &str, percent: u64| {
            servers.iter().any(|server| server["host"] == name && server["percent"] == percent && (percent == 0 || server["up"] == true))
        };
        let hosts = || self.fleet.hosts.iter().zip(expected);
        runs && hosts().all(|(host, (_, percent))| gives(host.name(), *percent) && self.hears(host))
    }
}
