//! The cells: every state in which no step runs, and who is killed or cut off then. A phase or a stage of the core's that nobody has
//! decided about does not compile here.

use roadstead_rollout::{Phase, Stage};
use std::fmt;

/// Makes the states together with the list of all of them, so that none can be missing there.
macro_rules! states {
    ($($(#[$about:meta])* $state:ident),+ $(,)?) => {
        /// A state in which no step runs, and in which something is at stake.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) enum State { $($(#[$about])* $state),+ }

        impl State {
            /// All of them.
            const ALL: &[Self] = &[$(Self::$state),+];
        }
    };
}

// Those of one strategy stand together: what changes between them costs a deployment.
states! {
    /// It waits at its gates.
    Gated,
    /// A host is drained at the balancer, and a request is under way there.
    Draining,
    /// The release serves on a host, and the balancer has not given it its traffic.
    Returning,
    /// A canary has baked, and waits for its promotion.
    Baked,
    /// All of the traffic is to go to the other set of hosts.
    Switching,
}

/// Where a phase or a stage is met by kills.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    /// In this state.
    In(State),
    /// At its steps, in the first part of the matrix.
    AtSteps,
    /// Nobody is told or asked anything.
    Nowhere,
}

const fn of_phase(phase: &Phase) -> Met {
    match phase {
        Phase::Gated { .. } => Met::In(State::Gated),
        Phase::Switching { .. } => Met::In(State::Switching),
        Phase::Baked { .. } => Met::In(State::Baked),
        // a bake lies between the last step of a cutover and the first of what confirms it
        Phase::Preparing { .. }
        | Phase::Migrating { .. }
        | Phase::Moving { .. }
        | Phase::Baking { .. }
        | Phase::Confirming { .. }
        | Phase::Tending { .. }
        | Phase::Surveying { .. }
        | Phase::Halting { .. }
        | Phase::Restoring { .. }
        | Phase::Exchanging { .. }
        | Phase::Starting { .. }
        | Phase::Reverting { .. } => Met::AtSteps,
        // people decide; no host is told anything
        Phase::Deciding { .. } | Phase::Ended { .. } => Met::Nowhere,
    }
}

const fn of_stage(stage: Stage) -> Met {
    match stage {
        Stage::Draining => Met::In(State::Draining),
        Stage::Returning => Met::In(State::Returning),
        Stage::Preparing
        | Stage::Migrating
        | Stage::Moving
        | Stage::Confirming
        | Stage::Tending
        | Stage::Surveying
        | Stage::Halting
        | Stage::Restoring
        | Stage::Exchanging
        | Stage::Reverting
        | Stage::Abandoning => Met::AtSteps,
        Stage::Halted
        | Stage::Waiting
        | Stage::Prepared
        | Stage::Healthy
        | Stage::Confirmed
        | Stage::Failed
        | Stage::Left
        | Stage::Reverted
        | Stage::Abandoned
        | Stage::Stuck => Met::Nowhere,
    }
}

impl State {
    /// The core's word for it, as the command shows it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Gated => "gated",
            Self::Draining => Stage::Draining.word(),
            Self::Returning => Stage::Returning.word(),
            Self::Baked => "baked",
            Self::Switching => "switching",
        }
    }
}

/// Who is killed or cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Victim {
    Controller,
    /// The agent of the host that the state is about.
    Agent,
    /// That whole host.
    Power,
    /// What it and the controller say to each other, until the controller has noticed.
    Link,
    /// The balancer's agent.
    BalancersAgent,
    /// What the balancer and the controller say to each other, until the controller has noticed.
    BalancersLink,
}

const VICTIMS: [Victim; 6] =
    [Victim::Controller, Victim::BalancersAgent, Victim::Power, Victim::BalancersLink, Victim::Agent, Victim::Link];

/// One kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub(super) state: State,
    pub(super) victim: Victim,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.victim {
            Victim::Controller => "Controller killed",
            Victim::Agent => "Agent killed",
            Victim::Power => "Power killed",
            Victim::Link => "link cut",
            Victim::BalancersAgent => "Balancer's Agent killed",
            Victim::BalancersLink => "Balancer's link cut",
        };
        write!(f, "{what} while {}", self.state.word())
    }
}

/// The whole part, state by state.
pub(super) fn all() -> Vec<Cell> {
    State::ALL.iter().flat_map(|state| VICTIMS.map(|victim| Cell { state: *state, victim })).collect()
}

/// The kills of a day: two states, one victim each, others on the next day.
pub(super) fn of_day(day: usize) -> Vec<Cell> {
    let all = all();
    // 13 has no part in common with their number: each day begins elsewhere, and all have had their turn after half as many days
    let mut cells: Vec<Cell> = [0, 1].iter().filter_map(|part| all.get((2 * day + part) * 13 % all.len()).copied()).collect();
    cells.sort();
    cells
}

#[test]
fn the_days_cover_the_states() {
    let seen: std::collections::BTreeSet<Cell> = (20_000..20_000 + all().len() / 2).flat_map(of_day).collect();
    assert_eq!(seen.into_iter().collect::<Vec<_>>().len(), all().len());
    for day in 20_000..20_100 {
        let states: std::collections::BTreeSet<State> = of_day(day).iter().map(|cell| cell.state).collect();
        assert_eq!(states.len(), 2, "{:?}", of_day(day));
    }
}

#[test]
fn every_state_is_one_of_the_cores() {
    let now = roadstead_model::Timestamp(0);
    let phases = [Phase::Gated { since: now, closed: None }, Phase::Baked { batch: 0, since: now }, Phase::Switching { since: now }];
    let stages = [Stage::Draining, Stage::Returning];
    let phases = phases.iter().map(|phase| (of_phase(phase), phase.word()));
    let met: Vec<_> = phases.chain(stages.iter().map(|stage| (of_stage(*stage), stage.word()))).collect();
    for state in State::ALL {
        assert!(met.contains(&(Met::In(*state), state.word())), "{state:?}");
    }
}
