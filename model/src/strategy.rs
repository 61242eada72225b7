//! How a rollout moves over the hosts of an environment.

use serde::{Deserialize, Serialize};

use crate::{LabelKey, Millis, Share, Weight, limits};

/// Steps first, where there are any, then batch by batch.
///
/// All at once is a single batch, and a canary is a strategy with steps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// How a canary grows, before the batches begin.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<CanaryStep>,
    /// Hosts moved together.
    #[serde(default = "default_batch")]
    pub batch: Share,
    /// How long each batch bakes before the next one moves.
    #[serde(default)]
    pub batch_bake: Millis,
    /// Hosts that may be out at once: moving, failed or away.
    #[serde(default = "default_unavailable")]
    pub max_unavailable: Share,
    /// Hosts that may fail or be away before the rollout goes back.
    #[serde(default)]
    pub failure_budget: Share,
    /// What becomes of a rollout that has lost more.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Hosts that are likely to fail together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<FailureDomain>,
    /// Blue and green: hosts are two sets by this label's values, of which one has the traffic. The other one gets the release, and then
    /// the traffic, all at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sets: Option<LabelKey>,
}

/// One step of a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CanaryStep {
    /// How many of all hosts serve the release once this step has moved.
    pub hosts: Share,
    /// How long it bakes.
    #[serde(default)]
    pub bake: Millis,
    /// Who ends the step when it has baked.
    #[serde(default)]
    pub promote: Promotion,
    /// How much of all traffic the hosts that serve the release get together meanwhile; their even share where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traffic: Option<Weight>,
}

/// Who says that a rollout goes on after a bake.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promotion {
    /// The clock.
    #[default]
    Automatic,
    /// An operator.
    Manual,
}

/// What becomes of a rollout that has lost more hosts than it may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// It goes back by itself.
    #[default]
    GoBack,
    /// It is paused until an operator decides.
    Ask,
}

/// Hosts with the same value of a label fail together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailureDomain {
    /// Which label, such as `zone`. Hosts without it are a domain of their own.
    pub label: LabelKey,
    /// How batches go over the domains.
    #[serde(default)]
    pub order: DomainOrder,
}

/// How batches go over failure domains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DomainOrder {
    /// Each batch takes of as many domains as there are.
    #[default]
    Striped,
    /// One domain after the other; no batch of the strategy, other than its steps, spans two.
    OneByOne,
}

const fn default_batch() -> Share {
    Share::Percent(34)
}

const fn default_unavailable() -> Share {
    Share::Percent(34)
}

impl Default for Strategy {
    fn default() -> Self {
        Self {
            steps: Vec::new(),
            batch: default_batch(),
            batch_bake: Millis(0),
            max_unavailable: default_unavailable(),
            failure_budget: Share::default(),
            on_failure: OnFailure::default(),
            domain: None,
            sets: None,
        }
    }
}

/// A strategy that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStrategy {
    /// No host could ever move.
    #[error("{0} is 0: no host could ever move")]
    NothingMoves(&'static str),
    /// A step that takes no further host.
    #[error("step {step} has {hosts} hosts, and {before} were there before it: each step takes more hosts than the one before")]
    NoProgress {
        /// Which step, from 1.
        step: usize,
        /// Its hosts.
        hosts: Share,
        /// Those of the step before.
        before: Share,
    },
    /// A set of a blue-green environment that would not move as a whole.
    #[error("{0} makes no sense with sets: one of them moves as a whole")]
    InParts(&'static str),
    /// More steps than anybody follows.
    #[error("{0} steps are more than a canary has ({max})", max = limits::CANARY_STEPS_MAX)]
    TooManySteps(usize),
}

impl InvalidStrategy {
    /// The step that it is about, from 0.
    #[must_use]
    pub const fn step(&self) -> Option<usize> {
        match self {
            Self::NoProgress { step, .. } => Some(step.saturating_sub(1)),
            Self::NothingMoves(_) | Self::InParts(_) | Self::TooManySteps(_) => None,
        }
    }
}

impl Strategy {
    /// Whether it can be followed.
    ///
    /// # Errors
    /// [`InvalidStrategy`] for the first contradiction.
    pub fn check(&self) -> Result<(), InvalidStrategy> {
        for (name, share) in [("batch", self.batch), ("max_unavailable", self.max_unavailable)] {
            if share.is_nothing() {
                return Err(InvalidStrategy::NothingMoves(name));
            }
        }
        let is_part = |share: Share| share != Share::Percent(100);
        let parts = [
            ("batch", is_part(self.batch)),
            ("max_unavailable", is_part(self.max_unavailable)),
            ("batch_bake", self.batch_bake > Millis(0)),
            ("steps", !self.steps.is_empty()),
            ("domain", self.domain.is_some()),
        ];
        if let Some((name, _)) = parts.into_iter().find(|(_, is_set)| *is_set && self.sets.is_some()) {
            return Err(InvalidStrategy::InParts(name));
        }
        if self.steps.len() > limits::CANARY_STEPS_MAX {
            return Err(InvalidStrategy::TooManySteps(self.steps.len()));
        }
        let mut before = Share::default();
        for (index, step) in self.steps.iter().enumerate() {
            if !step.hosts.exceeds(before) {
                return Err(InvalidStrategy::NoProgress { step: index + 1, hosts: step.hosts, before });
            }
            before = step.hosts;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(steps: &[Share]) -> Strategy {
        let step = |hosts: &Share| CanaryStep { hosts: *hosts, bake: Millis(0), promote: Promotion::Manual, traffic: None };
        Strategy { steps: steps.iter().map(step).collect(), ..Strategy::default() }
    }

    #[test]
    fn steps_grow() {
        for good in [&[][..], &[Share::Count(1)], &[Share::Count(1), Share::Percent(25), Share::Percent(50)]] {
            assert_eq!(canary(good).check(), Ok(()));
        }
        let told = |steps: &[Share]| canary(steps).check().unwrap_err();
        assert_eq!(
            told(&[Share::Count(2), Share::Count(2)]).to_string(),
            "step 2 has 2 hosts, and 2 were there before it: each step takes more hosts than the one before"
        );
        assert_eq!(told(&[Share::Percent(0)]).step(), Some(0));
        assert_eq!(told(&[Share::Percent(50), Share::Percent(25)]).step(), Some(1));
        assert_eq!(told(&[Share::Count(1); limits::CANARY_STEPS_MAX + 1]).step(), None);
    }

    #[test]
    fn one_of_two_sets_moves_as_a_whole() {
        let whole = Strategy {
            batch: Share::Percent(100),
            max_unavailable: Share::Percent(100),
            sets: LabelKey::try_from("color".to_owned()).ok(),
            ..Strategy::default()
        };
        assert_eq!(whole.check(), Ok(()));
        let in_parts = Strategy { batch: Share::Count(1), ..whole.clone() };
        assert_eq!(in_parts.check().unwrap_err().to_string(), "batch makes no sense with sets: one of them moves as a whole");
        assert!(Strategy { steps: canary(&[Share::Count(1)]).steps, ..whole }.check().is_err());
    }

    #[test]
    fn what_was_applied_before_there_were_steps_is_read() {
        let old = r#"{"batch":"34%","max_unavailable":1,"failure_budget":0}"#;
        let read: Strategy = serde_json::from_str(old).unwrap();
        assert_eq!(read, Strategy { max_unavailable: Share::Count(1), ..Strategy::default() });
    }
}
