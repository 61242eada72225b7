//! Simulated agents: each has an identity, a connection and a session of its own, says that it is there, and does nothing.

use crate::Result;
use futures_util::{StreamExt as _, TryStreamExt as _};
use hyper_util::rt::TokioIo;
use roadstead_pki::{ClientTls, Credentials, JoinToken, PendingCredentials};
use roadstead_proto::PROTOCOL;
use roadstead_proto::v1::enrollment_client::EnrollmentClient;
use roadstead_proto::v1::fleet_client::FleetClient;
use roadstead_proto::v1::operator_client::OperatorClient;
use roadstead_proto::v1::{self, agent_message};
use roadstead_tests::fleet::Fleet;
use roadstead_tests::lab::LabError;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use tonic::transport::{Channel, Endpoint};

/// Agents that come at a time.
const AT_A_TIME: usize = 16;
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

type Session = (tokio::sync::mpsc::Sender<v1::AgentMessage>, tonic::Streaming<v1::ControllerMessage>);

/// Agents with an open session each, until they are let go.
#[derive(Debug)]
pub(crate) struct Agents {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<std::result::Result<Result<()>, LabError>>,
}

/// Enrolls so many agents from the place of the lab's client; their identities.
pub(crate) fn enroll(fleet: &Fleet, count: usize) -> Result<Vec<Credentials>> {
    let admin = Credentials::load(&fleet.desk.folder().join("config/identity.pem"))?;
    let address = fleet.desk.controller().to_owned();
    fleet.client().enter(|| {
        runtime()?.block_on(async {
            let operator = OperatorClient::new(dial(&address, ClientTls::new(&admin)?).await?);
            let enroll = |number| enroll_one(&address, operator.clone(), number);
            let enrolled = futures_util::stream::iter(0..count).map(enroll).buffer_unordered(AT_A_TIME);
            enrolled.try_collect().await
        })
    })?
}

impl Agents {
    /// Opens a session for each identity.
    pub(crate) fn open(fleet: &Fleet, identities: Vec<Credentials>) -> Result<Self> {
        let address = fleet.desk.controller().to_owned();
        let ((stop, stopped), (opened, told)) = (oneshot::channel(), mpsc::channel());
        let thread = fleet.client().spawn(move || {
            runtime()?.block_on(async {
                let open = |(number, identity)| open_one(&address, identity, number);
                let sessions = futures_util::stream::iter(identities.iter().enumerate()).map(open).buffer_unordered(AT_A_TIME);
                let sessions: Vec<Session> = sessions.try_collect().await?;
                for (number, session) in sessions.into_iter().enumerate() {
                    tokio::spawn(be_there(session, number));
                }
                opened.send(())?;
                // Whoever holds the other end may have given up: then it is over too.
                drop(stopped.await);
                Ok(())
            })
        });
        // Without an answer the thread has ended by an error, which is told by whoever joins it.
        let open = told.recv().is_ok();
        let agents = Self { stop, thread };
        if open { Ok(agents) } else { Err(agents.close().err().unwrap_or_else(|| "the simulated agents did not come".into())) }
    }

    /// Closes all sessions.
    pub(crate) fn close(self) -> Result<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| LabError::Thread)??
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn enroll_one(address: &str, mut operator: OperatorClient<Channel>, number: usize) -> Result<Credentials> {
    let labels = vec!["role=simulated".to_owned()];
    let request = v1::CreateTokenRequest { environment: "staging".to_owned(), labels, ttl_ms: 60_000, admin: String::new() };
    let token = JoinToken::parse(&operator.create_token(request).await?.into_inner().token)?;
    let pending = PendingCredentials::generate()?;
    let (csr, token_secret) = (pending.request().to_vec(), token.secret().to_vec());
    let channel = dial(address, ClientTls::for_enrollment(token.authority())?).await?;
    let request = v1::EnrollHostRequest { token_secret, csr, facts: Some(facts(number)) };
    let answer = EnrollmentClient::new(channel).enroll_host(request).await?.into_inner();
    Ok(pending.complete(&answer.certificate, &answer.authority)?)
}

async fn open_one(address: &str, identity: &Credentials, number: usize) -> Result<Session> {
    let channel = dial(address, ClientTls::new(identity)?).await?;
    let (up, messages) = tokio::sync::mpsc::channel(4);
    let hello = v1::Hello { protocol: PROTOCOL, facts: Some(facts(number)), outcomes: Vec::new(), baton: Vec::new() };
    up.send(v1::AgentMessage { kind: Some(agent_message::Kind::Hello(hello)) }).await?;
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    let mut down = FleetClient::new(channel).session(messages).await?.into_inner();
    down.message().await?.ok_or("the controller ended a session at once")?;
    Ok((up, down))
}

async fn dial(address: &str, tls: ClientTls) -> Result<Channel> {
    let to = address.to_owned();
    let connector = tower::service_fn(move |_| {
        let (to, tls) = (to.clone(), tls.clone());
        async move { roadstead_pki::connect(&to, &tls).await.map(TokioIo::new) }
    });
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_with_connector(connector).await?)
}

/// Heartbeats up, whatever comes down, until the runtime ends.
async fn be_there((up, mut down): Session, number: usize) {
    // Not all at the same moment.
    let first = HEARTBEAT_EVERY.mul_f64(f64::from(u32::try_from(number % 100).unwrap_or(0)) / 100.0);
    let mut beat = tokio::time::interval_at(tokio::time::Instant::now() + first, HEARTBEAT_EVERY);
    let mut sequence = 0;
    loop {
        tokio::select! {
            _ = beat.tick() => {
                sequence += 1;
                let heartbeat = v1::AgentMessage { kind: Some(agent_message::Kind::Heartbeat(v1::Heartbeat { sequence })) };
                if up.send(heartbeat).await.is_err() {
                    return;
                }
            }
            message = down.message() => if !matches!(message, Ok(Some(_))) {
                return;
            }
        }
    }
}

fn facts(number: usize) -> v1::HostFacts {
    v1::HostFacts {
        host_name: format!("simulated-{number}"),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        operating_system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
        architecture: std::env::consts::ARCH.to_owned(),
        systemd: "252".to_owned(),
        boot_id: "6f1f8a2e-8f0f-4a3b-9a53-5f0f3a1c2b7d".to_owned(),
        pythons: vec![v1::Python { version: "3.11".to_owned(), path: "/usr/bin/python3.11".to_owned() }],
        disk_free_bytes: 10 << 30,
        disk_free_inodes: 1_000_000,
        ..v1::HostFacts::default()
    }
}
