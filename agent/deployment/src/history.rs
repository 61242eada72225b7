//! Which orders are obeyed: the memory of one app, and the rule of fences.

use roadstead_model::{Fence, Order, OrderKey, Report};

use crate::status::Status;
use crate::watch::Watch;

/// What an agent remembers of the orders about one app.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// The highest fence that was ever obeyed.
    highest: Option<Fence>,
    /// Remembered orders, by fence.
    orders: Vec<Status>,
}

/// What becomes of an order that arrives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It is new and is obeyed. Orders of the app that have not ended are called off and undone first.
    Accept,
    /// It is known and ended: the answer is this, nothing runs.
    Answer(Report),
    /// It is known and has not ended: its report will come.
    Known,
    /// It is not obeyed.
    Refuse {
        /// The highest fence that was obeyed, when that is why.
        highest: Option<Fence>,
        /// Why, for people.
        why: String,
    },
}

impl History {
    /// The memory that a fence kept apart and the journals of an app amount to.
    #[must_use]
    pub fn new(highest: Option<Fence>, orders: impl IntoIterator<Item = Status>) -> Self {
        let mut orders: Vec<Status> = orders.into_iter().collect();
        orders.sort_by_key(|status| status.order.fence);
        let highest = highest.max(orders.last().map(|status| status.order.fence));
        Self { highest, orders }
    }

    /// The highest fence that was obeyed.
    #[must_use]
    pub const fn highest(&self) -> Option<Fence> {
        self.highest
    }

    /// Remembered orders, oldest fence first.
    pub fn orders(&self) -> impl DoubleEndedIterator<Item = &Status> {
        self.orders.iter()
    }

    /// The order with this key.
    #[must_use]
    pub fn get(&self, key: OrderKey) -> Option<&Status> {
        self.orders.iter().find(|status| status.order.key() == key)
    }

    /// What becomes of an order about this app.
    #[must_use]
    pub fn admit(&self, order: &Order) -> Admission {
        if let Some(known) = self.get(order.key()) {
            return answer(known, order);
        }
        match self.highest {
            Some(highest) if order.fence <= highest => Admission::Refuse {
                highest: Some(highest),
                why: format!("{} is older than what was obeyed last, {}", spoken(order.fence), spoken(highest)),
            },
            _ => Admission::Accept,
        }
    }

    /// Remembers an order or how far it has come, and its fence as the highest when it is.
    pub fn remember(&mut self, status: Status) {
        let fence = status.order.fence;
        self.raise(fence);
        match self.orders.iter_mut().find(|known| known.order.key() == status.order.key()) {
            Some(known) => *known = status,
            None => {
                let place = self.orders.partition_point(|known| known.order.fence < fence);
                self.orders.insert(place, status);
            }
        }
    }

    /// Raises the highest fence: a repeat under a newer term shows that the older term is over.
    pub fn raise(&mut self, fence: Fence) {
        self.highest = self.highest.max(Some(fence));
    }

    /// Forgets the oldest ended orders beyond `keep`, and returns their keys.
    pub fn forget(&mut self, keep: usize) -> Vec<OrderKey> {
        let excess = self.orders.len().saturating_sub(keep);
        let old: Vec<OrderKey> =
            self.orders.iter().take(excess).filter(|status| status.outcome().is_some()).map(|status| status.order.key()).collect();
        self.orders.retain(|status| !old.contains(&status.order.key()));
        old
    }

    /// Orders that have not ended, oldest first. All but the last were superseded.
    pub fn unfinished(&self) -> impl Iterator<Item = &Status> {
        self.orders.iter().filter(|status| status.outcome().is_none())
    }

    /// The reports about every remembered end, oldest first.
    pub fn reports(&self) -> impl Iterator<Item = Report> {
        self.orders.iter().filter_map(Status::report)
    }

    /// The reports about every step that is done in the newest rollout, in the order in which they ran: what was sent may have been lost
    /// together with a controller that had not written it down.
    pub fn steps_done(&self) -> impl Iterator<Item = Report> {
        let newest = self.orders.last().map(|status| status.order.fence.rollout);
        self.orders.iter().filter(move |status| Some(status.order.fence.rollout) == newest).flat_map(Status::steps_done)
    }

    /// The cutover that still waits for its confirmation.
    #[must_use]
    pub fn watch(&self) -> Option<Watch> {
        Watch::of(&self.orders)
    }
}

fn answer(known: &Status, order: &Order) -> Admission {
    let same =
        known.order.kind.as_ever() == order.kind.as_ever() && known.order.app == order.app && known.order.environment == order.environment;
    if !same {
        let why = format!("another order with the number {} of {} was given before", order.fence.sequence, order.fence.rollout);
        return Admission::Refuse { highest: None, why };
    }
    known.report().map_or(Admission::Known, Admission::Answer)
}

fn spoken(fence: Fence) -> String {
    format!("order {} of {} in term {}", fence.sequence, fence.rollout, fence.term)
}
