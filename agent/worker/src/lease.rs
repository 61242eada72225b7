//! What an agent knows of its lease of what may run only once in the environment: pure, by the clock that is passed in.
//!
//! Two things must hold. The controller may begin the services elsewhere once a span after its last answer has passed; so they run here
//! only until a span after the *question* that was answered, and what ends them is armed before they start ([`Hold`]). And what was
//! confirmed to the controller holds after a restart; so whether a lease is needed is durable before it is said.

use roadstead_model::{AppName, LEASE_MIN, LeaseAsk, LeaseTable, Millis, OrderKey, ServiceName};
use std::collections::BTreeSet;

/// A host asks again when this part of its lease has passed.
const ASKS_PER_SPAN: u64 = 4;

/// What may run here of what may run only once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// These services, for as long as nobody says otherwise.
    Free(BTreeSet<ServiceName>),
    /// These services, until this time since the agent started.
    Until(BTreeSet<ServiceName>, Millis),
}

impl Hold {
    /// The services that may run at a time.
    pub fn at(&self, now: Millis) -> BTreeSet<ServiceName> {
        match self {
            Self::Free(services) => services.clone(),
            Self::Until(services, until) if now < *until => services.clone(),
            Self::Until(..) => BTreeSet::new(),
        }
    }
}

/// The lease of one app.
#[derive(Debug, Default)]
pub struct Lease {
    /// The newest table of this run of the agent.
    table: Option<LeaseTable>,
    /// The newest question, and when it was asked.
    asked: (u64, Millis),
    /// Until when the answers let the services run.
    until: Millis,
    /// Orders that were given before the newest table, and may bring what it does not name.
    stale: BTreeSet<OrderKey>,
    /// When the last of what was armed, or is being armed, ends.
    lasts: Millis,
    /// The end that the host has seen to itself.
    ended: Millis,
    /// Something is being armed.
    pub(crate) is_arming: bool,
    /// What was armed last.
    pub(crate) armed: Option<Hold>,
    /// Something that may run was stopped, and is started when the app is at rest.
    pub(crate) is_stopped: bool,
}

impl Lease {
    /// Takes a table over; `false` when a newer one is known.
    pub fn hear(&mut self, table: LeaseTable) -> bool {
        if self.table.as_ref().is_some_and(|known| table.turn < known.turn) {
            return false;
        }
        let has = |service: &ServiceName| self.table.as_ref().is_some_and(|known| known.services.contains(service));
        if !table.services.iter().all(has) {
            // What was answered was not about this service.
            self.until = Millis(0);
        }
        if let Some(lasts) = table.lasts
            && table.answers != 0
            && table.answers == self.asked.0
        {
            self.until = self.until.max(Millis(self.asked.1.0.saturating_add(lasts.get().0)));
        }
        self.table = Some(table);
        true
    }

    /// Whether a lease is needed, by the newest table.
    pub fn is_needed(&self) -> Option<bool> {
        self.table.as_ref().map(|table| table.lasts.is_some())
    }

    /// The next question. `needs`: it is durable that a lease is needed.
    pub fn ask(&mut self, app: &AppName, needs: bool, now: Millis) -> LeaseAsk {
        self.asked = (self.asked.0 + 1, now);
        let keeps = needs && matches!(self.armed, Some(Hold::Until(..)));
        let turn = self.table.as_ref().map_or(0, |table| table.turn);
        let lasts = keeps.then(|| Millis(self.lasts.0.saturating_sub(now.0)));
        LeaseAsk { app: app.clone(), number: self.asked.0, turn, needs, keeps, lasts }
    }

    /// This is being armed. Whether it was, and when, is not known before that is done.
    pub(crate) fn arming(&mut self, hold: &Hold) {
        self.is_arming = true;
        if let Hold::Until(_, until) = hold {
            self.lasts = self.lasts.max(*until);
        }
    }

