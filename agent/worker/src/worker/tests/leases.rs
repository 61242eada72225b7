//! What an agent does with its lease of what runs only once.

use roadstead_model::*;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::time::{Duration, advance, timeout};

use crate::output::Outgoing;
use crate::samples::*;
use crate::worker::Event;

const SPAN: Millis = Millis::from_secs(60);

fn table(turn: u64, answers: u64, lasts: Option<Millis>) -> LeaseTable {
    let services = BTreeSet::from([ServiceName::parse("beat").unwrap()]);
    let lasts = lasts.map(|span| LeaseSpan::try_from(span).unwrap());
    LeaseTable { app: order(1, 1, prepare()).app, turn, lasts, services, answers }
}

impl Rig {
    async fn told(&self, table: LeaseTable) {
        self.events.send(Event::Lease(Box::new(table))).await.unwrap();
    }

    /// Nothing of what may run only once is this host's, and whatever is needs a lease or not.
    async fn told_nothing(&self, turn: u64, lasts: Option<Millis>) {
        self.told(LeaseTable { services: BTreeSet::new(), ..table(turn, 0, lasts) }).await;
    }

    async fn question(&self) -> LeaseAsk {
        loop {
            if let Outgoing::Lease(ask) = self.outbox.next().await {
                return ask;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_ends_it_is_armed_before_the_controller_hears_that_it_is() {
    let root = tempfile::tempdir().unwrap();
    let rig = Rig::start(root.path(), FakeHands::new(World::default())).await;
    rig.told(table(7, 0, Some(SPAN))).await;
    let first = rig.question().await;
    assert_eq!((first.turn, first.needs, first.keeps), (7, true, false), "it is written down, and nothing is armed");
    rig.told(table(7, first.number, Some(SPAN))).await;
    let second = rig.question().await;
    assert!(second.keeps);
    assert_eq!(rig.hands.log(), ["hold erp [\"beat\"] for a while"]);
    rig.told(table(7, second.number, Some(SPAN))).await;

    // it asks again in time, and when nobody answers it ends the service itself, too
    let third = rig.question().await;
    assert_eq!(third.number, second.number + 1);
    advance(Duration::from_secs(61)).await;
    rig.question().await;
    while rig.hands.log().len() < 2 {
        rig.hello().await;
    }
    assert_eq!(rig.hands.log(), ["hold erp [\"beat\"] for a while"; 2]);

    // after a restart nothing is armed, and what was written down holds
    let hands = rig.stop().await;
    let rig = Rig::start(root.path(), hands).await;
    rig.told(table(9, 0, Some(SPAN))).await;
    let anew = rig.question().await;
    assert_eq!((anew.number, anew.needs, anew.keeps), (1, true, false));

    // an older table is of a controller that was taken for dead; without a lease all is as it was
    rig.told(table(8, 0, None)).await;
    rig.told(table(10, 0, None)).await;
    rig.hands.saw("hold erp [\"beat\"] freely").await;
    let mut last = rig.question().await;
    while last.needs {
        last = rig.question().await;
    }
    assert_eq!((last.turn, last.keeps), (10, false), "nothing is held to it before that is written down");
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_brought_up_is_looked_for_again() {
    let root = tempfile::tempdir().unwrap();
    let rig = Rig::start(root.path(), FakeHands::new(World { is_stopped: true, stays_down: 2, ..World::default() })).await;
    rig.told(table(7, 0, None)).await;
    let brought_up = async {
        while rig.hands.log().iter().filter(|line| *line == "reconcile erp").count() < 3 {
            rig.question().await;
        }
    };
    timeout(Duration::from_secs(600), brought_up).await.expect("it was tried until it was up");
    assert!(!rig.hands.world.lock().unwrap().is_stopped);
}

/// A host that may run nothing any more carries on an order that may bring it what runs only once. Would it be free of leases by then, and
/// its power fail, the service would start with the machine, beside the one of another host.
#[tokio::test(start_paused = true)]
async fn a_lease_is_needed_until_every_order_of_before_has_ended() {
    let root = tempfile::tempdir().unwrap();
    let hands = FakeHands::new(World { waits: [StepName::Fetch].into(), ..World::default() });
    let rig = Rig::start(root.path(), Arc::clone(&hands)).await;
    rig.told_nothing(7, Some(SPAN)).await;
    while !rig.question().await.keeps {}
    rig.order(order(1, 1, prepare())).await;
    hands.saw("run erp fetch").await;
    rig.told_nothing(8, None).await;
    hands.saw("hold erp [] freely").await;
    for _ in 0..3 {
        assert!(rig.question().await.needs, "the order goes on, and may list what it does not name any more");
    }

    // also after a start: it is carried on
    rig.kill().await;
    let rig = Rig::start(root.path(), Arc::clone(&hands)).await;
    rig.told_nothing(9, None).await;
    for _ in 0..3 {
        assert!(rig.question().await.needs, "what was written down holds");
    }
    hands.release();
    assert!(matches!(rig.outcome().await, Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
    while rig.question().await.needs {}
    let log = hands.log();
    let ended = log.iter().rposition(|line| line.starts_with("run ")).unwrap();
    assert!(log[ended..].iter().any(|line| line == "hold erp [] freely"), "what the order brought ends before: {log:?}");
}

/// A host whose disk was full when it had an order to carry on takes none until it is asked again. What it may run, it runs all the same.
#[tokio::test(start_paused = true)]
async fn what_may_run_is_started_also_where_no_order_is_taken() {
    let root = tempfile::tempdir().unwrap();
    let hands = FakeHands::new(World::default());
    let rig = Rig::start(root.path(), Arc::clone(&hands)).await;
    rig.order(order(1, 1, prepare())).await;
    rig.outcome().await;
    rig.stop().await;
    let journal = root.path().join("var/lib/roadstead-agent/journal/erp/1-1.jsonl");
    std::fs::write(&journal, "{\n{\n").unwrap();
    hands.world.lock().unwrap().is_stopped = true;
    hands.world.lock().unwrap().stays_down = 1;
    let rig = Rig::start(root.path(), Arc::clone(&hands)).await;
    rig.order(order(1, 2, activate())).await;
    assert!(matches!(rig.outcome().await, Report::Refused { .. }), "its journals cannot be trusted");
    rig.told(table(7, 0, None)).await;
    let brought_up = async {
        while hands.world.lock().unwrap().is_stopped {
            rig.question().await;
        }
    };
    timeout(Duration::from_secs(600), brought_up).await.expect("it is brought up");
}
