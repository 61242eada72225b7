//! What a look says of a release: each query's number and each check's answers against what they are to be.

use roadstead_model::{Number, Query};
use serde::{Deserialize, Serialize};

/// What was found of one query: a number, or why there is none.
pub type Measured = Result<Number, String>;

/// What was found of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    /// Of the hosts that serve the release.
    pub value: Measured,
    /// Of those that serve the one before; absent where nobody asked.
    pub baseline: Option<Measured>,
}

/// What a host answered to a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What is wanted.
    Good,
    /// Something else.
    Wrong(String),
    /// Nothing that tells of the release.
    Silent(String),
}

/// Whether a release may go on, by one query or check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// It is as it is to be.
    Passes,
    /// It is not.
    Fails,
    /// Nothing says whether it is.
    Unknown,
    /// No host is left that it could be compared with, and nothing else is asked of it.
    NotCompared,
}

impl Judgement {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passes => "passes",
            Self::Fails => "fails",
            Self::Unknown => "unknown",
            Self::NotCompared => "not-compared",
        }
    }

    /// Whether it lets the rollout go on.
    #[must_use]
    pub const fn is_good(self) -> bool {
        matches!(self, Self::Passes | Self::NotCompared)
    }
}

/// What is said of one query or check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) judgement: Judgement,
    /// What was found, shortly.
    pub(crate) value: String,
    /// What follows its name in a sentence.
    pub(crate) told: String,
}

/// A query by what was found. A bound that is missed fails it, whatever is not known beside.
pub(crate) fn query(query: &Query, finding: &Numbers) -> Said {
    let unknown = |why: &str| Said { judgement: Judgement::Unknown, value: String::new(), told: format!("tells nothing: {why}") };
    if finding.baseline.is_none() && !query.is_absolute() {
        let told = "is not compared: no host serves another release any more".to_owned();
        return Said { judgement: Judgement::NotCompared, value: String::new(), told };
    }
    let value = match &finding.value {
        Ok(value) => *value,
        Err(why) => return unknown(why),
    };
    let missed = query.at_most.is_some_and(|most| value > most) || query.at_least.is_some_and(|least| value < least);
    let said = |judgement| Said { judgement, value: value.to_string(), told: format!("is {value}, {query}") };
    if missed {
        return said(Judgement::Fails);
    }
    let (Some(factor), Some(baseline)) = (query.at_most_baseline, &finding.baseline) else { return said(Judgement::Passes) };
    let baseline = match baseline {
        Ok(baseline) if baseline.get() > 0.0 => *baseline,
        Ok(baseline) => return unknown(&format!("its baseline is {baseline}, which nothing can be compared with")),
        Err(why) => return unknown(&format!("it has no baseline: {why}")),
    };
    let most = factor.times(baseline);
    let judgement = if most.is_none_or(|most| value <= most) { Judgement::Passes } else { Judgement::Fails };
    Said { judgement, value: format!("{value} against {baseline}"), told: format!("is {value}, {query} of {baseline}") }
}

