//! Looking at releases that bake: beside the loop, which waits for nobody, and only at what is saved. What is seen is the rollout's to
//! judge. A look that is under way when the controller stops is forgotten: the next start looks anew.

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use roadstead_model::{Number, RolloutId, Timestamp};
use roadstead_rollout::{Answer, Event, Findings, Measured, Numbers, Question, Questions, look_due, questions};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

use super::Loop;

/// Questions of one look that are under way at a time.
const ASKED_AT_A_TIME: usize = 16;
/// How long one answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How long all of a look may take: what is not answered then is not known.
const LOOK_WITHIN: Duration = Duration::from_secs(60);

/// Looks at releases, for whoever cannot vouch for themselves. Whatever it waits for is cut off from outside.
#[async_trait]
pub trait Measure: Send + Sync + std::fmt::Debug {
    /// The one number that a metrics server gives for a query; or why there is none.
    async fn query(&self, prometheus: &str, query: &str) -> Result<f64, String>;
    /// What a host answers.
    async fn ask(&self, question: &Question) -> Answer;
}

/// What was seen of a batch.
#[derive(Debug)]
pub(super) struct Look {
    rollout: RolloutId,
    batch: u32,
    asked_at: Timestamp,
    findings: Findings,
}

/// A look that has ended.
pub(super) type Seen = Result<(Id, Look), JoinError>;

/// The looks that are under way: at most one of each rollout.
#[derive(Debug, Default)]
pub(super) struct Looking {
    tasks: JoinSet<Look>,
    open: BTreeMap<Id, RolloutId>,
}

impl Looking {
    /// The next look that ends; never where none is under way.
    pub(super) async fn next(&mut self) -> Seen {
        match self.tasks.join_next_with_id().await {
            Some(seen) => seen,
            None => std::future::pending().await,
        }
    }

    fn is_open(&self, rollout: RolloutId) -> bool {
        self.open.values().any(|open| *open == rollout)
    }
}

impl Loop {
    /// Begins every look that is due.
    pub(super) fn begin_looks(&mut self) {
        let now = self.parts.clock.steady();
        for (rollout, running) in &self.running {
            let is_due = look_due(running.state()).is_some_and(|due| due <= now);
            if !is_due || self.looking.is_open(*rollout) {
                continue;
            }
            let Some(asked) = questions(running.state()) else { continue };
            let (rollout, measure) = (*rollout, Arc::clone(&self.parts.measure));
            let look = async move {
                let batch = asked.batch;
                Look { rollout, batch, asked_at: now, findings: find_out(measure, asked).await }
            };
            let task = self.looking.tasks.spawn(look);
            self.looking.open.insert(task.id(), rollout);
        }
    }

    /// When the next look is due that is not under way.
    pub(super) fn next_look(&self) -> Option<Timestamp> {
        let not_open = self.running.iter().filter(|(rollout, _)| !self.looking.is_open(**rollout));
        not_open.filter_map(|(_, running)| look_due(running.state())).min()
    }

    /// Takes the looks that have ended.
    pub(super) fn take_looks(&mut self, first: Option<Seen>) {
        let mut next = first.or_else(|| self.looking.tasks.try_join_next_with_id());
        while let Some(seen) = next {
            match seen {
                Ok((task, Look { rollout, batch, asked_at, findings })) => {
                    self.looking.open.remove(&task);
                    self.decide(rollout, Event::Looked { batch, asked_at, findings });
                }
                Err(error) => {
                    self.looking.open.remove(&error.id());
                    tracing::error!(%error, "a look at a release did not end");
                }
            }
            next = self.looking.tasks.try_join_next_with_id();
        }
    }
}

/// Asks all of it, a few at a time.
async fn find_out(measure: Arc<dyn Measure>, asked: Questions) -> Findings {
    let end = Instant::now() + LOOK_WITHIN;
    let Questions { prometheus, queries, checks, .. } = asked;
    let numbers = stream::iter(queries).map(|(canaries, others)| numbers(&*measure, &prometheus, canaries, others, end));
    let queries = numbers.buffered(ASKED_AT_A_TIME).collect().await;
    let mut answers = Vec::with_capacity(checks.len());
    for hosts in checks {
        let of_hosts = stream::iter(hosts).map(|question| answer(&*measure, question, end));
        answers.push(of_hosts.buffered(ASKED_AT_A_TIME).collect().await);
    }
    Findings { queries, checks: answers }
}

