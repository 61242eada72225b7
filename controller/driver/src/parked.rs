//! What operators ask for comes before what the controller does by itself: a rollout that brings hosts level gives way to it.

use roadstead_model::{AppName, EnvironmentName, Millis, RolloutId, Timestamp};
use roadstead_rollout::{Event, RolloutKind};
use std::sync::Arc;
use tokio::sync::oneshot;

use super::{Loop, Refused, RestoreRequest, RolloutRecord, StartRequest, Verb};

/// How long something that is asked for waits for another rollout to give way.
const PATIENCE: Millis = Millis::from_secs(120);

type Reply = oneshot::Sender<Result<Arc<RolloutRecord>, Refused>>;

/// Something that is asked for and waits.
#[derive(Debug)]
pub(super) struct Parked {
    verb: Verb,
    answer: Reply,
    /// What it waits for.
    behind: RolloutId,
    /// When it is refused.
    pub(super) until: Timestamp,
}

impl Loop {
    /// Parks what would be refused because hosts are being brought level or a backup is made, and tells that rollout to give way. Gives back all else.
    pub(super) fn park(&mut self, verb: Verb, answer: Reply) -> Option<(Verb, Reply)> {
        let Some((environment, app, by)) = wants_another(&verb) else { return Some((verb, answer)) };
        let Some(behind) = self.unfinished(environment, app) else { return Some((verb, answer)) };
        if self.running.get(&behind).is_none_or(|r| !gives_way(r.state().plan.kind)) {
            return Some((verb, answer));
        }
        let by = by.to_owned();
        self.decide(behind, Event::GiveWay { by });
        self.parked.push(Parked { verb, answer, behind, until: self.parts.clock.steady().plus(PATIENCE) });
        None
    }

    /// Does what has waited for long enough, and refuses what has waited for too long. Says whether anything was done.
    pub(super) async fn unpark(&mut self) -> bool {
        let now = self.parts.clock.steady();
        let waits = |parked: &Parked| self.running.contains_key(&parked.behind) && now < parked.until;
        let (waiting, due): (Vec<_>, Vec<_>) = std::mem::take(&mut self.parked).into_iter().partition(waits);
        self.parked = waiting;
        let any = !due.is_empty();
        for parked in due {
            // Whoever went away since does not expect anything to begin now.
            if !parked.answer.is_closed() {
                self.answer(parked.verb, parked.answer).await;
            }
        }
        any
    }
}

/// Where another rollout is wanted, and by whom.
fn wants_another(verb: &Verb) -> Option<(&EnvironmentName, &AppName, &str)> {
    match verb {
        Verb::Start(StartRequest { environment, app, by, .. }) | Verb::Rollback { environment, app, by, .. } => {
            Some((environment, app, by))
        }
        Verb::Restore(RestoreRequest { environment, app, by, .. }) => Some((environment, app, by)),
        Verb::Tend(_) | Verb::Steer { .. } => None,
    }
}

/// Whether whatever else an operator asks for comes first.
pub(super) const fn gives_way(kind: RolloutKind) -> bool {
    matches!(kind, RolloutKind::Level | RolloutKind::Tend)
}
