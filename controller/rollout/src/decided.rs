//! What of a plan decides. Its digest is what is shown before and what a deployment can be bound to. (Of one that waited at its gates,
//! what hosts serve is looked at once more when it begins.)

use roadstead_model::{Digest, HostId, Promotion, ReleaseRef, RolloutId, ServiceName, Weight, differences};
use std::collections::BTreeSet;

use crate::plan::{Bake, Plan, PlannedHost};

impl Plan {
    /// The BLAKE3 digest of all of the plan but the rollout's number, as canonical JSON: fields in their order, maps sorted, no spaces.
    ///
    /// Whatever is added to a plan is a part of it without a line here: nothing that decides can be left out by oversight.
    ///
    /// # Panics
    /// Never: every field is plain data with string keys.
    #[must_use]
    #[expect(clippy::expect_used, reason = "plain structs with string keys always encode as JSON")]
    pub fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(&self.decided()).expect("a plan is plain data"))
    }

    /// What a newer plan decides otherwise, a line for each: which host, which setting. Empty when both have the same digest. Values of
    /// variables are not told.
    #[must_use]
    pub fn told_apart(&self, newer: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        self.tell_settings(newer, &mut lines);
        for batch in 0..self.bakes.len().max(newer.bakes.len()) {
            let (old, new) = (self.bakes.get(batch), newer.bakes.get(batch));
            // A batch that there was not, or is no more, is told by the number of batches.
            if self.batches == newer.batches || (old.is_some() && new.is_some()) {
                tell_bake(batch, old, new, &mut lines);
            }
        }
        let ids: BTreeSet<&HostId> = self.hosts.keys().chain(newer.hosts.keys()).collect();
        let mut hosts: Vec<_> = ids.into_iter().map(|id| (self.hosts.get(id), newer.hosts.get(id))).collect();
        hosts.sort_by_key(|(old, new)| new.or(*old).map(|host| (host.batch, host.name.clone())));
        hosts.into_iter().for_each(|(old, new)| tell_host(old, new, &mut lines));
        lines
    }

    /// All but hosts and bakes, field by field.
    fn tell_settings(&self, newer: &Self, lines: &mut Vec<String>) {
        let bare = |plan: &Self| {
            let mut plan = plan.decided();
            plan.hosts.clear();
            plan.bakes.clear();
            plan
        };
        let found = match differences(&bare(self), &bare(newer)) {
            Ok(found) => found,
            Err(error) => return lines.push(error.to_string()),
        };
        // A release's id holds the beginning of its manifest's digest.
        let is_said = |field: &str| field.strip_suffix(".manifest").is_some_and(|of| found.iter().any(|d| d.field == format!("{of}.id")));
        lines.extend(found.iter().filter(|difference| !is_said(&difference.field)).map(ToString::to_string));
    }

    fn decided(&self) -> Self {
        Self { rollout: RolloutId(0), ..self.clone() }
    }
}

fn tell_host(old: Option<&PlannedHost>, new: Option<&PlannedHost>, lines: &mut Vec<String>) {
    let (old, new) = match (old, new) {
        (Some(old), Some(new)) => (old, new),
        (None, Some(new)) => return lines.push(format!("{} takes part now, in batch {}", new.name, number(new.batch))),
        (Some(old), None) => return lines.push(format!("{} takes no part any more", old.name)),
        (None, None) => return,
    };
    let PlannedHost { name, batch, current, singletons, share, overrides } = old;
    if *name != new.name {
        lines.push(format!("{name} is called {} now", new.name));
    }
    if *batch != new.batch {
        lines.push(format!("{}: batch {} → {}", new.name, number(*batch), number(new.batch)));
    }
    if *current != new.current {
        lines.push(format!("{} serves {} → {}", new.name, release(current.as_ref()), release(new.current.as_ref())));
    }
    if *share != new.share {
        let said = |share: Option<Weight>| share.map_or_else(|| "none".to_owned(), |share| share.to_string());
        lines.push(format!("{} has of the traffic {} → {}", new.name, said(*share), said(new.share)));
    }
    if *overrides != new.overrides {
        lines.push(format!("{} is told other values by its labels", new.name));
    }
    if *singletons != new.singletons {
        lines.push(format!("{} is chosen for {} → {}", new.name, services(singletons), services(&new.singletons)));
    }
}

fn tell_bake(batch: usize, old: Option<&Bake>, new: Option<&Bake>, lines: &mut Vec<String>) {
    let words = |bake: Option<&Bake>| {
        let Some(Bake { time, promotion, traffic }) = bake else { return "nothing".to_owned() };
        let promotion = if *promotion == Promotion::Manual { " and a promotion" } else { "" };
        let traffic = traffic.map(|part| format!(" with {part} of the traffic")).unwrap_or_default();
        format!("{time}{promotion}{traffic}")
    };
    if old != new {
        let (before, after) = (words(old), words(new));
        // Two spans may read the same when they are rounded.
        let exactly = match (old, new) {
            (Some(old), Some(new)) if before == after => format!(" ({} → {} ms)", old.time.0, new.time.0),
            _ => String::new(),
        };
        lines.push(format!("the bake of batch {}: {before} → {after}{exactly}", batch + 1));
    }
}

/// As people count.
const fn number(batch: u32) -> u32 {
    batch.saturating_add(1)
}

fn release(release: Option<&ReleaseRef>) -> String {
    release.map_or_else(|| "nothing".to_owned(), |release| release.id.to_string())
}

fn services(services: &[ServiceName]) -> String {
    match services {
        [] => "no service".to_owned(),
        some => some.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests;
