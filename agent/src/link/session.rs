//! One session: hello, then orders and heartbeats down, reports and heartbeats up.

use roadstead_model::{LeaseTable, Millis, Order, OrderKey, Report, TrafficTable};
use roadstead_proto::v1::{self, agent_message, controller_message, fleet_client::FleetClient};
use roadstead_proto::{PROTOCOL, PROTOCOL_OLDEST};
use roadstead_worker::contact::Contact;
use roadstead_worker::output::{Outbox, Outgoing, OutputText};
use roadstead_worker::worker::{Event, Hello};
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

use super::DialError;
use super::pulse::Pulse;
use crate::balancer::Desk;

/// How long the controller may take to answer a hello.
const WELCOME_AT_MOST: Duration = Duration::from_secs(20);
/// Messages on their way that the connection has not taken yet.
const MESSAGES_MAX: usize = 8;
/// Heartbeats without any answer after which the session counts as dead.
const SILENT_HEARTBEATS: u32 = 3;

/// Why a session ended or never was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The controller was not reached.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The controller refuses this host.
    #[error("the controller refuses this host: {0}; was it revoked? A new join token enrolls it again")]
    Refused(String),
    /// The controller has cut this host off.
    #[error("the controller has cut this host off: {0}; a new join token lets it in again: `roadstead-agent enroll --again`")]
    Revoked(String),
    /// The stream broke.
    #[error("the session broke: {0}")]
    Broken(String),
    /// The controller ended the session.
    #[error("the controller ended the session")]
    Closed,
    /// Something took too long.
    #[error("{0} took too long")]
    Slow(&'static str),
    /// The controller does not answer heartbeats.
    #[error("the controller was silent for {0}")]
    Silent(Millis),
    /// The controller speaks another protocol.
    #[error("the controller speaks protocol {theirs}, this agent {PROTOCOL_OLDEST} to {PROTOCOL}: upgrade the older of the two")]
    Protocol {
        /// Its version.
        theirs: u32,
    },
    /// The worker is gone: the agent stops.
    #[error("the agent stops")]
    Stopping,
}

impl From<Status> for SessionError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::PermissionDenied => Self::Revoked(spoken(&status)),
            Code::Unauthenticated => Self::Refused(spoken(&status)),
            _ => Self::Broken(spoken(&status)),
        }
    }
}

