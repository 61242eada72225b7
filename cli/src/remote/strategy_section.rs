//! `[strategy]` of an environment file. What contradicts itself is refused at its place.

use roadstead_model::{CanaryStep, DomainOrder, FailureDomain, LabelKey, Millis, OnFailure, Promotion, Share, Strategy, Weight};
use serde::Deserialize;
use toml::Spanned;

use super::spans::Span;

/// The section as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct StrategySection {
    kind: Option<Spanned<Kind>>,
    steps: Option<Spanned<Vec<Spanned<Step>>>>,
    batch: Option<Spanned<Share>>,
    batch_bake: Option<Spanned<Span>>,
    max_unavailable: Option<Spanned<Share>>,
    failure_budget: Option<Share>,
    on_failure: Option<OnFailure>,
    domain: Option<LabelKey>,
    domain_order: Option<Spanned<DomainOrder>>,
    sets: Option<Spanned<LabelKey>>,
    bake: Option<Span>,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Rolling,
    AllAtOnce,
    Canary,
    BlueGreen,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Step {
    hosts: Share,
    bake: Option<Span>,
    #[serde(default)]
    promote: Promotion,
    traffic: Option<Spanned<Share>>,
}

/// Where a mistake begins, in bytes of the file, and what it is.
type Mistake = (usize, String);

fn at<T>(place: &Spanned<T>, what: impl Into<String>) -> Mistake {
    (place.span().start, what.into())
}

/// A part of all traffic: neither nothing nor everything is a step.
fn percentage(share: &Spanned<Share>) -> Result<Weight, Mistake> {
    let percent = match share.get_ref() {
        Share::Percent(percent @ 1..=99) => Weight::percent((*percent).into()).ok(),
        Share::Percent(_) | Share::Count(_) => None,
    };
    percent.ok_or_else(|| at(share, "traffic is a part of all of it, such as \"5%\": more than 0% and less than 100%"))
}

impl StrategySection {
    /// How long old instances stay warm after the last batch, where that is said.
    pub(crate) fn bake(&self) -> Option<Span> {
        self.bake
    }

    /// How a rollout moves over the hosts.
    ///
    /// # Errors
    /// The first mistake.
    pub(crate) fn read(&self) -> Result<Strategy, Mistake> {
        let defaults = Strategy::default();
        let kind = self.kind.as_ref().map_or(Kind::Rolling, |kind| *kind.get_ref());
        self.fits(kind)?;
        for (key, share) in [("batch", &self.batch), ("max-unavailable", &self.max_unavailable)] {
            if let Some(share) = share.as_ref().filter(|share| share.get_ref().is_nothing()) {
                return Err(at(share, format!("{key} is 0: no host could ever move")));
            }
        }
        let or = |given: &Option<Spanned<Share>>, default: Share| {
            let default = if matches!(kind, Kind::AllAtOnce | Kind::BlueGreen) { Share::Percent(100) } else { default };
            given.as_ref().map_or(default, |share| *share.get_ref())
        };
        let order = self.domain_order.as_ref().map_or_else(DomainOrder::default, |order| *order.get_ref());
        let strategy = Strategy {
            steps: self.steps()?,
            batch: or(&self.batch, defaults.batch),
            batch_bake: self.batch_bake.as_ref().map_or(Millis(0), |bake| bake.get_ref().0),
            max_unavailable: or(&self.max_unavailable, defaults.max_unavailable),
            failure_budget: self.failure_budget.unwrap_or(defaults.failure_budget),
            on_failure: self.on_failure.unwrap_or_default(),
            domain: self.domain.clone().map(|label| FailureDomain { label, order }),
            sets: self.sets.as_ref().map(|sets| sets.get_ref().clone()),
        };
        strategy.check().map_err(|error| {
            let place = error.step().and_then(|step| self.steps.as_ref()?.get_ref().get(step)).map(|step| step.span().start);
            let steps = || self.steps.as_ref().map_or(0, |steps| steps.span().start);
            (place.unwrap_or_else(steps), error.to_string())
        })?;
        Ok(strategy)
    }

    /// Whether the keys belong to the kind.
    fn fits(&self, kind: Kind) -> Result<(), Mistake> {
        if kind == Kind::AllAtOnce {
            if let Some(batch) = &self.batch {
                return Err(at(batch, "batch makes no sense with kind = \"all-at-once\": remove one of the two"));
            }
            if let Some(bake) = &self.batch_bake {
                return Err(at(bake, "batch-bake makes no sense with kind = \"all-at-once\", which has one batch: bake is what it takes"));
            }
        }
        match (&self.kind, &self.sets) {
            (Some(written), None) if kind == Kind::BlueGreen => {
                return Err(at(
                    written,
                    "blue-green has two sets of hosts: name the label that tells them apart, such as sets = \"color\"",
                ));
            }
            (_, Some(sets)) if kind != Kind::BlueGreen => return Err(at(sets, "sets belong to kind = \"blue-green\"")),
            _ => {}
        }
        if kind == Kind::BlueGreen {
            let batches = [("batch", self.batch.as_ref()), ("max-unavailable", self.max_unavailable.as_ref())];
            if let Some((key, share)) = batches.into_iter().find_map(|(key, share)| Some((key, share?))) {
                return Err(at(share, format!("{key} makes no sense with kind = \"blue-green\": one of the sets moves as a whole")));
            }
            if self.domain.is_some() {
                let kind = self.kind.as_ref().map_or(0, |kind| kind.span().start);
                return Err((kind, "domain makes no sense with kind = \"blue-green\": one of the sets moves as a whole".to_owned()));
            }
            if let Some(bake) = &self.batch_bake {
                return Err(at(bake, "batch-bake makes no sense with kind = \"blue-green\": bake is how long both sets stay as they are"));
            }
        }
        match (&self.kind, &self.steps) {
            (Some(written), None) if kind == Kind::Canary => {
                return Err(at(written, "a canary has steps, such as steps = [{ hosts = 1, bake = \"10m\" }]"));
            }
            (_, Some(steps)) if kind != Kind::Canary => return Err(at(steps, "steps belong to kind = \"canary\"")),
            _ => {}
        }
        match (&self.domain, &self.domain_order) {
            (None, Some(order)) => Err(at(order, "domain-order needs a domain: the label that says which hosts fail together")),
            _ => Ok(()),
        }
    }

    fn steps(&self) -> Result<Vec<CanaryStep>, Mistake> {
        let steps = self.steps.as_ref().map_or(&[][..], |steps| steps.get_ref().as_slice());
        let step = |step: &Spanned<Step>| {
            let Step { hosts, bake, promote, traffic } = step.get_ref();
            let traffic = traffic.as_ref().map(percentage).transpose()?;
            Ok(CanaryStep { hosts: *hosts, bake: bake.map_or(Millis(0), |bake| bake.0), promote: *promote, traffic })
        };
        steps.iter().map(step).collect()
    }

    /// Where it says that the traffic is switched.
    pub(crate) fn switching(&self) -> Option<usize> {
        self.sets.as_ref().map(|sets| sets.span().start)
    }

    /// Where the first step says how much of the traffic it gets.
    pub(crate) fn sharing(&self) -> Option<usize> {
        let steps = self.steps.as_ref()?.get_ref();
        steps.iter().find_map(|step| step.get_ref().traffic.as_ref()).map(|traffic| traffic.span().start)
    }
}
