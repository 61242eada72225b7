//! When the controller is told what is seen: what changed at once, mere counts of requests once in a while.

use roadstead_model::TrafficSeen;
use tokio::time::{Duration, Instant};

/// Counts of requests alone are told no more often than this.
const COUNTS_EVERY: Duration = Duration::from_secs(1);

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Telling {
    told: Option<Told>,
}

#[derive(Debug)]
struct Told {
    seen: TrafficSeen,
    session: u64,
    at: Instant,
}

/// When something is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// It is known.
    Never,
    /// At once.
    Now,
    /// Not before.
    At(Instant),
}

impl Telling {
    /// When to tell what is seen, in a session.
    pub(super) fn due(&self, seen: &TrafficSeen, session: u64) -> Due {
        match &self.told {
            Some(told) if told.session == session && told.seen == *seen => Due::Never,
            Some(told) if told.session == session && but_for_counts(&told.seen, seen) => Due::At(told.at + COUNTS_EVERY),
            _ => Due::Now,
        }
    }

    /// It was told.
    pub(super) fn told(&mut self, seen: TrafficSeen, session: u64, at: Instant) {
        self.told = Some(Told { seen, session, at });
    }
}

/// The two differ in how many requests are under way, if at all.
fn but_for_counts(one: &TrafficSeen, other: &TrafficSeen) -> bool {
    let same_servers = one.servers.len() == other.servers.len()
        && one.servers.iter().zip(&other.servers).all(|((a, one), (b, other))| (a, one.weight, one.up) == (b, other.weight, other.up));
    (one.key, &one.app, &one.problem) == (other.key, &other.app, &other.problem) && same_servers
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::{AppName, Failure, FailureKind, HostName, OrderKey, RolloutId, ServerSeen, Weight};
    use std::collections::BTreeMap;

    fn seen(sequence: u32, percent: u32, in_flight: u32) -> TrafficSeen {
        let server = ServerSeen { weight: Weight::percent(percent).unwrap(), up: true, in_flight };
        TrafficSeen {
            key: OrderKey { rollout: RolloutId(1), sequence },
            app: AppName::parse("erp").unwrap(),
            servers: BTreeMap::from([(HostName::parse("web-1").unwrap(), server)]),
            problem: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_is_told_at_once_and_counts_once_a_second() {
        let mut telling = Telling::default();
        let at = Instant::now();
        assert_eq!(telling.due(&seen(1, 0, 9), 1), Due::Now);
        telling.told(seen(1, 0, 9), 1, at);
        assert_eq!(telling.due(&seen(1, 0, 9), 1), Due::Never);
        assert_eq!(telling.due(&seen(1, 0, 8), 1), Due::At(at + COUNTS_EVERY));
        assert_eq!(telling.due(&seen(1, 5, 9), 1), Due::Now, "another share");
        assert_eq!(telling.due(&seen(2, 0, 9), 1), Due::Now, "another table");
        assert_eq!(telling.due(&seen(1, 0, 9), 2), Due::Now, "another session");
        let problem = Some(Failure::new(FailureKind::Host, "x", ""));
        assert_eq!(telling.due(&TrafficSeen { problem, ..seen(1, 0, 9) }, 1), Due::Now);
        assert_eq!(telling.due(&TrafficSeen { servers: BTreeMap::new(), ..seen(1, 0, 9) }, 1), Due::Now);
        let down = ServerSeen { weight: Weight::DRAINED, up: false, in_flight: 9 };
        let servers = BTreeMap::from([(HostName::parse("web-1").unwrap(), down)]);
        assert_eq!(telling.due(&TrafficSeen { servers, ..seen(1, 0, 9) }, 1), Due::Now);
    }
}
