//! Simulated agents: each has an identity, a connection and a session of its own, says that it is there, and does nothing. Whatever
//! ends its session, it dials again after the pause that a real agent makes.

use super::{Desk, Result};
use crate::lab::{LabError, wait_until};
use futures_util::{StreamExt as _, TryStreamExt as _};
use hyper_util::rt::TokioIo;
use roadstead_pki::{ClientTls, Credentials, JoinToken, PendingCredentials};
use roadstead_proto::PROTOCOL;
use roadstead_proto::v1::enrollment_client::EnrollmentClient;
use roadstead_proto::v1::fleet_client::FleetClient;
use roadstead_proto::v1::operator_client::OperatorClient;
use roadstead_proto::v1::{self, agent_message};
use roadstead_worker::redial::Redial;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint};

/// Agents that enroll, or dial for the first time, at a time.
const AT_A_TIME: usize = 16;
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);
/// Heartbeats without any answer after which a session counts as dead.
const SILENT_HEARTBEATS: u32 = 3;
/// How long a real agent lets dialling and the welcome take together.
const OPEN_AT_MOST: Duration = Duration::from_secs(40);

/// Whatever goes wrong between a simulated agent and the controller.
type Fault = Box<dyn std::error::Error + Send + Sync>;
type Attempt<T> = std::result::Result<T, Fault>;
type Session = (tokio::sync::mpsc::Sender<v1::AgentMessage>, tonic::Streaming<v1::ControllerMessage>);

fn failed(fault: impl Into<Fault>) -> LabError {
    LabError::Agents(fault.into())
}

/// Agents that keep a session each, until they are let go.
#[derive(Debug)]
pub struct Agents {
    life: Vec<Arc<Life>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<Result<Result<()>>>,
}

/// What is known of one agent.
#[derive(Debug, Default)]
struct Life {
    dials: AtomicU32,
    sessions: AtomicU32,
}

impl Agents {
    /// Enrolls so many agents in an environment, from the place of the desk; their identities.
    pub fn enroll(desk: &Desk, environment: &str, count: usize) -> Result<Vec<Credentials>> {
        let admin = Credentials::load(&desk.folder().join("config/identity.pem")).map_err(failed)?;
        let address = desk.controller();
        let all = async {
            let operator = OperatorClient::new(dial(address, ClientTls::new(&admin)?).await?);
            let enroll = |number| enroll_one(address, operator.clone(), environment, number);
            futures_util::stream::iter(0..count).map(enroll).buffer_unordered(AT_A_TIME).try_collect().await
        };
        desk.network().enter(|| runtime()?.block_on(all).map_err(LabError::Agents))?
    }

    /// Begins to keep a session for each identity.
    pub fn start(desk: &Desk, identities: Vec<Credentials>) -> Self {
        let life: Vec<Arc<Life>> = identities.iter().map(|_| Arc::default()).collect();
        let (lives, address) = (life.clone(), desk.controller().to_owned());
        let (stop, stopped) = oneshot::channel();
        let thread = desk.network().spawn(move || {
            runtime()?.block_on(async {
                let turns = Arc::new(Semaphore::new(AT_A_TIME));
                for (number, (identity, life)) in identities.into_iter().zip(lives).enumerate() {
                    tokio::spawn(live(address.clone(), identity, number, life, Arc::clone(&turns)));
                }
                // Whoever holds the other end may have given up: then it is over too.
                drop(stopped.await);
                Ok(())
            })
        });
        Self { life, stop, thread }
    }

    /// How many have a session.
    pub fn connected(&self) -> usize {
        self.life.iter().filter(|life| life.sessions.load(Ordering::Relaxed) > 0).count()
    }

    /// Waits until all have one.
    pub fn wait_for_all(&self, deadline: Duration) -> Result<()> {
        let all = self.life.len();
        wait_until(&format!("all {all} simulated agents to be connected"), deadline, || self.connected() == all)
    }

    /// How often each has dialled so far.
    pub fn dials(&self) -> Vec<u32> {
        self.life.iter().map(|life| life.dials.load(Ordering::Relaxed)).collect()
    }