async fn numbers(measure: &dyn Measure, prometheus: &str, canaries: String, others: Option<String>, end: Instant) -> Numbers {
    let value = number(measure, prometheus, &canaries, end).await;
    let baseline = match others {
        Some(others) => Some(number(measure, prometheus, &others, end).await),
        None => None,
    };
    Numbers { value, baseline }
}

async fn number(measure: &dyn Measure, prometheus: &str, query: &str, end: Instant) -> Measured {
    match timeout_at(until(end), measure.query(prometheus, query)).await {
        Ok(Ok(value)) => Number::new(value).map_err(|error| error.to_string()),
        Ok(Err(why)) => Err(crate::printable(&why)),
        Err(_) => Err(late("the metrics server")),
    }
}

async fn answer(measure: &dyn Measure, question: Question, end: Instant) -> (String, Answer) {
    let answer = match timeout_at(until(end), measure.ask(&question)).await {
        Ok(Answer::Good) => Answer::Good,
        Ok(Answer::Wrong(why)) => Answer::Wrong(crate::printable(&why)),
        Ok(Answer::Silent(why)) => Answer::Silent(crate::printable(&why)),
        Err(_) => Answer::Silent(late("it")),
    };
    (question.host.to_string(), answer)
}

fn until(end: Instant) -> Instant {
    end.min(Instant::now() + ANSWER_WITHIN)
}

fn late(who: &str) -> String {
    format!("{who} did not answer within {} s", ANSWER_WITHIN.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// Answers by what it is asked, and counts how many ask at a time.
    #[derive(Debug, Default)]
    struct Oracle {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    #[async_trait]
    impl Measure for Oracle {
        async fn query(&self, _prometheus: &str, query: &str) -> Result<f64, String> {
            match query {
                "never" => std::future::pending().await,
                "nothing" => Err("the query\nfinds nothing".to_owned()),
                text => text.parse().map_err(|_| "no number".to_owned()),
            }
        }

        async fn ask(&self, question: &Question) -> Answer {
            self.most.fetch_max(self.now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(if question.url == "never" { 10_000 } else { 1 })).await;
            self.now.fetch_sub(1, Ordering::Relaxed);
            Answer::Good
        }
    }

    fn asked(queries: &[&str], hosts: usize, url: &str) -> Questions {
        let question =
            |number| Question { host: crate::samples::facts(number).host_name, url: url.to_owned(), status: 200, contains: None };
        Questions {
            batch: 0,
            prometheus: String::new(),
            queries: queries.iter().map(|query| ((*query).to_owned(), Some("2".to_owned()))).collect(),
            checks: vec![(0..hosts).map(question).collect()],
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_in_the_order_of_the_questions_and_what_is_late_is_not_known() {
        let found = find_out(Arc::new(Oracle::default()), asked(&["1", "never", "nothing", "NaN"], 1, "ok")).await;
        let told = |numbers: &Numbers| numbers.value.clone().map_or_else(|why| why, |number| number.to_string());
        assert_eq!(
            found.queries.iter().map(told).collect::<Vec<_>>(),
            ["1", "the metrics server did not answer within 10 s", "the query finds nothing", "NaN is not a number to judge by"]
        );
        assert!(found.queries.iter().all(|numbers| numbers.baseline == Some(Ok(Number::new(2.0).unwrap()))));
        assert_eq!(found.checks, [[("web-0".to_owned(), Answer::Good)]]);
    }

    #[tokio::test(start_paused = true)]
    async fn few_are_asked_at_a_time_and_a_look_ends() {
        let (oracle, began) = (Arc::new(Oracle::default()), Instant::now());
        let found = find_out(oracle.clone(), asked(&[], 100, "ok")).await;
        assert_eq!((found.checks[0].len(), oracle.most.load(Ordering::Relaxed)), (100, ASKED_AT_A_TIME));
        assert!(began.elapsed() < Duration::from_secs(10));
        let began = Instant::now();
        let found = find_out(oracle.clone(), asked(&[], 1_000, "never")).await;
        assert!(began.elapsed() <= LOOK_WITHIN + ANSWER_WITHIN, "{:?}", began.elapsed());
        assert!(found.checks[0].iter().all(|(_, answer)| matches!(answer, Answer::Silent(_))) && found.checks[0].len() == 1_000);
    }
}
