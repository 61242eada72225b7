//! One look at an app: what should be there beside what is.

use roadstead_deployment::History;
use roadstead_model::{AppName, DriftFinding, DriftPart, Failure, OrderKey, OrderOutcome, ReleaseId};
use roadstead_worker::journal::Journals;
use roadstead_worker::leases::Leases;
use roadstead_worker::state::States;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

use super::memory::{Memory, now};
use super::pace::Pace;
use super::{running, tree, units, wanted};
use crate::facts;
use crate::host::Host;
use crate::layout::Layout;
use crate::steps::release::Release;
use crate::steps::stage::Stage;
use crate::steps::unpack::blobs;
use crate::steps::util::disk;

/// What a look meets the host through.
#[derive(Debug, Clone)]
pub(crate) struct Eyes {
    pub(crate) host: Arc<Host>,
    pub(crate) layout: Layout,
    pub(crate) states: Arc<States>,
    pub(crate) leases: Arc<Leases>,
    pub(crate) journals: Journals,
    pub(crate) stopping: CancellationToken,
}

/// An app that serves a release for good: nothing is under way, and nothing waits to be confirmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AtRest {
    /// The release, by the end of the last order.
    pub(crate) release: ReleaseId,
    /// The last order; another one makes a look worthless.
    last: Option<OrderKey>,
}

impl Eyes {
    /// How an app rests, if it does.
    pub(crate) async fn at_rest(&self, app: &AppName) -> Option<AtRest> {
        let (journals, layout, app) = (self.journals.clone(), self.layout.clone(), app.clone());
        let rest = disk(move || {
            let Ok(orders) = journals.peek(&app) else { return Ok(None) };
            Ok(rests(&History::new(None, orders), facts::current(&layout, &app)))
        });
        rest.await.ok().flatten()
    }

    /// The trees of a release: what differs in them stays so until somebody changes it again.
    pub(crate) async fn trees(&self, app: &AppName, release: &Release) -> Result<Vec<DriftFinding>, Failure> {
        let (layout, app, release, stopping) = (self.layout.clone(), app.clone(), release.clone(), self.stopping.clone());
        disk(move || {
            let store = blobs(&layout)?;
            let mut memory = Memory::of(&layout, &app);
            let before = memory.clone();
            let mut pace = Pace::gentle(stopping);
            let mut findings = Vec::new();
            for tree in wanted::trees(&layout, &store, &release)? {
                let began = now();
                let since = memory.since(&tree.place, began);
                let seen = tree::look(&tree, &store, since, &mut pace);
                memory.looked(&tree, since.is_none(), began, &seen);
                findings.extend(seen.findings);
            }
            // Short looks that found nothing are not worth a write each: then a little more is read after the next start.
            if !pace.is_over() && (memory.was_read_whole_since(&before) || !findings.is_empty()) {
                memory.write(&layout, &app);
            }
            Ok(findings)
        })
        .await
    }

    /// Units, links and processes: what is seen of them may pass by itself.
    pub(crate) async fn passing(&self, app: &AppName, release: &Release) -> Result<Vec<DriftFinding>, Failure> {
        let stage = Stage { host: &self.host, layout: &self.layout, app, own_units: &[] };
        let mut findings = running::links(&self.layout, release);
        findings.extend(units::look(&self.host, &self.layout, release).await?);
        findings.extend(running::processes(&stage, release).await?);
        Ok(findings)
    }

    /// The release as it was prepared here.
    pub(crate) async fn release(&self, app: &AppName, id: &ReleaseId) -> Result<Release, Failure> {
        let (layout, states, leases) = (self.layout.clone(), Arc::clone(&self.states), Arc::clone(&self.leases));
        let (app, id) = (app.clone(), id.clone());
        disk(move || Ok(Release::remembered(&layout, &states, &app, &id)?.under(&leases))).await
    }
}

fn rests(history: &History, linked: Option<ReleaseId>) -> Option<AtRest> {
    if history.unfinished().next().is_some() || history.watch().is_some() {
        return None;
    }
    let Some(last) = history.orders().next_back() else { return Some(AtRest { release: linked?, last: None }) };
    let release = match last.outcome()? {
        OrderOutcome::Done { current } | OrderOutcome::Failed { current, .. } => current.clone()?,
        // Whoever is stuck knows why, and is told by another way.
        OrderOutcome::Stuck { .. } => return None,
    };
    Some(AtRest { release, last: Some(last.order.key()) })
}

/// What is told after a look: what stays, and of what may pass only what was there the last time, too.
pub(crate) fn confirmed(staying: &[DriftFinding], before: &[DriftFinding], passing: &[DriftFinding]) -> Vec<DriftFinding> {
    let seen_twice = passing.iter().filter(|finding| before.iter().any(|known| is_same(known, finding)));
    staying.iter().chain(seen_twice).cloned().collect()
}

/// Whether something is seen that was not there the last time.
pub(crate) fn is_news(before: &[DriftFinding], passing: &[DriftFinding]) -> bool {
    passing.iter().any(|finding| !before.iter().any(|known| is_same(known, finding)))
}

/// What there is instead may change while the difference stays, such as the number of a process.
fn is_same(one: &DriftFinding, other: &DriftFinding) -> bool {
    let kind = |finding: &DriftFinding| -> (DriftPart, _, String) { (finding.part, finding.how, finding.place.clone()) };
    kind(one) == kind(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_deployment::{Phase, Status};
    use roadstead_model::{Differs, Millis, OrderKind, ReleaseRef};
    use roadstead_worker::samples::order;

    fn finding(place: &str, detail: &str) -> DriftFinding {
        DriftFinding::new(DriftPart::Process, Differs::Down, place, detail)
    }

    #[test]
    fn what_may_pass_is_told_when_it_is_seen_twice() {
        let (staying, one, two) = ([finding("tree", "")], [finding("web", "1")], [finding("web", "2"), finding("beat", "")]);
        assert_eq!(confirmed(&staying, &[], &one), staying);
        assert!(is_news(&[], &one) && is_news(&one, &two) && !is_news(&two, &one) && !is_news(&one, &[]));
        assert_eq!(confirmed(&[], &one, &two), [finding("web", "2")]);
    }

    #[test]
    fn a_host_under_an_order_is_not_looked_at() {
        let id = |text: &str| ReleaseId::parse(text).unwrap();
        let release = id("1.0-0123456789ab");
        let reference = ReleaseRef { id: release.clone(), manifest: roadstead_model::Digest::of(b"x") };
        let activate = || OrderKind::Activate { release: reference.clone(), expected: None, confirm_within: Millis(1) };
        let ended = |number, kind, outcome| Status { phase: Phase::Ended { outcome }, ..Status::new(order(1, number, kind)) };
        let done = |number, kind| ended(number, kind, OrderOutcome::Done { current: Some(release.clone()) });
        assert_eq!(rests(&History::new(None, []), None), None);
        assert_eq!(rests(&History::new(None, []), Some(release.clone())).unwrap().release, release);
        assert_eq!(rests(&History::new(None, [Status::new(order(1, 3, activate()))]), Some(release.clone())), None);
        assert_eq!(rests(&History::new(None, [done(3, activate())]), Some(release.clone())), None, "it is not confirmed");
        let confirm = OrderKind::Confirm { release: reference.clone() };
        // Whatever the link says now: the order said what serves.
        let rest = rests(&History::new(None, [done(3, activate()), done(4, confirm)]), Some(id("0.9-0123456789ab")));
        assert_eq!(rest.unwrap().release, release);
    }
}
