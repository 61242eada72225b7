use super::*;
use crate::tests::fleet::{Fleet, balancer_id, environment, host_id, plan, plan_behind, plan_of_sets, release};
use crate::{Event, Outcome, waiting};
use proptest::prelude::{prop_assert, proptest};
use roadstead_model::{CanaryStep, Promotion, Share};

/// Three hosts that move one by one behind so many balancers.
fn rolling(balancers: usize) -> Fleet {
    Fleet::new(plan_behind(RolloutKind::Rollout, &environment(Share::Count(1), Share::Count(1), Share::Count(0)), 3, balancers))
}

fn stage(fleet: &Fleet, host: usize) -> Stage {
    fleet.state.hosts[&host_id(host)].stage
}

/// Goes on, with balancers that obey, until the first host is to be drained.
fn until_draining(fleet: &mut Fleet) {
    fleet.until(|state| state.hosts[&host_id(0)].stage == Stage::Draining);
}

#[test]
fn a_host_is_drained_changed_checked_and_gets_its_traffic_back() {
    let mut fleet = rolling(2);
    until_draining(&mut fleet);
    assert_eq!(weights(&fleet.state).unwrap()[&host_id(0)], Weight::DRAINED);
    let (first, second) = (balancer_id(0), balancer_id(1));
    fleet.balancers.get_mut(&second).unwrap().in_flight.insert(host_id(0), 3);
    fleet.take_up(&first);
    fleet.tell(&first);
    assert_eq!(waiting(&fleet.state).unwrap().what, "balancers, of which lb-1 does not say that it could take web-0 out of the traffic");
    fleet.take_up(&second);
    fleet.tell(&second);
    assert_eq!(waiting(&fleet.state).unwrap().what, "3 requests in flight on web-0 to end");
    assert_eq!(stage(&fleet, 0), Stage::Draining);
    fleet.balancers.get_mut(&second).unwrap().in_flight.clear();
    fleet.tell(&second);
    assert_eq!(stage(&fleet, 0), Stage::Moving);
    assert!(fleet.carry_out(0));
    assert_eq!(stage(&fleet, 0), Stage::Returning);
    assert_eq!(weights(&fleet.state).unwrap()[&host_id(0)], Weight::FULL);
    fleet.balance();
    assert_eq!((stage(&fleet, 0), stage(&fleet, 1)), (Stage::Healthy, Stage::Draining));
    assert_eq!(fleet.run(), Outcome::Done);
}

#[test]
fn what_a_balancer_said_of_an_older_table_counts_for_nothing() {
    let mut fleet = rolling(1);
    until_draining(&mut fleet);
    let balancer = balancer_id(0);
    let mut seen = fleet.told(&balancer);
    let drained = ServerSeen { weight: Weight::DRAINED, up: true, in_flight: 0 };
    seen.servers.insert(fleet.state.plan.hosts[&host_id(0)].name.clone(), drained);
    for sequence in 0..fleet.state.traffic.turn {
        seen.key.sequence = sequence;
        fleet.event(Event::BalancerSeen { balancer: balancer.clone(), seen: seen.clone() });
        assert_eq!(stage(&fleet, 0), Stage::Draining);
    }
    seen.key = OrderKey { rollout: roadstead_model::RolloutId(6), sequence: 99 };
    fleet.event(Event::BalancerSeen { balancer: balancer.clone(), seen });
    assert_eq!(stage(&fleet, 0), Stage::Draining, "another rollout's table");
    fleet.balance();
    assert_eq!(stage(&fleet, 0), Stage::Moving);
}

#[test]
fn requests_that_do_not_end_are_waited_for_as_long_as_the_policy_says() {
    let mut fleet = rolling(1);
    until_draining(&mut fleet);
    fleet.balancers.get_mut(&balancer_id(0)).unwrap().in_flight.insert(host_id(0), 2);
    fleet.balance();
    let asked = fleet.now;
    fleet.sleep();
    assert_eq!((stage(&fleet, 0), fleet.now.since(asked)), (Stage::Moving, Millis::from_secs(30)));
    assert!(fleet.history.iter().any(|line| line.ends_with("2 requests were in flight still after 30.0 s")), "{:?}", fleet.history);
}

