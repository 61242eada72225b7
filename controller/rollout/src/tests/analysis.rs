//! Batches that are judged while they bake.

use roadstead_model::*;

use super::fleet::*;
use crate::*;

fn judged(analysis: Analysis) -> Fleet {
    let mut environment = environment(Share::Count(1), Share::Count(1), Share::default());
    environment.strategy.batch_bake = Millis::from_secs(60);
    environment.analysis = Some(analysis);
    Fleet::new(plan(RolloutKind::Rollout, &environment, 3))
}

/// One whose first batch has moved.
fn canary() -> Fleet {
    let mut fleet = judged(analysis());
    fleet.until(|state| matches!(state.phase, Phase::Baking { batch: 0, .. }));
    fleet
}

fn phase(fleet: &Fleet) -> &'static str {
    fleet.state.phase.word()
}

fn waits_for(fleet: &Fleet) -> String {
    let waiting = waiting(&fleet.state).unwrap();
    format!("{}; then {}", waiting.what, waiting.then)
}

fn told(fleet: &Fleet, kind: &str) -> Vec<String> {
    fleet.history.iter().filter_map(|line| line.strip_prefix(&format!("{kind} "))).map(str::to_owned).collect()
}

#[test]
fn canaries_are_asked_about_and_the_others_are_what_they_are_compared_with() {
    let fleet = canary();
    let asked = questions(&fleet.state).unwrap();
    assert_eq!(asked.queries, [("errors{instance=~'(web-0):.*'}".to_owned(), Some("errors{instance=~'(web-1|web-2):.*'}".to_owned()))]);
    let [page] = &asked.checks[..] else { panic!("one check") };
    let host = HostName::parse("web-0").unwrap();
    assert_eq!(page[..], [Question { host, url: "http://web-0/".to_owned(), status: 200, contains: Some("1.1".to_owned()) }]);
    let Phase::Baking { since, .. } = fleet.state.phase else { panic!("it bakes") };
    assert_eq!((look_due(&fleet.state), asked.prometheus.as_str()), (Some(since), "http://prometheus:9090"), "the first look is at once");
}

#[test]
fn nothing_is_asked_while_nothing_bakes() {
    let fleet = judged(analysis());
    assert_eq!((phase(&fleet), questions(&fleet.state)), ("preparing", None));
    let mut unjudged = judged(analysis());
    unjudged.state.plan.analysis = None;
    unjudged.until(|state| matches!(state.phase, Phase::Baking { .. }));
    assert_eq!(questions(&unjudged.state), None);
}

#[test]
fn a_rollout_whose_batches_all_pass_is_done() {
    let mut fleet = canary();
    assert!(waits_for(&fleet).contains("its analysis has not told anything yet; then it goes back"), "{}", waits_for(&fleet));
    fleet.look(Sight::Good);
    assert!(waits_for(&fleet).ends_with("its analysis passes; then the next batch moves"), "{}", waits_for(&fleet));
    assert_eq!(fleet.run(), Outcome::Done);
    let passed = told(&fleet, "analysis-passed");
    assert_eq!(passed.len(), 3);
    assert_eq!(passed[0], "errors is 0.001, at most 0.01 and at most 2 × the baseline of 0.001; front page passes on 1 of 1");
    assert_eq!(passed[2], "errors is 0.001, at most 0.01 and at most 2 × the baseline; front page passes on 3 of 3");
}

#[test]
fn a_bake_of_no_time_takes_one_look() {
    let mut fleet = judged(analysis());
    fleet.state.plan.bakes.fill(Bake::default());
    fleet.until(|state| matches!(state.phase, Phase::Baking { .. }));
    fleet.event(Event::Tick);
    assert_eq!(phase(&fleet), "baking", "nobody has looked");
    fleet.look(Sight::Good);
    assert_eq!(phase(&fleet), "moving");
}

