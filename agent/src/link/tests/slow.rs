//! A line that is busy with a release for longer than heartbeats may be missed.

use roadstead_model::{OrderKey, RolloutId, StepName};
use roadstead_worker::output::{Outbox, ProgressSink};
use std::sync::Arc;
use tokio::time::{Duration, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::controller::{Controller, Manner};
use super::fetches::tree;
use super::sessions::{Agent, SOON, opened};
use crate::fetch::ReleaseSource as _;
use crate::link::ControllerSource;

#[tokio::test]
async fn a_controller_that_sends_a_release_is_not_silent() {
    // No heartbeat is answered; three that are missed are a third of a second.
    let mut manner = Manner { echoes: false, pause: Duration::from_millis(150), ..Manner::default() };
    let root = tree(&mut manner, "one");
    let mut controller = Controller::start(manner).await;
    let agent = Agent::start(&controller);
    let _session = opened(&mut controller).await;
    let store = tempfile::tempdir().unwrap();
    let key = OrderKey { rollout: RolloutId(1), sequence: 1 };
    let progress = ProgressSink::new(key, StepName::Fetch, Arc::<Outbox>::default());
    let began = tokio::time::Instant::now();
    ControllerSource::new(agent.channel.clone()).fetch(&[root], &[], store.path(), &progress, &CancellationToken::new()).await.unwrap();
    assert!(began.elapsed() > Duration::from_millis(900), "the release took {:?}", began.elapsed());
    assert!(controller.opened.try_recv().is_err(), "the session was left while the release came");
    // when nothing comes any more, it is silent
    opened(&mut controller).await;
}

#[tokio::test]
async fn nothing_is_fetched_before_the_session_is_open() {
    let mut controller = Controller::start(Manner { refuses: Some(Status::unavailable("not yet")), ..Manner::default() }).await;
    let agent = Agent::start(&controller);
    let mut channel = agent.channel.clone();
    let manner = Arc::clone(&controller.manner);
    let usable = tokio::spawn(async move {
        channel.wait_for(Option::is_some).await.unwrap();
        manner.lock().unwrap().refuses.is_none()
    });
    let refused = async {
        while controller.manner.lock().unwrap().refused < 2 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, refused).await.unwrap();
    controller.manner.lock().unwrap().refuses = None;
    opened(&mut controller).await;
    assert!(timeout(SOON, usable).await.unwrap().unwrap(), "a transfer would have filled the line before the hello");
}
