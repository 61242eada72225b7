//! Operators steer a rollout: what each action does, and when it is refused.

use roadstead_model::*;

use super::fleet::*;
use crate::*;

fn one_by_one(budget: u32) -> EnvironmentSpec {
    environment(Share::Count(1), Share::Count(1), Share::Count(budget))
}

/// One host, which an operator promotes, then half of them for a minute, then the rest one by one.
fn canary() -> EnvironmentSpec {
    let mut environment = one_by_one(0);
    let step = |hosts, seconds, promote| CanaryStep { hosts, bake: Millis::from_secs(seconds), promote, traffic: None };
    environment.strategy.steps = vec![step(Share::Count(1), 10, Promotion::Manual), step(Share::Percent(50), 60, Promotion::Automatic)];
    environment
}

fn rollout(environment: &EnvironmentSpec, hosts: usize) -> Fleet {
    Fleet::new(plan(RolloutKind::Rollout, environment, hosts))
}

fn stage(fleet: &Fleet, number: usize) -> Stage {
    fleet.state.hosts[&host_id(number)].stage
}

fn serving(fleet: &Fleet) -> usize {
    fleet.serves.values().filter(|serves| **serves == Some(release("1.1").id)).count()
}

fn refusal(fleet: &mut Fleet, steer: Steer) -> String {
    let before = fleet.state.clone();
    let why = fleet.steer(steer).unwrap_err().to_string();
    assert_eq!(fleet.state, before, "what is refused changes nothing");
    why
}

#[test]
fn a_canary_waits_for_its_operator_and_then_grows() {
    let mut fleet = rollout(&canary(), 4);
    assert_eq!(fleet.state.plan.batches, 4, "one, one more, and two by themselves");
    fleet.until(|state| matches!(state.phase, Phase::Baked { .. }));
    assert_eq!(serving(&fleet), 1);
    assert_eq!(waiting(&fleet.state).unwrap().what, "an operator to promote batch 1 of 4, which has baked");
    let (before, asked) = (fleet.now, fleet.state.clone());
    fleet.now = fleet.now.plus(Millis::from_secs(3600));
    fleet.event(Event::Tick);
    assert_eq!((&fleet.state.phase, &fleet.state.hosts), (&asked.phase, &asked.hosts), "an hour changes nothing");
    fleet.now = before;
    fleet.steer(Steer::Promote { all: false }).unwrap();
    fleet.until(|state| matches!(state.phase, Phase::Baking { batch: 1, .. }));
    assert_eq!(serving(&fleet), 2);
    assert_eq!(fleet.run(), Outcome::Done);
    assert!(fleet.now >= before.plus(Millis::from_secs(60)), "it baked");
}

#[test]
fn a_canary_that_nobody_promotes_goes_back_and_is_not_bad() {
    let mut fleet = rollout(&canary(), 4);
    assert_eq!(fleet.run(), Outcome::RolledBack);
    assert_eq!(fleet.state.failure.as_ref().unwrap().summary, "nobody promoted batch 1 of 4 within 4 h");
    assert_eq!((serving(&fleet), fleet.state.condemn), (0, false));
}

#[test]
fn whoever_promotes_all_waits_for_the_last_bake_alone() {
    let mut fleet = rollout(&canary(), 4);
    fleet.until(|state| matches!(state.phase, Phase::Moving { .. }));
    assert!(refusal(&mut fleet, Steer::Promote { all: false }).ends_with("batch 1 of 4 moves still, and has not begun to bake"));
    fleet.steer(Steer::Promote { all: true }).unwrap();
    let before = fleet.now;
    fleet.until(|state| matches!(state.phase, Phase::Baking { .. }));
    assert_eq!((serving(&fleet), fleet.now), (4, before), "no bake in between");
    fleet.steer(Steer::Promote { all: false }).unwrap();
    fleet.until(|state| state.outcome().is_some());
    assert_eq!((fleet.state.outcome(), fleet.now), (Some(Outcome::Done), before), "the last bake was over at once");
}

