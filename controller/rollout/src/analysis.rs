//! A release is judged while it bakes: by numbers of a metrics server and by answers to somebody who asks its hosts from outside. What
//! they are is seen by whoever drives the rollout, and told with [`Event::Looked`](crate::Event::Looked).
//!
//! A batch's bake ends when its time is over and everything passed at the latest look, which was taken after the batch had moved. What
//! fails takes the rollout back. What tells nothing for too long asks an operator: no number is no pass, and none is guessed.

use roadstead_model::{Analysis, Failure, FailureKind, HostName, Timestamp};
use serde::{Deserialize, Serialize};

use crate::ending::go_back;
use crate::hold;
use crate::judging::{self, Answer, Judgement, Numbers, Said};
use crate::settle::bake_of;
use crate::{Note, Phase, PlannedHost, Stage, Standing, State};

/// What looking at a batch that bakes has told so far.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looks {
    /// The batch.
    pub batch: u32,
    /// Since when it bakes. Looks at another bake, or from before a restart, say nothing of this one.
    since: Timestamp,
    /// Since when all is to pass: an operator may have begun that anew.
    anew: Timestamp,
    /// When was looked last.
    pub at: Timestamp,
    /// What was seen then: the queries, then the checks, in the order of the plan.
    pub of: Vec<Look>,
}

/// What is said of a query or a check, and how often in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Its name.
    pub name: String,
    /// Whether it lets the rollout go on.
    pub judgement: Judgement,
    /// What was found, shortly; empty where nothing was.
    pub value: String,
    /// What follows the name in a sentence.
    pub told: String,
    /// How often it failed since it passed last.
    pub failed: u32,
    /// How often it told nothing since it passed last.
    pub unknown: u32,
}

/// What is to be found out of a release that bakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Questions {
    /// The batch that bakes.
    pub batch: u32,
    /// The metrics server, where there are queries.
    pub prometheus: String,
    /// Of each query what to ask about the hosts that serve the release, and about those that serve the one before.
    pub queries: Vec<(String, Option<String>)>,
    /// Of each check what to ask each host.
    pub checks: Vec<Vec<Question>>,
}

/// What one host is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Which host.
    pub host: HostName,
    /// What for.
    pub url: String,
    /// The status of a good answer.
    pub status: u16,
    /// What a good answer contains.
    pub contains: Option<String>,
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Findings {
    /// Of each query.
    pub queries: Vec<Numbers>,
    /// Of each check, host by host.
    pub checks: Vec<Vec<(String, Answer)>>,
}

/// By what a batch is judged before its bake ends; nothing where it is not.
fn judged_by(state: &State, batch: u32) -> Option<&Analysis> {
    let skipped = state.skips_bakes && batch + 1 < state.plan.batches;
    let analysis = state.plan.analysis.as_ref().filter(|_| !skipped && !state.gives_way)?;
    // Where nobody serves the release there is nothing to look at.
    canaries(state).next().map(|_| analysis)
}

/// The hosts that serve the release.
fn canaries(state: &State) -> impl Iterator<Item = &PlannedHost> {
    let serves = |host: &crate::Host| host.stage == Stage::Healthy && host.standing != Standing::Excluded;
    state.hosts.iter().filter(move |(_, host)| serves(host)).filter_map(|(id, _)| state.plan.hosts.get(id))
}

/// The hosts that are to move still, and serve another release until then. Those that are away are among them: where they have no
/// numbers, that tells nothing, and is not taken for the end of the rollout.
fn others(state: &State) -> impl Iterator<Item = &PlannedHost> {
    let waits = |host: &crate::Host| host.stage == Stage::Prepared;
    let planned = state.hosts.iter().filter(move |(_, host)| waits(host)).filter_map(|(id, _)| state.plan.hosts.get(id));
    planned.filter(|host| host.current.as_ref().is_some_and(|current| *current != state.plan.release))
}

/// The looks at the bake that runs.
#[must_use]
pub fn looks(state: &State) -> Option<&Looks> {
    let Phase::Baking { batch, since } = state.phase else { return None };
    Some(&state.looks).filter(|looks| (looks.batch, looks.since) == (batch, since) && !looks.of.is_empty())
}

