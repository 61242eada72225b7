//! A backup is asked for, or that one is looked at again: by one host that serves what its environment runs.

use roadstead_model::{AppName, EnvironmentName, RolloutId};
use roadstead_rollout::{Candidate, Plan, RolloutKind, Tending};

use super::Loop;
use super::verbs::{Refused, Wanted};

/// What is asked for a database.
#[derive(Debug)]
pub struct TendRequest {
    /// Where.
    pub environment: EnvironmentName,
    /// Which app.
    pub app: AppName,
    /// The host that is to do it, by its id or its name; the first that can when nothing is said.
    pub host: Option<String>,
    /// What.
    pub tending: Tending,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

impl Loop {
    /// Nothing changes for anybody: so it waits at no gate and for no lock.
    pub(super) async fn tend(&mut self, request: TendRequest) -> Result<RolloutId, Refused> {
        let TendRequest { environment, app, host, tending, reason, by } = request;
        let known = self.known(&environment, &app).await?;
        if let Some(busy) = self.unfinished(&environment, &app) {
            return Err(Refused::Busy(busy, app, environment));
        }
        let Some(runs) = known.current.clone() else { return Err(Refused::NothingRuns(environment, app)) };
        let mut hosts = self.candidates(&known.spec).await?;
        hosts.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        let serves = |host: &crate::HostRecord| self.parts.sessions.is_open(&host.id) && self.is_level(&host.id, &app, &runs.release.id);
        let chosen = match host {
            None => {
                hosts.into_iter().find(|host| serves(host)).ok_or_else(|| Refused::NobodyServes(runs.release.id.clone(), environment))?
            }
            Some(text) => {
                let is_meant = |host: &crate::HostRecord| host.id.as_str() == text || host.name.as_str() == text;
                let meant = hosts.into_iter().find(is_meant).ok_or(Refused::NoHost(text, environment))?;
                if !serves(&meant) {
                    return Err(Refused::ServesNot(meant.name, runs.release.id));
                }
                meant
            }
        };
        let current = Some(runs.release.clone());
        let only = Candidate {
            id: chosen.id,
            name: chosen.name,
            labels: chosen.labels,
            current: current.clone(),
            singletons: Vec::new(),
            share: None,
        };
        let rollout = RolloutId(self.next_rollout);
        let plan = Plan::new(rollout, RolloutKind::Tend, &known.spec, runs.release, current, vec![only], false)?;
        let plan = Plan { tending: Some(tending), configuration: runs.configuration, ..plan };
        self.next_rollout += 1;
        self.enter(plan, Wanted::new(RolloutKind::Tend, reason, by), &[], false, false);
        Ok(rollout)
    }
}
