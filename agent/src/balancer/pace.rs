//! How soon a balancer is looked at again.

use roadstead_model::Weight;
use std::time::Duration;

use super::{Sight, Weights};

/// While something may change that somebody waits for.
const RESTLESS: Duration = Duration::from_secs(1);
/// While all is as wanted: a balancer that was started anew forgets, and is brought back.
const CALM: Duration = Duration::from_secs(10);

/// A server that is drained for so long is not about to be changed: it is of a set without traffic, or waits to come level.
const LONG: Duration = Duration::from_secs(300);

/// From the beginning of one look to the next, when what is wanted is wanted for so long. A look that takes long leaves as much time before
/// the next.
pub(super) fn next_look(wanted: &Weights, sight: &Sight, took: Duration, age: Duration) -> Duration {
    let at_rest = |(host, weight): (_, &Weight)| {
        let is_over = |in_flight: u32| weight.takes() || (age >= LONG && in_flight == 0);
        sight.servers.get(host).is_some_and(|server| server.weight == *weight && is_over(server.in_flight))
    };
    let calm = sight.problem.is_none() && wanted.iter().all(at_rest);
    let every = if calm { CALM } else { RESTLESS };
    every.max(took * 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::{Failure, FailureKind, HostName, ServerSeen};

    fn weights(percent: u32) -> Weights {
        Weights::from([(HostName::parse("web-1").unwrap(), Weight::percent(percent).unwrap())])
    }

    fn sight(percent: u32) -> Sight {
        let seen = |weight| ServerSeen { weight, up: true, in_flight: 3 };
        Sight { servers: weights(percent).into_iter().map(|(host, weight)| (host, seen(weight))).collect(), problem: None }
    }

    #[test]
    fn what_is_as_wanted_is_looked_at_seldom() {
        assert_eq!(next_look(&weights(100), &sight(100), Duration::ZERO, Duration::ZERO), CALM);
        assert_eq!(next_look(&weights(100), &sight(5), Duration::ZERO, Duration::ZERO), RESTLESS);
        assert_eq!(next_look(&weights(0), &sight(0), Duration::ZERO, Duration::ZERO), RESTLESS, "requests are under way there");
        let mut idle = sight(0);
        assert_eq!(next_look(&weights(0), &idle, Duration::ZERO, LONG), RESTLESS, "requests are under way there still");
        idle.servers.values_mut().for_each(|server| server.in_flight = 0);
        assert_eq!(next_look(&weights(0), &idle, Duration::ZERO, Duration::ZERO), RESTLESS, "it may be about to move");
        assert_eq!(next_look(&weights(0), &idle, Duration::ZERO, LONG), CALM);
        assert_eq!(next_look(&weights(100), &Sight::default(), Duration::ZERO, Duration::ZERO), RESTLESS, "nothing was seen");
        let problem = Some(Failure::new(FailureKind::Host, "x", ""));
        assert_eq!(next_look(&weights(100), &Sight { problem, ..sight(100) }, Duration::ZERO, Duration::ZERO), RESTLESS);
    }

    #[test]
    fn a_look_that_takes_long_leaves_as_much_time() {
        assert_eq!(next_look(&weights(0), &sight(0), Duration::from_secs(4), Duration::ZERO), Duration::from_secs(8));
        assert_eq!(next_look(&weights(100), &sight(100), Duration::from_secs(4), Duration::ZERO), CALM);
    }
}
