//! One identity and two machines: neither is let in any more, and an operator lets each in anew.

use roadstead_pki::Credentials;
use roadstead_proto::v1::{self, agent_message, controller_message};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming};

use super::rig::{Connection, Rig};
use crate::access::Denied;

type Up = mpsc::Sender<v1::AgentMessage>;

/// A session after its welcome, and the baton that came with that.
struct Session {
    up: Up,
    down: Streaming<v1::ControllerMessage>,
    baton: Vec<u8>,
}

impl Session {
    async fn open(host: &Connection, baton: &[u8]) -> Self {
        let (up, mut down) = host.session_with(0, baton.to_vec()).await;
        let Some(controller_message::Kind::Welcome(welcome)) = down.message().await.unwrap().unwrap().kind else { panic!("no welcome") };
        Self { up, down, baton: welcome.baton }
    }

    /// Speaks, and waits until that was heard or the session is over.
    async fn speak(&mut self) -> Result<(), Status> {
        let beat = agent_message::Kind::Heartbeat(v1::Heartbeat { sequence: 1 });
        drop(self.up.send(v1::AgentMessage { kind: Some(beat) }).await);
        loop {
            match self.down.message().await? {
                Some(message) if matches!(message.kind, Some(controller_message::Kind::Heartbeat(_))) => return Ok(()),
                Some(_) => {}
                None => return Err(Status::cancelled("it ended")),
            }
        }
    }
}

async fn enrolled(rig: &Rig) -> Credentials {
    let token = rig.host_token(&mut rig.admin().await).await;
    rig.enroll(&token, 0).await.unwrap()
}

async fn hosts(rig: &Rig) -> Vec<v1::Host> {
    rig.admin().await.list_hosts(v1::ListHostsRequest::default()).await.unwrap().into_inner().hosts
}

fn is_locked(status: &Status) -> bool {
    status.code() == Code::PermissionDenied && status.message() == Denied::Locked.to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_machines_with_one_identity_are_both_shut_out() {
    let rig = Rig::start().await;
    let credentials = enrolled(&rig).await;
    let host = rig.connect(&credentials).await;

    // The machine itself, the copy of its disk, and the machine again, which has noticed that its session is over.
    let mut first = Session::open(&host, &[]).await;
    first.speak().await.unwrap();
    let mut copy = Session::open(&host, &[]).await;
    copy.speak().await.unwrap();
    let mut again = Session::open(&host, &first.baton).await;
    assert!(again.baton.is_empty());
    copy.speak().await.unwrap();
    assert!(!hosts(&rig).await[0].locked, "the hello alone may be of long ago");
    assert!(is_locked(&again.speak().await.unwrap_err()));
    assert!(is_locked(&copy.speak().await.unwrap_err()));

    for baton in [&[][..], &copy.baton] {
        let refused = host.fleet().session(futures_util::stream::iter([hello(baton)])).await.unwrap_err();
        assert!(is_locked(&refused), "{refused}");
    }
    assert!(is_locked(&host.fleet().renew_host(v1::RenewRequest::default()).await.unwrap_err()));
    let known = hosts(&rig).await;
    assert!(known[0].locked && known[0].revoked && !known[0].connected, "{known:?}");
    let told = history(&rig, "host-locked").await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("two machines have the identity of web-0"), "{told:?}");

    // It stays so when the controller starts anew, until somebody has dealt with it.
    let rig = rig.restart().await;
    let host = rig.connect(&credentials).await;
    assert!(is_locked(&host.fleet().renew_host(v1::RenewRequest::default()).await.unwrap_err()));
    let request = v1::RevokeHostRequest { host: known[0].id.clone(), reason: "copied".into() };
    rig.admin().await.revoke_host(request).await.unwrap();
    let refused = host.fleet().renew_host(v1::RenewRequest::default()).await.unwrap_err();
    assert_eq!(refused.message(), Denied::Revoked.to_string());
    let known = hosts(&rig).await;
    assert!(!known[0].locked && known[0].revoked, "{known:?}");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_machine_is_let_in_whatever_comes_late() {
    let rig = Rig::start().await;
    let credentials = enrolled(&rig).await;
    let host = rig.connect(&credentials).await;
    let mut first = Session::open(&host, &[]).await;
    first.speak().await.unwrap();
    // A welcome that never arrives, and the same baton again.
    drop(Session::open(&host, &first.baton).await);
    let mut second = Session::open(&host, &first.baton).await;
    second.speak().await.unwrap();
    // A hello from before, of a connection that is gone, while the session is open.
    drop(Session::open(&host, &first.baton).await);
    second.speak().await.unwrap();
    // The controller starts anew.
    let rig = rig.restart().await;
    let host = rig.connect(&credentials).await;
    let mut third = Session::open(&host, &second.baton).await;
    third.speak().await.unwrap();
    // The host starts anew; an agent that knows of no batons brings none.
    for _ in 0..3 {
        Session::open(&host, &[]).await.speak().await.unwrap();
    }
    assert!(!hosts(&rig).await[0].revoked);
    // What was outdated before the controller started anew still is.
    let mut copy = Session::open(&host, &first.baton).await;
    assert!(is_locked(&copy.speak().await.unwrap_err()));
    rig.stop().await;
}

fn hello(baton: &[u8]) -> v1::AgentMessage {
    let facts = Some(roadstead_driver::samples::facts(0).into());
    let hello = v1::Hello { protocol: 1, facts, outcomes: vec![], baton: baton.to_vec() };
    v1::AgentMessage { kind: Some(agent_message::Kind::Hello(hello)) }
}

async fn history(rig: &Rig, kind: &str) -> Vec<String> {
    let mut events = rig.admin().await.list_events(v1::ListEventsRequest::default()).await.unwrap().into_inner();
    let mut texts = Vec::new();
    while let Some(event) = events.message().await.unwrap() {
        if event.kind == kind {
            texts.push(event.text);
        }
    }
    texts
}
