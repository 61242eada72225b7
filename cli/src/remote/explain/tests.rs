use super::*;
use roadstead_model::FailureKind;
use roadstead_proto::v1::{RolloutHost, StepTime};

const PREPARED: [&str; 9] = ["preflight", "prune", "fetch", "verify", "unpack", "venv", "configure", "collectstatic", "publish"];
const MOVED: [&str; 4] = ["candidate", "cutover", "proof", "health"];

fn host(name: &str, batch: u32, state: &str, steps: &[&str]) -> RolloutHost {
    let time = |(at, step): (usize, &&str)| StepTime { step: (*step).into(), took_ms: 100 * (at as u64 + 1), note: String::new() };
    let times = steps.iter().enumerate().map(time).collect();
    RolloutHost { host_id: name.into(), host_name: name.into(), batch, state: state.into(), times, ..Default::default() }
}

fn failing(mut host: RolloutHost, failure: roadstead_model::Failure) -> RolloutHost {
    host.failure = Some(failure.into());
    host
}

fn rollout(phase: &str, hosts: Vec<RolloutHost>) -> Rollout {
    Rollout {
        id: 17,
        kind: "rollout".into(),
        app: "erp".into(),
        release: "1.1.0-0123456789ab".into(),
        previous: "1.0.0-ba9876543210".into(),
        environment: "production".into(),
        phase: phase.into(),
        reason: "invoices by mail".into(),
        started_by: "admin:ada".into(),
        started_at_ms: 1_000,
        ended_at_ms: if matches!(phase, "done" | "failed" | "rolled-back") { 64_000 } else { 0 },
        batches: 2,
        hosts,
        ..Default::default()
    }
}

fn event(at_ms: u64, actor: &str, kind: &str, text: &str) -> Event {
    Event { at_ms, actor: actor.into(), kind: kind.into(), text: text.into(), ..Default::default() }
}

fn begun() -> Vec<Event> {
    let mut events = vec![event(1_000, "admin:ada", "rollout-started", "erp 1.1.0-0123456789ab to production (3 hosts): invoices by mail")];
    events.extend(["web-1", "web-2", "web-3"].map(|name| event(5_000, "host:x", "host", &format!("{name}: prepared"))));
    events.push(event(5_000, "host:x", "migrating", "web-1: web-1 runs the migrations"));
    events.push(event(9_000, "controller", "migrated", "the database is migrated"));
    events
}

fn told(rollout: &Rollout, events: &[Event]) -> String {
    explain(rollout, events, 30_000, &|at| format!("at {} s", at / 1000)).text()
}

