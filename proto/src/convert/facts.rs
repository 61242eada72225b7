//! Facts of hosts.

use roadstead_model::{
    AppName, AppState, DRIFT_FINDINGS_MAX, Differs, DiskSpace, Drift, DriftFinding, DriftPart, HostFacts, HostName, PythonFact, ReleaseId,
    ReleaseKeys, VariableName, limits,
};
use std::collections::BTreeSet;

use super::lease::services;
use crate::invalid::{InField, bounded, optional};
use crate::{Invalid, v1};

const PYTHONS_MAX: usize = 64;
const APPS_MAX: usize = 256;
const RELEASES_MAX: usize = 1024;
const RELEASE_KEYS_MAX: usize = 64;
const TEXT_BYTES_MAX: usize = 1024;

impl From<HostFacts> for v1::HostFacts {
    fn from(facts: HostFacts) -> Self {
        let python = |p: PythonFact| v1::Python { version: p.version, path: p.path };
        Self {
            host_name: facts.host_name.to_string(),
            agent_version: facts.agent_version,
            operating_system: facts.operating_system,
            architecture: facts.architecture,
            systemd: facts.systemd,
            boot_id: facts.boot_id,
            pythons: facts.pythons.into_iter().map(python).collect(),
            disk_free_bytes: facts.disk.free_bytes,
            disk_free_inodes: facts.disk.free_inodes,
            apps: facts.apps.into_iter().map(app_state).collect(),
            release_keys: facts.release_keys.map(release_keys),
        }
    }
}

fn release_keys(keys: ReleaseKeys) -> v1::ReleaseKeys {
    v1::ReleaseKeys { threshold: keys.threshold, ids: keys.ids.into_iter().map(Vec::from).collect(), problem: keys.problem }
}

fn app_state((app, state): (AppName, AppState)) -> v1::AppState {
    let names = |ids: Vec<ReleaseId>| ids.into_iter().map(String::from).collect();
    v1::AppState {
        app: app.to_string(),
        current: state.current.map(String::from).unwrap_or_default(),
        previous: state.previous.map(String::from).unwrap_or_default(),
        releases: names(state.releases),
        bad: names(state.bad),
        highest: state.highest.map(Into::into),
        unconfirmed: state.unconfirmed,
        listed: state.listed.map(|listed| v1::Listed { services: listed.iter().map(ToString::to_string).collect() }),
        drift: state.drift.map(drift),
        set: state.set.map(|set| v1::Names { names: set.iter().map(ToString::to_string).collect() }),
    }
}

fn drift(drift: Drift) -> v1::Drift {
    let finding = |finding: DriftFinding| v1::DriftFinding {
        part: finding.part.word().to_owned(),
        how: finding.how.word().to_owned(),
        place: finding.place,
        detail: finding.detail,
    };
    v1::Drift { findings: drift.findings.into_iter().map(finding).collect(), more: drift.more }
}

impl TryFrom<v1::HostFacts> for HostFacts {
    type Error = Invalid;
    fn try_from(wire: v1::HostFacts) -> Result<Self, Invalid> {
        bounded(wire.pythons.len(), PYTHONS_MAX, "facts.pythons")?;
        bounded(wire.apps.len(), APPS_MAX, "facts.apps")?;
        let python = |p: v1::Python| Ok(PythonFact { version: text(p.version)?, path: text(p.path)? });
        Ok(Self {
            host_name: HostName::parse(&wire.host_name).field("facts.host_name")?,
            agent_version: text(wire.agent_version)?,
            operating_system: text(wire.operating_system)?,
            architecture: text(wire.architecture)?,
            systemd: text(wire.systemd)?,
            boot_id: text(wire.boot_id)?,
            pythons: wire.pythons.into_iter().map(python).collect::<Result<_, Invalid>>()?,
            disk: DiskSpace { free_bytes: wire.disk_free_bytes, free_inodes: wire.disk_free_inodes },
            apps: wire.apps.into_iter().map(TryInto::try_into).collect::<Result<_, Invalid>>()?,
            release_keys: wire.release_keys.map(TryInto::try_into).transpose()?,
        })
    }
}

impl TryFrom<v1::ReleaseKeys> for ReleaseKeys {
    type Error = Invalid;
    fn try_from(wire: v1::ReleaseKeys) -> Result<Self, Invalid> {
        bounded(wire.ids.len(), RELEASE_KEYS_MAX, "facts.release_keys")?;
        let id = |bytes: Vec<u8>| <[u8; 16]>::try_from(bytes).map_err(|_| Invalid::new("facts.release_keys", "an id is not 16 bytes long"));
        Ok(Self { threshold: wire.threshold, ids: wire.ids.into_iter().map(id).collect::<Result<_, _>>()?, problem: text(wire.problem)? })
    }
}

/// A short text of the host's own choice: bounded, without control characters.
fn text(text: String) -> Result<String, Invalid> {
    bounded(text.len(), TEXT_BYTES_MAX, "facts")?;
    if text.chars().any(char::is_control) { Err(Invalid::new("facts", "a control character")) } else { Ok(text) }
}

impl TryFrom<v1::AppState> for (AppName, AppState) {
    type Error = Invalid;
    fn try_from(wire: v1::AppState) -> Result<Self, Invalid> {
        let ids = |texts: Vec<String>| {
            bounded(texts.len(), RELEASES_MAX, "facts.apps.releases")?;
            texts.iter().map(|t| ReleaseId::parse(t).field("facts.apps.releases")).collect::<Result<Vec<_>, _>>()
        };
        Ok((
            AppName::parse(&wire.app).field("facts.apps.app")?,
            AppState {
                current: optional(&wire.current, ReleaseId::parse, "facts.apps.current")?,
                previous: optional(&wire.previous, ReleaseId::parse, "facts.apps.previous")?,
                releases: ids(wire.releases)?,
                bad: ids(wire.bad)?,
                highest: wire.highest.map(Into::into),
                unconfirmed: wire.unconfirmed,
                set: wire.set.map(|set| names(&set.names)).transpose()?,
                listed: wire.listed.map(|listed| services(&listed.services)).transpose()?,
                drift: wire.drift.map(TryInto::try_into).transpose()?,
            },
        ))
    }
}

/// Variables by their names.
fn names(texts: &[String]) -> Result<BTreeSet<VariableName>, Invalid> {
    bounded(texts.len(), limits::VARIABLES_MAX, "facts.apps.set")?;
    texts.iter().map(|text| VariableName::parse(text).field("facts.apps.set")).collect()
}

/// What is wrong is told first by every honest agent; here it is put in order again, so that a list of another order says the same.
impl TryFrom<v1::Drift> for Drift {
    type Error = Invalid;
    fn try_from(wire: v1::Drift) -> Result<Self, Invalid> {
        bounded(wire.findings.len(), DRIFT_FINDINGS_MAX, "facts.apps.drift")?;
        let finding = |f: v1::DriftFinding| {
            Ok(DriftFinding::new(DriftPart::of_word(&f.part), Differs::of_word(&f.how), text(f.place)?, text(f.detail)?))
        };
        let mut drift = Self::of(wire.findings.into_iter().map(finding).collect::<Result<_, Invalid>>()?);
        drift.more = wire.more;
        Ok(drift)
    }
}
