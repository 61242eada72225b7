//! The fleet simulator: the code that drives real fleets (`roadstead-driver` over `roadstead-rollout`, `roadstead-worker` over
//! `roadstead-deployment`) in one thread, on a clock that stands still until everybody waits, over a database, disks, machines and a
//! network that are made up and go wrong by a seed. It is not the lab: no process runs, nothing is installed, an hour takes
//! milliseconds. What must hold is written down in `promises.rs` and checked all the time.

#![allow(clippy::panic, reason = "a simulator that cannot begin has nothing else to say")]

mod agent;
mod balancer;
mod chance;
mod clock;
mod controller;
mod hands;
mod ledger;
mod lookout;
mod many;
mod network;
mod once;
mod promises;
mod run;
mod script;
mod witness;
mod world;

pub use many::run_all;
pub use once::Ticks;
pub use run::{Verdict, run};