#[test]
fn nothing_further_begins_while_it_is_paused() {
    for phase in ["preparing", "migrating", "moving", "baking"] {
        let mut fleet = rollout(&one_by_one(0), 3);
        fleet.until(|state| state.phase.word() == phase);
        fleet.steer(Steer::Pause { within: Millis::from_secs(7200) }).unwrap();
        while fleet.carry_out(0) {}
        let (before, rests) = (serving(&fleet), fleet.state.clone());
        fleet.now = fleet.now.plus(Millis::from_secs(7199));
        fleet.event(Event::Tick);
        assert_eq!((&fleet.state.phase, &fleet.state.hosts), (&rests.phase, &rests.hosts), "paused while {phase}");
        assert_eq!(waiting(&rests).unwrap().what, "an operator to resume it: ada paused it, a test");
        fleet.steer(Steer::Resume).unwrap();
        assert_eq!(fleet.run(), Outcome::Done, "paused while {phase}");
        assert!(before <= 1 || phase == "baking", "{before} moved while paused at {phase}");
    }
}

#[test]
fn a_pause_that_nobody_ends_goes_back() {
    let mut fleet = rollout(&one_by_one(0), 3);
    fleet.until(|state| matches!(state.phase, Phase::Moving { batch: 1, .. }));
    fleet.steer(Steer::Pause { within: Millis::from_secs(600) }).unwrap();
    let paused = fleet.now;
    assert_eq!(fleet.run(), Outcome::RolledBack);
    assert_eq!(fleet.now, paused.plus(Millis::from_secs(600)));
    let failure = fleet.state.failure.as_ref().unwrap();
    assert_eq!(failure.summary, "nobody resumed it within 10 min after ada paused it: a test");
    assert!(!fleet.state.condemn && serving(&fleet) == 0);
}

#[test]
fn a_paused_rollout_that_loses_too_many_goes_back_all_the_same() {
    let mut fleet = rollout(&one_by_one(0), 3);
    fleet.until(|state| matches!(state.phase, Phase::Moving { batch: 1, .. }));
    fleet.steer(Steer::Pause { within: Millis::from_secs(600) }).unwrap();
    fleet.behaviour.insert((host_id(1), Verb::Activate as u32), Behaviour::Fails);
    while fleet.carry_out(0) {}
    assert_eq!((fleet.state.outcome(), serving(&fleet)), (Some(Outcome::RolledBack), 0));
}

#[test]
fn a_sleeping_controller_does_not_use_up_a_pause() {
    let mut fleet = rollout(&one_by_one(0), 2);
    fleet.steer(Steer::Pause { within: Millis::from_secs(600) }).unwrap();
    fleet.now = fleet.now.plus(Millis::from_secs(100_000));
    fleet.event(Event::Resumed);
    assert_eq!(waiting(&fleet.state).unwrap().until, fleet.now.plus(Millis::from_secs(600)));
}

/// A controller that is started again every night does not make a bake, a pause or a week at the gates longer.
#[test]
fn time_in_which_nothing_happened_counts_after_a_restart_too() {
    let mut fleet = rollout(&one_by_one(0), 2);
    fleet.steer(Steer::Pause { within: Millis::from_secs(7200) }).unwrap();
    while fleet.carry_out(0) {}
    let until = waiting(&fleet.state).unwrap().until;
    while fleet.now.plus(Millis::from_secs(600)) < until {
        fleet.sleep();
    }
    // It was away for a minute.
    fleet.now = fleet.now.plus(Millis::from_secs(60));
    fleet.event(Event::Resumed);
    let left = waiting(&fleet.state).unwrap().until.since(fleet.now);
    assert!(left <= Millis::from_secs(900), "{left} of two hours are left");
}

/// Somebody's pause is not ended by dealing with hosts, and a question is not put off by a pause.
#[test]
fn a_pause_and_a_question_do_not_replace_each_other() {
    let mut environment = one_by_one(0);
    environment.strategy.on_failure = OnFailure::Ask;
    let mut fleet = rollout(&environment, 3);
    fleet.behaviour.insert((host_id(1), Verb::Activate as u32), Behaviour::Fails);
    fleet.until(|state| state.hosts[&host_id(1)].stage == Stage::Moving);
    fleet.steer(Steer::Pause { within: Millis::from_secs(7200) }).unwrap();
    while fleet.carry_out(0) {}
    fleet.steer(Steer::Ignore(host_id(1))).unwrap();
    assert!(matches!(fleet.state.hold, Some(Hold { cause: HoldCause::Paused { .. }, .. })), "{:?}", fleet.state.hold);
    assert_eq!(stage(&fleet, 2), Stage::Prepared);

    let mut fleet = rollout(&environment, 3);
    fleet.behaviour.insert((host_id(1), Verb::Activate as u32), Behaviour::Fails);
    fleet.until(|state| state.hold.is_some());
    assert!(refusal(&mut fleet, Steer::Pause { within: Millis::from_secs(60) }).contains("it is on hold already: 1 of 3 hosts lost"));
}

