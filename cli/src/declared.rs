//! Environments as files declare them, beside those of the controller: what is different, and making it the same.

mod changes;
mod files;

pub(crate) use changes::{Change, Mode, apply, consent, foresee};
pub(crate) use files::{Declared, read_all};

#[cfg(test)]
pub(crate) use changes::tests::all as samples;
