//! Asks the controller for what a support bundle holds.

use roadstead_model::{Configuration, RolloutId};
use roadstead_proto::v1::{
    Environment, Event, GetConfigurationRequest, ListEnvironmentsRequest, ListEventsRequest, ListHostsRequest, ListReleasesRequest,
    ListRolloutsRequest, OutputPart, StepOutputRequest,
};
use std::collections::{BTreeMap, VecDeque};

use super::contents::{Collected, InQuestion, Said};
use crate::commands::rollout;
use crate::doctor::controller::Known;
use crate::doctor::{self, Checkup};
use crate::failure::{Failure, Result};
use crate::remote::{Controller, now_ms};

/// Releases and rollouts that are taken: the newest.
const NEWEST_MAX: u32 = 100;
/// Versions of a configuration that are looked at, beside the newest.
const CONFIGURATIONS_MAX: u64 = 10;
/// Lines of the history that are taken: the newest.
const EVENTS_MAX: usize = 5_000;
/// Bytes of output that are taken.
const OUTPUT_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Collects everything; nothing is changed.
///
/// # Errors
/// When the controller cannot be asked, or there is no such rollout.
pub(crate) fn collect(wanted: Option<RolloutId>) -> Result<Collected> {
    let mut checkup = Checkup::silent();
    let Some(Known { controller, says }) = doctor::controller::look(&mut checkup) else {
        return Err(unreachable(checkup));
    };
    let rollout = wanted.map(|wanted| in_question(&controller, wanted)).transpose()?;
    let mut collected = controller.call(async |mut client| {
        let newest = ListRolloutsRequest { environment: String::new(), limit: NEWEST_MAX };
        let releases = ListReleasesRequest { app: String::new(), limit: NEWEST_MAX };
        let environments = client.list_environments(ListEnvironmentsRequest::default()).await?.into_inner().environments;
        let hosts = client.list_hosts(ListHostsRequest::default()).await?.into_inner().hosts;
        let releases = client.list_releases(releases).await?.into_inner().releases;
        let rollouts = client.list_rollouts(newest).await?.into_inner().rollouts;
        Ok(Collected { at_ms: now_ms(), environments, hosts, releases, rollouts, ..Collected::default() })
    })?;
    collected.events = events(&controller)?;
    collected.configurations = configurations(&controller, &collected.environments)?;
    let known = Known { controller, says };
    doctor::fleet::look(&mut checkup, &known, None)?;
    Ok(Collected { controller: known.says, rollout, findings: checkup.into_findings(), ..collected })
}

/// Without the controller there is nothing to collect: what stands in the way is said.
fn unreachable(checkup: Checkup<'_>) -> Failure {
    let last = checkup.into_findings().pop();
    let why = last.map(|finding| finding.says).unwrap_or_default();
    Failure::new(crate::failure::Kind::Unreachable, "the controller cannot be asked").cause(why).hint("see `roadstead doctor`")
}

fn in_question(controller: &Controller, wanted: RolloutId) -> Result<InQuestion> {
    let rollout = rollout::get(controller, wanted)?;
    let events = rollout::explain::events(controller, wanted)?;
    let request = StepOutputRequest { rollout: wanted.0, host: String::new(), step: String::new(), follow: false };
    let (outputs, no_room) = controller.call(async |mut client| {
        let (mut parts, mut kept) = (client.step_output(request).await?.into_inner(), Kept::default());
        while let Some(part) = parts.message().await? {
            kept.take(part);
        }
        Ok((kept.outputs, kept.no_room))
    })?;
    Ok(InQuestion { rollout, events, outputs, no_room })
}

/// Output, bounded.
#[derive(Default)]
struct Kept {
    outputs: BTreeMap<(String, String), Said>,
    bytes: usize,
    no_room: u64,
}

impl Kept {
    fn take(&mut self, part: OutputPart) {
        let OutputPart { host, step, text, dropped } = part;
        if self.bytes + text.len() > OUTPUT_BYTES_MAX {
            self.no_room += text.len() as u64;
            return;
        }
        self.bytes += text.len();
        let said = self.outputs.entry((host, step)).or_default();
        said.text.push_str(&text);
        said.dropped += dropped;
    }
}

/// The newest configurations of every environment: hosts may still run with one of before.
fn configurations(controller: &Controller, environments: &[Environment]) -> Result<Vec<Configuration>> {
    let mut found = Vec::new();
    for Environment { name, app, .. } in environments {
        let place = (name.clone(), app.clone());
        let newest = GetConfigurationRequest { environment: place.0.clone(), app: place.1.clone(), ..GetConfigurationRequest::default() };
        let newest = controller.call(async |mut client| Ok(client.get_configuration(newest).await?.into_inner()))?;
        for version in newest.version.saturating_sub(CONFIGURATIONS_MAX).max(1)..newest.version {
            let (environment, app) = (place.0.clone(), place.1.clone());
            let request = GetConfigurationRequest { environment, app, version, ..GetConfigurationRequest::default() };
            let older = controller.call(async |mut client| Ok(client.get_configuration(request).await?.into_inner()))?;
            found.extend(serde_json::from_slice::<Configuration>(&older.content).ok());
        }
        found.extend(serde_json::from_slice::<Configuration>(&newest.content).ok());
        let runs = GetConfigurationRequest { environment: place.0, app: place.1, running: true, ..GetConfigurationRequest::default() };
        let runs = controller.call(async |mut client| Ok(client.get_configuration(runs).await?.into_inner()))?;
        found.extend(serde_json::from_slice::<Configuration>(&runs.content).ok());
    }
    Ok(found)
}

fn events(controller: &Controller) -> Result<Vec<Event>> {
    controller.call(async |mut client| {
        let (mut coming, mut kept) = (client.list_events(ListEventsRequest::default()).await?.into_inner(), VecDeque::new());
        while let Some(event) = coming.message().await? {
            kept.push_back(event);
            if kept.len() > EVENTS_MAX {
                kept.pop_front();
            }
        }
        Ok(kept.into())
    })
}
