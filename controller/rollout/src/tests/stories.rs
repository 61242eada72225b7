//! Scripted stories: what an operator would expect.

use roadstead_model::*;

use super::fleet::*;
use super::waits::check_wait;
use crate::*;

fn one_by_one(budget: u32) -> EnvironmentSpec {
    environment(Share::Count(1), Share::Count(1), Share::Count(budget))
}

#[test]
fn a_good_release_reaches_every_host_in_batches() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 3));
    assert_eq!(orders(&fleet.state, 1).len(), 3, "all hosts prepare at once");
    assert_eq!(fleet.run(), Outcome::Done);
    assert!(fleet.serves.values().all(|s| *s == Some(release("1.1").id)));
    assert!(fleet.state.hosts.values().all(|h| h.stage == Stage::Confirmed));
}

#[test]
fn a_release_that_does_not_start_moves_nobody() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 3));
    fleet.behaviour.extend((0..3).map(|n| ((host_id(n), Verb::Activate as u32), Behaviour::Fails)));
    assert_eq!(fleet.run(), Outcome::Failed);
    assert!(fleet.serves.values().all(|s| *s == Some(release("1.0").id)));
    assert!(fleet.state.failure.as_ref().unwrap().summary.contains("1 of 3 hosts lost"), "{:?}", fleet.state.failure);
    assert!(fleet.state.condemn);
}

#[test]
fn a_failure_in_the_last_batch_takes_the_first_back_too() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 3));
    fleet.behaviour.insert((host_id(2), Verb::Activate as u32), Behaviour::Fails);
    assert_eq!(fleet.run(), Outcome::RolledBack);
    assert!(fleet.serves.values().all(|s| *s == Some(release("1.0").id)));
    assert_eq!(fleet.state.hosts[&host_id(0)].stage, Stage::Reverted);
    assert_eq!(fleet.state.hosts[&host_id(2)].stage, Stage::Abandoned);
}

/// Such as one whose disk was full when the confirmation came: it serves the release all the same.
#[test]
fn a_host_that_refused_to_confirm_goes_back_with_the_others() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &environment(Share::Count(3), Share::Count(3), Share::Count(1)), 3));
    fleet.behaviour.extend((0..3).map(|n| ((host_id(n), Verb::Confirm as u32), Behaviour::StaysSilent)));
    while !matches!(fleet.state.phase, Phase::Confirming { .. }) {
        if !fleet.carry_out(0) {
            fleet.sleep();
        }
    }
    let key = orders(&fleet.state, 1)[&host_id(1)].key();
    let report = Report::Refused { key, highest: None, why: "no storage space".to_owned() };
    fleet.event(Event::Report { host: host_id(1), report });
    assert_eq!(fleet.state.hosts[&host_id(1)].stage, Stage::Failed);
    fleet.abort("admin:ada", "a test");
    fleet.run();
    assert!(fleet.serves.values().all(|s| *s == Some(release("1.0").id)), "{:?}", fleet.serves);
    assert_eq!(fleet.state.hosts[&host_id(1)].stage, Stage::Reverted);
}

/// Such as one whose disk is full while it still ends an order of the rollout before.
#[test]
fn a_host_that_refuses_to_prepare_has_not_said_what_it_serves() {
    let mut plan = plan(RolloutKind::Level, &one_by_one(1), 1);
    let believed = plan.release.clone();
    plan.hosts.values_mut().for_each(|planned| planned.current = Some(believed.clone()));
    let mut fleet = Fleet::new(plan);
    while fleet.state.outcome().is_none() {
        let key = orders(&fleet.state, 1)[&host_id(0)].key();
        fleet.event(Event::Report { host: host_id(0), report: Report::Refused { key, highest: None, why: "no storage space".to_owned() } });
    }
    assert_eq!((fleet.state.outcome(), fleet.state.hosts[&host_id(0)].stage), (Some(Outcome::Failed), Stage::Failed));
}

