//! One session of a host: hello, then orders down and reports up, with a heartbeat that both sides watch.

use futures_util::StreamExt as _;
use futures_util::stream::Map;
use roadstead_model::{HostFacts, HostId, LeaseAsk, OrderKey, OrderOutcome, Report, StepName, StepReport, TrafficSeen, limits};
use roadstead_proto::v1::{self, agent_message, controller_message};
use roadstead_proto::{PROTOCOL, PROTOCOL_OLDEST};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};

use super::Context;
use super::status::{denied, internal, invalid, malformed, status, stored};
use crate::access::Denied;
use crate::clock;
use crate::relay::Baton;
use roadstead_driver::Event;
use roadstead_driver::OutputPart;
use roadstead_driver::{Downward, Epoch, Opened};

/// How long a host may take to say hello.
const HELLO_AT_MOST: Duration = Duration::from_secs(20);
/// Heartbeats that may be missed before a host counts as lost.
const SILENT_HEARTBEATS: u32 = 3;
/// Messages that the connection has not taken yet.
const QUEUE: usize = 4;
/// Outcomes of a hello.
const OUTCOMES_MAX: usize = 4096;

/// A message on its way down. Boxed, since a channel keeps room for 32 of them, and thousands of sessions are open that send few.
type Message = Box<Result<v1::ControllerMessage, Status>>;
type Down = mpsc::Sender<Message>;
/// What a host is sent.
pub(super) type Messages = Map<ReceiverStream<Message>, fn(Message) -> Result<v1::ControllerMessage, Status>>;

/// Opens a session; it runs in a task of its own until one side ends it.
pub(super) fn open(context: Arc<Context>, host: HostId, revoked: CancellationToken, messages: Streaming<v1::AgentMessage>) -> Messages {
    let (down, stream) = mpsc::channel(QUEUE);
    tokio::spawn(async move {
        if let Err(status) = run(&context, &host, &revoked, messages, &down).await {
            tracing::info!(%host, why = status.message(), "a session ended");
            // The host may have gone.
            drop(down.try_send(Box::new(Err(status))));
        }
    });
    ReceiverStream::new(stream).map(|message| *message)
}

async fn run(
    context: &Context,
    host: &HostId,
    revoked: &CancellationToken,
    mut messages: Streaming<v1::AgentMessage>,
    down: &Down,
) -> Result<(), Status> {
    let first = tokio::select! {
        biased;
        () = revoked.cancelled() => return Err(denied(context.access.why_out(host))),
        first = tokio::time::timeout(HELLO_AT_MOST, messages.message()) => first,
    };
    let first = first.map_err(|_| status(Code::DeadlineExceeded, "the host did not say hello", "see the agent's log"))??;
    let Some(agent_message::Kind::Hello(hello)) = first.and_then(|message| message.kind) else {
        return Err(invalid("the first message is no hello"));
    };
    if !(PROTOCOL_OLDEST..=PROTOCOL).contains(&hello.protocol) {
        let text = format!("the agent speaks protocol {}, this controller {PROTOCOL_OLDEST} to {PROTOCOL}", hello.protocol);
        return Err(status(Code::FailedPrecondition, text, "upgrade the older of the two"));
    }
    let facts: HostFacts = hello.facts.ok_or_else(|| invalid("the hello has no facts"))?.try_into().map_err(malformed)?;
    let (outcomes, steps) = told(hello.outcomes)?;
    let brought = Baton::brought(&hello.baton).map_err(invalid)?;
    let Some(baton) = context.relays.come(host, brought).map_err(internal)? else {
        return doubt(context, host, &facts, revoked, messages, down).await;
    };
    let session = context.sessions.open(host);
    let epoch = session.epoch;
    tracing::info!(%host, name = %facts.host_name, "a session opened");
    let carried = async {
        put(down, welcome(context, Some(baton))).await?;
        context.driver.tell(Event::Hello { host: host.clone(), epoch, facts: Box::new(facts), outcomes, steps }).await;
        carry(context, host, revoked, messages, session, baton, down).await
    }
    .await;
    if context.sessions.close(host, epoch) {
        context.driver.tell(Event::Gone { host: host.clone() }).await;
    }
    carried
}

