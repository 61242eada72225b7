//! Random histories: hosts fail, fall silent, come and go, operators abort. The invariants hold after every event.

use proptest::prelude::{Just, ProptestConfig, Strategy as _, any, prop, prop_oneof, proptest};
use roadstead_model::*;

use super::fleet::*;
use super::waits::check_wait;
use crate::*;

#[derive(Debug, Clone)]
enum Move {
    CarryOut(usize),
    Gone(usize),
    Seen(usize),
    WentBack(usize),
    Abort,
    GiveWay,
    Pause(u64),
    Resume,
    Promote(bool),
    Retry(usize),
    Ignore(usize),
    Exclude(usize),
    Sleep,
    Repeat(usize),
    Resumed(u64),
    TakeUp(usize),
    Tell(usize),
    TellAgain(usize),
    BalancerGone(usize),
    InFlight(usize, usize, u32),
    Down(usize, usize),
    Look(Sight),
}

fn moves() -> impl proptest::strategy::Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        12 => (0..64usize).prop_map(Move::CarryOut),
        2 => (0..64usize).prop_map(Move::Gone),
        3 => (0..64usize).prop_map(Move::Seen),
        1 => (0..64usize).prop_map(Move::WentBack),
        1 => Just(Move::Abort),
        1 => Just(Move::GiveWay),
        1 => (1..400u64).prop_map(Move::Pause),
        1 => Just(Move::Resume),
        1 => any::<bool>().prop_map(Move::Promote),
        2 => (0..64usize).prop_map(Move::Retry),
        1 => (0..64usize).prop_map(Move::Ignore),
        1 => (0..64usize).prop_map(Move::Exclude),
        2 => Just(Move::Sleep),
        2 => (0..64usize).prop_map(Move::Repeat),
        1 => (0..48u64).prop_map(Move::Resumed),
        6 => (0..2usize).prop_map(Move::TakeUp),
        6 => (0..2usize).prop_map(Move::Tell),
        2 => (0..64usize).prop_map(Move::TellAgain),
        1 => (0..2usize).prop_map(Move::BalancerGone),
        2 => ((0..2usize), (0..9usize), (0..3u32)).prop_map(|(balancer, host, requests)| Move::InFlight(balancer, host, requests)),
        1 => ((0..2usize), (0..9usize)).prop_map(|(balancer, host)| Move::Down(balancer, host)),
        4 => prop_oneof![3 => Just(Sight::Good), 1 => Just(Sight::Bad), 2 => Just(Sight::Nothing)].prop_map(Move::Look),
    ];
    prop::collection::vec(one, 0..120)
}

fn behaviours() -> impl proptest::strategy::Strategy<Value = Vec<(usize, u32, Behaviour)>> {
    let behaviour = prop_oneof![Just(Behaviour::Fails), Just(Behaviour::GetsStuck), Just(Behaviour::StaysSilent)];
    prop::collection::vec((0..9usize, 1..=6u32, behaviour), 0..4)
}

struct Watch {
    migrators: std::collections::BTreeSet<HostId>,
    migrated: bool,
    ended: Option<State>,
    before: std::collections::BTreeMap<HostId, Stage>,
    held: bool,
    /// What balancers said, for it to come once more.
    said: Vec<(HostId, TrafficSeen)>,
}

impl Watch {
    /// Nobody moves whom a balancer still sends requests, but where nobody else would be left.
    fn check_traffic(&self, fleet: &Fleet) {
        let state = &fleet.state;
        for (id, host) in
            state.hosts.iter().filter(|(id, host)| host.stage == Stage::Moving && self.before.get(*id) == Some(&Stage::Draining))
        {
            let sends = |balancer: &&FakeBalancer| balancer.table.get(id).is_none_or(|weight| weight.takes());
            assert!(!fleet.balancers.values().any(|balancer| sends(&balancer)), "{id} moves and gets requests: {host:?}");
        }
        if let Some(weights) = weights(state) {
            if let Some(switch) = state.plan.traffic.as_ref().and_then(|traffic| traffic.switch.as_ref()) {
                let takes = |id: &HostId| weights.get(id).is_some_and(|weight| weight.takes());
                let both = switch.from.keys().any(takes) && state.hosts.keys().any(takes);
                assert!(!both, "one set has the traffic at a time: {weights:?}");
            }
            let leaves_nobody = weights.values().all(|weight| !weight.takes());
            let moves = |id: &&HostId| state.hosts.get(*id).is_some_and(|host| matches!(host.stage, Stage::Draining | Stage::Moving));
            let by_plan = weights.keys().filter(moves).count() == weights.len();
            assert!(!(leaves_nobody && by_plan), "a rollout drains everybody: {weights:?}");
        }
    }