/// An ignored host that is away is still out.
#[test]
fn a_host_without_which_nobody_can_move_is_excluded_not_ignored() {
    let mut environment = one_by_one(0);
    environment.strategy.on_failure = OnFailure::Ask;
    let mut fleet = rollout(&environment, 3);
    fleet.event(Event::HostGone { host: host_id(1) });
    fleet.until(|state| state.hold.is_some());
    let why = refusal(&mut fleet, Steer::Ignore(host_id(1)));
    assert!(why.ends_with("it would still be out, and 1 of the 1 hosts that may be are: exclude it instead"), "{why}");
    fleet.steer(Steer::Exclude(host_id(1))).unwrap();
    assert_eq!((fleet.run(), serving(&fleet)), (Outcome::Done, 2));
}

/// What a policy of asking does: the rollout stands until the operator has dealt with the host that failed, in one of four ways.
#[test]
fn a_rollout_that_asks_goes_on_when_its_losses_are_dealt_with() {
    let mut environment = one_by_one(0);
    environment.strategy.on_failure = OnFailure::Ask;
    let ways = [
        (Some(Steer::Retry(host_id(1))), Outcome::Done, 3),
        (Some(Steer::Ignore(host_id(1))), Outcome::Done, 2),
        (Some(Steer::Exclude(host_id(1))), Outcome::Done, 2),
        (Some(Steer::Abort), Outcome::RolledBack, 0),
        (None, Outcome::RolledBack, 0),
    ];
    for (steer, outcome, serve) in ways {
        let mut fleet = rollout(&environment, 3);
        fleet.behaviour.insert((host_id(1), Verb::Activate as u32), Behaviour::Fails);
        fleet.until(|state| state.hold.is_some());
        while fleet.carry_out(0) {}
        assert_eq!((stage(&fleet, 0), stage(&fleet, 1), stage(&fleet, 2)), (Stage::Healthy, Stage::Failed, Stage::Prepared));
        let asked = waiting(&fleet.state).unwrap().what;
        assert!(asked.starts_with("an operator to retry, ignore or exclude hosts: 1 of 3 hosts lost, 0 may be: "), "{asked}");
        assert!(refusal(&mut fleet, Steer::Resume).contains("retry, ignore or exclude hosts until no more are lost than may be"));
        assert!(refusal(&mut fleet, Steer::Promote { all: false }).ends_with("it is paused: resume it first"));
        if let Some(steer) = steer.clone() {
            fleet.steer(steer).unwrap();
        }
        assert_eq!((fleet.run(), serving(&fleet)), (outcome, serve), "{steer:?}");
        if steer.is_none() {
            let summary = &fleet.state.failure.as_ref().unwrap().summary;
            assert!(summary.ends_with("nobody decided within 4 h"), "{summary}");
            assert!(fleet.state.condemn, "what the release did wrong is its own");
        }
    }
}

/// Whoever was asked and tries a host again puts no other at risk before that has worked.
#[test]
fn the_others_wait_until_the_host_that_is_tried_again_has_moved() {
    let mut environment = environment(Share::Count(1), Share::Count(2), Share::Count(0));
    environment.strategy.on_failure = OnFailure::Ask;
    let mut fleet = rollout(&environment, 3);
    fleet.behaviour.insert((host_id(0), Verb::Activate as u32), Behaviour::Fails);
    fleet.behaviour.insert((host_id(0), 8 + Verb::Activate as u32), Behaviour::Fails);
    fleet.until(|state| state.hold.is_some());
    for attempt in 1..=2 {
        fleet.steer(Steer::Retry(host_id(0))).unwrap();
        fleet.until(|state| !matches!(state.hosts[&host_id(0)].stage, Stage::Preparing | Stage::Prepared | Stage::Moving));
        let proven = attempt == 2;
        assert_eq!((fleet.state.hold.is_none(), stage(&fleet, 0) == Stage::Healthy), (proven, proven));
        assert!(proven || stage(&fleet, 1) == Stage::Prepared, "{:?}", stage(&fleet, 1));
    }
    assert_eq!((fleet.run(), serving(&fleet)), (Outcome::Done, 3));
}