#[test]
fn a_balancer_that_does_not_obey_costs_the_host_its_place_and_says_why() {
    let failure = |spoil: &dyn Fn(&mut Fleet)| {
        let mut fleet = rolling(1);
        until_draining(&mut fleet);
        spoil(&mut fleet);
        fleet.sleep();
        assert_eq!(stage(&fleet, 0), Stage::Abandoning, "it never moved");
        assert!(matches!(fleet.state.phase, Phase::Reverting { .. }) && !fleet.state.condemn);
        assert_eq!(weights(&fleet.state).unwrap()[&host_id(0)], Weight::FULL, "it has its traffic again");
        fleet.state.hosts[&host_id(0)].failure.clone().unwrap().summary
    };
    assert_eq!(failure(&|_| ()), "lb-0 does not say that it could take web-0 out of the traffic");
    let gone = |fleet: &mut Fleet| {
        fleet.take_up(&balancer_id(0));
        fleet.balancers.get_mut(&balancer_id(0)).unwrap().in_flight.insert(host_id(0), 1);
        fleet.tell(&balancer_id(0));
        fleet.event(Event::BalancerGone { balancer: balancer_id(0), for_good: false });
    };
    assert_eq!(failure(&gone), "lb-0 does not say that it could take web-0 out of the traffic");
    let lacks = |fleet: &mut Fleet| {
        fleet.take_up(&balancer_id(0));
        let mut seen = fleet.told(&balancer_id(0));
        seen.servers.remove(&fleet.state.plan.hosts[&host_id(0)].name);
        seen.problem = Some(Failure::new(FailureKind::Host, "no server web-0 in backend erp", "add it"));
        fleet.event(Event::BalancerSeen { balancer: balancer_id(0), seen });
    };
    assert_eq!(failure(&lacks), "lb-0 did not take web-0 out of the traffic: no server web-0 in backend erp");
}

/// What the host says of itself is not enough: its balancers have to see it, too.
#[test]
fn a_host_that_balancers_see_as_down_goes_back() {
    let mut fleet = rolling(1);
    fleet.balancers.get_mut(&balancer_id(0)).unwrap().down.insert(host_id(0));
    assert_eq!(fleet.run(), Outcome::RolledBack);
    assert_eq!(stage(&fleet, 0), Stage::Reverted);
    assert_eq!(fleet.state.failure.as_ref().unwrap().summary, "1 of 3 hosts lost, 0 may be: lb-0 sees web-0 as down");
    assert!(fleet.state.condemn, "a check that fails is the release's fault");
}

#[test]
fn where_nobody_else_would_be_left_nobody_is_drained() {
    let all_at_once = environment(Share::Percent(100), Share::Percent(100), Share::Count(0));
    let mut fleet = Fleet::new(plan_behind(RolloutKind::Rollout, &all_at_once, 3, 1));
    fleet.until(|state| state.hosts.values().all(|host| host.stage == Stage::Moving));
    assert!(weights(&fleet.state).unwrap().values().all(|weight| *weight == Weight::FULL));
    assert_eq!(fleet.run(), Outcome::Done);
    let mut fleet = Fleet::new(plan_behind(RolloutKind::Rollback, &all_at_once, 3, 1));
    assert!(fleet.state.hosts.values().all(|host| host.stage == Stage::Moving), "going back waits for nobody");
    assert_eq!(fleet.run(), Outcome::Done);
}

#[test]
fn hosts_that_never_take_traffic_are_moved_without_a_word_to_balancers() {
    let mut plan = plan_behind(RolloutKind::Rollout, &environment(Share::Count(1), Share::Count(1), Share::Count(0)), 3, 1);
    plan.hosts.get_mut(&host_id(0)).unwrap().share = None;
    let mut fleet = Fleet::new(plan);
    fleet.until(|state| state.hosts[&host_id(0)].stage == Stage::Moving);
    assert!(!weights(&fleet.state).unwrap().contains_key(&host_id(0)));
    assert!(fleet.carry_out(0));
    assert_eq!(stage(&fleet, 0), Stage::Healthy);
}

