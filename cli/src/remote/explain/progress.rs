//! What a rollout was to do, how far it came, and where its time went.

use roadstead_model::StepName;
use roadstead_proto::v1::{Event, Rollout, RolloutHost};

use super::{has_ended, names, person, went_well};
use crate::output::count;
use crate::remote::rollout_table::only_tends;
use crate::remote::rollout_view::span;

/// What it was to do, who wanted that, and why.
pub(super) fn intent(rollout: &Rollout, moment: &dyn Fn(u64) -> String) -> String {
    let Rollout { id, app, release, environment, previous, batches, .. } = rollout;
    let was = if has_ended(rollout) { "was" } else { "is" };
    let hosts = count(rollout.hosts.len(), "host");
    let what = match rollout.kind.as_str() {
        "rollback" => format!("{was} to give the traffic of {app} in {environment} back to {release}, on {hosts} at once"),
        "restore" => format!(
            "{was} to restore the backup {} of {app} in {environment}, and to make {release} serve behind it on {hosts}",
            rollout.backup
        ),
        "backup" => format!("{was} to make a backup of the database of {app} in {environment}, while {release} serves"),
        "recheck" => format!("{was} to look at the backup {} of {app} in {environment} again", rollout.backup),
        "job" => format!("{was} to run the job {} of {app} {release} in {environment}", rollout.job),
        "level" => format!("{was} to bring {hosts} level with {app} {release}, which {environment} runs"),
        _ => {
            let before = if previous.is_empty() || previous == release { String::new() } else { format!(", in place of {previous}") };
            let batches = if *batches > 1 { format!(" in {batches} batches") } else { String::new() };
            format!("{was} to bring {app} {release} to {environment}: {hosts}{batches}{before}")
        }
    };
    let why = if rollout.reason.is_empty() { String::new() } else { format!(": {}", rollout.reason) };
    let who = if rollout.started_by == "controller" { "The controller" } else { person(&rollout.started_by) };
    format!("r-{id} {what}.\n{who} started it {}{why}.", moment(rollout.started_at_ms))
}

/// How far it came; of one without trouble, where its time went.
pub(super) fn progress(rollout: &Rollout, events: &[Event], now_ms: u64) -> Vec<String> {
    let end = if has_ended(rollout) { rollout.ended_at_ms } else { now_ms };
    let took = span(end.saturating_sub(rollout.started_at_ms));
    let head = match rollout.phase.as_str() {
        "done" => format!("It is done, after {took}."),
        "rolled-back" => format!("It went back, and that ended after {took}."),
        "failed" => format!("It ended as failed after {took}."),
        phase => format!("It is {phase}, {took} after its beginning."),
    };
    let mut told = vec![head];
    if !went_well(rollout) {
        told.extend(steps(rollout, events));
    }
    told.extend(where_the_time_went(rollout, events));
    told
}

/// Which hosts did what, in the order in which it is done.
fn steps(rollout: &Rollout, events: &[Event]) -> Vec<String> {
    let total = rollout.hosts.len();
    let have = |step: StepName| rollout.hosts.iter().filter(|host| did(host, step)).map(|host| host.host_name.as_str()).collect::<Vec<_>>();
    let mut told = Vec::new();
    if only_tends(rollout) {
        return told;
    }
    let prepared: Vec<&str> = rollout.hosts.iter().filter(|host| is_prepared(host)).map(|host| host.host_name.as_str()).collect();
    if rollout.kind != "rollback" {
        told.push(format!("Prepared: {}.", of_all(&prepared, total)));
    }
    let migrated = events.iter().any(|event| event.kind == "migrated");
    let began = events.iter().find(|event| event.kind == "migrating");
    let runner = began.and_then(|event| event.text.split(": ").next().filter(|name| !name.is_empty()));
    match (began, migrated) {
        (_, true) => told.push(format!("The database is migrated (on {}).", runner.unwrap_or("one host"))),
        (Some(_), false) => told.push(format!("The migrations were begun on {}; their end is not known.", runner.unwrap_or("one host"))),
        (None, false) if !has_ended(rollout) || rollout.phase == "done" => {}
        (None, false) if rollout.kind == "rollout" => told.push("No migration ran: the database is as it was.".to_owned()),
        (None, false) => {}
    }
    if rollout.kind == "rollback" {
        told.push(format!("Back: {}.", of_all(&have(StepName::Revert), total)));
        return told;
    }
    let tried: Vec<&RolloutHost> = rollout.hosts.iter().filter(|host| was_told_to_move(host)).collect();
    let furthest = tried.iter().map(|host| host.batch).max();
    if let Some(batch) = furthest.filter(|_| rollout.phase != "done") {
        let batches = rollout.batches.max(1);
        let later = batches.saturating_sub(batch + 1);
        let rest = match later {
            0 => String::new(),
            _ if rollout.phase == "moving" => String::new(),
            1 => "; the last one never began".to_owned(),
            later => format!("; the {later} after it never began"),
        };
        told.push(format!("It came to batch {} of {batches}{rest}.", batch + 1));
    }
    if furthest.is_some() {
        told.push(format!("Served the release at some time: {}.", of_all(&have(StepName::Health), total)));
    } else if has_ended(rollout) {
        told.push("No host was told to move: users saw nothing of it.".to_owned());
    }
    told
}

