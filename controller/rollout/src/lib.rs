//! **What may happen next**: a rollout as a pure state machine.
//!
//! [`Plan`] fixes hosts, batches and limits when a rollout is created. [`decide`] takes the state, one event and the
//! time, and gives the next state with notes for the operator. [`orders`] is what every host should have been told by now,
//! and [`waiting`] is what the rollout waits for, since when, until when, and what will happen then: both are functions of
//! the state, so nothing is queued and a crash anywhere loses nothing.
//!
//! No I/O, no clock, no randomness, no async: the driver of the controller brings those.

mod analysis;
mod batches;
mod decide;
mod decided;
mod ending;
mod gates;
mod hold;
mod judging;
mod orders;
mod plan;
mod restore;
mod settle;
mod state;
mod steer;
mod tending;
mod traffic;
mod waiting;

pub use analysis::{Findings, Look, Looks, Question, Questions, look_due, looks, questions};
pub use decide::{Decision, Event, Note, Rejected, decide};
pub use gates::{Approval, Closed, Currents, closed};
pub use hold::{Hold, HoldCause};
pub use judging::{Answer, Judgement, Measured, Numbers};
pub use orders::{Verb, orders};
pub use plan::{Bake, Candidate, Contracts, InvalidPlan, Plan, PlannedHost, PlannedRestore, RolloutKind, Tending};
pub use restore::{Accepted, Exchange, Recovery};
pub use state::{Contact, Host, Outcome, Phase, Stage, Standing, State};
pub use steer::Steer;
pub use traffic::{Heard, HostTraffic, PlannedTraffic, Switch, TrafficState, never_nobody, standing, table_key, weights};
pub use waiting::{Waiting, waiting, wake};

#[cfg(test)]
mod tests;
