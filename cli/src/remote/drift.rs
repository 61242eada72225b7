//! Where hosts differ from what was deployed to them, as they told it.

use roadstead_model::Drift;
use roadstead_proto::v1::{AppState, Host};

/// What the last look at an app of a host found; absent while nobody has looked.
pub(crate) fn of_app(state: &AppState) -> Option<Drift> {
    state.drift.clone().and_then(|drift| Drift::try_from(drift).ok())
}

/// As [`of_app`], by the app's name.
pub(crate) fn of_host(host: &Host, app: &str) -> Option<Drift> {
    host.facts.as_ref()?.apps.iter().find(|state| state.app == app).and_then(of_app)
}

/// Every finding of a host, a line each, with the app that it is about.
pub(crate) fn lines(host: &Host) -> Vec<String> {
    let apps = host.facts.as_ref().map(|facts| facts.apps.as_slice()).unwrap_or_default();
    let mut lines = Vec::new();
    for state in apps {
        let Some(drift) = of_app(state) else { continue };
        lines.extend(drift.findings.iter().map(|finding| format!("{}: {finding}", state.app)));
        if drift.more > 0 {
            lines.push(format!("{}: and {} more", state.app, drift.more));
        }
    }
    lines
}