/// When it is to be looked, which is at once for a batch that has just moved; nothing while no batch bakes that is judged.
#[must_use]
pub fn look_due(state: &State) -> Option<Timestamp> {
    let Phase::Baking { batch, since } = state.phase else { return None };
    let analysis = judged_by(state, batch)?;
    // What decides is seen when the bake's time is over, not before.
    let end = since.plus(bake_of(state, batch).time);
    let next = |at: Timestamp| if at < end { at.plus(analysis.every).min(end) } else { at.plus(analysis.every) };
    Some(looks(state).map_or(since, |looks| next(looks.at)))
}

/// What is to be asked; nothing while no batch bakes that is judged.
#[must_use]
pub fn questions(state: &State) -> Option<Questions> {
    let Phase::Baking { batch, .. } = state.phase else { return None };
    let analysis = judged_by(state, batch)?;
    let has_baseline = others(state).next().is_some();
    let version = state.plan.release.id.version();
    let question = |check: &roadstead_model::Check, host: &PlannedHost| Question {
        host: host.name.clone(),
        url: check.url_of(host.name.as_str()),
        status: check.status,
        contains: check.text_of(version),
    };
    Some(Questions {
        batch,
        prometheus: analysis.prometheus.clone().unwrap_or_default(),
        queries: (analysis.queries.iter())
            .map(|query| {
                let compares = has_baseline && query.at_most_baseline.is_some();
                let baseline = compares.then(|| query.about(others(state).map(|host| host.name.as_str())));
                (query.about(canaries(state).map(|host| host.name.as_str())), baseline)
            })
            .collect(),
        checks: analysis.checks.iter().map(|check| canaries(state).map(|host| question(check, host)).collect()).collect(),
    })
}

/// Somebody has looked. What was asked before the batch had moved says nothing of it.
pub(crate) fn looked(state: &mut State, of_batch: u32, asked_at: Timestamp, findings: &Findings, notes: &mut Vec<Note>) {
    let Phase::Baking { batch, since } = state.phase else { return };
    if batch != of_batch || asked_at < since {
        return;
    }
    let Some(analysis) = judged_by(state, batch) else { return };
    let queries = analysis.queries.iter().zip(&findings.queries).map(|(query, found)| (&query.name, judging::query(query, found)));
    let checks = analysis.checks.iter().zip(&findings.checks).map(|(check, found)| (&check.name, judging::check(found)));
    let before = looks(state);
    let of: Vec<Look> = queries.chain(checks).map(|(name, said)| look(before, name, said)).collect();
    for look in &of {
        let known = before.and_then(|before| before.of.iter().find(|known| known.name == look.name)).map(|known| known.judgement);
        if known != Some(look.judgement) && (known.is_some() || !look.judgement.is_good()) {
            notes.push(Note { host: None, kind: "analysis", text: format!("{} {}", look.name, look.told) });
        }
    }
    let anew = if (state.looks.batch, state.looks.since) == (batch, since) { state.looks.anew } else { since };
    state.looks = Looks { batch, since, anew, at: asked_at, of };
}

/// Only a pass ends a row: whoever fails and falls silent by turns has not passed.
fn look(before: Option<&Looks>, name: &str, said: Said) -> Look {
    let known = before.and_then(|before| before.of.iter().find(|known| known.name == *name));
    let (failed, unknown) = known.map_or((0, 0), |known| (known.failed, known.unknown));
    let Said { judgement, value, told } = said;
    let (failed, unknown) = match judgement {
        Judgement::Passes | Judgement::NotCompared => (0, 0),
        Judgement::Fails => (failed.saturating_add(1), unknown),
        Judgement::Unknown => (failed, unknown.saturating_add(1)),
    };
    Look { name: name.to_owned(), judgement, value, told, failed, unknown }
}

/// Goes back on what has failed, and asks an operator about what tells nothing.
pub(crate) fn settle(state: &mut State, batch: u32, now: Timestamp, notes: &mut Vec<Note>) {
    let Some(analysis) = judged_by(state, batch) else { return };
    let Some(looks) = looks(state) else { return };
    let rows = analysis.queries.iter().map(|query| (query.failures, query.inconclusive));
    let rows = rows.chain(analysis.checks.iter().map(|check| (check.failures, check.inconclusive)));
    let of: Vec<(&Look, (u32, u32))> = looks.of.iter().zip(rows).collect();
    let place = format!("batch {} of {}", batch + 1, state.plan.batches);
    if let Some((look, _)) = of.iter().find(|(look, (failures, _))| look.failed >= *failures) {
        let summary = format!("analysis: {} {} ({place})", look.name, look.told);
        let hint = "correct the release; or the environment's [analysis], where it is that which is wrong";
        go_back(state, Failure::new(FailureKind::Check, summary, hint), now, notes);
    } else if let Some((look, _)) = of.iter().find(|(look, (_, inconclusive))| look.unknown >= *inconclusive) {
        let what = format!("analysis: {} {}, {} looks in a row ({place})", look.name, look.told, look.unknown);
        hold::ask_about_analysis(state, what, now, notes);
    }
}

