//! One host's share of a rollout: which steps an order takes, what its journal amounts to, what to run, undo or report next,
//! which orders are obeyed, and when silence undoes a cutover.
//!
//! It is pure: no I/O, no clock, no randomness, no async. Whoever drives it appends each [`Record`] durably before acting on
//! it, and so can be killed at any moment: folding the journal again tells where it stood.

mod history;
mod next;
mod record;
mod status;
mod step;
mod watch;

#[cfg(test)]
mod tests;

pub use history::{Admission, History};
pub use next::{Ending, Next, next};
pub use record::{JOURNAL_FORMAT, Record};
pub use status::{FoldError, Phase, Status, fold};
pub use step::{Reversibility, reversibility, steps_of};
pub use watch::{Watch, WatchState, effective_silence};
