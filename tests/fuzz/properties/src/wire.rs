//! What peers send: bytes, messages, and the model behind them.

use prost::Message;
use roadstead_model::{HostFacts, LeaseAsk, LeaseTable, Order, OrderKind, Report, TrafficSeen, TrafficTable, limits};
use roadstead_proto::v1;
use std::fmt::Debug;

/// The message in these bytes. As bytes again, it is the same message.
fn read<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) -> Option<M> {
    let message = M::decode(bytes).ok()?;
    assert_eq!(M::decode(&*message.encode_to_vec()).unwrap(), message, "a message changes on its way");
    Some(message)
}

/// An order that an agent takes says on the wire what it said, and stays within its limits.
pub fn order(bytes: &[u8]) {
    let Some(order) = read::<v1::Order>(bytes).and_then(|wire| Order::try_from(wire).ok()) else { return };
    assert_eq!(Order::try_from(v1::Order::from(order.clone())).as_ref(), Ok(&order));
    let release = order.kind.release();
    assert!(release.id.bare().as_str().ends_with(&release.manifest.short()), "a release's id and digest do not belong together");
    if let OrderKind::Prepare { variables, files, singletons, .. } = &order.kind {
        assert!(
            variables.len() <= limits::VARIABLES_MAX
                && singletons.len() <= limits::SERVICES_MAX
                && files.len() <= limits::CONFIGURED_FILES_MAX
        );
        assert!(variables.values().chain(files.values()).all(|value| value.len() <= limits::VARIABLE_VALUE_BYTES_MAX));
    }
    // An order is also what a journal begins with.
    assert_eq!(serde_json::from_slice::<Order>(&serde_json::to_vec(&order).unwrap()).unwrap(), order);
}

/// A report that a controller takes says on the wire what it said.
pub fn report(bytes: &[u8]) {
    let Some(report) = read::<v1::Report>(bytes).and_then(|wire| Report::try_from(wire).ok()) else { return };
    assert_eq!(Report::try_from(v1::Report::from(report.clone())).as_ref(), Ok(&report));
    assert_eq!(serde_json::from_slice::<Report>(&serde_json::to_vec(&report).unwrap()).unwrap(), report);
}

/// Facts that a controller takes of a host say on the wire what they said, and hold nothing that a terminal would obey.
pub fn facts(bytes: &[u8]) {
    let Some(facts) = read::<v1::HostFacts>(bytes).and_then(|wire| HostFacts::try_from(wire).ok()) else { return };
    assert_eq!(HostFacts::try_from(v1::HostFacts::from(facts.clone())).as_ref(), Ok(&facts));
    let pythons = facts.pythons.iter().flat_map(|python| [&python.version, &python.path]);
    let texts = [&facts.agent_version, &facts.operating_system, &facts.architecture, &facts.systemd, &facts.boot_id];
    let findings = facts.apps.values().flat_map(|app| &app.drift).flat_map(|drift| &drift.findings);
    let drift = findings.flat_map(|finding| [&finding.place, &finding.detail]);
    assert!(texts.into_iter().chain(pythons).chain(drift).all(|text| !text.contains(char::is_control)));
}

/// Every message that somebody receives survives its own writing; what it carries is converted as in its own target. The first byte
/// says which message it is.
pub fn message(bytes: &[u8]) {
    let Some((which, rest)) = bytes.split_first() else { return };
    let readers: [fn(&[u8]); 27] = [
        from_agent,
        from_controller,
        only::<v1::EnrollHostRequest>,
        only::<v1::EnrollHostResponse>,
        only::<v1::EnrollAdminRequest>,
        only::<v1::EnrollAdminResponse>,
        only::<v1::FetchReleaseRequest>,
        only::<v1::FetchReleaseResponse>,
        only::<v1::FetchBlobsRequest>,
        only::<v1::BlobPart>,
        only::<v1::RenewRequest>,
        only::<v1::RenewResponse>,
        only::<v1::MissingBlobsRequest>,
        only::<v1::UploadPart>,
        only::<v1::PublishReleaseRequest>,
        only::<v1::ApplyEnvironmentRequest>,
        only::<v1::StartRolloutRequest>,
        only::<v1::SteerRolloutRequest>,
        only::<v1::RollbackRequest>,
        only::<v1::ListEventsRequest>,
        only::<v1::StepOutputRequest>,
        only::<v1::CreateTokenRequest>,
        only::<v1::RevokeHostRequest>,
        only::<v1::Rollout>,
        only::<v1::Release>,
        only::<v1::Host>,
        only::<v1::Event>,
    ];
    readers[usize::from(*which) % readers.len()](rest);
}

fn only<M: Message + Default + PartialEq + Debug>(bytes: &[u8]) {
    drop(read::<M>(bytes));
}

fn from_agent(bytes: &[u8]) {
    use v1::agent_message::Kind;
    match read::<v1::AgentMessage>(bytes).and_then(|message| message.kind) {
        Some(Kind::Hello(hello)) => {
            hello.facts.iter().for_each(|wire| facts(&wire.encode_to_vec()));
            hello.outcomes.iter().for_each(|wire| report(&wire.encode_to_vec()));
        }
        Some(Kind::Report(wire)) => report(&wire.encode_to_vec()),
        Some(Kind::Facts(wire)) => facts(&wire.encode_to_vec()),
        Some(Kind::Traffic(wire)) => {
            if let Ok(seen) = TrafficSeen::try_from(wire) {
                assert_eq!(TrafficSeen::try_from(v1::TrafficSeen::from(seen.clone())).as_ref(), Ok(&seen));
            }
        }
        Some(Kind::Lease(wire)) => {
            if let Ok(ask) = LeaseAsk::try_from(wire) {
                assert_eq!(LeaseAsk::try_from(v1::LeaseAsk::from(ask.clone())).as_ref(), Ok(&ask));
            }
        }
        Some(Kind::Heartbeat(_) | Kind::Output(_)) | None => {}
    }
}

fn from_controller(bytes: &[u8]) {
    use v1::controller_message::Kind;
    match read::<v1::ControllerMessage>(bytes).and_then(|message| message.kind) {
        Some(Kind::Order(wire)) => order(&wire.encode_to_vec()),
        Some(Kind::Traffic(wire)) => {
            if let Ok(table) = TrafficTable::try_from(wire) {
                assert_eq!(TrafficTable::try_from(v1::TrafficTable::from(table.clone())).as_ref(), Ok(&table));
            }
        }
        Some(Kind::Lease(wire)) => {
            if let Ok(table) = LeaseTable::try_from(wire) {
                assert_eq!(LeaseTable::try_from(v1::LeaseTable::from(table.clone())).as_ref(), Ok(&table));
            }
        }
        _ => {}
    }
}