fn all(steps: &[&[&'static str]]) -> Vec<&'static str> {
    steps.concat()
}

fn import_error() -> roadstead_model::Failure {
    let summary = "candidate: erp-web@1.1.0-0123456789ab.service did not start: it is failed (failed, exit-code, exit status 3)";
    let detail = "Traceback (most recent call last):\n  File \"/srv/roadstead/erp/releases/1.1.0-0123456789ab/erp/settings.py\", line 12, in <module>\nModuleNotFoundError: No module named 'x'";
    roadstead_model::Failure::new(FailureKind::Unit, summary, "see its last lines").with_detail(detail)
}

#[test]
fn a_release_that_does_not_start_went_back() {
    let hosts = vec![
        failing(host("web-1", 0, "abandoned", &PREPARED), import_error()),
        failing(host("web-2", 0, "abandoned", &PREPARED), import_error()),
        host("web-3", 1, "abandoned", &PREPARED),
    ];
    let mut back = rollout("rolled-back", hosts);
    let over = format!("2 of 3 hosts lost, 0 may be: {}", import_error().summary);
    back.failure = Some(roadstead_model::Failure::new(FailureKind::Unit, over.clone(), "see its last lines").into());
    let mut events = begun();
    events.push(event(12_000, "host:x", "host-failed", &format!("web-1: {}", import_error().summary)));
    events.push(event(12_500, "controller", "going-back", &over));
    events.push(event(64_000, "controller", "ended", "rolled-back"));
    insta::assert_snapshot!(told(&back, &events));
    let json = serde_json::to_string_pretty(&explain(&back, &events, 30_000, &|at| at.to_string())).unwrap();
    insta::assert_snapshot!("for_programs", json);
}

#[test]
fn an_abort_names_who_and_why() {
    let moved = all(&[&PREPARED, &MOVED, &["revert", "settle"]]);
    let hosts =
        vec![host("web-1", 0, "reverted", &moved), host("web-2", 0, "stuck", &moved[..11]), host("web-3", 1, "abandoned", &PREPARED)];
    let mut back = rollout("failed", hosts);
    let aborted = "aborted by admin:bob: wrong release";
    back.failure = Some(roadstead_model::Failure::new(FailureKind::Cancelled, aborted, "start it again when you are ready").into());
    let stuck = roadstead_model::Failure::new(
        FailureKind::Host,
        "revert: cannot move the link /srv/roadstead/erp/current: Read-only file system",
        "see the host's kernel log",
    );
    back.hosts[1] = failing(back.hosts[1].clone(), stuck);
    let mut events = begun();
    events.push(event(20_000, "admin:bob", "rollout-aborted", "wrong release"));
    events.push(event(20_000, "controller", "going-back", aborted));
    events.push(event(64_000, "controller", "ended", "failed"));
    insta::assert_snapshot!(told(&back, &events));
}

#[test]
fn one_that_runs_says_what_it_waits_for() {
    let mut moving = rollout(
        "moving",
        vec![host("web-1", 0, "healthy", &all(&[&PREPARED, &MOVED])), host("web-2", 0, "moving", &PREPARED), host("web-3", 1, "away", &[])],
    );
    (moving.waiting_for, moving.waiting_until_ms) = ("1 host of batch 1 of 2 to serve the release".into(), 90_000);
    moving.waiting_then = "late hosts count as lost".into();
    moving.hosts[1].step = "candidate".into();
    insta::assert_snapshot!(told(&moving, &begun()));
}

#[test]
fn of_a_success_it_says_where_the_time_went() {
    let steps = all(&[&PREPARED, &MOVED, &["confirm"]]);
    let done = rollout(
        "done",
        vec![host("web-1", 0, "confirmed", &steps), host("web-2", 0, "confirmed", &steps), host("web-3", 1, "confirmed", &steps)],
    );
    let mut events = begun();
    events.extend(
        [(15_000, "web-1"), (15_200, "web-2"), (22_000, "web-3")]
            .map(|(at, name)| event(at, "host:x", "host", &format!("{name}: healthy"))),
    );
    events.push(event(64_000, "controller", "ended", "done"));
    insta::assert_snapshot!(told(&done, &events));
}

#[test]
fn a_success_within_the_budget_names_who_is_missing() {
    let steps = all(&[&PREPARED, &MOVED, &["confirm"]]);
    let gone =
        roadstead_model::Failure::new(FailureKind::Deadline, "it is away", "it comes level when it returns; see `roadstead host show`");
    let mut hosts = vec![host("web-1", 0, "confirmed", &steps)];
    hosts.extend(["web-2", "web-3"].map(|name| failing(host(name, 1, "level-later", &[]), gone.clone())));
    let mut events = begun();
    events.extend(["web-2", "web-3"].map(|name| event(8_000, "host:x", "host-left", &format!("{name}: it is away"))));
    events.push(event(64_000, "controller", "ended", "done"));
    insta::assert_snapshot!(told(&rollout("done", hosts), &events));
}

#[test]
fn a_rollback_and_a_level_rollout_have_their_own_words() {
    let back =
        Rollout { kind: "rollback".into(), batches: 1, ..rollout("done", vec![host("web-1", 0, "confirmed", &["revert", "settle"])]) };
    insta::assert_snapshot!("rollback", told(&back, &[event(64_000, "controller", "ended", "done")]));
    let level = Rollout {
        kind: "level".into(),
        started_by: "controller".into(),
        reason: String::new(),
        batches: 1,
        ..rollout("preparing", vec![host("web-1", 0, "preparing", &[])])
    };
    insta::assert_snapshot!("level", told(&level, &[event(2_000, "controller", "giving-way", "it gives way to what admin:ada asked for")]));
}

#[test]
fn a_migration_without_a_known_end_is_said_to_be_one() {
    let mut failed = rollout("failed", vec![host("web-1", 0, "level-later", &PREPARED), host("web-2", 0, "abandoned", &PREPARED)]);
    let unknown = roadstead_model::Failure::new(
        FailureKind::Deadline,
        "the migration on web-1 has no known outcome",
        "look at the database and at web-1 before you start another rollout",
    );
    failed.hosts[0] = failing(failed.hosts[0].clone(), unknown.clone());
    failed.failure = Some(unknown.into());
    let mut events = begun();
    events.pop();
    events.push(event(60_000, "controller", "going-back", "the migration on web-1 has no known outcome"));
    events.push(event(60_000, "admin:eve", "rollout-paused", "lunch"));
    insta::assert_snapshot!(told(&failed, &events));
}

#[test]
fn whatever_the_controller_says_is_explained() {
    insta::assert_snapshot!(told(&Rollout::default(), &[Event::default()]));
}