fn welcome(context: &Context, baton: Option<Baton>) -> controller_message::Kind {
    controller_message::Kind::Welcome(v1::Welcome {
        protocol: PROTOCOL,
        term: context.term,
        heartbeat_every_ms: context.heartbeat.0,
        baton: baton.map(Baton::to_vec).unwrap_or_default(),
    })
}

/// Someone comes as a host that was another machine since. That may be a hello of long ago; if they speak once they are welcomed,
/// there are two machines, and neither is let in any more. The session of the other one goes on until then, and this one gets nothing.
async fn doubt(
    context: &Context,
    host: &HostId,
    facts: &HostFacts,
    revoked: &CancellationToken,
    mut messages: Streaming<v1::AgentMessage>,
    down: &Down,
) -> Result<(), Status> {
    put(down, welcome(context, None)).await?;
    let silence = context.heartbeat.to_duration() * SILENT_HEARTBEATS;
    let word = tokio::select! {
        biased;
        () = context.stopping.cancelled() => return Err(stopping()),
        () = revoked.cancelled() => return Err(denied(context.access.why_out(host))),
        word = tokio::time::timeout(silence, messages.message()) => word,
    };
    if !matches!(word, Ok(Ok(Some(_)))) {
        return Err(status(Code::Aborted, "a hello of an earlier session came late", "the agent connects again by itself"));
    }
    let text = format!("two machines have the identity of {}: one came back after the other had been here", facts.host_name);
    tracing::error!(%host, "{text}; it is locked");
    context.store.lock_host(host.clone(), text, clock::now()).await.map_err(stored)?;
    context.access.lock_host(host);
    context.sessions.cut(host);
    context.driver.tell(Event::Revoked { host: host.clone() }).await;
    Err(denied(Denied::Locked))
}

/// What a host remembers: how orders ended, and which steps are done.
type Told = (Vec<(OrderKey, OrderOutcome)>, Vec<StepReport>);

fn told(reports: Vec<v1::Report>) -> Result<Told, Status> {
    if reports.len() > OUTCOMES_MAX {
        return Err(invalid("the hello has more outcomes than an agent remembers"));
    }
    let (mut outcomes, mut steps) = Told::default();
    for report in reports {
        match report.try_into().map_err(malformed)? {
            Report::Order { key, outcome } => outcomes.push((key, outcome)),
            Report::Step(step) => steps.push(step),
            // What serves is among the facts.
            Report::Refused { .. } | Report::WentBack { .. } => {}
        }
    }
    Ok((outcomes, steps))
}

async fn put(down: &Down, kind: controller_message::Kind) -> Result<(), Status> {
    down.send(Box::new(Ok(v1::ControllerMessage { kind: Some(kind) }))).await.map_err(|_| Status::cancelled("the host has gone"))
}

