//! The machine against simulated fleets: scripted stories and random histories under invariants.

mod fleet;
mod histories;
mod steering;
mod stories;