#[test]
fn a_release_that_fails_goes_back_and_is_marked_bad() {
    let mut fleet = canary();
    fleet.look(Sight::Bad);
    assert_eq!(phase(&fleet), "reverting");
    let failure = fleet.state.failure.clone().unwrap();
    assert_eq!(failure.kind, FailureKind::Check);
    assert!(failure.summary.starts_with("analysis: errors is 0.051, at most 0.01 and"), "{failure}");
    assert!(failure.summary.ends_with("(batch 1 of 3)"), "{failure}");
    assert_eq!((fleet.run(), fleet.state.condemn), (Outcome::RolledBack, true));
    assert!(fleet.serves.values().all(|serves| serves.as_ref() == Some(&release("1.0").id)));
}

#[test]
fn as_many_failures_as_are_asked_for_are_needed_and_a_pass_ends_the_row() {
    let mut only_check = analysis();
    only_check.queries.clear();
    let mut fleet = judged(only_check);
    fleet.until(|state| matches!(state.phase, Phase::Baking { .. }));
    for sight in [Sight::Bad, Sight::Good, Sight::Bad, Sight::Nothing] {
        fleet.look(sight);
        assert_eq!(phase(&fleet), "baking", "{sight:?}");
    }
    assert_eq!(told(&fleet, "analysis").len(), 4, "each turn is told");
    // Silence in between is no pass.
    fleet.look(Sight::Bad);
    assert_eq!(phase(&fleet), "reverting");
    assert_eq!(
        fleet.state.failure.clone().unwrap().summary,
        "analysis: front page fails on 1 of 1: web-0 answers 503, not 200 (batch 1 of 3)"
    );
}

#[test]
fn a_later_batch_and_the_last_one_are_judged_too() {
    for batch in [1, 2] {
        let mut fleet = canary();
        fleet.until(|state| matches!(state.phase, Phase::Baking { batch: now, .. } if now == batch));
        fleet.look(Sight::Bad);
        assert_eq!((phase(&fleet), fleet.run()), ("reverting", Outcome::RolledBack));
    }
}

/// One that is on hold because nothing tells how it does.
fn asking() -> Fleet {
    let mut fleet = canary();
    for look in 1..=3 {
        assert!(fleet.state.hold.is_none(), "look {look}");
        fleet.look(Sight::Nothing);
    }
    assert!(matches!(fleet.state.hold, Some(Hold { cause: HoldCause::Unknown { .. }, .. })));
    fleet
}

#[test]
fn what_tells_nothing_is_no_pass_and_asks_an_operator() {
    let mut fleet = asking();
    assert!(
        waits_for(&fleet).contains("front page tells nothing on 1 of 1: web-0 does not answer, 3 looks in a row"),
        "{}",
        waits_for(&fleet)
    );
    assert!(fleet.steer(Steer::Pause { within: Millis(1) }).is_err(), "it is on hold already");
    assert!(fleet.steer(Steer::Promote { all: false }).is_err(), "it is resumed first");
    fleet.sight = Sight::Nothing;
    let until = fleet.state.hold.clone().unwrap().until();
    assert_eq!(fleet.run(), Outcome::RolledBack);
    assert!(fleet.now >= until && !fleet.state.condemn, "nobody says that the release is bad");
    assert!(fleet.state.failure.unwrap().summary.ends_with("nobody decided within 4 h"));
}

#[test]
fn it_goes_on_by_itself_when_something_can_be_judged_again() {
    let mut fleet = asking();
    fleet.look(Sight::Good);
    assert_eq!((fleet.state.hold.clone(), phase(&fleet)), (None, "baking"));
    assert_eq!(fleet.run(), Outcome::Done);
    let mut fleet = asking();
    fleet.look(Sight::Bad);
    assert_eq!(phase(&fleet), "reverting", "also when what is seen then is bad");
}

