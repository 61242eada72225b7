//! The two clocks that the driver goes by.

use roadstead_model::Timestamp;

/// What time it is.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// The time of day, for people and for the history.
    fn now(&self) -> Timestamp;
    /// Now by a clock that never jumps, for deadlines: it began with the time of day when it was read first.
    fn steady(&self) -> Timestamp;
}