#[test]
fn a_canary_gets_its_part_of_all_traffic() {
    let mut environment = environment(Share::Count(1), Share::Count(1), Share::Count(0));
    let part = Some(Weight::percent(5).unwrap());
    let step = CanaryStep { hosts: Share::Count(1), bake: Millis::from_secs(60), promote: Promotion::Manual, traffic: part };
    environment.strategy.steps = vec![step];
    let mut fleet = Fleet::new(plan_behind(RolloutKind::Rollout, &environment, 5, 1));
    fleet.until(|state| matches!(state.phase, Phase::Baked { .. }));
    let shares: Vec<u8> = weights(&fleet.state).unwrap().values().map(|weight| weight.get()).collect();
    assert_eq!(shares, [21, 100, 100, 100, 100], "5 of 100 parts: 21 of 421");
    fleet.steer(crate::Steer::Promote { all: false }).unwrap();
    let after: Vec<u8> = weights(&fleet.state).unwrap().values().map(|weight| weight.get()).collect();
    assert_eq!(after, [100, 0, 100, 100, 100], "the next one is drained, and the canary is one of many");
    assert_eq!(fleet.run(), Outcome::Done);
}

#[test]
fn hosts_that_are_not_level_are_held_out_and_never_all_of_them() {
    let (old, new) = (release("1.0").id, release("1.1").id);
    let told = |hosts: &[Option<&ReleaseId>], may_be_out| {
        let hosts = hosts.iter().enumerate().map(|(n, serves)| (host_id(n), serves.cloned())).collect();
        standing(&hosts, Some(&new), may_be_out).into_values().map(|weight| weight.get()).collect::<Vec<u8>>()
    };
    assert_eq!(told(&[Some(&new), Some(&old), None], 1), [100, 0, 0]);
    assert_eq!(told(&[Some(&new), Some(&old), Some(&old)], 1), [100, 0, 100], "no more than may be out");
    assert_eq!(told(&[Some(&old), Some(&old)], 2), [100, 100], "somebody has to answer");
    let nothing_wanted = standing(&[(host_id(0), None)].into(), None, 1);
    assert_eq!(nothing_wanted[&host_id(0)], Weight::FULL, "before the first deployment nobody is behind");
}

#[test]
fn a_host_that_was_held_out_stays_out_until_it_is_level() {
    let environment = environment(Share::Count(1), Share::Count(1), Share::Count(0));
    let mut level = plan(RolloutKind::Level, &environment, 1);
    level.hosts.get_mut(&host_id(0)).unwrap().share = Some(Weight::DRAINED);
    let behind = plan_behind(RolloutKind::Level, &environment, 1, 1).traffic.unwrap();
    level.traffic = Some(PlannedTraffic { others: 2, ..behind });
    let mut fleet = Fleet::new(level);
    for _ in 0..20 {
        let takes = weights(&fleet.state).unwrap()[&host_id(0)].takes();
        assert_eq!(takes, fleet.state.hosts[&host_id(0)].stage > Stage::Moving, "{:?}", fleet.state.hosts);
        fleet.carry_out(0);
        fleet.balance();
        if fleet.state.outcome().is_some() {
            return;
        }
    }
    panic!("it does not end: {:?}", fleet.state.phase);
}

