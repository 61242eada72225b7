//! Sessions: begun, carried on, lost and found again.

use roadstead_model::*;
use roadstead_proto::v1::{self, agent_message, controller_message};
use roadstead_worker::clock::Monotonic;
use roadstead_worker::contact::Contact;
use roadstead_worker::output::Outbox;
use roadstead_worker::tasks::Tasks;
use roadstead_worker::worker::{Event, Hello};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};
use tonic::Status;

use super::controller::{Controller, Manner, Opened, PlainDial, told};
use crate::balancer::{self, Desk, Providers};
use crate::link::{Link, OpenChannel};

pub(super) const SOON: Duration = Duration::from_secs(20);

pub(super) struct Agent {
    pub(super) channel: OpenChannel,
    orders: mpsc::Receiver<Order>,
    outbox: Arc<Outbox>,
    contact: Arc<Contact>,
    desk: Arc<Desk>,
    tasks: Tasks,
}

fn facts() -> HostFacts {
    HostFacts {
        host_name: HostName::parse("web-1").unwrap(),
        agent_version: "0".into(),
        operating_system: "Debian".into(),
        architecture: "x86_64".into(),
        systemd: "252".into(),
        boot_id: "b".into(),
        pythons: vec![],
        disk: DiskSpace::default(),
        apps: BTreeMap::new(),
        release_keys: None,
    }
}

fn outcome(sequence: u32) -> Report {
    Report::Order { key: OrderKey { rollout: RolloutId(1), sequence }, outcome: OrderOutcome::Done { current: None } }
}

impl Agent {
    pub(super) fn start(controller: &Controller) -> Self {
        let (outbox, contact, tasks) = (Arc::<Outbox>::default(), Arc::new(Contact::new(Monotonic::start())), Tasks::default());
        let (events, mut incoming) = mpsc::channel(8);
        let (forward, orders) = mpsc::channel(8);
        tasks.spawn("worker", async move {
            while let Some(event) = incoming.recv().await {
                match event {
                    Event::Hello(reply) => drop(reply.send(Hello { facts: facts(), outcomes: vec![outcome(1)], steps: vec![] })),
                    Event::Order(order) => drop(forward.send(*order).await),
                    other => panic!("{other:?}"),
                }
            }
        });
        let dialer = Arc::new(PlainDial(controller.address));
        let desk = Arc::<Desk>::default();
        let (link, channel) = Link::new(dialer, Arc::clone(&outbox), Arc::clone(&contact), Arc::clone(&desk), tasks.clone());
        tasks.spawn("link", link.run(events));
        Self { channel, orders, outbox, contact, desk, tasks }
    }
}

pub(super) async fn opened(controller: &mut Controller) -> Opened {
    timeout(SOON, controller.opened.recv()).await.unwrap().unwrap()
}

