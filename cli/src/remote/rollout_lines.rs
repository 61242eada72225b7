//! What changed in a rollout since it was last seen, a line for each thing: for logs, where nothing can be drawn over.

use roadstead_proto::v1::{Rollout, RolloutHost};

use super::looks_view;
use super::rollout_table::state as shown;
use super::rollout_view::{span, waiting};

/// With more hosts only their states are told, not their steps.
const HOSTS_WITH_STEPS_MAX: usize = 10;

/// The lines between two views; all that there is when nothing was seen before.
pub(crate) fn changes(before: Option<&Rollout>, now: &Rollout, now_ms: u64) -> Vec<String> {
    let mut lines = Vec::new();
    let stands = |rollout: &Rollout| (rollout.phase.clone(), rollout.on_hold, at_gates(rollout));
    if before.is_none_or(|before| stands(before) != stands(now)) {
        let waits = waiting(now, now_ms).map(|waiting| format!(": waits for {waiting}")).unwrap_or_default();
        let on_hold = if now.on_hold { ", on hold" } else { "" };
        lines.push(format!("{}{on_hold}{waits}", now.phase));
    }
    lines.extend(looks_view::changes(before, now));
    for host in &now.hosts {
        let earlier = before.and_then(|before| before.hosts.iter().find(|earlier| earlier.host_id == host.host_id));
        if now.hosts.len() <= HOSTS_WITH_STEPS_MAX {
            let seen = earlier.filter(|earlier| earlier.attempt == host.attempt).map_or(0, |earlier| earlier.times.len());
            lines.extend(host.times.iter().skip(seen).map(|time| {
                let note = if time.note.is_empty() { String::new() } else { format!(" ({})", time.note) };
                format!("{}: {} took {}{note}", host.host_name, time.step, span(time.took_ms))
            }));
            let known = earlier.is_some_and(|earlier| earlier.step_note == host.step_note);
            if !known && !host.step_note.is_empty() {
                lines.push(format!("{}: {} waits: {}", host.host_name, host.step, host.step_note));
            }
        }
        lines.extend(state(earlier, host));
    }
    lines
}

/// What a rollout waits for at its gates.
fn at_gates(rollout: &Rollout) -> Option<String> {
    (rollout.phase == "gated").then(|| rollout.waiting_for.clone())
}

fn state(earlier: Option<&RolloutHost>, host: &RolloutHost) -> Option<String> {
    let known = earlier.is_some_and(|earlier| shown(earlier) == shown(host) && earlier.failure == host.failure);
    if known {
        return None;
    }
    let why = host.failure.as_ref().map(|failure| format!(": {}", failure.summary)).unwrap_or_default();
    Some(format!("{}: {}{why}", host.host_name, shown(host)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_proto::v1::{Failure, StepTime};

    fn host(name: &str, state: &str, steps: &[&str]) -> RolloutHost {
        let times = steps.iter().map(|step| StepTime { step: (*step).into(), took_ms: 340, note: String::new() }).collect();
        RolloutHost { host_id: name.into(), host_name: name.into(), state: state.into(), times, ..Default::default() }
    }

    fn rollout(phase: &str, hosts: Vec<RolloutHost>) -> Rollout {
        Rollout { id: 17, phase: phase.into(), hosts, ..Default::default() }
    }

    #[test]
    fn each_change_is_told_once() {
        let mut first = rollout("preparing", vec![host("web-1", "preparing", &[]), host("web-2", "away", &[])]);
        (first.waiting_for, first.waiting_until_ms) = ("2 of 2 hosts to be prepared".into(), 900_000);
        let mut second = rollout("preparing", vec![host("web-1", "prepared", &["preflight", "fetch"]), host("web-2", "preparing", &[])]);
        second.hosts[0].times[1].note = "12 blobs, 3.0 MiB".into();
        let mut third = rollout("reverting", vec![second.hosts[0].clone(), host("web-2", "failed", &[])]);
        third.hosts[1].failure =
            Some(Failure { summary: "verify: no trusted key signed the release, 1 must".into(), ..Default::default() });
        let mut fourth = third.clone();
        (fourth.on_hold, fourth.waiting_for) = (true, "an operator to retry, ignore or exclude hosts".into());
        let mut fifth = fourth.clone();
        fifth.hosts[0] = RolloutHost { attempt: 1, ..host("web-1", "preparing", &["preflight"]) };
        fifth.hosts[1].standing = "ignored".into();
        let told = [
            changes(None, &first, 0),
            changes(Some(&first), &second, 0),
            changes(Some(&second), &third, 0),
            changes(Some(&third), &third, 0),
            changes(Some(&third), &fourth, 0),
            changes(Some(&fourth), &fifth, 0),
        ];
        insta::assert_snapshot!(told.map(|lines| lines.join("\n")).join("\n--\n"));
    }

    #[test]
    fn what_a_step_waits_for_is_told_when_it_changes() {
        let told = |note: &str| {
            let host = RolloutHost { step: "confirm".into(), step_note: note.into(), ..host("web-1", "confirming", &[]) };
            rollout("confirming", vec![host])
        };
        let two = "worker of 1.0.0-0123456789ab: 2 tasks left, waited for until 14:10:31 UTC";
        assert_eq!(changes(Some(&told("")), &told(two), 0), [format!("web-1: confirm waits: {two}")]);
        assert!(changes(Some(&told(two)), &told(two), 0).is_empty() && changes(Some(&told(two)), &told(""), 0).is_empty());
    }

    #[test]
    fn of_many_hosts_only_their_states_are_told() {
        let hosts = (0..20).map(|number| host(&format!("web-{number}"), "prepared", &["fetch"])).collect();
        assert!(changes(None, &rollout("preparing", hosts), 0).iter().all(|line| !line.contains("fetch")));
    }
}