    /// Closes all sessions.
    pub fn close(self) -> Result<()> {
        drop(self.stop);
        self.thread.join().map_err(|_| LabError::Thread)??
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)
}

/// Keeps a session until the runtime ends.
async fn live(address: String, identity: Credentials, number: usize, life: Arc<Life>, turns: Arc<Semaphore>) {
    let mut redial = Redial::default();
    // Not all for the first time at once: that is not what is looked at.
    let mut turn = turns.acquire_owned().await.ok();
    loop {
        let began = Instant::now();
        life.dials.fetch_add(1, Ordering::Relaxed);
        let opened = tokio::time::timeout(OPEN_AT_MOST, open(&address, &identity, number)).await;
        drop(turn.take());
        if let Ok(Ok(session)) = opened {
            life.sessions.fetch_add(1, Ordering::Relaxed);
            be_there(session, number).await;
            life.sessions.fetch_sub(1, Ordering::Relaxed);
        }
        tokio::time::sleep(redial.after(began.elapsed(), fastrand::f64())).await;
    }
}

async fn enroll_one(address: &str, mut operator: OperatorClient<Channel>, environment: &str, number: usize) -> Attempt<Credentials> {
    let labels = vec!["role=simulated".to_owned()];
    let request = v1::CreateTokenRequest { environment: environment.to_owned(), labels, ttl_ms: 60_000, admin: String::new() };
    let token = JoinToken::parse(&operator.create_token(request).await?.into_inner().token)?;
    let pending = PendingCredentials::generate()?;
    let (csr, token_secret) = (pending.request().to_vec(), token.secret().to_vec());
    let channel = dial(address, ClientTls::for_enrollment(token.authority())?).await?;
    let request = v1::EnrollHostRequest { token_secret, csr, facts: Some(facts(number)) };
    let answer = EnrollmentClient::new(channel).enroll_host(request).await?.into_inner();
    Ok(pending.complete(&answer.certificate, &answer.authority)?)
}

async fn open(address: &str, identity: &Credentials, number: usize) -> Attempt<Session> {
    let channel = dial(address, ClientTls::new(identity)?).await?;
    let (up, messages) = tokio::sync::mpsc::channel(4);
    let hello = v1::Hello { protocol: PROTOCOL, facts: Some(facts(number)), outcomes: Vec::new(), baton: Vec::new() };
    up.send(v1::AgentMessage { kind: Some(agent_message::Kind::Hello(hello)) }).await?;
    let messages = tokio_stream::wrappers::ReceiverStream::new(messages);
    let mut down = FleetClient::new(channel).session(messages).await?.into_inner();
    down.message().await?.ok_or("the controller ended a session at once")?;
    Ok((up, down))
}

async fn dial(address: &str, tls: ClientTls) -> Attempt<Channel> {
    let to = address.to_owned();
    let connector = tower::service_fn(move |_| {
        let (to, tls) = (to.clone(), tls.clone());
        async move { roadstead_pki::connect(&to, &tls).await.map(TokioIo::new) }
    });
    Ok(Endpoint::from_shared(format!("http://{address}"))?.connect_with_connector(connector).await?)
}

/// Heartbeats up, whatever comes down, until the session ends or nothing is heard in it.
async fn be_there((up, mut down): Session, number: usize) {
    // Not all at the same moment.
    let first = HEARTBEAT_EVERY.mul_f64(f64::from(u32::try_from(number % 100).unwrap_or(0)) / 100.0);
    let mut beat = tokio::time::interval_at(Instant::now() + first, HEARTBEAT_EVERY);
    let (mut sequence, mut heard) = (0, Instant::now());
    loop {
        tokio::select! {
            _ = beat.tick() => {
                sequence += 1;
                let heartbeat = v1::AgentMessage { kind: Some(agent_message::Kind::Heartbeat(v1::Heartbeat { sequence })) };
                if up.send(heartbeat).await.is_err() {
                    return;
                }
            }
            message = down.message() => match message {
                Ok(Some(_)) => heard = Instant::now(),
                _ => return,
            },
            () = tokio::time::sleep_until(heard + HEARTBEAT_EVERY * SILENT_HEARTBEATS) => return,
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
