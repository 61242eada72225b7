//! Leases: where a host that falls silent is to be followed by another in what may run only once in an environment.
//!
//! A host runs such a service only while the controller has told it so within the lease's span; when the span is over it stops it, whoever
//! hears of that. So the controller knows, without asking anybody, when another host may begin (Gray and Cheriton, "Leases", SOSP 1989).
//! The span counts from the moment at which the host *asked*, which both of them know to be before the answer: no clock is compared with
//! another, only the rates of two clocks have to agree within the margin.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

use crate::{AppName, Millis, ServiceName};

/// The shortest span of a lease: a few heartbeats may be lost.
pub const LEASE_MIN: Millis = Millis::from_secs(30);
/// The longest span of a lease. A controller that has just started counts on it for every lease that it may have given before.
pub const LEASE_MAX: Millis = Millis::from_secs(600);

/// A span that no lease has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no span for a lease: it lasts {LEASE_MIN} to {LEASE_MAX}")]
pub struct InvalidLease(pub Millis);

/// How long a lease lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Millis", into = "Millis")]
pub struct LeaseSpan(Millis);

impl LeaseSpan {
    /// The span.
    #[must_use]
    pub const fn get(self) -> Millis {
        self.0
    }
}

impl TryFrom<Millis> for LeaseSpan {
    type Error = InvalidLease;
    fn try_from(span: Millis) -> Result<Self, InvalidLease> {
        if (LEASE_MIN..=LEASE_MAX).contains(&span) { Ok(Self(span)) } else { Err(InvalidLease(span)) }
    }
}

impl From<LeaseSpan> for Millis {
    fn from(span: LeaseSpan) -> Self {
        span.0
    }
}

/// What a host may run of what runs only once in the environment. A level, not a command: the newest table holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseTable {
    /// The app.
    pub app: AppName,
    /// Counted up whenever the table changes, also across starts of the controller.
    pub turn: u64,
    /// How long each answer lets the services run; absent where none of them needs a lease.
    pub lasts: Option<LeaseSpan>,
    /// The services.
    pub services: BTreeSet<ServiceName>,
    /// The number of the question that this answers; 0 when nobody asked, and then it prolongs nothing.
    pub answers: u64,
}

/// A host asks for its lease, and says what it has written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseAsk {
    /// The app.
    pub app: AppName,
    /// The number of this question, from 1 on in each run of an agent.
    pub number: u64,
    /// The newest table that it goes by.
    pub turn: u64,
    /// Whether it runs the services with a lease alone, also after a restart: that is written down.
    pub needs: bool,
    /// Whether it keeps to its lease from now on, whatever becomes of its agent: it needs it, and what ends the services is armed.
    pub keeps: bool,
    /// How long what it has armed may let the services run from now on, at most; `None` where it keeps to none, or does not say.
    pub lasts: Option<Millis>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_neither_shorter_than_heartbeats_allow_nor_longer_than_a_controller_waits() {
        for (seconds, good) in [(0, false), (29, false), (30, true), (600, true), (601, false), (u64::MAX / 1000, false)] {
            assert_eq!(LeaseSpan::try_from(Millis::from_secs(seconds)).is_ok(), good, "{seconds} s");
        }
        assert!(serde_json::from_str::<LeaseSpan>("1000").is_err());
        assert_eq!(InvalidLease(Millis::from_secs(5)).to_string(), "5.0 s is no span for a lease: it lasts 30.0 s to 10 min");
    }
}
