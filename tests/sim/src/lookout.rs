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
    chance: Mutex<Chance>,
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
        Self { world, chance: Mutex::new(Chance::of(seed, "lookout")) }
    }

    /// Answers take their time, some longer than anybody waits. Of `1000` so many are bad, and each kind of missing.
    async fn fate(&self, bad: u64) -> Fate {
        let (fate, span) = {
            let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
            let longest = if chance.percent(5) { 20_000 } else { 300 };
            (chance.number(0, 999), chance.millis(0, longest))
        };
        sleep(span).await;
        match fate {
            _ if !self.world.is_troubled() => Fate::Good,
            fate if fate < bad => Fate::Bad,
            fate if fate < 2 * bad => Fate::Nothing,
            fate if fate < 3 * bad => Fate::Never,
            _ => Fate::Good,
        }
    }

    fn sightings(&self, note: impl FnOnce(&mut Sightings)) {
        note(&mut self.world.ledger.sightings.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

#[async_trait]
impl Measure for Lookout {
    async fn query(&self, _prometheus: &str, _query: &str) -> Result<f64, String> {
        let asked = Instant::now();
        match self.fate(60).await {
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
        match self.fate(10).await {
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