    /// It is armed, in the place of what was before.
    pub(crate) fn was_armed(&mut self, hold: Hold) {
        self.is_arming = false;
        if let Hold::Until(_, until) = hold {
            self.lasts = until;
        }
        self.armed = Some(hold);
    }

    /// It may be armed or not. What held before may hold no longer, where that was to end by itself.
    pub(crate) fn was_not_armed(&mut self, hold: &Hold) {
        self.is_arming = false;
        if matches!(hold, Hold::Free(_)) {
            self.armed = None;
        }
    }

    /// When to ask again; never where nothing runs by it, and what is written down is as the table says.
    pub fn due(&self, needs: bool) -> Option<Millis> {
        let table = self.table.as_ref()?;
        let pause = match table.lasts {
            Some(lasts) if needs && !table.services.is_empty() => lasts.get().0 / ASKS_PER_SPAN,
            lasts if lasts.is_some() != needs || self.wanted().is_some() => LEASE_MIN.0 / ASKS_PER_SPAN,
            Some(_) | None => return None,
        };
        Some(Millis(self.asked.1.0.saturating_add(pause)))
    }

    /// When what was armed ends, where the host has not seen to that itself yet.
    pub fn ends(&self) -> Option<Millis> {
        match &self.armed {
            Some(Hold::Until(services, until)) if !self.is_arming && !services.is_empty() && self.ended != *until => Some(*until),
            _ => None,
        }
    }

    /// These orders are older than the newest table.
    pub(crate) fn predates(&mut self, orders: impl Iterator<Item = OrderKey>) {
        self.stale.extend(orders);
    }

    /// An order ended: what is held is held once more, if the order was older than the table.
    pub(crate) fn ended(&mut self, order: OrderKey) {
        if self.stale.remove(&order) {
            self.hold_anew();
        }
    }

    /// Whether all of those have ended.
    pub(crate) fn is_settled(&self) -> bool {
        self.stale.is_empty()
    }

    /// What needs no lease is held once more, which looks for what is stopped and has it started. What has one is held anew all the time.
    pub(crate) fn hold_anew(&mut self) {
        if matches!(self.armed, Some(Hold::Free(_))) {
            self.armed = None;
        }
    }

    /// Something was done for the app: what ended may have been started again.
    pub(crate) fn look_again(&mut self) {
        self.ended = Millis(0);
    }

    /// It is over: what is to be armed once more, whose moment has passed. The timer that was armed has ended the services already, but
    /// for one that systemd forgot while it read its units anew.
    pub fn lapse(&mut self, now: Millis) -> Option<Hold> {
        let until = self.ends().filter(|until| *until <= now)?;
        self.ended = until;
        self.armed.clone()
    }

