//! `roadstead-agent status`: what this host knows of itself, read from its disk alone.

use roadstead_deployment::Status;
use roadstead_model::{AppName, Drift, OrderOutcome, ReleaseId};
use roadstead_worker::failure::chain;
use serde_json::{Value, json};
use std::fmt::Write as _;

use crate::drift;
use crate::facts;
use crate::identity::Identity;
use crate::layout::Layout;
use crate::remembered;

/// What this host knows of itself.
#[derive(Debug)]
pub(crate) struct Report {
    identity: Result<Identity, String>,
    apps: Vec<App>,
}

#[derive(Debug)]
struct App {
    name: AppName,
    current: Option<ReleaseId>,
    previous: Option<ReleaseId>,
    releases: Vec<ReleaseId>,
    bad: Vec<ReleaseId>,
    orders: Result<Vec<Status>, String>,
    /// What the last look found; absent where nobody has looked.
    drift: Option<Drift>,
}

impl Report {
    /// Reads it.
    pub(crate) fn read(layout: &Layout) -> Self {
        let (states, journals) = (remembered::states(layout), remembered::journals(layout));
        let app = |name: AppName| {
            let state = facts::look(layout, &states, &name);
            let orders = journals.peek(&name).map_err(|error| chain(&error)).map(|mut orders| {
                orders.sort_by_key(|status| status.order.fence);
                orders
            });
            let drift = drift::told(layout, &name);
            App { drift, current: state.current, previous: state.previous, releases: state.releases, bad: state.bad, orders, name }
        };
        Self {
            identity: Identity::load(layout).map_err(|error| chain(&error)),
            apps: facts::apps_on_disk(layout).into_iter().map(app).collect(),
        }
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        match &self.identity {
            Ok(identity) => {
                let _ = writeln!(text, "host        {}", identity.host());
                let _ = writeln!(text, "controller  {}", identity.controller());
                let _ = writeln!(text, "certificate {}", identity.validity());
            }
            Err(why) => {
                let _ = writeln!(text, "host        not enrolled: {why}");
            }
        }
        for app in &self.apps {
            let name = |release: &Option<ReleaseId>| release.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
            let _ = writeln!(text, "\n{}", app.name);
            let _ = writeln!(text, "  serves    {}", name(&app.current));
            let _ = writeln!(text, "  before    {}", name(&app.previous));
            let _ = writeln!(text, "  releases  {} on disk, {} bad", app.releases.len(), app.bad.len());
            if let Some(drift) = &app.drift {
                let _ = writeln!(text, "  drift     {}", drift.summary());
                for finding in &drift.findings {
                    let _ = writeln!(text, "            {finding}");
                }
            }
            match &app.orders {
                Ok(orders) => {
                    if let Some(last) = orders.last() {
                        let _ = writeln!(text, "  last      {}", spoken(last));
                    }
                }
                Err(why) => {
                    let _ = writeln!(text, "  stuck     {why}");
                }
            }
        }
        if self.apps.is_empty() {
            text.push_str("\nno apps yet\n");
        }
        text
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        let app = |app: &App| {
            let last = app.orders.as_ref().ok().and_then(|orders| orders.last());
            json!({
                "name": app.name, "current": app.current, "previous": app.previous, "releases": app.releases, "bad": app.bad,
                "drift": app.drift, "stuck": app.orders.as_ref().err(),
                "last": last.map(|status| json!({
                    "rollout": status.order.fence.rollout, "sequence": status.order.fence.sequence, "verb": status.order.kind.verb(),
                    "phase": status.phase.word(), "outcome": status.outcome(),
                })),
            })
        };
        let identity = self.identity.as_ref().ok();
        json!({
            "version": 1,
            "host": identity.map(|identity| identity.host().to_string()),
            "controller": identity.map(Identity::controller),
            "certificate_valid_until_ms": identity.map(|identity| identity.valid_until().0),
            "apps": self.apps.iter().map(app).collect::<Vec<_>>(),
        })
    }
}

fn spoken(status: &Status) -> String {
    let order = format!("{} ({} order {})", status.order.kind.verb(), status.order.fence.rollout, status.order.fence.sequence);
    match (status.outcome(), &status.lapsed) {
        (_, Some(why)) => format!("{order}: went back: {why}"),
        (Some(OrderOutcome::Done { .. }), None) => format!("{order}: done"),
        (Some(OrderOutcome::Failed { step, failure, .. }), None) => format!("{order}: failed at {step}: {failure}"),
        (Some(OrderOutcome::Stuck { step, failure, .. }), None) => format!("{order}: stuck at {step}: {failure}; {}", failure.hint),
        (None, None) => format!("{order}: {}", status.phase.word()),
    }
}
