//! What the agent remembers across starts, on the disk of its host: journals and states, where its layout has them.

use roadstead_worker::clock::WallClock;
use roadstead_worker::disk::RealDisk;
use roadstead_worker::journal::Journals;
use roadstead_worker::state::States;
use std::sync::Arc;

use crate::layout::Layout;

/// The journals of the agent.
pub(crate) fn journals(layout: &Layout) -> Journals {
    Journals::new(Arc::new(RealDisk), WallClock::of_host(), layout.journals())
}

/// What the agent remembers of its apps.
pub(crate) fn states(layout: &Layout) -> States {
    States::new(Arc::new(RealDisk), layout.app_states())
}
