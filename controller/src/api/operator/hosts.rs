//! Hosts: showing them, and cutting them off.

use roadstead_model::{EnvironmentName, HostId};
use roadstead_proto::v1;
use tonic::Status;

use super::super::Context;
use super::super::status::{invalid, not_now, refused, stored, unknown};
use super::{Admin, releases::reason};
use crate::clock;
use crate::store::HostRecord;
use roadstead_driver::{Event, Refused, Repair};

/// Findings of all hosts together that are told one by one: they have to fit a message.
const FINDINGS_MAX: usize = 2000;

pub(super) async fn list(context: &Context, request: v1::ListHostsRequest) -> Result<v1::ListHostsResponse, Status> {
    let environment = match request.environment.as_str() {
        "" => None,
        name => Some(EnvironmentName::parse(name).map_err(invalid)?),
    };
    let mut hosts = context.store.hosts(environment.as_ref()).await.map_err(stored)?;
    let mut room = FINDINGS_MAX;
    for drift in hosts.iter_mut().flat_map(|host| host.facts.apps.values_mut()).filter_map(|app| app.drift.as_mut()) {
        room -= drift.cut(room).min(room);
    }
    Ok(v1::ListHostsResponse { hosts: hosts.into_iter().map(|host| shown(context, host)).collect() })
}

fn shown(context: &Context, host: HostRecord) -> v1::Host {
    let heard = context.sessions.last_heard(&host.id);
    v1::Host {
        id: host.id.to_string(),
        name: host.name.to_string(),
        environment: host.environment.to_string(),
        labels: host.labels.iter().map(|(key, value)| format!("{key}={value}")).collect(),
        connected: heard.is_some(),
        last_seen_ms: heard.unwrap_or(host.last_seen).0,
        enrolled_at_ms: host.enrolled_at.0,
        revoked: host.revoked_at.is_some(),
        facts: Some(host.facts.into()),
        certificate_not_after_ms: host.certificate_not_after.0,
        locked: host.locked,
        ahead: context.driver.holds(&host.id),
    }
}

/// The host that a person means by an id or a name.
pub(super) async fn meant(context: &Context, text: &str) -> Result<HostRecord, Status> {
    if let Ok(id) = HostId::parse(text)
        && let Some(host) = context.store.host(&id).await.map_err(stored)?
    {
        return Ok(host);
    }
    let mut named: Vec<_> = context.store.hosts(None).await.map_err(stored)?;
    named.retain(|host| host.name.as_str() == text);
    // Those that were cut off matter only when there is no other.
    if named.iter().any(|host| host.revoked_at.is_none()) {
        named.retain(|host| host.revoked_at.is_none());
    }
    match named.len() {
        0 => Err(unknown(format!("there is no host {:?}", text.chars().take(80).collect::<String>()), "see `roadstead host list`")),
        1 => Ok(named.remove(0)),
        count => Err(not_now(format!("{count} hosts have the name {text}"), "give its id: see `roadstead host list`")),
    }
}

pub(super) async fn revoke(context: &Context, admin: &Admin, request: v1::RevokeHostRequest) -> Result<v1::RevokeHostResponse, Status> {
    let host = meant(context, &request.host).await?;
    let reason = reason(&request.reason)?;
    context.store.revoke_host(host.id.clone(), admin.actor(), reason, clock::now()).await.map_err(stored)?;
    context.access.shut_host_out(&host.id);
    context.sessions.cut(&host.id);
    context.driver.tell(Event::Revoked { host: host.id }).await;
    Ok(v1::RevokeHostResponse {})
}

pub(super) async fn repair(context: &Context, admin: &Admin, request: v1::RepairHostRequest) -> Result<v1::RepairHostResponse, Status> {
    let host = meant(context, &request.host).await?;
    let reason = reason(&request.reason)?;
    if host.revoked_at.is_some() {
        return Err(not_now(format!("{} was cut off", host.name), "nothing reaches it; let it in again: see `roadstead host token`"));
    }
    let repair = Repair { host: host.id, reason, by: admin.actor() };
    let begun = context.driver.repair(repair).await.map_err(|error| refused(Refused::Ledger(error)))?;
    if begun.is_empty() {
        let hint = "see `roadstead status`: its environments run nothing, or none of them counts it among its hosts";
        return Err(not_now(format!("there is nothing that {} should run", host.name), hint));
    }
    Ok(v1::RepairHostResponse { begun })
}
