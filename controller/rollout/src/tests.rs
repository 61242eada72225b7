//! The machine against simulated fleets: scripted stories and random histories under invariants.

mod fleet;
mod gates;
mod histories;
mod steering;
mod stories;
