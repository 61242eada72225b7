//! One machine is never taken for two, whatever network, restarts and restored databases do; two are found at their next exchange.

use proptest::prelude::*;

use super::*;

/// A session as both sides know it.
#[derive(Debug, Clone, Copy)]
struct Session {
    machine: usize,
    brought: Option<Baton>,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The hello is on its way.
    Hello,
    /// The welcome is on its way; with a baton, unless the controller doubts.
    Welcome(Option<Baton>),
    /// The host was welcomed, and has spoken.
    Spoken(Option<Baton>),
    /// Nothing follows.
    Over,
}

/// The memory of an agent.
#[derive(Debug, Clone, Copy, Default)]
struct Machine {
    baton: Option<Baton>,
    /// The session that it keeps.
    session: Option<usize>,
}

#[derive(Debug, Default)]
struct World {
    relay: Relay,
    /// What was in the database after each change.
    kept: Vec<Vec<u8>>,
    machines: Vec<Machine>,
    sessions: Vec<Session>,
    batons: u32,
    locked: bool,
}

#[derive(Debug, Clone)]
enum Move {
    /// The agent gives up its session, and opens another.
    Dial,
    /// What is on its way in a session arrives, be it a session that the agent gave up long ago.
    Arrive(usize),
    /// The agent starts anew: a crash, a reboot, a disk of last week.
    Restart,
    /// The controller starts anew, with the database as it was some changes ago.
    Restore(usize),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => Just(Move::Dial),
        12 => (0..4usize).prop_map(Move::Arrive),
        2 => (0..64usize).prop_map(Move::Arrive),
        1 => Just(Move::Restart),
        1 => (0..8usize).prop_map(Move::Restore),
    ];
    prop::collection::vec(one, 0..200)
}

impl World {
    fn new() -> Self {
        Self { machines: vec![Machine::default()], kept: vec![Vec::new()], ..Self::default() }
    }

    fn next(&mut self) -> Baton {
        self.batons += 1;
        Baton(u128::from(self.batons).to_be_bytes())
    }

    fn make(&mut self, what: &Move) {
        match what {
            Move::Dial => self.dial(0),
            Move::Arrive(back) => {
                if let Some(session) = self.sessions.len().checked_sub(back + 1) {
                    self.arrive(session);
                }
            }
            Move::Restart => self.machines[0] = Machine::default(),
            Move::Restore(back) => {
                self.sessions.iter_mut().for_each(|session| session.stage = Stage::Over);
                self.kept.truncate(self.kept.len().saturating_sub(*back).max(1));
                self.relay = Relay::of_bytes(self.kept.last().unwrap());
            }
        }
    }

    fn dial(&mut self, machine: usize) {
        self.machines[machine].session = Some(self.sessions.len());
        self.sessions.push(Session { machine, brought: self.machines[machine].baton, stage: Stage::Hello });
    }

    fn arrive(&mut self, number: usize) {
        let session = self.sessions[number];
        let machine = session.machine;
        let stage = match session.stage {
            Stage::Hello => {
                let next = self.next();
                Stage::Welcome(self.relay.come(session.brought, next).then_some(next))
            }
            // Who has given up the session hears nothing of it and says nothing in it.
            Stage::Welcome(_) if self.machines[machine].session != Some(number) => Stage::Over,
            Stage::Welcome(baton) => {
                self.machines[machine].baton = baton.or(self.machines[machine].baton);
                Stage::Spoken(baton)
            }
            Stage::Spoken(Some(baton)) => {
                if self.relay.arrived(baton) {
                    self.kept.push(self.relay.to_bytes());
                }
                session.stage
            }
            Stage::Spoken(None) => {
                self.locked = true;
                session.stage
            }
            Stage::Over => Stage::Over,
        };
        self.sessions[number].stage = stage;
    }

    /// A whole exchange: hello, welcome, a word.
    fn exchange(&mut self, machine: usize) {
        self.dial(machine);
        let number = self.sessions.len() - 1;
        (0..3).for_each(|_| self.arrive(number));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn one_machine_is_never_locked(moves in moves()) {
        let mut world = World::new();
        for (number, what) in moves.iter().enumerate() {
            world.make(what);
            prop_assert!(!world.locked, "after move {number}: {what:?}");
        }
        world.exchange(0);
        prop_assert!(!world.locked);
    }

    #[test]
    fn two_machines_are_found_within_one_exchange(moves in moves(), in_memory: bool, first in 0..2usize) {
        let mut world = World::new();
        moves.iter().for_each(|what| world.make(what));
        // A copy of the disk boots; a copy of the memory goes on where the other one is.
        let copy = if in_memory { Machine { session: None, ..world.machines[0] } } else { Machine::default() };
        world.machines.push(copy);
        for machine in [first, 1 - first, first] {
            world.exchange(machine);
        }
        prop_assert!(world.locked);
    }

    #[test]
    fn what_is_kept_is_read_as_it_was(moves in moves()) {
        let mut world = World::new();
        for what in &moves {
            world.make(what);
            let kept = world.kept.last().unwrap();
            prop_assert_eq!(&Relay::of_bytes(kept).to_bytes(), kept);
        }
    }
}

#[test]
fn what_comes_is_a_baton_or_nothing() {
    assert_eq!(Baton::brought(&[]), Ok(None));
    assert_eq!(Baton::brought(&[7; 16]), Ok(Some(Baton([7; 16]))));
    assert_eq!(Baton::brought(&[7; 15]), Err(NoBaton));
}