fn did(host: &RolloutHost, step: StepName) -> bool {
    host.times.iter().any(|time| time.step == step.as_str())
}

/// Whether a host did all that comes before it moves. Agents that publish nothing end with the step before.
fn is_prepared(host: &RolloutHost) -> bool {
    let publish = StepName::Publish;
    let failed = host.failure.as_ref().and_then(crate::remote::causes::step_of) == Some(publish);
    did(host, publish) || (did(host, StepName::Collectstatic) && !failed && host.step != publish.as_str())
}

fn was_told_to_move(host: &RolloutHost) -> bool {
    let moves =
        |step: &str| [StepName::Candidate, StepName::Cutover, StepName::Proof, StepName::Health].iter().any(|known| known.as_str() == step);
    let failed = host.failure.as_ref().and_then(crate::remote::causes::step_of).is_some_and(|step| moves(step.as_str()));
    failed
        || moves(&host.step)
        || host.times.iter().any(|time| moves(&time.step))
        || matches!(host.state.as_str(), "moving" | "returning" | "healthy" | "confirmed")
}

/// `3 of 3 hosts`, and who, as long as that says more.
fn of_all(hosts: &[&str], total: usize) -> String {
    let which = if hosts.is_empty() || hosts.len() == total { String::new() } else { format!(" ({})", names(hosts.iter().copied())) };
    format!("{} of {}{which}", hosts.len(), count(total, "host"))
}

/// Where the time of a rollout that is done went: between what its history tells, and the step that took longest.
fn where_the_time_went(rollout: &Rollout, events: &[Event]) -> Option<String> {
    // A rollback is one step of all hosts at once.
    if rollout.phase != "done" || rollout.kind == "rollback" {
        return None;
    }
    let last = |word: &str| events.iter().filter(|event| event.kind == "host" && event.text.ends_with(word)).map(|event| event.at_ms).max();
    let migrated = events.iter().find(|event| event.kind == "migrated").map(|event| event.at_ms);
    let milestones = [
        ("preparing", events.iter().find(|event| event.kind == "migrating").map(|event| event.at_ms).or_else(|| last(": prepared"))),
        ("migrating", migrated),
        ("moving", last(": healthy")),
        ("bake and confirming", Some(rollout.ended_at_ms)),
    ];
    let (mut before, mut parts) = (rollout.started_at_ms, Vec::new());
    for (name, at) in milestones.into_iter().filter_map(|(name, at)| Some((name, at?))) {
        if at > before {
            parts.push(format!("{name} {}", span(at - before)));
            before = at;
        }
    }
    let steps = rollout.hosts.iter().flat_map(|host| host.times.iter().map(move |time| (time.took_ms, &time.step, &host.host_name)));
    let longest =
        steps.max().map(|(took, step, host)| format!(" The longest step was {step} on {host}: {}.", span(took))).unwrap_or_default();
    (!parts.is_empty()).then(|| format!("Its time went to {}.{longest}", parts.join(", ")))
}
