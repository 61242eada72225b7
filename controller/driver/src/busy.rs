//! Hosts that still carry out an order, perhaps of a rollout that has ended since: what they said last may not be what they serve soon.

use roadstead_model::{AppName, HostFacts, HostId, OrderKey, OrderOutcome};
use std::collections::{BTreeMap, BTreeSet};

/// The orders of each app on each host whose end nobody has heard.
#[derive(Debug, Default)]
pub(super) struct Busy(BTreeMap<(HostId, AppName), BTreeSet<OrderKey>>);

impl Busy {
    /// An order went out.
    pub(super) fn ordered(&mut self, host: &HostId, app: &AppName, key: OrderKey) {
        self.0.entry((host.clone(), app.clone())).or_default().insert(key);
    }

    /// An order has ended. Those of its app before it have, too: a host carries out one at a time.
    pub(super) fn ended(&mut self, host: &HostId, key: OrderKey) {
        self.change(host, |orders| {
            if orders.contains(&key) {
                orders.retain(|order| *order > key);
            }
        });
    }

    /// An order was refused. Those before it may go on.
    pub(super) fn refused(&mut self, host: &HostId, key: OrderKey) {
        self.change(host, |orders| {
            orders.remove(&key);
        });
    }

    /// A host says what it has heard, and how orders ended: the newest one goes on when its end is not among them.
    pub(super) fn hello(&mut self, host: &HostId, facts: &HostFacts, outcomes: &[(OrderKey, OrderOutcome)]) {
        self.forget(host);
        for (app, state) in &facts.apps {
            let newest = state.highest.map(|fence| OrderKey { rollout: fence.rollout, sequence: fence.sequence });
            if let Some(newest) = newest.filter(|newest| outcomes.iter().all(|(key, _)| key != newest)) {
                self.ordered(host, app, newest);
            }
        }
    }

    /// Nothing is known of a host any more.
    pub(super) fn forget(&mut self, host: &HostId) {
        self.change(host, BTreeSet::clear);
    }

    /// Whether a host carries out an order for an app, as far as is known.
    pub(super) fn is(&self, host: &HostId, app: &AppName) -> bool {
        self.0.contains_key(&(host.clone(), app.clone()))
    }

    fn change(&mut self, host: &HostId, change: impl Fn(&mut BTreeSet<OrderKey>)) {
        self.0.retain(|(of, _), orders| {
            if of == host {
                change(orders);
            }
            !orders.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use roadstead_model::{AppState, Fence, RolloutId};

    fn key(rollout: u64, sequence: u32) -> OrderKey {
        OrderKey { rollout: RolloutId(rollout), sequence }
    }

    #[test]
    fn a_host_is_busy_until_the_end_of_its_orders_was_heard() {
        let (host, app, mut busy) = (samples::host_id(1), samples::app(), Busy::default());
        busy.ordered(&host, &app, key(6, 3));
        busy.ordered(&host, &app, key(6, 5));
        busy.ordered(&samples::host_id(2), &app, key(6, 3));
        busy.refused(&host, key(6, 5));
        assert!(busy.is(&host, &app), "it refused to go back, and goes on with the cutover");
        busy.ended(&host, key(5, 9));
        assert!(busy.is(&host, &app), "that is another one");
        busy.ordered(&host, &app, key(7, 1));
        busy.ended(&host, key(7, 1));
        assert!(!busy.is(&host, &app) && busy.is(&samples::host_id(2), &app));
    }

    #[test]
    fn a_hello_says_whether_the_newest_order_goes_on() {
        let (host, app, mut busy) = (samples::host_id(1), samples::app(), Busy::default());
        let mut facts = samples::facts(1);
        let highest = Some(Fence { term: 1, rollout: RolloutId(6), sequence: 3 });
        facts.apps.insert(app.clone(), AppState { highest, ..AppState::default() });
        busy.hello(&host, &facts, &[]);
        assert!(busy.is(&host, &app));
        busy.hello(&host, &facts, &[(key(6, 3), OrderOutcome::Done { current: None })]);
        assert!(!busy.is(&host, &app));
    }
}
