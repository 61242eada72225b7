//! Mistakes that somebody could make, each as a change of one place in the sources. A place that is not there any more is an error: then
//! the mistake has to be thought of anew.

/// One mistake.
#[derive(Debug)]
pub(crate) struct Mutant {
    pub(crate) name: &'static str,
    pub(crate) file: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    /// Within so many seeds it must be found out.
    pub(crate) within: u64,
}

const SETTLE: &str = "controller/rollout/src/settle.rs";
const ENDING: &str = "controller/rollout/src/ending.rs";
const RESTORE: &str = "controller/rollout/src/restore.rs";
const ANALYSIS: &str = "controller/rollout/src/analysis.rs";
const STEER: &str = "controller/rollout/src/steer.rs";
const TRAFFIC: &str = "controller/rollout/src/traffic.rs";
const STATE: &str = "controller/rollout/src/state.rs";
const DRIVER: &str = "controller/driver/src/lib.rs";
const HISTORY: &str = "agent/deployment/src/history.rs";
const NEXT: &str = "agent/deployment/src/next.rs";
const STEP: &str = "agent/deployment/src/step.rs";
const JOURNAL: &str = "agent/worker/src/journal.rs";
const LEASES: &str = "controller/driver/src/leases.rs";

pub(crate) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "hosts come level with the newest configuration, not with the one that runs",
        file: "controller/driver/src/configuration.rs",
        from: "let known = self.parts.ledger.configuration(&spec.name, &spec.app, runs.configuration).await?;",
        to: "let known = self.parts.ledger.newest_configuration(&spec.name, &spec.app).await?;",
        within: 400,
    },
    Mutant {
        name: "a release that runs is condemned for another configuration",
        file: STATE,
        from: "previous.manifest == plan.release.manifest);",
        to: "*previous == plan.release);",
        within: 2000,
    },
    Mutant {
        name: "hosts are not told to publish static files",
        file: "controller/rollout/src/orders.rs",
        from: "keep: plan.keep, publish: true };",
        to: "keep: plan.keep, publish: false };",
        within: 20,
    },
    Mutant {
        name: "the driver acts before it saves",
        file: DRIVER,
        from: "            if !self.save(&work.changes, stopping).await {\n                return;\n            }\n            self.tell(work, &ended).await;",
        to: "            let changes = work.changes.clone();\n            self.tell(work, &ended).await;\n            if !self.save(&changes, stopping).await {\n                return;\n            }",
        within: 200,
    },
    Mutant {
        name: "the driver says that it saved when it could not",
        file: DRIVER,
        from: "Err(error) => tracing::error!(%error, \"a decision is not saved yet; nothing is sent until it is\"),",
        to: "Err(_) => return true,",
        within: 400,
    },
    Mutant {
        name: "a rollout begins beside another",
        file: "controller/driver/src/verbs.rs",
        from: "        if let Some(busy) = self.unfinished(&environment, &app) {\n            return Err(Refused::Busy(busy, app, environment));\n        }",
        to: "",
        within: 100,
    },
    Mutant {
        name: "a rollout that is taken up forgets that its hosts are not there yet",
        file: DRIVER,
        from: "        self.decide(rollout, roadstead_rollout::Event::Resumed);",
        to: "",
        within: 2000,
    },
    Mutant {
        name: "a host that failed once never comes level",
        file: "controller/driver/src/tries.rs",
        from: "const FIRST_PAUSE: Millis = Millis::from_secs(120);\nconst LONGEST_PAUSE: Millis = Millis::from_secs(3600);",
        to: "const FIRST_PAUSE: Millis = Millis::from_secs(120_000_000);\nconst LONGEST_PAUSE: Millis = Millis::from_secs(120_000_000);",
        within: 400,
    },
    Mutant {
        name: "hosts of which nothing is known count as healthy",
        file: STATE,
        from: "            _ => host.away_since.is_some(),",
        to: "            _ => false,",
        within: 400,
    },
    Mutant {
        name: "nobody waits for the migration",
        file: SETTLE,
        from: "    if !state.plan.migrate {",
        to: "    if state.plan.batches > 0 {",
        within: 50,
    },
    Mutant {
        name: "every prepared host migrates",
        file: SETTLE,
        from: "    if let Some(host) = state.hosts.get_mut(&first) {\n        enter(host, Stage::Migrating, now);\n    }",
        to: "    for host in state.hosts.values_mut().filter(|host| host.stage == Stage::Prepared) {\n        enter(host, Stage::Migrating, now);\n    }",
        within: 100,
    },
    Mutant {
        name: "a batch does not wait for the one before",
        file: SETTLE,
        from: "    if state.hosts.iter().any(|(id, host)| has_turn(id) && unfinished(host)) {",
        to: "    if state.hosts.iter().any(|(id, host)| has_turn(id) && unfinished(host) && state.hosts.len() > 1_000) {",
        within: 100,
    },
    Mutant {
        name: "the failure budget is not looked at",
        file: SETTLE,
        from: "    if lost <= state.plan.failure_budget {\n        return state.hold.is_some();",
        to: "    if lost <= 1_000 {\n        return state.hold.is_some();",
        within: 100,
    },
    Mutant {
        name: "more hosts move than may be out",
        file: SETTLE,
        from: "state.plan.max_unavailable.saturating_sub(state.out())",
        to: "state.plan.max_unavailable",
        within: 200,
    },
    Mutant {
        name: "a rollout that goes back does not wait for its hosts",
        file: SETTLE,
        from: "    if state.hosts.values().any(|h| matches!(h.stage, Stage::Reverting | Stage::Abandoning)) {\n        return;\n    }",
        to: "",
        within: 10_000,
    },
    Mutant {
        name: "hosts that moved are told to clear up, not to go back",
        file: ENDING,
        from: "        Stage::Moving | Stage::Returning | Stage::Healthy | Stage::Confirming | Stage::Confirmed => Stage::Reverting,",
        to: "        Stage::Moving | Stage::Returning | Stage::Healthy | Stage::Confirming | Stage::Confirmed => Stage::Abandoning,",
        within: 400,
    },
    Mutant {
        name: "nobody waits for approvals",
        file: "controller/rollout/src/gates.rs",
        from: "    looked && state.is_approved()",
        to: "    looked",
        within: 100,
    },
    Mutant {
        name: "whoever asked for a rollout approves it, too",
        file: STEER,
        from: "    if by == state.requested_by {",
        to: "    if by.is_empty() {",
        within: 400,
    },
    Mutant {
        name: "a rollout on hold goes on",
        file: SETTLE,
        from: "        return state.hold.is_some();",
        to: "        return false;",
        within: 200,
    },
    Mutant {
        name: "nobody ends a hold that is forgotten",
        file: "controller/rollout/src/hold.rs",
        from: "    if !can_end || now < hold.until() {",
        to: "    if can_end || now < hold.until() {",
        within: 400,
    },
    Mutant {
        name: "a number that is missing passes",
        file: "controller/rollout/src/judging.rs",
        from: "        Err(why) => return unknown(why),",
        to: "        Err(why) => return Said { judgement: Judgement::Passes, ..unknown(why) },",
        within: 1000,
    },
    Mutant {
        name: "a failing analysis is ignored",
        file: ANALYSIS,
        from: "| look.failed >= *failures) {",
        to: "| look.failed >= failures.saturating_add(1_000)) {",
        within: 100,
    },
    Mutant {
        name: "a bake ends without a look",
        file: SETTLE,
        from: "    if analysis::bakes_on(state, batch, now, notes) {",
        to: "    if state.looks.of.len() > 100 && analysis::bakes_on(state, batch, now, notes) {",
        within: 100,
    },
    Mutant {
        name: "what was seen before a batch moved once more counts",
        file: ANALYSIS,
        from: "filter(|looks| (looks.batch, looks.since) == (batch, since) && !looks.of.is_empty())",
        to: "filter(|looks| (looks.batch, since) == (batch, since) && !looks.of.is_empty())",
        within: 2000,
    },
    Mutant {
        name: "a host that is excluded while it moves is told to clear up",
        file: STEER,
        from: "    let stage = way_out(plan, id, host);",
        to: "    let _ = way_out(plan, id, host);\n    let stage = Stage::Abandoning;",
        within: 2000,
    },
    Mutant {
        name: "a host that was excluded comes level all the same",
        file: "controller/driver/src/level.rs",
        from: "        behind.retain(|host| out.as_ref().is_none_or(|out| !out.contains(&host.id)));",
        to: "",
        within: 2000,
    },
    Mutant {
        name: "an agent obeys orders that are older than the newest",
        file: HISTORY,
        from: "            Some(highest) if order.fence <= highest => Admission::Refuse {",
        to: "            Some(highest) if order.fence.term > 1_000_000 => Admission::Refuse {",
        within: 2000,
    },
    Mutant {
        name: "a step that failed leaves what it did",
        file: NEXT,
        from: "            Some(index) => Next::Undo(steps[index]),",
        to: "            Some(index) if index > 100 => Next::Undo(steps[index]),\n            Some(_) => Next::Finish(end_of_failure(*failed, failure)),",
        within: 400,
    },
    Mutant {
        name: "a cutover is not undone",
        file: STEP,
        from: "        StepName::Candidate | StepName::Cutover => Reversibility::Undoable,",
        to: "        StepName::Candidate => Reversibility::Undoable,\n        StepName::Cutover => Reversibility::Inert,",
        within: 2000,
    },
    Mutant {
        name: "a balancer that is not heard counts as one that obeys",
        file: TRAFFIC,
        from: "    let Some(heard) = heard else {",
        to: "    let Some(heard) = heard.or(None) else { return None };\n    let Some(heard) = Some(heard) else {",
        within: 400,
    },
    Mutant {
        name: "traffic goes by what an environment ran before",
        file: DRIVER,
        from: "self.shares.is_stale |= !ended.is_empty() ||",
        to: "self.shares.is_stale |=",
        within: 200,
    },
    Mutant {
        name: "the name of a new journal is not made durable",
        file: JOURNAL,
        from: "begun.and_then(|()| Ok(self.disk.sync_folder(&folder)?))",
        to: "begun",
        within: 2000,
    },
    Mutant { name: "the torn end of a journal stays", file: JOURNAL, from: "            file.cut(length as u64)?;", to: "", within: 2000 },
    Mutant {
        name: "another host follows as soon as one is silent",
        file: LEASES,
        from: "        Some(last.plus(MARGIN))",
        to: "        Some(if last > self.started { self.started } else { last })",
        within: 1000,
    },
    Mutant {
        name: "a controller that starts counts on no lease that it gave before",
        file: LEASES,
        from: ".unwrap_or_else(|| self.started.plus(LEASE_MAX));",
        to: ".unwrap_or(self.started);",
        within: 2000,
    },
    Mutant {
        name: "a span that was made shorter counts before it is armed",
        file: LEASES,
        from: "Some(lasts) => now.plus(lasts.min(LEASE_MAX)),",
        to: "Some(_) => now,",
        within: 2000,
    },
    Mutant {
        name: "what needs a lease is started after a restart without one",
        file: "agent/worker/src/worker.rs",
        from: "if needs_lease && self.means.leases.of(name).is_none()",
        to: "if needs_lease && name.as_str().is_empty()",
        within: 2000,
    },
    Mutant {
        name: "a database is migrated before it is backed up",
        file: "model/src/step.rs",
        from: "&[Self::Backup, Self::Migrate, Self::Compatible]",
        to: "&[Self::Migrate, Self::Backup, Self::Compatible]",
        within: 100,
    },
    Mutant {
        name: "a restore does not wait for everybody to stop",
        file: RESTORE,
        from: "    if state.hosts.values().any(|host| host.stage != Stage::Halted) {\n        return;\n    }",
        to: "    if state.hosts.values().all(|host| host.stage != Stage::Halted) {\n        return;\n    }",
        within: 500,
    },
    Mutant {
        name: "an exchange of which nothing is known counts as not done",
        file: RESTORE,
        from: "verb == Verb::Exchange && !certain",
        to: "verb == Verb::Exchange && !certain && id.as_str().is_empty()",
        within: 500,
    },
    Mutant {
        name: "nobody minds a home that was not prepared for what it is to run",
        file: "controller/driver/src/level.rs",
        from: " && !lacking.contains(&host.id);",
        to: ";",
        within: 2000,
    },
];
