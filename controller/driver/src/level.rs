//! Hosts that were away or are new come level with what their environment runs.

use std::collections::BTreeSet;

use roadstead_model::{AppName, EnvironmentSpec, HostId, ReleaseId, RolloutId, Timestamp};
use roadstead_rollout::{Event, Plan, RolloutKind, Stage, Standing, State};

use super::configuration::{labels_of, told};
use super::homes::{Homes, Moved, does_not_list};
use super::running::not_again;
use super::{Loop, traffic};
use crate::{Configured, EnvironmentRecord, HostRecord, LedgerError, NewEvent, Refused};

impl Loop {
    /// Whether a host may go back by itself from what it serves of an app.
    pub(super) fn is_unconfirmed(&self, host: &HostId, app: &AppName) -> bool {
        self.facts.get(host).and_then(|facts| facts.apps.get(app)).is_some_and(|state| state.unconfirmed)
    }

    /// Whether a host serves a release for good. One that was away when the others confirmed would go back at the next long silence.
    pub(super) fn is_level(&self, host: &HostId, app: &AppName, target: &ReleaseId) -> bool {
        let state = self.facts.get(host).and_then(|facts| facts.apps.get(app));
        state.is_some_and(|state| state.current.as_ref() == Some(target) && !state.unconfirmed)
    }

    /// A rollout ended: hosts on which it failed are not brought level with the same at once, but after a pause; those that are level or
    /// away may fall behind and be brought level once more.
    pub(super) fn note_levels(&mut self, state: &State) {
        let plan = &state.plan;
        if plan.kind == RolloutKind::Tend {
            // It says nothing about whether a host can serve.
            return;
        }
        let now = self.parts.clock.steady();
        for (id, host) in &state.hosts {
            let goal = (id.clone(), plan.app.clone(), plan.release.id.clone());
            let failed = match host.stage {
                // It did not come to it.
                Stage::Abandoned | Stage::Reverted if state.gives_way => false,
                _ if host.standing == Standing::Excluded => false,
                stage => not_again(stage),
            };
            if failed {
                self.tries.failed(goal, now);
            } else if state.gives_way || host.stage == Stage::Left || self.is_level(id, &plan.app, &plan.release.id) {
                self.tries.forget(&goal);
            }
        }
    }

    /// Looks for connected hosts that serve something else than their environment, and starts to bring them level.
    pub(super) async fn bring_level(&mut self) -> Result<(), LedgerError> {
        for environment in self.parts.ledger.environments().await? {
            let (name, app) = (&environment.spec.name, &environment.spec.app);
            // A host obeys nothing that is older than what it heard last: what waits at the gates was asked for before this.
            let busy = self.unfinished(name, app);
            let tends = busy.filter(|busy| self.running.get(busy).is_some_and(|r| r.state().plan.kind == RolloutKind::Tend));
            let idle = (busy.is_none() || tends.is_some()) && self.at_gates(name, app).is_none();
            if idle && environment.current.is_some() {
                self.bring_environment_level(&environment, tends).await?;
            }
        }
        Ok(())
    }