async fn heard(session: &mut Opened) -> agent_message::Kind {
    timeout(SOON, session.heard.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_session_begins_with_facts_and_outcomes_and_carries_orders_and_reports() {
    let mut controller = Controller::start(Manner::default()).await;
    let mut agent = Agent::start(&controller);
    let mut session = opened(&mut controller).await;
    assert_eq!(HostFacts::try_from(session.hello.facts.clone().unwrap()).unwrap(), facts());
    assert_eq!(Report::try_from(session.hello.outcomes[0].clone()).unwrap(), outcome(1));

    let order = roadstead_worker::samples::some_order();
    session.tell.send(told(controller_message::Kind::Order(order.clone().into()))).await.unwrap();
    assert_eq!(timeout(SOON, agent.orders.recv()).await.unwrap().unwrap(), order);

    agent.outbox.report(outcome(2));
    agent.outbox.report(outcome(3));
    for (number, sequence) in [(1, 2), (2, 3)] {
        let agent_message::Kind::Report(report) = heard(&mut session).await else { panic!() };
        assert_eq!(report.sequence, number, "reports are numbered for the acknowledgement");
        assert_eq!(Report::try_from(report).unwrap(), outcome(sequence));
    }
    assert_eq!(agent.contact.heartbeat(), Millis(100), "as the controller said");
}

#[tokio::test]
async fn an_order_that_makes_no_sense_is_refused_and_the_session_lives_on() {
    let mut controller = Controller::start(Manner::default()).await;
    let mut agent = Agent::start(&controller);
    let mut session = opened(&mut controller).await;
    let good = roadstead_worker::samples::some_order();
    let bad = v1::Order { app: "../../etc".into(), ..good.clone().into() };
    for order in [v1::Order::default(), bad, good.clone().into()] {
        session.tell.send(told(controller_message::Kind::Order(order))).await.unwrap();
    }
    assert_eq!(timeout(SOON, agent.orders.recv()).await.unwrap().unwrap(), good);
    let agent_message::Kind::Report(report) = heard(&mut session).await else { panic!() };
    let Report::Refused { key, why, .. } = Report::try_from(report).unwrap() else { panic!() };
    assert_eq!(key, good.key());
    assert!(why.contains("order.app"), "{why}");
}

#[tokio::test]
async fn a_lost_session_is_found_again() {
    let mut controller = Controller::start(Manner::default()).await;
    let _agent = Agent::start(&controller);
    let first = opened(&mut controller).await;
    drop(first.tell.send(Err(Status::unavailable("restarting"))).await);
    drop(first);
    let again = opened(&mut controller).await;
    assert_eq!(again.hello.outcomes.len(), 1);
}

#[tokio::test]
async fn a_baton_is_brought_to_the_next_session_and_survives_no_restart() {
    let mut controller = Controller::start(Manner { echoes: false, baton: vec![7; 16], ..Manner::default() }).await;
    let agent = Agent::start(&controller);
    let mut first = opened(&mut controller).await;
    assert!(first.hello.baton.is_empty());
    assert!(matches!(heard(&mut first).await, agent_message::Kind::Heartbeat(_)), "it says at once that the baton has arrived");
    controller.manner.lock().unwrap().baton.clear();
    drop(first.tell.send(Err(Status::unavailable("restarting"))).await);
    for _ in 0..2 {
        let next = opened(&mut controller).await;
        assert_eq!(next.hello.baton, [7; 16], "a welcome without one leaves it");
        drop(next.tell.send(Err(Status::unavailable("restarting"))).await);
    }
    agent.tasks.stop();
    let _anew = Agent::start(&controller);
    while !opened(&mut controller).await.hello.baton.is_empty() {}
}

#[tokio::test]
async fn a_silent_controller_is_left() {
    let mut controller = Controller::start(Manner { echoes: false, ..Manner::default() }).await;
    let agent = Agent::start(&controller);
    let first = opened(&mut controller).await;
    let before = agent.contact.heard();
    // The first session is still open at the controller's side when the second comes.
    opened(&mut controller).await;
    assert!(!first.tell.is_closed() || first.heard.is_closed());
    assert!(agent.contact.heard() >= before);
}

#[tokio::test]
async fn heartbeats_are_heard() {
    let mut controller = Controller::start(Manner::default()).await;
    let agent = Agent::start(&controller);
    let _session = opened(&mut controller).await;
    let start = agent.contact.heard();
    timeout(SOON, async {
        while agent.contact.heard() < Millis(start.0 + 250) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn another_protocol_or_a_refusal_is_tried_again_later() {
    for manner in
        [Manner { protocol: 99, ..Manner::default() }, Manner { refuses: Some(Status::permission_denied("revoked")), ..Manner::default() }]
    {
        let mut controller = Controller::start(manner).await;
        let _agent = Agent::start(&controller);
        if controller.manner.lock().unwrap().refuses.is_none() {
            opened(&mut controller).await;
        }
        *controller.manner.lock().unwrap() = Manner::default();
        let mut session = opened(&mut controller).await;
        while session.hello.outcomes.is_empty() {
            session = opened(&mut controller).await;
        }
    }
}

#[tokio::test]
async fn the_link_ends_when_the_agent_stops() {
    let mut controller = Controller::start(Manner::default()).await;
    let agent = Agent::start(&controller);
    let mut session = opened(&mut controller).await;
    agent.tasks.stop();
    let gone = async { while session.heard.recv().await.is_some() {} };
    timeout(SOON, gone).await.unwrap();
    controller.stop();
}

#[tokio::test]
async fn tables_of_traffic_are_taken_up_and_what_is_seen_is_told_in_each_session() {
    let mut controller = Controller::start(Manner::default()).await;
    let agent = Agent::start(&controller);
    let layout = crate::layout::Layout::new(std::path::Path::new("/nonexistent"));
    let providers = Providers::new(Arc::default(), Arc::new(crate::host::Host::new()), layout);
    agent.tasks.spawn("traffic", balancer::run(Arc::clone(&agent.desk), providers, Arc::clone(&agent.outbox), agent.tasks.clone()));
    let mut session = opened(&mut controller).await;
    let table = TrafficTable {
        key: OrderKey { rollout: RolloutId(1), sequence: 4 },
        environment: EnvironmentName::parse("live").unwrap(),
        app: AppName::parse("erp").unwrap(),
        weights: BTreeMap::from([(HostName::parse("web-1").unwrap(), Weight::FULL)]),
    };
    let bad = v1::TrafficTable { app: "../../etc".into(), ..table.clone().into() };
    for table in [v1::TrafficTable::default(), bad, table.into()] {
        session.tell.send(told(controller_message::Kind::Traffic(table))).await.unwrap();
    }
    let seen = async |session: &mut Opened| {
        let agent_message::Kind::Traffic(seen) = heard(session).await else { panic!() };
        TrafficSeen::try_from(seen).unwrap()
    };
    let first = seen(&mut session).await;
    assert_eq!((first.key.sequence, first.app.as_str()), (4, "erp"));
    assert!(first.problem.as_ref().unwrap().summary.contains("[traffic.erp]"));
    drop(session.tell.send(Err(Status::unavailable("restarting"))).await);
    drop(session);
    let mut again = opened(&mut controller).await;
    assert_eq!(seen(&mut again).await, first);
}
