//! The machine against simulated fleets: scripted stories and random histories under invariants.

mod analysis;
mod backups;
pub(crate) mod fleet;
mod gates;
mod histories;
mod restores;
mod steering;
mod stories;
mod tending;
mod waits;
