//! A support bundle: what a developer needs to understand a fleet, without anything that would let them into it.

pub(crate) mod archive;
pub(crate) mod collect;
pub(crate) mod contents;
pub(crate) mod scrub;
