//! Which share of the traffic each host gets: told to balancers, and heard of them.

use roadstead_model::{HostId, TrafficSeen};

use super::Loop;
use crate::sessions::Epoch;

impl Loop {
    /// A balancer says what it does.
    pub(super) fn traffic_seen(&mut self, host: &HostId, epoch: Epoch, seen: &TrafficSeen) {
        tracing::debug!(%host, ?epoch, app = %seen.app, "a balancer spoke");
    }
}