    fn check(&mut self, fleet: &Fleet) {
        let state = &fleet.state;
        let orders = orders(state, 1);
        for (id, order) in &orders {
            match &order.kind {
                OrderKind::Migrate { .. } => {
                    self.migrators.insert(id.clone());
                }
                OrderKind::Activate { .. } => {
                    assert!(self.migrated || !state.plan.migrate, "nobody moves before the migration is known to be done");
                }
                _ => {}
            }
        }
        assert!(self.migrators.len() <= 1, "one migration runner, ever");
        self.check_traffic(fleet);
        let moving = state.hosts.values().filter(|h| matches!(h.stage, Stage::Draining | Stage::Moving | Stage::Returning)).count();
        if state.plan.kind != RolloutKind::Rollback {
            assert!(moving <= state.plan.max_unavailable, "{moving} hosts move at once");
        }
        let excluded = |id: &HostId| state.hosts[id].standing == Standing::Excluded;
        let told_to_move = orders.iter().find(|(id, order)| excluded(id) && matches!(order.kind, OrderKind::Activate { .. }));
        assert!(told_to_move.is_none(), "a host that was excluded does not move: {told_to_move:?}");
        let held = state.hold.is_some() && self.held;
        let again = |host: &Host| host.attempt > 0 && matches!(&state.hold, Some(Hold { cause: HoldCause::Losses { .. }, .. }));
        let begins = |stage| matches!(stage, Stage::Draining | Stage::Moving);
        let began = state
            .hosts
            .iter()
            .find(|(id, host)| begins(host.stage) && !again(host) && self.before.get(*id).is_none_or(|before| !begins(*before)));
        assert!(!held || began.is_none(), "nothing further begins on hold: {began:?}");
        self.held = state.hold.is_some();
        if let Phase::Moving { batch, .. } = state.phase {
            let early = state.hosts.iter().any(|(id, h)| state.plan.hosts[id].batch > batch && h.stage.may_serve());
            assert!(!early, "no batch before its turn");
        }
        if let Some(ended) = &self.ended {
            assert_eq!(state.phase, ended.phase, "over is over");
            assert!(orders.is_empty(), "an ended rollout asks for nothing");
        } else if state.outcome().is_some() {
            self.ended = Some(state.clone());
            let open: Vec<_> = state.hosts.values().filter(|h| matches!(h.stage, Stage::Moving | Stage::Reverting)).collect();
            assert!(open.is_empty(), "an ended rollout leaves nobody halfway: {open:?}");
        } else {
            check_wait(state);
        }
        for (id, host) in &state.hosts {
            let before = self.before.insert(id.clone(), host.stage);
            // A host that reported its failure in the same event has undone its move by itself.
            let forgotten = host.stage == Stage::Abandoning && host.failure.is_none() && before.is_some_and(Stage::may_serve);
            assert!(!forgotten, "a host on which the release may serve is told to go back, not to clear up");
        }
        let bytes = serde_json::to_vec(state).unwrap();
        assert_eq!(serde_json::from_slice::<State>(&bytes).unwrap(), *state, "what is stored is what was decided");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_in_every_history(
        hosts in 1..9usize,
        batch in 1..4u32,
        unavailable in 1..4u32,
        budget in 0..3u32,
        kind in prop_oneof![4 => Just(RolloutKind::Rollout), 1 => Just(RolloutKind::Level)],
        steps in prop::collection::vec((0..300u64, prop_oneof![Just(Promotion::Automatic), Just(Promotion::Manual)]), 0..3),
        balancers in 0..3usize,
        sets in any::<bool>(),
        judged in any::<bool>(),
        on_failure in prop_oneof![Just(OnFailure::GoBack), Just(OnFailure::Ask)],
        behaviours in behaviours(),
        moves in moves(),
    ) {
        let mut environment = environment(Share::Count(batch), Share::Count(unavailable), Share::Count(budget));
        environment.strategy.on_failure = on_failure;
        environment.strategy.steps = (1..).zip(steps).map(|(hosts, (seconds, promote))| CanaryStep {
            hosts: Share::Count(hosts), bake: Millis::from_secs(seconds), promote, traffic: Weight::percent(5 * hosts).ok(),
        }).collect();
        environment.analysis = judged.then(analysis);
        let mut fleet = Fleet::new(match (balancers, sets && kind == RolloutKind::Rollout) {
            (0, _) => plan(kind, &environment, hosts),
            (_, false) => plan_behind(kind, &environment, hosts, balancers),
            (_, true) => plan_of_sets(kind, &environment, hosts, balancers),
        });
        fleet.behaviour.extend(behaviours.into_iter().map(|(n, verb, b)| ((host_id(n), verb), b)));
        let mut watch = Watch { migrators: Default::default(), migrated: false, ended: None, before: Default::default(), held: false, said: Vec::new() };
        for step in moves {
            let before = fleet.state.clone();
            act(&mut fleet, &step);
            balance(&mut fleet, &step, &mut watch.said);
            check_bake(&before, &fleet.state, &step);
            watch.migrated |= fleet.history.iter().any(|line| line.starts_with("migrated"));
            watch.check(&fleet);
        }
        // Faults stop: everyone is back, and the rollout ends in bounded time.
        for balancer in fleet.balancers.values_mut() {
            balancer.in_flight.clear();
            balancer.down.clear();
        }
        for n in 0..hosts {
            act(&mut fleet, &Move::Seen(n));
            watch.migrated |= fleet.history.iter().any(|line| line.starts_with("migrated"));
            watch.check(&fleet);
        }
        fleet.run();
        watch.migrated = true;
        watch.check(&fleet);
    }
}

/// A bake that is judged ends with a pass, by an operator's word, or because another rollout is waited for.
fn check_bake(before: &State, now: &State, step: &Move) {
    let Phase::Baking { batch, .. } = before.phase else { return };
    let left = match now.phase {
        Phase::Moving { batch: next, .. } => next > batch,
        Phase::Baked { .. } | Phase::Confirming { .. } | Phase::Ended { outcome: Outcome::Done, .. } => true,
        _ => false,
    };
    let excused = matches!(step, Move::Promote(_) | Move::GiveWay) || now.skips_bakes || now.gives_way;
    // Where an operator takes out the last of them, nobody is left to be judged.
    let counts = |id| now.hosts.get(id).is_some_and(|host| host.standing == Standing::Counts);
    let served = before.hosts.iter().any(|(id, host)| host.stage == Stage::Healthy && host.standing == Standing::Counts && counts(id));
    if !left || excused || !served || now.plan.analysis.is_none() {
        return;
    }
    let judgements: Vec<Judgement> = now.looks.of.iter().map(|look| look.judgement).collect();
    assert_eq!(judgements, [Judgement::Passes; 2], "no bake ends without a pass: {step:?}");
    let Phase::Baking { since, .. } = before.phase else { return };
    assert!(now.looks.at >= since, "what was seen before the batch had moved says nothing");
}

/// What does not fit is refused with a reason and changes nothing.
fn steer(fleet: &mut Fleet, steer: Steer) {
    let before = fleet.state.clone();
    if let Err(rejected) = fleet.steer(steer) {
        assert!(rejected.to_string().contains(": "), "{rejected}");
        assert_eq!(fleet.state, before);
    }
}

/// What balancers do, and say; also late, once more, or not at all.
fn balance(fleet: &mut Fleet, step: &Move, said: &mut Vec<(HostId, TrafficSeen)>) {
    let of = |fleet: &Fleet, n: usize| fleet.balancers.keys().nth(n).cloned();
    match step {
        Move::TakeUp(n) => drop(of(fleet, *n).map(|balancer| fleet.take_up(&balancer))),
        Move::Tell(n) => {
            let Some(balancer) = of(fleet, *n) else { return };
            said.push((balancer.clone(), fleet.told(&balancer)));
            fleet.tell(&balancer);
        }
        Move::TellAgain(n) if !said.is_empty() => {
            let (balancer, seen) = said[n % said.len()].clone();
            fleet.event(Event::BalancerSeen { balancer, seen });
        }
        Move::BalancerGone(n) => drop(of(fleet, *n).map(|balancer| fleet.event(Event::BalancerGone { balancer, for_good: false }))),
        Move::InFlight(n, host, requests) => {
            let Some(balancer) = of(fleet, *n).and_then(|balancer| fleet.balancers.get_mut(&balancer)) else { return };
            balancer.in_flight.insert(host_id(*host), *requests);
        }
        Move::Down(n, host) => {
            let Some(balancer) = of(fleet, *n).and_then(|balancer| fleet.balancers.get_mut(&balancer)) else { return };
            balancer.down.insert(host_id(*host));
        }
        _ => {}
    }
}

fn act(fleet: &mut Fleet, step: &Move) {
    let host = |fleet: &Fleet, n: usize| host_id(n % fleet.state.hosts.len());
    match step {
        Move::CarryOut(n) => {
            fleet.carry_out(*n);
        }
        Move::Gone(n) => {
            let host = host(fleet, *n);
            fleet.event(Event::HostGone { host });
        }
        Move::Seen(n) => {
            let host = host(fleet, *n);
            let current = fleet.serves[&host].clone();
            fleet.event(Event::HostSeen { host, current, outcomes: Vec::new(), steps: Vec::new() });
        }
        Move::WentBack(n) => {
            let host = host(fleet, *n);
            if fleet.state.hosts[&host].stage == Stage::Healthy {
                let old = Some(release("1.0").id);
                fleet.serves.insert(host.clone(), old.clone());
                let key = OrderKey { rollout: RolloutId(7), sequence: Verb::Activate as u32 };
                let why = Failure::new(FailureKind::Deadline, "the controller was silent", "look");
                let app = AppName::parse("erp").unwrap();
                fleet.event(Event::Report { host, report: Report::WentBack { key, app, current: old, why } });
            }
        }
        Move::Abort => fleet.abort("ada", "test"),
        Move::GiveWay => fleet.event(Event::GiveWay { by: "ada".into() }),
        Move::Pause(seconds) => steer(fleet, Steer::Pause { within: Millis::from_secs(*seconds) }),
        Move::Resume => steer(fleet, Steer::Resume),
        Move::Promote(all) => steer(fleet, Steer::Promote { all: *all }),
        Move::Retry(n) => steer(fleet, Steer::Retry(host(fleet, *n))),
        Move::Ignore(n) => steer(fleet, Steer::Ignore(host(fleet, *n))),
        Move::Exclude(n) => steer(fleet, Steer::Exclude(host(fleet, *n))),
        Move::Sleep => fleet.sleep(),
        Move::Resumed(hour) => {
            // another start, with whatever the clock says then
            fleet.now = Timestamp(hour * 3_600_000);
            let lost = fleet.state.lost();
            fleet.event(Event::Resumed);
            assert_eq!(fleet.state.lost(), lost, "nobody is given up for the time that nobody looked");
        }
        Move::Look(sight) => {
            fleet.now = fleet.now.plus(Millis::from_secs(5));
            fleet.event(Event::Tick);
            fleet.look(*sight);
        }
        Move::Repeat(n) => {
            let host = host(fleet, *n);
            let key = OrderKey { rollout: RolloutId(7), sequence: (*n as u32 % 6) + 1 };
            let current = fleet.serves[&host].clone();
            // A late answer to an order that the host is not carrying out must change nothing.
            let stage_of_key = orders(&fleet.state, 1).get(&host).map(|o| o.key());
            if stage_of_key != Some(key) {
                let before = fleet.state.hosts[&host].stage;
                fleet.event(Event::Report { host: host.clone(), report: Report::Order { key, outcome: OrderOutcome::Done { current } } });
                assert_eq!(fleet.state.hosts[&host].stage, before);
            }
        }
        // What balancers do: see `balance`.
        _ => {}
    }
}
