//! The worker with a made-up host and real journals.

mod crashes;
mod looks;
mod orders;
mod power;
mod silence;