/// What a status says, with what lies beneath it.
pub(crate) fn spoken(status: &Status) -> String {
    let mut text: String = status.message().chars().filter(|c| !c.is_control()).take(400).collect();
    if text.is_empty() {
        text = status.code().to_string();
    }
    let mut cause = std::error::Error::source(status).and_then(std::error::Error::source);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// An open session.
pub(super) struct Session {
    pulse: Arc<Pulse>,
    outgoing: mpsc::Sender<v1::AgentMessage>,
    incoming: Streaming<v1::ControllerMessage>,
    outbox: Arc<Outbox>,
    contact: Arc<Contact>,
    desk: Arc<Desk>,
    events: mpsc::Sender<Event>,
    reports: u64,
}

impl Session {
    /// Opens a session: says hello with the baton of the session before, and hears the welcome, which brings the next one.
    pub(super) async fn open(
        channel: Channel,
        pulse: Arc<Pulse>,
        outbox: Arc<Outbox>,
        contact: Arc<Contact>,
        desk: Arc<Desk>,
        events: mpsc::Sender<Event>,
        baton: &mut Vec<u8>,
    ) -> Result<Self, SessionError> {
        let (reply, hello) = oneshot::channel();
        events.send(Event::Hello(reply)).await.map_err(|_| SessionError::Stopping)?;
        let hello = hello.await.map_err(|_| SessionError::Stopping)?;
        let (outgoing, messages) = mpsc::channel(MESSAGES_MAX);
        outgoing.send(hello_message(hello, baton.clone())).await.map_err(|_| SessionError::Closed)?;
        let mut client = FleetClient::new(channel).max_decoding_message_size(roadstead_model::limits::MESSAGE_BYTES_MAX);
        let opening = async {
            let mut incoming = client.session(ReceiverStream::new(messages)).await?.into_inner();
            let first = incoming.message().await?.ok_or(SessionError::Closed)?;
            Ok::<_, SessionError>((incoming, first))
        };
        let (incoming, first) = timeout(WELCOME_AT_MOST, opening).await.map_err(|_| SessionError::Slow("the controller's welcome"))??;
        let Some(controller_message::Kind::Welcome(welcome)) = first.kind else {
            return Err(SessionError::Broken("its first message is no welcome".to_owned()));
        };
        if !(PROTOCOL_OLDEST..=PROTOCOL).contains(&welcome.protocol) {
            return Err(SessionError::Protocol { theirs: welcome.protocol });
        }
        if !welcome.baton.is_empty() {
            *baton = welcome.baton;
        }
        contact.set_heartbeat(Millis(welcome.heartbeat_every_ms));
        contact.hear();
        tracing::info!(term = welcome.term, "session with the controller is open");
        crate::notify::status("Connected to the controller");
        desk.session_opened();
        Ok(Self { pulse, outgoing, incoming, outbox, contact, desk, events, reports: 0 })
    }

    /// Carries messages both ways until the session ends.
    pub(super) async fn run(mut self, stopping: CancellationToken) -> Result<(), SessionError> {
        let every = self.contact.heartbeat().to_duration();
        // The first one at once: it says that the welcome has arrived.
        let mut heartbeat = interval_at(Instant::now(), every);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let outgoing = self.outgoing.clone();
        let mut beats = 0;
        // Taken from the outbox, but not by the connection yet.
        let mut waiting: Option<v1::AgentMessage> = None;
        loop {
            tokio::select! {
                biased;
                () = stopping.cancelled() => return Ok(()),
                message = self.incoming.message() => {
                    let message = message?.ok_or(SessionError::Closed)?;
                    self.contact.hear();
                    self.receive(message).await?;
                }
                () = sleep((every * SILENT_HEARTBEATS).saturating_sub(self.pulse.silence())) => {
                    let silence = self.pulse.silence();
                    if silence >= every * SILENT_HEARTBEATS {
                        return Err(SessionError::Silent(roadstead_worker::clock::whole_millis(silence)));
                    }
                }
                _ = heartbeat.tick() => {
                    beats += 1;
                    // A full queue is a connection that moves nothing: the silence will end it.
                    drop(outgoing.try_send(message(agent_message::Kind::Heartbeat(v1::Heartbeat { sequence: beats }))));
                }
                permit = outgoing.reserve(), if waiting.is_some() => {
                    let permit = permit.map_err(|_| SessionError::Closed)?;
                    if let Some(message) = waiting.take() {
                        permit.send(message);
                    }
                }
                item = self.outbox.next(), if waiting.is_none() => waiting = Some(self.outgoing_message(item)),
            }
        }
    }

    async fn receive(&self, message: v1::ControllerMessage) -> Result<(), SessionError> {
        match message.kind {
            Some(controller_message::Kind::Order(order)) => self.order(order).await,
            Some(controller_message::Kind::Acknowledge(acknowledge)) => {
                tracing::trace!(sequence = acknowledge.sequence, "a report is durable at the controller");
                Ok(())
            }
            Some(controller_message::Kind::Traffic(table)) => {
                match TrafficTable::try_from(table) {
                    Ok(table) => self.desk.take(table),
                    Err(invalid) => tracing::error!(error = %invalid, "a table of traffic that makes no sense is not taken up"),
                }
                Ok(())
            }
            Some(controller_message::Kind::Lease(table)) => match LeaseTable::try_from(table) {
                Ok(table) => self.events.send(Event::Lease(Box::new(table))).await.map_err(|_| SessionError::Stopping),
                Err(invalid) => {
                    tracing::error!(error = %invalid, "a lease that makes no sense is not taken up");
                    Ok(())
                }
            },
            // A kind that a newer controller knows means nothing to this agent.
            Some(controller_message::Kind::Welcome(_) | controller_message::Kind::Heartbeat(_)) | None => Ok(()),
        }
    }

    async fn order(&self, order: v1::Order) -> Result<(), SessionError> {
        let key = order.fence.map(|fence| OrderKey { rollout: roadstead_model::RolloutId(fence.rollout), sequence: fence.sequence });
        match Order::try_from(order) {
            Ok(order) => self.events.send(Event::Order(Box::new(order))).await.map_err(|_| SessionError::Stopping),
            Err(invalid) => {
                tracing::error!(error = %invalid, "an order that makes no sense is refused");
                if let Some(key) = key {
                    self.outbox.report(Report::Refused { key, highest: None, why: invalid.to_string() });
                }
                Ok(())
            }
        }
    }

    fn outgoing_message(&mut self, item: Outgoing) -> v1::AgentMessage {
        message(match item {
            Outgoing::Report(report) => {
                self.reports += 1;
                agent_message::Kind::Report(v1::Report { sequence: self.reports, ..report.into() })
            }
            Outgoing::Output(output) => agent_message::Kind::Output(output_message(output)),
            Outgoing::Facts(facts) => agent_message::Kind::Facts((*facts).into()),
            Outgoing::Traffic(seen) => agent_message::Kind::Traffic((*seen).into()),
            Outgoing::Lease(ask) => agent_message::Kind::Lease(ask.into()),
        })
    }
}

const fn message(kind: agent_message::Kind) -> v1::AgentMessage {
    v1::AgentMessage { kind: Some(kind) }
}

fn hello_message(hello: Hello, baton: Vec<u8>) -> v1::AgentMessage {
    let outcomes = hello.outcomes.into_iter().chain(hello.steps).map(Into::into).collect();
    message(agent_message::Kind::Hello(v1::Hello { protocol: PROTOCOL, facts: Some(hello.facts.into()), outcomes, baton }))
}

fn output_message(output: OutputText) -> v1::Output {
    v1::Output {
        key: Some(output.key.into()),
        step: output.step.to_string(),
        sequence: output.sequence,
        text: output.text,
        dropped: output.dropped,
    }
}
