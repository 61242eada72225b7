//! How the hosts of a rollout come into batches: a canary's steps first, then batches of a size, striped over the failure domains or one
//! domain after the other.

use roadstead_model::{CanaryStep, DomainOrder, FailureDomain, Promotion, Strategy};
use std::collections::{BTreeMap, VecDeque};

use crate::plan::{Bake, Candidate};

/// Which host is in which batch, and how each batch bakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Batches {
    /// The batch of each host, from 0, in the order of the hosts.
    pub(crate) of_host: Vec<u32>,
    /// One for each batch.
    pub(crate) bakes: Vec<Bake>,
}

/// Puts hosts, which are sorted by name, into batches. No batch that is not a step is larger than `largest`.
pub(crate) fn batches(strategy: &Strategy, steps: &[CanaryStep], hosts: &[Candidate], largest: usize) -> Batches {
    let total = hosts.len();
    let order = in_order(strategy.domain.as_ref(), hosts);
    let mut batches = Batches { of_host: vec![0; total], bakes: Vec::new() };
    let mut placed = 0;
    for step in steps {
        let until = step.hosts.of_rounded_up(total);
        if until > placed {
            batches.put(&order[placed..until], Bake { time: step.bake, promotion: step.promote, traffic: step.traffic });
            placed = until;
        } else if let Some(last) = batches.bakes.last_mut() {
            // In a small fleet two steps may be the same hosts: what either of them asks for is done.
            last.time = last.time.max(step.bake);
            last.traffic = step.traffic.or(last.traffic);
            if step.promote == Promotion::Manual {
                last.promotion = Promotion::Manual;
            }
        }
    }
    let size = strategy.batch.of_rounded_up(total).clamp(1, largest.max(1));
    let bake = Bake { time: strategy.batch_bake, promotion: Promotion::Automatic, traffic: None };
    while placed < total {
        let rest = &order[placed..];
        let mut taken = size.min(rest.len());
        if let Some(FailureDomain { label, order: DomainOrder::OneByOne }) = &strategy.domain {
            let domain = |index: &usize| hosts[*index].labels.get(label.as_str());
            taken = rest[..taken].iter().take_while(|index| domain(index) == domain(&rest[0])).count();
        }
        batches.put(&rest[..taken], bake);
        placed += taken;
    }
    batches
}

impl Batches {
    fn put(&mut self, hosts: &[usize], bake: Bake) {
        let batch = u32::try_from(self.bakes.len()).unwrap_or(u32::MAX);
        for host in hosts {
            self.of_host[*host] = batch;
        }
        self.bakes.push(bake);
    }
}

/// The order in which hosts move: by name, or as their failure domains ask for it.
fn in_order(domain: Option<&FailureDomain>, hosts: &[Candidate]) -> Vec<usize> {
    let Some(domain) = domain else { return (0..hosts.len()).collect() };
    let mut domains: BTreeMap<Option<&str>, VecDeque<usize>> = BTreeMap::new();
    for (index, host) in hosts.iter().enumerate() {
        domains.entry(host.labels.get(domain.label.as_str())).or_default().push_back(index);
    }
    match domain.order {
        DomainOrder::OneByOne => domains.into_values().flatten().collect(),
        DomainOrder::Striped => {
            let mut order = Vec::with_capacity(hosts.len());
            while order.len() < hosts.len() {
                order.extend(domains.values_mut().filter_map(VecDeque::pop_front));
            }
            order
        }
    }
}

#[cfg(test)]
mod tests;