/// The cutover of the rollout before was never confirmed, and the controller was away for too long.
#[test]
fn a_host_that_was_back_and_went_further_back_by_itself_is_no_success() {
    let mut plan = plan(RolloutKind::Rollout, &one_by_one(1), 2);
    let serves = plan.release.clone();
    plan.hosts.values_mut().for_each(|planned| planned.current = Some(serves.clone()));
    let mut fleet = Fleet::new(plan);
    let key = orders(&fleet.state, 1)[&host_id(0)].key();
    let outcome = OrderOutcome::Done { current: Some(serves.id) };
    fleet.event(Event::Report { host: host_id(0), report: Report::Order { key, outcome } });
    fleet.abort("ada", "a test");
    assert_eq!((fleet.state.hosts[&host_id(0)].stage, fleet.state.outcome()), (Stage::Reverted, None));
    fleet.event(Event::HostSeen { host: host_id(0), current: None, outcomes: Vec::new(), steps: Vec::new() });
    let host = &fleet.state.hosts[&host_id(0)];
    assert_eq!(host.stage, Stage::Failed);
    assert!(host.failure.as_ref().unwrap().summary.contains("went back by itself and serves nothing"));
}

/// Its disk was full when the order came, and had room when the order came once more, late.
#[test]
fn a_cutover_that_was_refused_and_done_all_the_same_is_taken_back() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &environment(Share::Count(2), Share::Count(2), Share::Count(1)), 2));
    fleet.until(|state| state.phase.word() == "moving");
    let key = orders(&fleet.state, 1)[&host_id(1)].key();
    fleet.event(Event::Report { host: host_id(1), report: Report::Refused { key, highest: None, why: "no storage space".to_owned() } });
    let serves = Some(release("1.1").id);
    let mut late = fleet.clone();

    // It was away, and is heard again when the others go back.
    fleet.event(Event::HostGone { host: host_id(1) });
    fleet.abort("ada", "a test");
    assert_eq!(fleet.state.hosts[&host_id(1)].stage, Stage::Abandoning);
    fleet.serves.insert(host_id(1), serves.clone());
    fleet.event(Event::HostSeen { host: host_id(1), current: serves.clone(), outcomes: Vec::new(), steps: Vec::new() });

    // It is there, and says so before.
    let outcome = OrderOutcome::Done { current: serves.clone() };
    late.serves.insert(host_id(1), serves);
    late.event(Event::Report { host: host_id(1), report: Report::Order { key, outcome } });
    assert_eq!(late.state.hosts[&host_id(1)].stage, Stage::Failed);
    late.abort("ada", "a test");
    for mut fleet in [fleet, late] {
        assert_eq!(fleet.run(), Outcome::RolledBack);
        assert!(fleet.serves.values().all(|serves| *serves == Some(release("1.0").id)), "{:?}", fleet.serves);
    }
}

/// It served the release unconfirmed, migrated, heard nothing for long, and undid that cutover: what it remembers of the migration says that
/// it serves the release.
#[test]
fn what_a_host_serves_is_what_it_says_now_and_not_what_it_remembers() {
    let mut plan = plan(RolloutKind::Rollout, &one_by_one(1), 2);
    let served = plan.release.clone();
    plan.hosts.values_mut().for_each(|planned| planned.current = Some(served.clone()));
    let mut fleet = Fleet::new(plan);
    fleet.serves.values_mut().for_each(|serves| *serves = Some(served.id.clone()));
    fleet.until(|state| state.phase.word() == "migrating");
    let (host, order) = orders(&fleet.state, 1).into_iter().find(|(_, order)| matches!(order.kind, OrderKind::Migrate { .. })).unwrap();
    fleet.event(Event::HostGone { host: host.clone() });
    fleet.serves.insert(host.clone(), None);
    let outcomes = vec![(order.key(), OrderOutcome::Done { current: Some(served.id) })];
    fleet.event(Event::HostSeen { host: host.clone(), current: None, outcomes, steps: Vec::new() });
    assert_eq!(fleet.state.hosts[&host].current, None);
    fleet.abort("ada", "a test");
    assert_ne!(fleet.state.hosts[&host].stage, Stage::Reverted, "it is asked");
}

#[test]
fn a_host_that_is_away_within_the_budget_holds_up_nobody() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &environment(Share::Count(1), Share::Count(2), Share::Count(1)), 3));
    fleet.event(Event::HostGone { host: host_id(1) });
    assert_eq!(fleet.run(), Outcome::Done);
    assert_eq!(fleet.state.hosts[&host_id(1)].stage, Stage::Left);
    assert_eq!(fleet.serves[&host_id(0)], Some(release("1.1").id));
    assert_eq!(fleet.serves[&host_id(2)], Some(release("1.1").id));
}

