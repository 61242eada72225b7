//! Link and worker together: orders over the wire, on a made-up host.

use roadstead_model::*;
use roadstead_proto::v1::{agent_message, controller_message};
use roadstead_worker::samples::{FakeHands, Rig, World, activate, order};
use std::sync::Arc;
use tokio::time::{Duration, timeout};
use tonic::Status;

use super::controller::{Controller, Manner, Opened, PlainDial, told};
use crate::link::Link;

const SOON: Duration = Duration::from_secs(20);

async fn opened(controller: &mut Controller) -> Opened {
    timeout(SOON, controller.opened.recv()).await.unwrap().unwrap()
}

/// Reads the session until an order's outcome comes; what came before is returned too.
async fn until_outcome(session: &mut Opened) -> (Vec<String>, Report) {
    let mut before = Vec::new();
    loop {
        match timeout(SOON, session.heard.recv()).await.unwrap().unwrap() {
            agent_message::Kind::Report(report) => match Report::try_from(report).unwrap() {
                Report::Step(step) => before.push(format!("{} {:?}", step.step, step.state).chars().take_while(|c| *c != '{').collect()),
                outcome => return (before, outcome),
            },
            agent_message::Kind::Output(output) => before.push(format!("{}: {}", output.step, output.text)),
            _ => {}
        }
    }
}

async fn give(session: &Opened, order: Order) {
    session.tell.send(told(controller_message::Kind::Order(order.into()))).await.unwrap();
}

fn linked(rig: &Rig, controller: &Controller) {
    let dialer = Arc::new(PlainDial(controller.address));
    let (link, _) = Link::new(dialer, Arc::clone(&rig.outbox), Arc::clone(&rig.contact), Arc::default(), rig.tasks.clone());
    rig.tasks.spawn("link", link.run(rig.events.clone()));
}

#[tokio::test]
async fn an_order_is_carried_out_and_each_step_is_told_with_its_output() {
    let root = tempfile::tempdir().unwrap();
    let rig = Rig::start(root.path(), FakeHands::new(World::default())).await;
    let mut controller = Controller::start(Manner::default()).await;
    linked(&rig, &controller);
    let mut session = opened(&mut controller).await;
    give(&session, order(1, 1, activate())).await;
    let (before, outcome) = until_outcome(&mut session).await;
    assert!(matches!(outcome, Report::Order { outcome: OrderOutcome::Done { .. }, .. }));
    assert_eq!(before[..3], ["candidate Started", "candidate: some output\n", "candidate Succeeded "]);
    assert_eq!(before.len(), 12);
    rig.stop().await;
}

#[tokio::test]
async fn an_order_goes_on_while_the_controller_is_away_and_the_next_hello_tells_its_end() {
    let root = tempfile::tempdir().unwrap();
    let rig = Rig::start(root.path(), FakeHands::new(World { waits: [StepName::Proof].into(), ..World::default() })).await;
    let mut controller = Controller::start(Manner::default()).await;
    linked(&rig, &controller);
    let session = opened(&mut controller).await;
    give(&session, order(1, 1, activate())).await;
    rig.hands.saw("run erp proof").await;
    *controller.manner.lock().unwrap() = Manner { refuses: Some(Status::unavailable("restarting")), ..Manner::default() };
    drop(session.tell.send(Err(Status::unavailable("restarting"))).await);
    drop(session);
    rig.hands.release();
    rig.hands.saw("run erp health").await;
    // Only when the order has ended does the controller come back.
    timeout(SOON, async {
        while rig.hello().await.outcomes.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
    *controller.manner.lock().unwrap() = Manner::default();
    let session = opened(&mut controller).await;
    let told = Report::try_from(session.hello.outcomes[0].clone()).unwrap();
    assert!(matches!(told, Report::Order { outcome: OrderOutcome::Done { .. }, .. }), "{told:?}");
    rig.stop().await;
}
