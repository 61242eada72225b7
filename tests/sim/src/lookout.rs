//! Somebody who looks at releases from outside: numbers and answers that are good, bad, late or missing, by a seed. What was seen is kept
//! apart from what the controller makes of it.

use async_trait::async_trait;
use roadstead_driver::Measure;
use roadstead_model::{RolloutId, Timestamp};
use roadstead_rollout::{Answer, Phase, Question, State};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

use crate::chance::Chance;
use crate::world::World;

/// What was seen to be good, and since when batches bake.
#[derive(Debug, Default)]
pub(crate) struct Sightings {
    /// When the newest good number was asked for.
    number: Option<Instant>,
    /// When the newest good answer of each host was asked for.
    answers: BTreeMap<String, Instant>,
    /// When it was saved that a batch bakes.
    bakes: BTreeMap<(RolloutId, u32, Timestamp), Instant>,
}

impl Sightings {
    /// A rollout is saved.
    pub(crate) fn saved(&mut self, state: &State) {
        if let Phase::Baking { batch, since } = state.phase {
            self.bakes.entry((state.plan.rollout, batch, since)).or_insert_with(Instant::now);
        }
    }

    /// Whether a good number, and a good answer of each of these hosts, was seen since it was saved that the batch bakes.
    pub(crate) fn all_well(&self, state: &State, hosts: &[&str]) -> bool {
        let Phase::Baking { batch, since } = state.phase else { return false };
        let Some(began) = self.bakes.get(&(state.plan.rollout, batch, since)) else { return false };
        let seen = |at: Option<&Instant>| at.is_some_and(|at| at >= began);
        seen(self.number.as_ref()) && hosts.iter().all(|host| seen(self.answers.get(*host)))
    }
}

/// One start of the controller looks through it.
#[derive(Debug)]
pub(crate) struct Lookout {
    world: Arc<World>,
    dice: Mutex<Dice>,
}

#[derive(Debug)]
struct Dice {
    chance: Chance,
    /// Until when the metrics server is away.
    without_numbers: Option<Instant>,
    /// Until when no host answers.
    without_answers: Option<Instant>,
}

/// What becomes of a question.
enum Fate {
    Good,
    Bad,
    Nothing,
    Never,
}

impl Lookout {
    pub(crate) fn new(world: Arc<World>, seed: u64) -> Self {
        Self { world, dice: Mutex::new(Dice { chance: Chance::of(seed, "lookout"), without_numbers: None, without_answers: None }) }
    }

    /// Answers take their time, some longer than anybody waits. Of `1000` so many are bad.
    async fn fate(&self, bad: u64, outage: fn(&mut Dice) -> &mut Option<Instant>) -> Fate {
        let (fate, span) = self.dice.lock().unwrap_or_else(PoisonError::into_inner).roll(bad, outage);
        sleep(span).await;
        if self.world.is_troubled() { fate } else { Fate::Good }
    }

    fn sightings(&self, note: impl FnOnce(&mut Sightings)) {
        note(&mut self.world.ledger.sightings.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Dice {
    fn roll(&mut self, bad: u64, outage: fn(&mut Self) -> &mut Option<Instant>) -> (Fate, Duration) {
        let longest = if self.chance.percent(5) { 20_000 } else { 300 };
        let span = self.chance.millis(0, longest);
        if self.chance.number(0, 999) < 10 {
            let until = Instant::now() + self.chance.millis(10_000, 900_000);
            *outage(self) = Some(until);
        }
        let is_out = outage(self).is_some_and(|until| Instant::now() < until);
        let fate = match self.chance.number(0, 999) {
            _ if is_out => Fate::Nothing,
            fate if fate < bad => Fate::Bad,
            fate if fate < 2 * bad => Fate::Never,
            _ => Fate::Good,
        };
        (fate, span)
    }
}

#[async_trait]
impl Measure for Lookout {
    async fn query(&self, _prometheus: &str, _query: &str) -> Result<f64, String> {
        let asked = Instant::now();
        match self.fate(25, |dice| &mut dice.without_numbers).await {
            Fate::Good => {
                self.sightings(|seen| seen.number = seen.number.max(Some(asked)));
                Ok(0.005)
            }
            Fate::Bad => Ok(0.5),
            Fate::Nothing if asked.elapsed() < Duration::from_millis(100) => Ok(f64::NAN),
            Fate::Nothing => Err("the query finds nothing".to_owned()),
            Fate::Never => std::future::pending().await,
        }
    }

    async fn ask(&self, question: &Question) -> Answer {
        let asked = Instant::now();
        match self.fate(5, |dice| &mut dice.without_answers).await {
            Fate::Good => {
                self.sightings(|seen| {
                    seen.answers.insert(question.host.to_string(), asked);
                });
                Answer::Good
            }
            Fate::Bad => Answer::Wrong("answers 503, not 200".to_owned()),
            Fate::Nothing => Answer::Silent("cannot be reached".to_owned()),
            Fate::Never => std::future::pending().await,
        }
    }
}
