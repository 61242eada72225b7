//! Hosts that were away or are new come level with what their environment runs.

use roadstead_model::{HostId, RolloutId};
use roadstead_rollout::{Plan, RolloutKind};

use super::Loop;
use super::planning::declared;
use crate::store::{EnvironmentRecord, StoreError};

impl Loop {
    /// Looks for connected hosts that serve something else than their environment, and starts to bring them level.
    pub(super) async fn bring_level(&mut self) -> Result<(), StoreError> {
        for environment in self.parts.store.environments("").await? {
            let idle = self.unfinished(&environment.spec.name, &environment.spec.app).is_none();
            if idle && environment.current.is_some() {
                self.bring_environment_level(&environment).await?;
            }
        }
        Ok(())
    }

    async fn bring_environment_level(&mut self, environment: &EnvironmentRecord) -> Result<(), StoreError> {
        let Some(release) = self.current(environment).await?.filter(|release| release.bad.is_empty()) else { return Ok(()) };
        let (spec, target) = (&environment.spec, release.id());
        let hosts = self.candidates(spec).await?;
        let all_homes = self.homes(spec, &release.manifest, &hosts).await?;
        let state = |host: &HostId| self.facts.get(host).and_then(|facts| facts.apps.get(&spec.app));
        let is_level = |host: &HostId| state(host).is_some_and(|state| state.current.as_ref() == Some(&target));
        // A host that is level has stopped what of earlier releases is not its own any more.
        let homes = all_homes.settled(|old| is_level(old) || !hosts.iter().any(|host| host.id == *old));
        let mut behind = Vec::new();
        for host in hosts {
            // One that was away when the others confirmed would go back at the next long silence: it is asked to prove itself once more.
            let level = is_level(&host.id) && state(&host.id).is_none_or(|state| !state.unconfirmed);
            let tried = self.levelled.contains(&(host.id.clone(), (spec.app.clone(), target.clone())));
            let lacks = (!level && !tried) || all_homes.gains(&host.id, &homes);
            if lacks && self.parts.sessions.is_open(&host.id) {
                behind.push(self.candidate(&spec.app, &release.manifest, host, &homes).await?);
            }
        }
        if behind.is_empty() {
            return Ok(());
        }
        for host in &behind {
            self.levelled.insert((host.id.clone(), (spec.app.clone(), target.clone())));
        }
        let rollout = RolloutId(self.next_rollout);
        let reference = release.reference();
        match Plan::new(rollout, RolloutKind::Level, spec, reference.clone(), Some(reference), behind, false) {
            Ok(mut plan) => {
                let (variables, others) = declared(&release.manifest, std::mem::take(&mut plan.variables));
                plan.variables = variables;
                // One host that does not come level keeps no other from it.
                plan.failure_budget = plan.hosts.len();
                for (service, host) in homes {
                    self.work.changes.singletons.push((spec.name.clone(), spec.app.clone(), service, host));
                }
                self.begin_level(plan, &others);
            }
            Err(error) => tracing::warn!(%error, "hosts are not brought level"),
        }
        Ok(())
    }
}