#[test]
fn a_failed_migration_moves_nobody() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(2), 3));
    fleet.behaviour.insert((host_id(0), Verb::Migrate as u32), Behaviour::Fails);
    assert_eq!(fleet.run(), Outcome::Failed);
    assert!(fleet.serves.values().all(|s| *s == Some(release("1.0").id)));
    assert!(!fleet.state.condemn, "the database may have been at fault");
}

#[test]
fn what_is_not_the_release_s_fault_does_not_mark_it_bad() {
    for (kind, condemned) in
        [(FailureKind::Unfit, false), (FailureKind::Transfer, false), (FailureKind::Host, false), (FailureKind::Check, true)]
    {
        let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 2));
        let key = OrderKey { rollout: fleet.state.plan.rollout, sequence: Verb::Prepare as u32 };
        let failure = Failure::new(kind, "it did not work", "look");
        let current = fleet.serves[&host_id(0)].clone();
        let outcome = OrderOutcome::Failed { step: StepName::Preflight, failure, current };
        fleet.event(Event::Report { host: host_id(0), report: Report::Order { key, outcome } });
        assert_eq!(fleet.run(), Outcome::Failed);
        assert_eq!(fleet.state.condemn, condemned, "{kind:?}");
    }
}

#[test]
fn a_migration_without_an_outcome_is_never_given_to_another_host() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(2), 3));
    fleet.behaviour.insert((host_id(0), Verb::Migrate as u32), Behaviour::StaysSilent);
    assert_eq!(fleet.run(), Outcome::Failed);
    assert!(fleet.state.failure.as_ref().unwrap().summary.contains("no known outcome"));
    assert!(!fleet.history.iter().any(|line| line.contains("web-1 runs the migrations")));
}

#[test]
fn an_abort_while_baking_takes_all_back_and_condemns_nothing() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 2));
    while !matches!(fleet.state.phase, Phase::Baking { .. }) {
        assert!(fleet.carry_out(0), "{:?}", fleet.state.phase);
    }
    fleet.abort("ada", "wrong day");
    assert_eq!(fleet.run(), Outcome::RolledBack);
    assert!(fleet.serves.values().all(|s| *s == Some(release("1.0").id)));
    assert!(!fleet.state.condemn);
}

#[test]
fn a_host_that_goes_back_by_itself_takes_the_fleet_back() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 2));
    while !matches!(fleet.state.phase, Phase::Baking { .. }) {
        fleet.carry_out(0);
    }
    let old = Some(release("1.0").id);
    fleet.serves.insert(host_id(1), old.clone());
    fleet.event(Event::HostSeen { host: host_id(1), current: old, outcomes: Vec::new(), steps: Vec::new() });
    assert_eq!(fleet.run(), Outcome::RolledBack);
}

#[test]
fn a_rollback_asks_all_hosts_at_once_and_needs_no_preparation() {
    let environment = one_by_one(0);
    let (old, new) = (release("1.0"), release("1.1"));
    let back = Plan::new(RolloutId(8), RolloutKind::Rollback, &environment, old, Some(new.clone()), candidates(3, Some(&new)), true);
    let mut fleet = Fleet::new(back.unwrap());
    let asked = orders(&fleet.state, 1);
    assert_eq!(asked.len(), 3);
    assert!(asked.values().all(|o| matches!(o.kind, OrderKind::Revert { .. })));
    assert_eq!(fleet.run(), Outcome::Done);
    assert!(fleet.serves.values().all(|s| *s == Some(release("1.0").id)));
}

#[test]
fn a_repeated_report_changes_nothing() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 1));
    let order = orders(&fleet.state, 1).remove(&host_id(0)).unwrap();
    let outcome = OrderOutcome::Done { current: Some(release("1.0").id) };
    let report = Event::Report { host: host_id(0), report: Report::Order { key: order.key(), outcome } };
    fleet.event(report.clone());
    let after = fleet.state.clone();
    fleet.event(report);
    assert_eq!(fleet.state, after);
}

