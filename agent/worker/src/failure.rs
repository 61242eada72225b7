//! The agent's own errors as failures for people, and the one printer of error chains.

use roadstead_model::{Failure, FailureKind};
use std::error::Error;
use std::fmt::Write as _;

/// An error with all its causes, as one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let _ = write!(text, ": {error}");
        cause = error.source();
    }
    text
}

/// A step that ended early, since nobody wants what it does.
pub fn called_off() -> Failure {
    Failure::new(FailureKind::Cancelled, "the step was called off", "a newer order follows, or the deadline passed")
}

/// A failure of the host's own files.
pub fn host_failure(error: &dyn Error, hint: &str) -> Failure {
    Failure::new(FailureKind::Host, chain(error), hint)
}
