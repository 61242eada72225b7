//! The worker with a made-up host and real journals.

mod crashes;
mod orders;
pub(crate) mod rig;
mod silence;
