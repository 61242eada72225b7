//! Where what runs only once runs, and what keeps it from it.

use roadstead_model::{AppName, ServiceName};
use roadstead_proto::v1;
use tonic::Status;

use super::super::Context;
use super::super::status::stored;
use crate::store::{EnvironmentRecord, HostRecord};

/// The homes of what the release runs only once that an environment runs.
pub(super) async fn of(context: &Context, record: &EnvironmentRecord) -> Result<Vec<v1::Home>, Status> {
    let Some(current) = &record.current else { return Ok(Vec::new()) };
    let Some(release) = context.store.release(&current.release.manifest).await.map_err(stored)? else { return Ok(Vec::new()) };
    let services = release.manifest.spec.services.iter().filter(|(_, service)| service.kind.is_singleton());
    let names: Vec<&ServiceName> = services.map(|(name, _)| name).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let spec = &record.spec;
    let known = context.store.singletons(&spec.name, &spec.app).await.map_err(stored)?;
    let hosts = context.store.hosts(Some(&spec.name)).await.map_err(stored)?;
    let home = |name: &&ServiceName| {
        let id = known.iter().find(|(service, _)| service == *name).map(|(_, host)| host);
        let host = id.and_then(|id| hosts.iter().find(|host| host.id == *id && host.revoked_at.is_none()));
        let problem = match host {
            Some(host) => problem(&spec.app, name, host, context.sessions.is_open(&host.id)),
            None => "it has no host to run on".to_owned(),
        };
        v1::Home { service: name.to_string(), host: host.map(|host| host.name.to_string()).unwrap_or_default(), problem }
    };
    Ok(names.iter().map(home).collect())
}

/// What keeps a service from running on its host, as far as is known.
fn problem(app: &AppName, service: &ServiceName, host: &HostRecord, is_open: bool) -> String {
    let state = host.facts.apps.get(app).filter(|state| state.current.is_some());
    match state.map(|state| &state.listed) {
        _ if !is_open => format!("{}, where it runs, is away", host.name),
        None => format!("it comes to {}, where nothing runs yet", host.name),
        Some(Some(listed)) if !listed.contains(service) => format!("it comes to {}, which was not prepared to run it yet", host.name),
        Some(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_driver::samples;
    use roadstead_model::AppState;

    #[test]
    fn what_is_known_to_keep_it_from_running_is_told() {
        let (app, beat) = (samples::app(), ServiceName::parse("beat").unwrap());
        let mut host = samples::host_record(1);
        let mut told = |listed: Option<&[&ServiceName]>, is_open| {
            let state = AppState {
                current: Some(samples::release("1.0").id()),
                listed: listed.map(|listed| listed.iter().map(|name| (*name).clone()).collect()),
                ..AppState::default()
            };
            host.facts.apps.insert(app.clone(), state);
            problem(&app, &beat, &host, is_open)
        };
        assert_eq!((told(Some(&[&beat]), true), told(None, true)), (String::new(), String::new()));
        assert!(told(Some(&[&beat]), false).ends_with("is away"));
        assert!(told(Some(&[]), true).ends_with("was not prepared to run it yet"));
        host.facts.apps.clear();
        assert!(problem(&app, &beat, &host, true).ends_with("where nothing runs yet"));
    }
}