#[test]
fn steps_whose_reports_were_lost_are_known_from_the_next_hello() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 1));
    let key = orders(&fleet.state, 1).remove(&host_id(0)).unwrap().key();
    let done =
        |step, took| StepReport { key, step, state: StepState::Succeeded { took: Millis(took), note: String::new(), safeguard: None } };
    fleet.event(Event::Report { host: host_id(0), report: Report::Step(done(StepName::Preflight, 1)) });
    let running = StepReport { key, step: StepName::Verify, state: StepState::Started };
    fleet.event(Event::Report { host: host_id(0), report: Report::Step(running) });
    let steps = vec![done(StepName::Preflight, 1), done(StepName::Fetch, 2)];
    let seen = Event::HostSeen { host: host_id(0), current: Some(release("1.0").id), outcomes: Vec::new(), steps };
    fleet.event(seen.clone());
    let host = &fleet.state.hosts[&host_id(0)];
    let times: Vec<_> = host.times.iter().map(|(step, took, _)| (*step, took.0)).collect();
    assert_eq!(times, [(StepName::Preflight, 1), (StepName::Fetch, 2)]);
    assert_eq!(host.step, Some((StepName::Verify, 0, 0)), "what runs is not forgotten");
    let after = fleet.state.clone();
    fleet.event(seen);
    assert_eq!(fleet.state, after, "told again it changes nothing");
}

#[test]
fn time_that_the_controller_slept_through_counts_against_nobody() {
    let began = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 2)).now;
    // it was away for a day; its clock was set back meanwhile
    for woke in [began.plus(Millis::from_secs(86_400)), Timestamp(1)] {
        let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 2));
        while !matches!(fleet.state.phase, Phase::Moving { .. }) {
            assert!(fleet.carry_out(0));
        }
        let left = waiting(&fleet.state).unwrap().until.since(fleet.now);
        fleet.now = woke;
        fleet.event(Event::Resumed);
        assert_eq!(fleet.state.lost(), 0, "{:?}", fleet.history);
        assert_eq!(waiting(&fleet.state).unwrap().until, woke.plus(left), "what is awaited is awaited as long as before");
        for number in 0..2 {
            let current = fleet.serves[&host_id(number)].clone();
            fleet.event(Event::HostSeen { host: host_id(number), current, outcomes: Vec::new(), steps: Vec::new() });
        }
        assert_eq!(fleet.run(), Outcome::Done);
    }
}

#[test]
fn every_phase_says_what_it_waits_for_and_until_when() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 2));
    let mut seen = Vec::new();
    while fleet.state.outcome().is_none() {
        check_wait(&fleet.state);
        seen.extend(waiting(&fleet.state).map(|waiting| waiting.what));
        if !fleet.carry_out(0) {
            fleet.sleep();
        }
    }
    assert!(seen.iter().any(|w| w == "2 of 2 hosts to be prepared"), "{seen:?}");
    assert!(seen.iter().any(|w| w == "web-0 to run the migrations"), "{seen:?}");
    assert!(waiting(&fleet.state).is_none());
}

#[test]
fn one_that_gives_way_lets_through_what_has_moved_and_moves_nobody_else() {
    let mut fleet = Fleet::new(plan(RolloutKind::Level, &one_by_one(3), 3));
    while fleet.state.phase.word() == "preparing" {
        fleet.carry_out(0);
    }
    let moving = fleet.state.hosts.values().filter(|host| host.stage == Stage::Moving).count();
    assert_eq!(moving, 1, "the first is on its way");
    let before = fleet.now;
    fleet.event(Event::GiveWay { by: "ada".into() });
    while fleet.carry_out(0) {}
    assert_eq!((fleet.state.outcome(), fleet.now), (Some(Outcome::Done), before), "no bake, and nothing waited for");
    let confirmed: Vec<_> = fleet.state.hosts.values().filter(|host| host.stage == Stage::Confirmed).collect();
    assert_eq!(confirmed.len(), 1);
    assert!(fleet.state.hosts.values().all(|host| matches!(host.stage, Stage::Confirmed | Stage::Abandoned)), "{:?}", fleet.state.hosts);

    let mut early = Fleet::new(plan(RolloutKind::Level, &one_by_one(3), 3));
    early.event(Event::GiveWay { by: "ada".into() });
    while early.carry_out(0) {}
    assert!(early.state.outcome().is_some());
    assert!(early.serves.values().all(|serves| *serves == Some(release("1.0").id)), "nobody moved");
}