#[test]
fn an_operator_who_resumes_has_looked_and_the_count_begins_anew() {
    let mut fleet = asking();
    fleet.now = fleet.now.plus(Millis::from_secs(3 * 3600));
    fleet.steer(Steer::Resume).unwrap();
    for look in 1..=2 {
        fleet.look(Sight::Nothing);
        assert_eq!((fleet.state.hold.is_none(), phase(&fleet)), (true, "baking"), "look {look}");
    }
    fleet.look(Sight::Nothing);
    assert!(fleet.state.hold.is_some());
    fleet.steer(Steer::Resume).unwrap();
    fleet.steer(Steer::Promote { all: false }).unwrap();
    assert_eq!(phase(&fleet), "moving");
    let skipped = told(&fleet, "analysis-skipped");
    assert!(skipped[0].starts_with("it is promoted although not all passed: errors tells nothing"), "{skipped:?}");
}

#[test]
fn a_pause_keeps_nothing_from_going_back() {
    let mut fleet = canary();
    fleet.steer(Steer::Pause { within: Millis::from_secs(600) }).unwrap();
    fleet.look(Sight::Good);
    fleet.now = fleet.now.plus(Millis::from_secs(120));
    fleet.event(Event::Tick);
    assert_eq!(phase(&fleet), "baking", "it is paused");
    fleet.look(Sight::Bad);
    assert_eq!(phase(&fleet), "reverting");
}

#[test]
fn whoever_never_passes_goes_back_in_bounded_time() {
    let mut only_check = analysis();
    only_check.queries.clear();
    only_check.checks[0].failures = 1000;
    only_check.checks[0].inconclusive = 1000;
    let mut fleet = judged(only_check);
    fleet.until(|state| matches!(state.phase, Phase::Baking { .. }));
    let began = fleet.now;
    fleet.sight = Sight::Bad;
    assert_eq!(fleet.run(), Outcome::RolledBack);
    let took = fleet.now.since(began);
    assert!(took >= Millis::from_secs(60 + 4 * 3600) && took < Millis::from_secs(60 + 5 * 3600), "{took}");
    assert_eq!((fleet.state.failure.unwrap().kind, fleet.state.condemn), (FailureKind::Deadline, false));
}

#[test]
fn a_look_at_something_else_says_nothing() {
    let mut fleet = canary();
    let Phase::Baking { since, .. } = fleet.state.phase else { panic!("it bakes") };
    let bad = Findings { queries: vec![Numbers { value: Number::new(1.0).map_err(|e| e.to_string()), baseline: None }], checks: vec![] };
    let before = fleet.state.clone();
    fleet.event(Event::Looked { batch: 1, asked_at: fleet.now, findings: bad.clone() });
    fleet.event(Event::Looked { batch: 0, asked_at: Timestamp(since.0 - 1), findings: bad.clone() });
    assert_eq!(fleet.state, before, "another batch, and what was asked before it had moved");
    // Half an answer is none.
    fleet.event(Event::Looked { batch: 0, asked_at: fleet.now, findings: Findings::default() });
    fleet.now = fleet.now.plus(Millis::from_secs(61));
    fleet.event(Event::Tick);
    assert_eq!(phase(&fleet), "baking");
    fleet.event(Event::Looked { batch: 0, asked_at: fleet.now, findings: bad });
    assert_eq!(phase(&fleet), "reverting");
}

#[test]
fn after_a_restart_it_is_looked_anew() {
    let mut fleet = canary();
    fleet.look(Sight::Good);
    fleet.now = fleet.now.plus(Millis::from_secs(3600));
    fleet.event(Event::Resumed);
    assert_eq!(looks(&fleet.state), None);
    fleet.now = fleet.now.plus(Millis::from_secs(61));
    fleet.event(Event::Tick);
    assert_eq!(phase(&fleet), "baking", "what was seen before says nothing of now");
    fleet.look(Sight::Good);
    assert_eq!(phase(&fleet), "moving");
}

