use super::*;
use roadstead_model::FailureKind;

fn traceback(host: &str, module: &str, pid: u32) -> String {
    let (release, packages) =
        ("/srv/roadstead/erp/releases/1.1.0-0123456789ab", "/srv/roadstead/erp/venvs/a-3.11-x86_64/lib/python3.11/site-packages");
    format!(
        "[2026-03-01 10:00:0{0} +0000] [{pid}] [ERROR] Exception in worker process on {host}\nTraceback (most recent call last):\n  \
         File \"{packages}/gunicorn/arbiter.py\", line 608, in spawn_worker\n    worker.init_process()\n  \
         File \"{release}/erp/settings.py\", line 12, in <module>\n    import {module}\nModuleNotFoundError: No module named '{module}'\n\
         [2026-03-01 10:00:0{0} +0000] [{pid}] [INFO] Worker exiting (pid: {pid})\n\
         [2026-03-01 10:00:0{0} +0000] [{1}] [ERROR] Shutting down: Master\n\
         [2026-03-01 10:00:0{0} +0000] [{1}] [ERROR] Reason: Worker failed to boot.",
        pid % 10,
        pid + 1,
    )
}

fn host(name: &str, failure: Option<roadstead_model::Failure>) -> RolloutHost {
    let state = if failure.is_some() { "abandoned" } else { "reverted" };
    RolloutHost { host_name: name.into(), state: state.into(), failure: failure.map(Into::into), ..Default::default() }
}

fn died(host: &str, module: &str, pid: u32) -> roadstead_model::Failure {
    let summary = "candidate: erp-web@1.1.0-0123456789ab.service did not start: it is failed (failed, exit-code, exit status 3)";
    let hint = "see its last lines, or on the host: journalctl -u 'erp-web@1.1.0-0123456789ab.service'";
    roadstead_model::Failure::new(FailureKind::Unit, summary, hint).with_detail(&traceback(host, module, pid))
}

fn rollout(hosts: Vec<RolloutHost>) -> Rollout {
    Rollout { id: 17, phase: "rolled-back".into(), hosts, ..Default::default() }
}

#[test]
fn hosts_with_one_root_are_told_once_and_the_largest_group_first() {
    let disk = |free: &str| {
        roadstead_model::Failure::new(FailureKind::Unfit, format!("preflight: {free} MiB are free on db-1's disk"), "make room")
    };
    let hosts = vec![
        host("db-1", Some(disk("12"))),
        host("web-1", Some(died("web-1", "x", 812))),
        host("web-2", Some(died("web-2", "x", 4711))),
        host("web-3", Some(died("web-3", "y", 99))),
        host("web-4", Some(died("web-4", "x", 7))),
        host("web-5", Some(died("web-5", "x", 8))),
        host("web-6", None),
    ];
    let mut rollout = rollout(hosts);
    let over = format!("5 of 7 hosts lost, 0 may be: {}", died("web-1", "x", 1).summary);
    rollout.failure = Some(roadstead_model::Failure::new(FailureKind::Unit, over, "x").into());
    insta::assert_snapshot!(told(&rollout));
    let json: Vec<_> = causes(&rollout).iter().map(|cause| cause.json(17)).collect();
    insta::assert_snapshot!("for_programs", serde_json::to_string_pretty(&json).unwrap());
}

#[test]
fn what_nobody_can_name_is_told_as_it_was_said() {
    let gone = |host: &str| {
        roadstead_model::Failure::new(FailureKind::Deadline, format!("{host} did not answer for 61 s"), "see `roadstead host show`")
    };
    let mut rollout = rollout(vec![host("web-1", Some(gone("web-1"))), host("web-2", Some(gone("web-2")))]);
    let aborted =
        roadstead_model::Failure::new(FailureKind::Cancelled, "aborted by admin:ada: wrong release", "start it again when you are ready");
    rollout.failure = Some(aborted.into());
    insta::assert_snapshot!(told(&rollout));
}

#[test]
fn steps_are_read_from_what_failed() {
    let step = |summary: &str| step_of(&Failure { summary: summary.into(), ..Default::default() });
    assert_eq!(step("candidate: web did not answer"), Some(StepName::Candidate));
    assert_eq!(step("migrate was not done when the time was over"), Some(StepName::Migrate));
    assert_eq!(step("the host was revoked"), None);
    assert_eq!(step(""), None);
}
