//! Where every host stands in a rollout, hosts of one state together.

use roadstead_proto::v1::{Rollout, RolloutHost};
use serde::Serialize;
use std::fmt;

use super::{has_ended, names};

/// Hosts of one state.
#[derive(Debug, Serialize)]
pub(crate) struct Standing {
    /// The state's word.
    pub(crate) state: String,
    /// What it means.
    pub(crate) meaning: String,
    /// Who.
    pub(crate) hosts: Vec<String>,
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.state, names(self.hosts.iter().map(String::as_str)), self.meaning)
    }
}

/// Every state that a host is in, those that want a person first.
pub(super) fn standing(rollout: &Rollout) -> Vec<Standing> {
    let mut all: Vec<Standing> = Vec::new();
    for RolloutHost { state, host_name, .. } in &rollout.hosts {
        match all.iter_mut().find(|known| known.state == *state) {
            Some(known) => known.hosts.push(host_name.clone()),
            None => all.push(Standing { state: state.clone(), meaning: meaning(rollout, state), hosts: vec![host_name.clone()] }),
        }
    }
    all.sort_by_key(|standing| (standing.state != "stuck", standing.state != "failed"));
    all
}

fn meaning(rollout: &Rollout, state: &str) -> String {
    let (release, running) = (&rollout.release, !has_ended(rollout));
    let before = match rollout.previous.as_str() {
        "" => "what was there before (nothing, where it was the first)",
        previous => previous,
    };
    match state {
        "confirmed" => format!("serves {release} for good"),
        "healthy" if running => format!("serves {release}; what served before is warm and can have the traffic back at once"),
        "healthy" => format!("serves {release}"),
        "prepared" => "has the release on its disk, and serves what it served before".to_owned(),
        "waiting" => "has not heard of it yet".to_owned(),
        "preparing" => "fetches and lays out the release, and serves what it served before".to_owned(),
        "migrating" => "runs the migrations, and serves what it served before".to_owned(),
        "tending" => "works for the database, and serves what it serves".to_owned(),
        "surveying" => "looks what a restore would lose, and serves what it served before".to_owned(),
        "halting" => "stops everything of the app".to_owned(),
        "halted" => "runs nothing of the app: its database is being restored".to_owned(),
        "restoring" => "restores the backup beside the database, and runs nothing of the app".to_owned(),
        "exchanging" => "puts what it restored in the place of the database, and runs nothing of the app".to_owned(),
        "draining" => "gets no new requests any more, and moves when those in flight have ended".to_owned(),
        "returning" => format!("serves {release}, and is to get its traffic back"),
        "moving" => "is giving the traffic to the release".to_owned(),
        "confirming" => format!("serves {release}, and lets what served before go"),
        "failed" => "undid what it had begun, and serves what it served before".to_owned(),
        "reverting" => format!("is giving the traffic back to {before}"),
        "reverted" => format!("serves {before} again"),
        "abandoning" => "clears up what it had prepared, and serves what it served before".to_owned(),
        "abandoned" => "has cleared up, and serves what it served before".to_owned(),
        "level-later" => "was left out; it comes level by itself when it is heard again".to_owned(),
        "away" => "is not heard at the moment; what it serves goes on serving".to_owned(),
        "stuck" => "could go neither forward nor back: a person has to look".to_owned(),
        _ => "waits".to_owned(),
    }
}