#[test]
fn whoever_gives_way_or_skips_the_bakes_is_not_judged() {
    let mut fleet = canary();
    fleet.event(Event::GiveWay { by: "ada".into() });
    assert_ne!(phase(&fleet), "baking");
    let mut fleet = canary();
    fleet.steer(Steer::Promote { all: true }).unwrap();
    fleet.until(|state| matches!(state.phase, Phase::Baking { batch: 2, .. }));
    fleet.look(Sight::Bad);
    assert_eq!(phase(&fleet), "reverting", "the last bake stays, and is judged");
}

#[test]
fn hosts_that_are_away_are_no_end_of_comparing() {
    let mut compared = analysis();
    compared.queries[0].at_most = None;
    compared.checks.clear();
    let mut fleet = judged(compared);
    fleet.until(|state| matches!(state.phase, Phase::Baking { .. }));
    for host in [1, 2] {
        fleet.event(Event::HostGone { host: host_id(host) });
    }
    assert_eq!(questions(&fleet.state).unwrap().queries[0].1.as_deref(), Some("errors{instance=~'(web-1|web-2):.*'}"));
    let away = Numbers { value: Number::new(1.0).map_err(|e| e.to_string()), baseline: Some(Err("the query finds nothing".to_owned())) };
    fleet.event(Event::Looked { batch: 0, asked_at: fleet.now, findings: Findings { queries: vec![away], checks: vec![] } });
    assert_eq!(looks(&fleet.state).unwrap().of[0].judgement, Judgement::Unknown);
}

#[test]
fn only_what_compares_is_left_out_when_nobody_is_left_to_compare_with() {
    let mut compared = analysis();
    compared.queries[0].at_most = None;
    compared.checks.clear();
    let mut fleet = judged(compared);
    fleet.until(|state| matches!(state.phase, Phase::Baking { batch: 2, .. }));
    assert_eq!(questions(&fleet.state).unwrap().queries[0].1, None);
    fleet.look(Sight::Bad);
    assert_eq!((phase(&fleet), looks(&fleet.state).unwrap().of[0].judgement), ("baking", Judgement::NotCompared));
    assert_eq!(fleet.run(), Outcome::Done);
}

#[test]
fn rollouts_that_were_saved_before_are_read_and_their_plans_keep_their_digests() {
    let unjudged = plan(RolloutKind::Rollout, &environment(Share::Count(1), Share::Count(1), Share::default()), 3);
    assert!(!serde_json::to_string(&unjudged).unwrap().contains("analysis"));
    let mut saved = serde_json::to_value(&Fleet::new(unjudged.clone()).state).unwrap();
    saved.as_object_mut().unwrap().remove("looks").unwrap();
    assert_eq!(serde_json::from_value::<State>(saved).unwrap().looks, Looks::default());
    let judged = judged(analysis()).state.plan;
    let mut judges = judged.clone();
    judges.analysis.as_mut().unwrap().queries[0].at_most = Number::new(0.02).ok();
    assert_ne!(judged.digest(), judges.digest());
    assert_eq!(judged.told_apart(&judges), ["analysis.queries.1.at-most: 0.01 → 0.02"]);
    assert_eq!(plan(RolloutKind::Level, &environment(Share::Count(1), Share::Count(1), Share::default()), 3).analysis, None);
}

/// What was well when the bake began says nothing of its end.
#[test]
fn what_decides_is_seen_when_the_time_of_the_bake_is_over() {
    let mut fleet = canary();
    let Phase::Baking { since, .. } = fleet.state.phase else { panic!("it bakes") };
    let end = since.plus(Millis::from_secs(60));
    while fleet.now < end {
        fleet.look(Sight::Good);
        let due = look_due(&fleet.state).unwrap();
        assert!(due <= end || fleet.now >= end, "a look is due at the end: {due:?}");
        fleet.now = due.min(end);
    }
    fleet.event(Event::Tick);
    assert_eq!(phase(&fleet), "baking", "the look before the end does not do");
    fleet.look(Sight::Bad);
    assert_eq!(phase(&fleet), "reverting");
}