/// A check by what each host answered. One wrong answer fails it.
pub(crate) fn check(answers: &[(String, Answer)]) -> Said {
    let of = |wanted: fn(&Answer) -> Option<&String>| {
        let mut found = answers.iter().filter_map(|(host, answer)| Some((host, wanted(answer)?)));
        found.next().map(|(host, why)| (host, why, found.count() + 1))
    };
    let all = answers.len();
    let wrong = of(|answer| if let Answer::Wrong(why) = answer { Some(why) } else { None });
    let silent = of(|answer| if let Answer::Silent(why) = answer { Some(why) } else { None });
    match (wrong, silent) {
        (Some((host, why, count)), _) => Said {
            judgement: Judgement::Fails,
            value: format!("wrong on {count} of {all}"),
            told: format!("fails on {count} of {all}: {host} {why}"),
        },
        (None, Some((host, why, count))) => Said {
            judgement: Judgement::Unknown,
            value: format!("silent on {count} of {all}"),
            told: format!("tells nothing on {count} of {all}: {host} {why}"),
        },
        (None, None) if all == 0 => {
            Said { judgement: Judgement::Unknown, value: String::new(), told: "tells nothing: no host was asked".to_owned() }
        }
        (None, None) => Said { judgement: Judgement::Passes, value: format!("good on {all}"), told: format!("passes on {all} of {all}") },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: f64) -> Number {
        Number::new(value).unwrap()
    }

    fn bounds(at_most: Option<f64>, at_least: Option<f64>, at_most_baseline: Option<f64>) -> Query {
        Query {
            name: "errors".to_owned(),
            query: "$hosts".to_owned(),
            at_most: at_most.map(number),
            at_least: at_least.map(number),
            at_most_baseline: at_most_baseline.map(number),
            failures: 1,
            inconclusive: 5,
        }
    }

    fn found(value: f64) -> Measured {
        Ok(number(value))
    }

    fn nothing() -> Measured {
        Err("the query finds nothing".to_owned())
    }

    fn judged(of: &Query, value: Measured, baseline: Option<Measured>) -> (Judgement, String) {
        let said = query(of, &Numbers { value, baseline });
        (said.judgement, said.told)
    }

    #[test]
    fn numbers_are_within_their_bounds_or_not() {
        use Judgement::*;
        let most = bounds(Some(0.01), None, None);
        assert_eq!(judged(&most, found(0.01), None).0, Passes);
        assert_eq!(judged(&most, found(0.0512), None), (Fails, "is 0.0512, at most 0.01".to_owned()));
        assert_eq!(judged(&most, nothing(), None), (Unknown, "tells nothing: the query finds nothing".to_owned()));
        let least = bounds(None, Some(2.0), None);
        assert_eq!((judged(&least, found(2.0), None).0, judged(&least, found(1.9), None).0), (Passes, Fails));
        let both = bounds(Some(3.0), Some(2.0), None);
        assert_eq!([1.0, 2.5, 3.5].map(|value| judged(&both, found(value), None).0), [Fails, Passes, Fails]);
    }

    #[test]
    fn a_canary_is_compared_with_the_hosts_that_have_not_moved() {
        use Judgement::*;
        let compared = bounds(None, None, Some(1.5));
        assert_eq!(judged(&compared, found(0.3), Some(found(0.2))).0, Passes);
        assert_eq!(judged(&compared, found(0.31), Some(found(0.2))), (Fails, "is 0.31, at most 1.5 × the baseline of 0.2".to_owned()));
        for baseline in [found(0.0), found(-1.0), nothing()] {
            assert_eq!(judged(&compared, found(0.0), Some(baseline)).0, Unknown, "a baseline that is nothing is never guessed");
        }
        assert_eq!(judged(&compared, nothing(), Some(found(0.2))).0, Unknown);
        assert_eq!(judged(&compared, nothing(), None).0, NotCompared, "after the last batch there is nothing to compare with");
        let both = bounds(Some(1.0), None, Some(1.5));
        assert_eq!(judged(&both, found(0.5), None).0, Passes, "what it is measured against by itself still counts");
        assert_eq!(judged(&both, found(2.0), Some(nothing())).0, Fails, "what is known to be wrong is not excused by what is not known");
        assert_eq!(judged(&both, nothing(), None).0, Unknown);
        assert_eq!(judged(&compared, found(1e300), Some(found(1e300))).0, Passes);
    }

    #[test]
    fn one_wrong_answer_fails_a_check_and_no_answer_is_no_pass() {
        let said = |answers: &[Answer]| {
            let answers: Vec<_> = (1..).zip(answers).map(|(number, answer)| (format!("web-{number}"), answer.clone())).collect();
            let said = check(&answers);
            (said.judgement, said.told)
        };
        let (good, wrong) = (Answer::Good, Answer::Wrong("answers 503, not 200".into()));
        let silent = Answer::Silent("does not answer within 10 s".into());
        assert_eq!(said(&[good.clone(), good.clone()]), (Judgement::Passes, "passes on 2 of 2".to_owned()));
        assert_eq!(
            said(&[good.clone(), silent.clone(), wrong.clone(), wrong]),
            (Judgement::Fails, "fails on 2 of 4: web-3 answers 503, not 200".to_owned())
        );
        assert_eq!(said(&[good, silent]), (Judgement::Unknown, "tells nothing on 1 of 2: web-2 does not answer within 10 s".to_owned()));
        assert_eq!(said(&[]).0, Judgement::Unknown);
    }
}