/// Whether a batch whose time is over bakes still: all has to pass, within the time that an operator would have.
pub(crate) fn bakes_on(state: &mut State, batch: u32, now: Timestamp, notes: &mut Vec<Note>) -> bool {
    if judged_by(state, batch).is_none() {
        return false;
    }
    if passes(state) && looks(state).is_some_and(|looks| looks.at >= looks.since.plus(bake_of(state, batch).time)) {
        let told: Vec<String> = looks(state).into_iter().flat_map(|looks| &looks.of).map(sentence).collect();
        notes.push(Note { host: None, kind: "analysis-passed", text: told.join("; ") });
        return false;
    }
    if now >= deadline(state, batch) {
        let summary = format!("analysis: {} within {}", open(state), state.plan.timeouts.decide);
        let hint = "see in `roadstead history` what it told; deploy the release again when it can be judged";
        go_back(state, Failure::new(FailureKind::Deadline, summary, hint), now, notes);
    }
    true
}

/// Whether everything passed at the latest look.
pub(crate) fn passes(state: &State) -> bool {
    let all = state.plan.analysis.as_ref().map_or(0, |analysis| analysis.queries.len() + analysis.checks.len());
    looks(state).is_some_and(|looks| looks.of.len() == all && looks.of.iter().all(|look| look.judgement.is_good()))
}

/// Whether a batch bakes that is judged.
pub(crate) fn is_judged(state: &State) -> bool {
    matches!(state.phase, Phase::Baking { batch, .. } if judged_by(state, batch).is_some())
}

/// Whether nothing is unknown any more of what was asked about.
pub(crate) fn is_known(state: &State) -> bool {
    looks(state).is_some_and(|looks| looks.of.iter().all(|look| look.judgement != Judgement::Unknown))
}

/// Until when all has to pass.
fn deadline(state: &State, batch: u32) -> Timestamp {
    let Phase::Baking { since, .. } = state.phase else { return Timestamp(0) };
    let anew = if (state.looks.batch, state.looks.since) == (batch, since) { state.looks.anew } else { since };
    since.plus(bake_of(state, batch).time).max(anew).plus(state.plan.timeouts.decide)
}

/// It goes on after a hold: an operator has looked, and the rows begin anew.
pub(crate) fn begin_anew(state: &mut State, now: Timestamp) {
    let Phase::Baking { batch, since } = state.phase else { return };
    if (state.looks.batch, state.looks.since) != (batch, since) {
        state.looks = Looks { batch, since, ..Looks::default() };
    }
    state.looks.anew = now;
    state.looks.of.iter_mut().for_each(|look| look.unknown = 0);
}

/// What an operator is told while a batch is judged, and until when that can last; nothing where it is not, or all passed.
pub(crate) fn waiting(state: &State, batch: u32) -> Option<(String, Option<Timestamp>)> {
    judged_by(state, batch)?;
    if passes(state) {
        return Some(("its analysis passes".to_owned(), None));
    }
    Some((open(state), Some(deadline(state, batch))))
}

/// What has not passed, in words.
fn open(state: &State) -> String {
    let not_good: Vec<String> =
        looks(state).into_iter().flat_map(|looks| &looks.of).filter(|look| !look.judgement.is_good()).map(sentence).collect();
    if not_good.is_empty() { "its analysis has not told anything yet".to_owned() } else { not_good.join("; ") }
}

fn sentence(look: &Look) -> String {
    format!("{} {}", look.name, look.told)
}

/// What is to be noted when an operator promotes a batch that has not passed.
pub(crate) fn skipped(state: &State) -> Option<Note> {
    let Phase::Baking { batch, .. } = state.phase else { return None };
    judged_by(state, batch).filter(|_| !passes(state))?;
    Some(Note { host: None, kind: "analysis-skipped", text: format!("it is promoted although not all passed: {}", open(state)) })
}