proptest! {
    /// Within what whole percents allow.
    #[test]
    fn weights_give_the_part_that_is_asked_for(part in 1..100u32, new in 1..200usize, old in 1..200usize) {
        let (of_new, of_old) = split(Weight::percent(part).unwrap(), new, old);
        prop_assert!(of_new.takes() && of_old.takes() && of_new.max(of_old) == Weight::FULL);
        let sum = |weight: Weight, hosts: usize| f64::from(weight.get()) * f64::from(u32::try_from(hosts).unwrap());
        let is = 100.0 * sum(of_new, new) / (sum(of_new, new) + sum(of_old, old));
        // Half a percent of the smaller weight, rounded.
        let smallest = f64::from(of_new.min(of_old).get());
        let off = (is - f64::from(part)).abs();
        prop_assert!(smallest <= 1.0 || off <= f64::from(part) * 0.6 / smallest + 0.5, "{is} % instead of {part} %: {of_new} and {of_old}");
    }
}

/// What each of two sets gets: the one that moves, and the other.
fn of_sets(fleet: &Fleet) -> (u8, u8) {
    let weights = weights(&fleet.state).unwrap();
    let of = |first: usize| {
        let all: Vec<u8> = (first..first + 3).map(|n| weights[&host_id(n)].get()).collect();
        assert!(all.iter().all(|weight| *weight == all[0]), "a set is switched as a whole: {all:?}");
        all[0]
    };
    (of(0), of(500))
}

fn blue_green(kind: RolloutKind) -> Fleet {
    Fleet::new(plan_of_sets(kind, &environment(Share::Percent(100), Share::Percent(100), Share::Count(0)), 3, 2))
}

#[test]
fn the_other_set_moves_and_then_has_all_of_the_traffic_at_once() {
    let mut fleet = blue_green(RolloutKind::Rollout);
    fleet.until(|state| matches!(state.phase, Phase::Moving { .. }));
    assert_eq!(of_sets(&fleet), (0, 100));
    fleet.until(|state| matches!(state.phase, Phase::Switching { .. }));
    assert!(fleet.state.hosts.values().all(|host| host.stage == Stage::Healthy));
    assert_eq!(of_sets(&fleet), (100, 0));
    let (first, second) = (balancer_id(0), balancer_id(1));
    fleet.take_up(&first);
    fleet.tell(&first);
    assert!(matches!(fleet.state.phase, Phase::Switching { .. }), "one of two balancers");
    fleet.take_up(&second);
    fleet.tell(&second);
    assert!(matches!(fleet.state.phase, Phase::Baking { .. }));
    assert_eq!(fleet.run(), Outcome::Done);
}

#[test]
fn going_back_is_a_switch() {
    let mut fleet = blue_green(RolloutKind::Rollout);
    fleet.until(|state| matches!(state.phase, Phase::Baking { .. }));
    fleet.abort("ada", "no");
    assert_eq!(of_sets(&fleet), (0, 100), "at once, whatever hosts do about it");
    assert_eq!(fleet.run(), Outcome::RolledBack);
}

/// Hosts of a set that was switched to go back to nothing, or to the release before the last one: users are not to meet either.
#[test]
fn a_set_goes_back_when_its_traffic_has_left_it() {
    for phase in ["switching", "baking", "confirming"] {
        let mut fleet = blue_green(RolloutKind::Rollout);
        fleet.until(|state| state.phase.word() == phase);
        fleet.abort("ada", "no");
        let (first, second) = (balancer_id(0), balancer_id(1));
        fleet.take_up(&first);
        fleet.tell(&first);
        assert!(crate::orders(&fleet.state, 1).is_empty(), "{phase}: a balancer sends requests there still");
        let waits = waiting(&fleet.state).unwrap();
        assert_eq!(waits.what, "balancers, of which lb-1 does not say that it could take web-0 out of the traffic");
        assert_eq!(waits.then, "it goes back all the same");
        fleet.take_up(&second);
        fleet.balancers.get_mut(&second).unwrap().in_flight.insert(host_id(1), 4);
        fleet.tell(&second);
        assert_eq!(crate::orders(&fleet.state, 1).len(), 2, "{phase}: requests in flight end first on one of them");
        assert_eq!(waiting(&fleet.state).unwrap().what, "4 requests in flight on web-1 to end");
        fleet.balancers.get_mut(&second).unwrap().in_flight.clear();
        fleet.tell(&second);
        assert_eq!(crate::orders(&fleet.state, 1).len(), 3, "{phase}");
        assert_eq!(fleet.run(), Outcome::RolledBack);
    }
}

