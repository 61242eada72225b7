//! The worker with a made-up host and real journals.

mod crashes;
mod following;
mod leases;
mod looks;
mod orders;
mod power;
mod silence;