    /// What is to be armed now, where that is something else than what is.
    pub fn wanted(&self) -> Option<Hold> {
        let table = self.table.as_ref()?;
        let hold = match table.lasts {
            None => Hold::Free(table.services.clone()),
            // What runs goes on until there is an answer, by what was armed before.
            Some(_) if self.until == Millis(0) && !table.services.is_empty() => return None,
            Some(_) => Hold::Until(table.services.clone(), self.until),
        };
        (!self.is_arming && self.armed.as_ref() != Some(&hold)).then_some(hold)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use roadstead_model::LeaseSpan;

    const SPAN: u64 = 60_000;

    fn table(turn: u64, services: &[&str], answers: u64) -> LeaseTable {
        let services = services.iter().map(|name| ServiceName::parse(name).unwrap()).collect();
        let lasts = Some(LeaseSpan::try_from(Millis(SPAN)).unwrap());
        LeaseTable { app: AppName::parse("erp").unwrap(), turn, lasts, services, answers }
    }

    fn ask(lease: &mut Lease, now: u64) -> LeaseAsk {
        lease.ask(&AppName::parse("erp").unwrap(), true, Millis(now))
    }

    #[test]
    fn a_lease_counts_from_the_question_and_only_the_newest_answer_counts() {
        let mut lease = Lease::default();
        assert_eq!((lease.due(true), lease.wanted()), (None, None));
        assert!(lease.hear(table(7, &["beat"], 0)));
        assert_eq!(lease.wanted(), None, "nobody answered yet");
        let first = ask(&mut lease, 1_000);
        assert_eq!((first.number, first.turn), (1, 7));
        let second = ask(&mut lease, 5_000);
        assert!(lease.hear(table(7, &["beat"], first.number)));
        assert_eq!(lease.wanted(), None, "an answer to an older question");
        assert!(lease.hear(table(7, &["beat"], second.number)));
        let hold = lease.wanted().unwrap();
        assert_eq!((hold.at(Millis(5_000 + SPAN - 1)).len(), hold.at(Millis(5_000 + SPAN)).len()), (1, 0));
        assert_eq!(lease.due(true), Some(Millis(5_000 + SPAN / 4)));
        lease.armed = Some(hold);
        assert_eq!(lease.wanted(), None);
    }

    #[test]
    fn an_older_table_says_nothing_and_whoever_runs_nothing_does_not_ask() {
        let mut lease = Lease::default();
        assert!(lease.hear(table(7, &[], 0)) && !lease.hear(table(6, &["beat"], 0)));
        ask(&mut lease, 10);
        assert!(lease.due(true).is_some(), "nothing is armed yet, and it is tried again");
        lease.armed = lease.wanted();
        assert_eq!((lease.due(true), lease.is_needed()), (None, Some(true)));
        assert!(lease.due(false).is_some(), "it could not be written down, and is tried again");
        assert!(lease.hear(LeaseTable { lasts: None, ..table(8, &["beat"], 0) }));
        assert_eq!((lease.is_needed(), lease.wanted().unwrap().at(Millis(u64::MAX)).len()), (Some(false), 1));
    }

    #[test]
    fn a_longer_lease_of_before_is_told_until_a_shorter_one_is_armed() {
        let mut lease = Lease::default();
        let until = |at| Hold::Until(table(7, &["beat"], 0).services, Millis(at));
        lease.arming(&until(900_000));
        assert_eq!(ask(&mut lease, 0).lasts, None, "nobody keeps to what is not armed");
        lease.was_armed(until(900_000));
        lease.arming(&until(70_000));
        assert_eq!(ask(&mut lease, 10_000).lasts, Some(Millis(890_000)), "the shorter one is only on its way");
        lease.was_not_armed(&until(70_000));
        assert_eq!(ask(&mut lease, 20_000).lasts, Some(Millis(880_000)), "and did not come");
        lease.was_armed(until(70_000));
        assert_eq!(ask(&mut lease, 30_000).lasts, Some(Millis(40_000)));
        lease.arming(&until(130_000));
        assert_eq!(ask(&mut lease, 40_000).lasts, Some(Millis(90_000)), "a longer one counts before it is armed");
    }

    proptest! {
        /// Whatever comes in whatever order: nothing runs for longer than a span after some question that was answered.
        #[test]
        fn nobody_runs_longer_than_a_span_after_a_question(
            steps in proptest::collection::vec((0_u64..20_000, any::<bool>(), 0_u64..12, 5_u64..8), 1..60)
        ) {
            let (mut lease, mut now, mut asked) = (Lease::default(), 0, Vec::new());
            for (passes, asks, answers, turn) in steps {
                now += passes;
                if asks {
                    asked.push(now);
                    ask(&mut lease, now);
                } else {
                    lease.hear(table(turn, &["beat"], answers));
                }
                if let Some(hold) = lease.wanted()
                    && !hold.at(Millis(now)).is_empty()
                {
                    let newest = asked.last().copied().unwrap_or_default();
                    prop_assert!(hold.at(Millis(newest + SPAN)).is_empty(), "{hold:?} after {asked:?}");
                }
            }
        }
    }
}
