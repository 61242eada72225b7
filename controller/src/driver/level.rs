//! Hosts that were away or are new come level with what their environment runs.

use roadstead_model::RolloutId;
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
        let homes = self.homes(spec, &release.manifest, &hosts).await?;
        let mut behind = Vec::new();
        for host in hosts {
            // One that was away when the others confirmed would go back at the next long silence: it is asked to prove itself once more.
            let state = self.facts.get(&host.id).and_then(|facts| facts.apps.get(&spec.app));
            let level = state.is_some_and(|state| state.current.as_ref() == Some(&target) && !state.unconfirmed);
            let tried = self.levelled.contains(&(host.id.clone(), (spec.app.clone(), target.clone())));
            if !level && !tried && self.parts.sessions.is_open(&host.id) {
                behind.push(self.candidate(&spec.app, host, &homes).await?);
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
