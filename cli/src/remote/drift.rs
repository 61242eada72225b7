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

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_proto::v1::{Drift as WireDrift, DriftFinding, HostFacts};

    fn host(findings: Vec<DriftFinding>, more: u32) -> Host {
        let app = AppState { app: "erp".into(), drift: Some(WireDrift { findings, more }), ..Default::default() };
        Host { facts: Some(HostFacts { apps: vec![app], ..Default::default() }), ..Default::default() }
    }

    fn finding(how: &str, place: &str) -> DriftFinding {
        DriftFinding { part: "tree".into(), how: how.into(), place: place.into(), detail: String::new() }
    }

    #[test]
    fn each_finding_is_a_line_and_what_is_left_out_is_counted() {
        let host = host(vec![finding("changed", "/srv/a.py"), finding("melted", "/srv/b.py")], 3);
        assert_eq!(lines(&host), ["erp: /srv/a.py was changed", "erp: /srv/b.py differs", "erp: and 3 more"]);
        assert_eq!(of_host(&host, "erp").unwrap().wrong(), 5);
        assert_eq!((of_host(&host, "shop"), lines(&Host::default()).len()), (None, 0));
    }

    #[test]
    fn what_a_terminal_would_obey_is_not_shown() {
        assert_eq!(lines(&host(vec![finding("changed", "a\u{1b}[2J")], 0)), [""; 0]);
    }
}