/// What it undid it undid badly: it is out until it moves, and no other may be out with it, also when it could not even prepare.
#[test]
fn a_stuck_host_that_is_tried_again_is_out_until_it_moves() {
    let mut fleet = rollout(&environment(Share::Count(1), Share::Count(1), Share::Count(1)), 3);
    fleet.behaviour.insert((host_id(0), Verb::Activate as u32), Behaviour::GetsStuck);
    fleet.until(|state| state.hosts[&host_id(0)].stage == Stage::Stuck);
    fleet.behaviour.insert((host_id(0), 8 + Verb::Prepare as u32), Behaviour::Fails);
    for _ in 0..2 {
        fleet.steer(Steer::Retry(host_id(0))).unwrap();
        assert_eq!((fleet.state.out(), stage(&fleet, 1)), (1, Stage::Prepared));
        fleet.until(|state| state.hosts[&host_id(0)].stage != Stage::Preparing);
        assert_eq!((fleet.state.out(), stage(&fleet, 1)), (1, Stage::Prepared));
    }
    fleet.until(|state| state.hosts[&host_id(0)].stage == Stage::Healthy);
    assert_eq!((fleet.run(), serving(&fleet)), (Outcome::Done, 3));
}

#[test]
fn a_host_is_tried_again_with_orders_that_are_newer() {
    let mut fleet = rollout(&one_by_one(1), 3);
    fleet.behaviour.insert((host_id(0), Verb::Activate as u32), Behaviour::Fails);
    fleet.until(|state| matches!(state.phase, Phase::Baking { .. }));
    assert_eq!((stage(&fleet, 0), serving(&fleet)), (Stage::Failed, 2));
    fleet.steer(Steer::Retry(host_id(0))).unwrap();
    assert!(refusal(&mut fleet, Steer::Retry(host_id(0))).ends_with("the host is preparing, not lost"));
    let order = orders(&fleet.state, 1).remove(&host_id(0)).unwrap();
    assert!(order.fence.sequence > Verb::Abandon as u32 && Verb::of(order.key()) == Some(Verb::Prepare), "{order:?}");
    // What it did the first time is told once more, late, and means nothing.
    let old = OrderKey { rollout: RolloutId(7), sequence: Verb::Prepare as u32 };
    let before = fleet.state.clone();
    let current = fleet.serves[&host_id(0)].clone();
    for report in [
        Report::Order { key: old, outcome: OrderOutcome::Done { current: current.clone() } },
        Report::Refused { key: old, highest: None, why: "no room".to_owned() },
        Report::Step(StepReport { key: old, step: StepName::Fetch, state: StepState::Started }),
    ] {
        fleet.event(Event::Report { host: host_id(0), report });
        assert_eq!(fleet.state, before);
    }
    assert_eq!((fleet.run(), serving(&fleet)), (Outcome::Done, 3));
    assert_eq!(fleet.state.hosts[&host_id(0)].attempt, 1);
}

#[test]
fn a_host_that_fails_again_and_again_is_not_tried_for_ever() {
    let mut fleet = rollout(&one_by_one(1), 2);
    for attempt in 0..=limits::ATTEMPTS_MAX {
        fleet.behaviour.insert((host_id(0), attempt * 8 + Verb::Prepare as u32), Behaviour::Fails);
    }
    fleet.steer(Steer::Pause { within: Millis::from_secs(600) }).unwrap();
    for _ in 0..limits::ATTEMPTS_MAX {
        while fleet.carry_out(0) {}
        fleet.steer(Steer::Retry(host_id(0))).unwrap();
    }
    while fleet.carry_out(0) {}
    assert!(refusal(&mut fleet, Steer::Retry(host_id(0))).ends_with("the host was tried 100 times: deploy the release again"));
}

