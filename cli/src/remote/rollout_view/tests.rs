use super::*;
use roadstead_proto::v1::{Failure, RolloutHost, StepTime};

fn host(name: &str, state: &str, done: &[(&str, u64)]) -> RolloutHost {
    let times = done.iter().map(|(step, took_ms)| StepTime { step: (*step).into(), took_ms: *took_ms, note: String::new() });
    RolloutHost { host_name: name.into(), state: state.into(), times: times.collect(), ..Default::default() }
}

fn rollout(phase: &str, hosts: Vec<RolloutHost>) -> Rollout {
    Rollout {
        id: 17,
        kind: "rollout".into(),
        app: "erp".into(),
        release: "1.1.0-0123456789ab".into(),
        environment: "staging".into(),
        phase: phase.into(),
        started_at_ms: 1_000,
        batches: 2,
        hosts,
        ..Default::default()
    }
}

const PREPARED: [(&str, u64); 9] = [
    ("preflight", 20),
    ("prune", 0),
    ("fetch", 3_210),
    ("verify", 410),
    ("unpack", 220),
    ("venv", 1_050),
    ("configure", 90),
    ("collectstatic", 12),
    ("publish", 1),
];

fn preparing() -> Rollout {
    let mut fetching = host("web-1", "preparing", &PREPARED[..2]);
    (fetching.step, fetching.step_done, fetching.step_total) = ("fetch".into(), 7 << 20, 28 << 20);
    let mut verifying = host("web-10", "preparing", &PREPARED[..3]);
    verifying.step = "verify".into();
    let mut rollout = rollout("preparing", vec![fetching, verifying, host("web-2", "away", &[])]);
    (rollout.waiting_for, rollout.waiting_until_ms) = ("3 of 3 hosts to be prepared".into(), 905_200);
    rollout.waiting_then = "late hosts are left out and come level later".into();
    rollout
}

fn moving() -> Rollout {
    let mut starting = host("web-1", "moving", &PREPARED);
    starting.step = "candidate".into();
    let mut waiting = host("web-2", "prepared", &PREPARED);
    waiting.batch = 1;
    let mut rollout = rollout("moving", vec![starting, waiting]);
    (rollout.waiting_for, rollout.waiting_until_ms) = ("1 host of batch 1 of 2 to serve the release".into(), 65_200);
    rollout.waiting_then = "late hosts count as lost".into();
    rollout
}

#[test]
fn hosts_are_rows_and_steps_are_columns() {
    insta::assert_snapshot!("preparing", picture(&preparing(), 5_200, Some(100)));
    insta::assert_snapshot!("preparing_narrow", picture(&preparing(), 5_200, Some(60)));
    insta::assert_snapshot!("moving", picture(&moving(), 5_200, Some(100)));
    insta::assert_snapshot!("moving_wide", picture(&moving(), 5_200, None));
}

#[test]
fn publishing_has_a_column_where_something_is_published() {
    let mut at_it = host("web-1", "preparing", &PREPARED[..8]);
    (at_it.step, at_it.step_done, at_it.step_total) = ("publish".into(), 1 << 20, 4 << 20);
    insta::assert_snapshot!("publishing", picture(&rollout("preparing", vec![at_it, host("web-2", "prepared", &PREPARED)]), 5_200, None));
}

#[test]
fn the_end_shows_what_each_step_took() {
    let steps = [&PREPARED[..], &[("candidate", 2_400), ("cutover", 30), ("proof", 40), ("health", 90), ("confirm", 5_000)]].concat();
    let mut done = rollout("done", vec![host("web-1", "confirmed", &steps), host("web-2", "confirmed", &steps)]);
    (done.hosts[1].batch, done.ended_at_ms) = (1, 75_000);
    insta::assert_snapshot!("done", picture(&done, 999_000, None));
    insta::assert_snapshot!("done_80", picture(&done, 999_000, Some(80)));
}

#[test]
fn hosts_with_one_cause_are_told_once() {
    let failure = Failure {
        kind: roadstead_proto::v1::FailureKind::Check.into(),
        summary: "candidate: web did not answer GET /healthz".into(),
        hint: "see `roadstead logs r-17`".into(),
        detail: "Traceback\nImportError: No module named 'x'\u{1b}[31m".into(),
    };
    let failed = |name| RolloutHost { failure: Some(failure.clone()), ..host(name, "failed", &PREPARED) };
    let mut back = rollout("rolled-back", vec![failed("web-1"), failed("web-2"), host("web-3", "reverted", &PREPARED)]);
    back.ended_at_ms = 31_000;
    insta::assert_snapshot!("rolled_back", picture(&back, 999_000, Some(100)));
    for host in &mut back.hosts {
        host.failure = None;
    }
    back.failure = Some(Failure { summary: "aborted by admin:ada".into(), hint: "start it again when you are ready".into(), ..failure });
    insta::assert_snapshot!("aborted", picture(&back, 999_000, Some(100)));
}
