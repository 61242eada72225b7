//! The machine against simulated fleets: scripted stories and random histories under invariants.

pub(crate) mod fleet;
mod gates;
mod histories;
mod steering;
mod stories;