#[test]
fn an_abort_does_not_interrupt_a_migration() {
    let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 3));
    while fleet.state.phase.word() == "preparing" {
        fleet.carry_out(0);
    }
    let migration = orders(&fleet.state, 1);
    assert!(migration.values().all(|order| matches!(order.kind, OrderKind::Migrate { .. })), "{migration:?}");
    fleet.abort("ada", "it takes too long");
    fleet.abort("bob", "indeed");
    assert_eq!(orders(&fleet.state, 1), migration, "the host goes on with what it does");
    assert!(waiting(&fleet.state).unwrap().what.contains("then it goes back"));
    assert_eq!(fleet.run(), Outcome::Failed);
    assert!(fleet.state.hosts.values().all(|host| host.stage == Stage::Abandoned), "{:?}", fleet.state.hosts);
    assert!(fleet.state.failure.as_ref().unwrap().summary.contains("aborted by ada: it takes too long"));
    assert!(fleet.serves.values().all(|serves| *serves == Some(release("1.0").id)));
}

#[test]
fn an_abort_during_a_migration_that_fails_or_never_ends_goes_back_too() {
    for behaviour in [Behaviour::Fails, Behaviour::StaysSilent] {
        let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &one_by_one(0), 3));
        while fleet.state.phase.word() == "preparing" {
            fleet.carry_out(0);
        }
        fleet.behaviour.insert((host_id(0), Verb::Migrate as u32), behaviour);
        fleet.abort("ada", "it takes too long");
        assert_eq!(fleet.run(), Outcome::Failed, "{behaviour:?}");
        assert!(!fleet.state.condemn);
    }
}

#[test]
fn a_rollback_believes_nothing_of_a_host_that_is_away_or_busy() {
    let target = release("1.1");
    let environment = one_by_one(1);
    let back = |budget: &EnvironmentSpec| {
        Plan::new(RolloutId(7), RolloutKind::Rollback, budget, target.clone(), None, candidates(2, Some(&target)), false).unwrap()
    };
    for other in [Contact::Away, Contact::Busy] {
        let state = State::new(back(&environment), Timestamp(1), |id| if *id == host_id(0) { Contact::AtRest } else { other });
        assert_eq!((state.hosts[&host_id(0)].stage, state.hosts[&host_id(1)].stage), (Stage::Confirmed, Stage::Moving));
        assert!(state.outcome().is_none());
    }
    for (budget, outcome) in [(1, Outcome::Done), (0, Outcome::Failed)] {
        let mut fleet = Fleet::new(plan(RolloutKind::Rollback, &one_by_one(budget), 3));
        fleet.event(Event::HostGone { host: host_id(1) });
        assert_eq!(fleet.run(), outcome, "one of three is away, {budget} may be lost");
        assert_eq!(fleet.serves[&host_id(0)], Some(release("1.1").id), "{outcome:?}");
    }
}

#[test]
fn a_confirmation_that_finds_another_release_confirms_nothing() {
    for (serves, stage) in [("1.1", Stage::Confirmed), ("1.0", Stage::Failed)] {
        let mut fleet = Fleet::new(plan(RolloutKind::Rollout, &environment(Share::Count(2), Share::Count(2), Share::Count(1)), 2));
        while fleet.state.phase.word() != "confirming" {
            if !fleet.carry_out(0) {
                fleet.sleep();
            }
        }
        let key = OrderKey { rollout: fleet.state.plan.rollout, sequence: Verb::Confirm as u32 };
        let failure = Failure::new(FailureKind::Host, "it cannot be confirmed", "look");
        let outcome = OrderOutcome::Failed { step: StepName::Confirm, failure, current: Some(release(serves).id) };
        fleet.event(Event::Report { host: host_id(0), report: Report::Order { key, outcome } });
        assert_eq!(fleet.state.hosts[&host_id(0)].stage, stage, "{serves} serves");
        assert_eq!(fleet.run(), Outcome::Done);
    }
}