    /// `tends`: what only tends the database meanwhile, which gives way to hosts that are behind.
    async fn bring_environment_level(&mut self, environment: &EnvironmentRecord, tends: Option<RolloutId>) -> Result<(), LedgerError> {
        let Some(release) = self.current(environment).await?.filter(|current| current.release.bad.is_empty()) else { return Ok(()) };
        let (spec, target, now) = (&environment.spec, release.id(), self.parts.clock.steady());
        let mut hosts = self.candidates(spec).await?;
        self.leave_out_clashes(&release, spec, &mut hosts, now);
        let idle = self.idle(environment, &hosts);
        hosts.retain(|host| !idle.contains(&host.id));
        let (all_homes, mut out) = self.homes_of_level(spec, &release, &hosts).await?;
        let state = |host: &HostId| self.facts.get(host).and_then(|facts| facts.apps.get(&spec.app));
        let lacking: BTreeSet<HostId> =
            hosts.iter().map(|host| &host.id).filter(|host| all_homes.lacks(host, state(host))).cloned().collect();
        let serves = |host: &HostId| state(host).is_some_and(|state| state.current.as_ref() == Some(&target));
        // A host that serves it has stopped what of earlier releases is not its own any more, unless it was prepared to run it itself.
        let homes = all_homes.settled(|service, old| {
            let is_gone = || !hosts.iter().any(|host| host.id == *old) && !self.is_here_by_lease(old, spec);
            (serves(old) && does_not_list(state(old), service)) || is_gone()
        });
        let labels = labels_of(&hosts);
        let place = self.place(environment).await?;
        let lock = self.parts.ledger.lock(&spec.name, &spec.app).await?;
        let is_locked = lock.is_some_and(|lock| self.parts.clock.now() < lock.until);
        let (mut behind, mut repairs) = (Vec::new(), Vec::new());
        for host in hosts {
            self.note_given_up(&host.id, spec, &target, now);
            let repaired = self.is_to_repair(&host.id, spec, &target, is_locked, now);
            let level = self.is_level(&host.id, &spec.app, &target) && !repaired;
            let tried = self.tries.pauses(&(host.id.clone(), spec.app.clone(), target.clone()), now);
            let level = level && !lacking.contains(&host.id);
            let lacks = (!level && !tried) || all_homes.gains(&host.id, &homes);
            if repaired {
                repairs.push(host.id.clone());
            }
            if lacks && self.parts.sessions.is_open(&host.id) && !self.is_ahead(&host.id) {
                behind.push(self.candidate(&spec.app, release.manifest(), host, &homes, place.as_ref()).await?);
            }
        }
        if !behind.is_empty() && out.is_none() {
            out = Some(self.taken_out(spec, &release).await?);
        }
        behind.retain(|host| out.as_ref().is_none_or(|out| !out.contains(&host.id)));
        if behind.is_empty() {
            return Ok(());
        }
        if let Some(tends) = tends {
            self.decide(tends, Event::GiveWay { by: "hosts that are behind".to_owned() });
            return Ok(());
        }
        // Who does not come level becomes no home.
        let coming: BTreeSet<HostId> = behind.iter().map(|host| host.id.clone()).collect();
        let mut wanted = None;
        for host in &behind {
            if repairs.contains(&host.id) {
                let asked = self.begin_repair(&host.id, &spec.app, &target, now);
                wanted =
                    wanted.or(asked).or_else(|| Some(("controller".to_owned(), format!("{} differs from what was deployed", host.name))));
            }
            self.tries.begin((host.id.clone(), spec.app.clone(), target.clone()), now);
        }
        let rollout = RolloutId(self.next_rollout);
        let reference = release.reference();
        let plan = Plan::new(rollout, RolloutKind::Level, spec, reference.clone(), Some(reference), behind, false);
        let plan = plan.and_then(|plan| traffic::behind(plan, place.as_ref(), spec.traffic.as_ref(), None));
        match plan.map_err(Refused::from).and_then(|plan| told(plan, &release, &labels)) {
            Ok((mut plan, others)) => {
                // One host that does not come level keeps no other from it.
                plan.failure_budget = plan.hosts.len();
                let told = all_homes.followed(&homes).filter(|moved| coming.contains(moved.new)).map(|Moved { service, old, new, why }| {
                    let name = |host| self.facts.get(host).map_or_else(|| host.to_string(), |facts| facts.host_name.to_string());
                    format!("{service} follows to {}: {} {why}", name(new), name(old))
                });
                let told: Vec<String> = told.collect();
                for text in told {
                    tracing::warn!(environment = %spec.name, app = %spec.app, "{text}");
                    let subject = format!("environment:{}/{}", spec.name, spec.app);
                    self.work
                        .changes
                        .events
                        .push(NewEvent::new(self.parts.clock.now(), "controller", "failover", subject, text).of(rollout));
                }
                for (service, host) in homes.into_iter().filter(|(_, host)| coming.contains(host)) {
                    self.work.changes.singletons.push((spec.name.clone(), spec.app.clone(), service, host));
                }
                self.begin_level(plan, &others, wanted);
            }
            Err(error) => tracing::warn!(%error, "hosts are not brought level"),
        }
        Ok(())
    }

    /// Hosts to which two selectors say different things are not brought level, and keep no other from it; the history says so now and then.
    fn leave_out_clashes(&mut self, release: &Configured, spec: &EnvironmentSpec, hosts: &mut Vec<HostRecord>, now: Timestamp) {
        let content = &release.configuration.content;
        if content.resolve(hosts.iter().map(|host| (host.name.to_string(), &host.labels))).is_ok() {
            return;
        }
        let mut clashes = Vec::new();
        hosts.retain(|host| match content.resolve([(host.name.to_string(), &host.labels)]) {
            Ok(_) => true,
            Err(clash) => {
                clashes.push((host.id.clone(), host.name.clone(), clash));
                false
            }
        });
        for (id, name, clash) in clashes {
            let goal = (id.clone(), spec.app.clone(), release.id());
            if !self.tries.pauses(&goal, now) {
                self.tries.failed(goal, now);
                let subject = format!("host:{id}");
                let text = format!("{name} is not brought level: {clash}");
                self.work.changes.events.push(NewEvent::new(self.parts.clock.now(), "controller", "configuration-clash", subject, text));
            }
        }
    }

    /// Where what runs only once runs and should run, and who was taken out, where that was asked. Nothing comes to whoever was.
    async fn homes_of_level(
        &self,
        spec: &EnvironmentSpec,
        release: &Configured,
        hosts: &[HostRecord],
    ) -> Result<(Homes, Option<BTreeSet<HostId>>), LedgerError> {
        let homes = self.homes(spec, release.manifest(), hosts, &BTreeSet::new()).await?;
        let is_behind = |home: &HostId| self.parts.sessions.is_open(home) && !self.is_level(home, &spec.app, &release.id());
        if !homes.wanted().any(is_behind) {
            return Ok((homes, None));
        }
        let mut out = self.taken_out(spec, release).await?;
        out.extend(hosts.iter().filter(|host| self.is_ahead(&host.id)).map(|host| host.id.clone()));
        Ok((self.homes(spec, release.manifest(), hosts, &out).await?, Some(out)))
    }

    /// An operator took hosts out of the rollout that brought a release: they do not get it by themselves. One that has it all the same,
    /// because it was away when it should have gone back, is confirmed as any other.
    async fn taken_out(&self, spec: &EnvironmentSpec, release: &Configured) -> Result<BTreeSet<HostId>, LedgerError> {
        let Some(brought) = self.brought(&spec.name, &spec.app, &release.reference()).await? else { return Ok(BTreeSet::new()) };
        let excluded = brought.hosts.iter().filter(|(_, known)| known.standing == Standing::Excluded).map(|(id, _)| id);
        let mut out = BTreeSet::new();
        for id in excluded {
            if self.serves(id, &spec.app).await?.as_ref() != Some(&brought.plan.release) {
                out.insert(id.clone());
            }
        }
        Ok(out)
    }
}