/// Carries messages both ways until the session ends.
async fn carry(
    context: &Context,
    host: &HostId,
    revoked: &CancellationToken,
    mut messages: Streaming<v1::AgentMessage>,
    mut session: Opened,
    baton: Baton,
    down: &Down,
) -> Result<(), Status> {
    let silence = context.heartbeat.to_duration() * SILENT_HEARTBEATS;
    let mut heard = tokio::time::Instant::now();
    let mut handed = Some(baton);
    loop {
        tokio::select! {
            biased;
            () = context.stopping.cancelled() => return Err(stopping()),
            () = revoked.cancelled() => return Err(denied(context.access.why_out(host))),
            () = session.cut.cancelled() => return Err(cut(context, host)),
            message = messages.message() => {
                let Some(message) = message? else { return Ok(()) };
                heard = tokio::time::Instant::now();
                context.sessions.heard(host);
                if let Some(baton) = handed.take() {
                    arrived(context, host, baton).await;
                }
                receive(context, host, session.epoch, message).await?;
            }
            message = session.messages.recv() => {
                let Some(message) = message else { return Ok(()) };
                let kind = match message {
                    Downward::Order(order) => controller_message::Kind::Order((*order).into()),
                    Downward::Traffic(table) => controller_message::Kind::Traffic((*table).into()),
                    Downward::Lease(table) => controller_message::Kind::Lease((*table).into()),
                    Downward::Acknowledge(sequence) => controller_message::Kind::Acknowledge(v1::Acknowledge { sequence }),
                    Downward::Heartbeat(sequence) => controller_message::Kind::Heartbeat(v1::Heartbeat { sequence }),
                };
                // A connection that takes nothing for so long is lost.
                let put = tokio::time::timeout(silence, put(down, kind)).await;
                put.map_err(|_| status(Code::DeadlineExceeded, "the host takes no messages", "see the network"))??;
            }
            () = tokio::time::sleep_until(heard + silence) => {
                return Err(status(Code::DeadlineExceeded, "the host was silent", "see the network"));
            }
        }
    }
}

fn stopping() -> Status {
    status(Code::Unavailable, "the controller stops", "the agent connects again by itself")
}

fn cut(context: &Context, host: &HostId) -> Status {
    if context.access.host_is_in(host) {
        Status::aborted("another session of this host took over")
    } else {
        denied(context.access.why_out(host))
    }
}

/// The host holds the baton that it was handed, and no other.
async fn arrived(context: &Context, host: &HostId, baton: Baton) {
    let Some(batons) = context.relays.arrived(host, baton) else { return };
    // Not kept, it is a baton that nobody knows after a restart: less is known then, and nobody is locked for it.
    if let Err(error) = context.store.keep_batons(host.clone(), batons).await {
        tracing::warn!(%host, %error, "its baton was not written down");
    }
}

async fn receive(context: &Context, host: &HostId, epoch: Epoch, message: v1::AgentMessage) -> Result<(), Status> {
    match message.kind {
        Some(agent_message::Kind::Heartbeat(beat)) => {
            context.sessions.send(host, Downward::Heartbeat(beat.sequence));
        }
        Some(agent_message::Kind::Report(report)) => {
            let sequence = report.sequence;
            let report = Box::new(Report::try_from(report).map_err(malformed)?);
            context.driver.tell(Event::Report { host: host.clone(), epoch, sequence, report }).await;
        }
        Some(agent_message::Kind::Output(output)) => take_output(context, host, output)?,
        Some(agent_message::Kind::Facts(facts)) => {
            let facts = Box::new(HostFacts::try_from(facts).map_err(malformed)?);
            context.driver.tell(Event::Facts { host: host.clone(), epoch, facts }).await;
        }
        Some(agent_message::Kind::Traffic(seen)) => {
            let seen = Box::new(TrafficSeen::try_from(seen).map_err(malformed)?);
            context.driver.tell(Event::Traffic { host: host.clone(), epoch, seen }).await;
        }
        Some(agent_message::Kind::Lease(ask)) => {
            let ask = LeaseAsk::try_from(ask).map_err(malformed)?;
            context.driver.tell(Event::LeaseAsked { host: host.clone(), epoch, ask }).await;
        }
        Some(agent_message::Kind::Hello(_)) => return Err(invalid("a second hello")),
        // A kind that a newer agent knows means nothing to this controller.
        None => {}
    }
    Ok(())
}

fn take_output(context: &Context, host: &HostId, output: v1::Output) -> Result<(), Status> {
    if output.text.len() > limits::MESSAGE_BYTES_MAX {
        return Err(invalid("a part of output is too large"));
    }
    let key: OrderKey = output.key.ok_or_else(|| invalid("output without its order"))?.into();
    let step: StepName = output.step.parse().map_err(invalid)?;
    context.outputs.take(key.rollout, OutputPart { host: host.clone(), step, text: output.text, dropped: output.dropped });
    Ok(())
}