#[test]
fn a_host_that_is_excluded_goes_back_and_the_others_go_on() {
    for phase in ["preparing", "moving", "baking"] {
        let mut fleet = rollout(&one_by_one(0), 3);
        fleet.until(|state| state.phase.word() == phase);
        fleet.steer(Steer::Exclude(host_id(0))).unwrap();
        let bad = orders(&fleet.state, 1).values().any(|order| {
            matches!(&order.kind,
            OrderKind::Abandon { condemn, .. } | OrderKind::Revert { condemn, .. } if *condemn)
        });
        assert!(!bad, "whoever is taken out does not mark the release as bad");
        assert!(refusal(&mut fleet, Steer::Exclude(host_id(0))).ends_with("the host is excluded already"));
        assert_eq!((fleet.run(), serving(&fleet)), (Outcome::Done, 2), "excluded while {phase}");
        assert_eq!(fleet.serves[&host_id(0)], Some(release("1.0").id));
        assert!(matches!(stage(&fleet, 0), Stage::Abandoned | Stage::Reverted));
    }
}

#[test]
fn a_host_that_is_away_and_excluded_is_not_waited_for_and_not_out() {
    let mut fleet = rollout(&one_by_one(0), 3);
    fleet.event(Event::HostGone { host: host_id(1) });
    fleet.steer(Steer::Exclude(host_id(1))).unwrap();
    assert_eq!(fleet.state.out(), 0);
    assert_eq!((fleet.run(), serving(&fleet)), (Outcome::Done, 2));
}

#[test]
fn what_does_not_fit_is_refused_with_the_reason() {
    let pause = || Steer::Pause { within: Millis::from_secs(60) };
    let mut fleet = rollout(&one_by_one(0), 2);
    assert!(refusal(&mut fleet, Steer::Resume).ends_with("r-7 cannot be resumed: it is not paused"));
    assert!(refusal(&mut fleet, Steer::Promote { all: true }).ends_with("no batch has moved yet"));
    assert!(
        refusal(&mut fleet, Steer::Ignore(host_id(0))).ends_with("the host is preparing and does not count against the failure budget")
    );
    assert!(refusal(&mut fleet, Steer::Retry(host_id(9))).contains("is no part of rollout"));
    fleet.until(|state| state.phase.word() == "migrating");
    let migrator = fleet.state.hosts.iter().find(|(_, host)| host.stage == Stage::Migrating).unwrap().0.clone();
    assert!(refusal(&mut fleet, Steer::Exclude(migrator)).ends_with("the host runs the migrations, which are not cut off"));
    fleet.until(|state| state.phase.word() == "confirming");
    assert!(refusal(&mut fleet, pause()).contains("nothing is left to decide"));
    assert_eq!(fleet.run(), Outcome::Done);
    assert!(refusal(&mut fleet, pause()).ends_with("r-7 cannot be paused: it has ended: done"));
    let mut back = Fleet::new(plan(RolloutKind::Rollback, &one_by_one(0), 2));
    assert!(refusal(&mut back, Steer::Abort).ends_with("it is a rollback, which goes on to its end"));
    let mut aborted = rollout(&one_by_one(0), 2);
    aborted.steer(Steer::Abort).unwrap();
    assert!(refusal(&mut aborted, pause()).ends_with("it goes back already"));
}

/// A confirmation that a full disk refused: the release serves there.
#[test]
fn a_host_that_could_not_confirm_is_asked_again() {
    let mut fleet = rollout(&one_by_one(1), 2);
    fleet.until(|state| state.phase.word() == "confirming");
    let key = orders(&fleet.state, 1)[&host_id(0)].key();
    fleet.event(Event::Report { host: host_id(0), report: Report::Refused { key, highest: None, why: "no room".to_owned() } });
    fleet.steer(Steer::Retry(host_id(0))).unwrap();
    assert_eq!(stage(&fleet, 0), Stage::Confirming);
    assert_eq!(fleet.run(), Outcome::Done);
    assert_eq!(stage(&fleet, 0), Stage::Confirmed);
}