#[test]
fn a_balancer_that_does_not_obey_keeps_nobody_from_going_back() {
    let mut fleet = blue_green(RolloutKind::Rollout);
    fleet.until(|state| matches!(state.phase, Phase::Baking { .. }));
    fleet.abort("ada", "no");
    let asked = fleet.now;
    fleet.sleep();
    while crate::orders(&fleet.state, 1).is_empty() {
        fleet.sleep();
    }
    assert_eq!(fleet.now.since(asked), fleet.state.plan.timeouts.away);
    assert_eq!(fleet.run(), Outcome::RolledBack);
}

/// Requests may take longer than any order does.
#[test]
fn nobody_is_given_up_while_its_last_requests_end() {
    let mut fleet = blue_green(RolloutKind::Rollout);
    let drain = Millis::from_secs(3600);
    fleet.state.plan.traffic.as_mut().unwrap().drain = drain;
    fleet.until(|state| matches!(state.phase, Phase::Baking { .. }));
    fleet.abort("ada", "no");
    let asked = fleet.now;
    fleet.balancers.get_mut(&balancer_id(1)).unwrap().in_flight.insert(host_id(1), 4);
    fleet.balance();
    fleet.until(|state| crate::orders(state, 1).contains_key(&host_id(1)));
    assert!(fleet.now.since(asked) >= drain, "it had all of its time");
    assert_eq!(fleet.run(), Outcome::RolledBack);
}

/// A host that is new serves nothing when it goes back, wherever it stands.
#[test]
fn a_new_host_goes_back_to_nothing_when_its_traffic_has_left_it() {
    let mut plan = plan_behind(RolloutKind::Rollout, &environment(Share::Count(1), Share::Count(1), Share::Count(0)), 3, 1);
    let new = plan.hosts.get_mut(&host_id(0)).unwrap();
    (new.current, new.share) = (None, Some(Weight::DRAINED));
    let mut fleet = Fleet::new(plan);
    fleet.until(|state| state.hosts[&host_id(1)].stage == Stage::Draining);
    fleet.abort("ada", "no");
    let told = |fleet: &Fleet| crate::orders(&fleet.state, 1).contains_key(&host_id(0));
    assert!(!told(&fleet) && stage(&fleet, 0) == Stage::Reverting);
    fleet.balance();
    assert!(told(&fleet));
    assert_eq!(fleet.run(), Outcome::RolledBack);
}

#[test]
fn a_rollback_of_sets_is_a_switch() {
    let mut plan = plan_of_sets(RolloutKind::Rollback, &environment(Share::Percent(100), Share::Percent(100), Share::Count(0)), 3, 2);
    let target = plan.release.clone();
    plan.hosts.values_mut().for_each(|host| host.current = Some(target.clone()));
    let mut fleet = Fleet::new(plan);
    assert!(matches!(fleet.state.phase, Phase::Switching { .. }), "the other set serves it still: {:?}", fleet.state.phase);
    assert_eq!(of_sets(&fleet), (100, 0));
    fleet.balance();
    assert_eq!(fleet.state.outcome(), Some(Outcome::Done));
}

#[test]
fn a_switch_that_does_not_come_about_is_taken_back() {
    let mut fleet = blue_green(RolloutKind::Rollout);
    fleet.until(|state| matches!(state.phase, Phase::Switching { .. }));
    fleet.balancers.get_mut(&balancer_id(1)).unwrap().down.insert(host_id(2));
    fleet.balance();
    assert_eq!(waiting(&fleet.state).unwrap().what, "balancers, of which lb-1 sees web-2 as down");
    fleet.sleep();
    assert!(matches!(fleet.state.phase, Phase::Reverting { .. }));
    assert_eq!(of_sets(&fleet), (0, 100));
    assert_eq!(fleet.run(), Outcome::RolledBack);
}
