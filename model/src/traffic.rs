//! How hosts get their traffic: what an environment says of it, what a balancer is told, and what it says.
//!
//! What a balancer is told is a level, not a command: the whole table, as often as it changes. It names hosts and weights; where the
//! servers behind those names are, and how they are spoken of, lies with the balancer's own operator.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

use crate::{AppName, EnvironmentName, Failure, HostName, Millis, OrderKey, Selector};

/// Where an environment's traffic comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Hosts that share it out: those that enrolled for the environment and match.
    pub balancers: Selector,
    /// Which of the environment's hosts are behind them.
    #[serde(default, skip_serializing_if = "Selector::is_everything")]
    pub hosts: Selector,
    /// How long the requests in flight of a host that is drained are waited for.
    #[serde(default = "Traffic::default_drain")]
    pub drain: Millis,
}

impl Traffic {
    /// Where nothing is said of it.
    #[must_use]
    pub const fn default_drain() -> Millis {
        Millis::from_secs(30)
    }
}

/// What a host gets of the traffic, in percent of what it gets when nothing is the matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Weight(u8);

impl Weight {
    /// No new requests.
    pub const DRAINED: Self = Self(0);
    /// Its full share.
    pub const FULL: Self = Self(100);

    /// So many percent.
    ///
    /// # Errors
    /// [`InvalidWeight`] above 100.
    pub fn percent(percent: u32) -> Result<Self, InvalidWeight> {
        match u8::try_from(percent) {
            Ok(weight) if weight <= Self::FULL.0 => Ok(Self(weight)),
            _ => Err(InvalidWeight(percent)),
        }
    }

    /// In percent.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Whether it gets new requests.
    #[must_use]
    pub const fn takes(self) -> bool {
        self.0 > 0
    }
}

impl TryFrom<u32> for Weight {
    type Error = InvalidWeight;
    fn try_from(percent: u32) -> Result<Self, InvalidWeight> {
        Self::percent(percent)
    }
}

impl From<Weight> for u32 {
    fn from(weight: Weight) -> Self {
        Self::from(weight.0)
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.takes() { write!(f, "{} %", self.0) } else { f.write_str("drained") }
    }
}

/// More than all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a weight is 0 to 100 percent, not {0}")]
pub struct InvalidWeight(u32);

/// What a balancer is to do with the hosts of an app. Servers that the table does not name stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficTable {
    /// For whose sake the table is what it is, and how often it has changed for that; what the balancer says names the table again.
    pub key: OrderKey,
    /// The environment.
    pub environment: EnvironmentName,
    /// The app.
    pub app: AppName,
    /// Every host's share.
    pub weights: BTreeMap<HostName, Weight>,
}

/// What a balancer sees when it has taken up a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrafficSeen {
    /// The table that was taken up, or could not be.
    pub key: OrderKey,
    /// The app.
    pub app: AppName,
    /// What it does with each host of the table that it knows.
    pub servers: BTreeMap<HostName, ServerSeen>,
    /// Why not all of the table is in effect.
    pub problem: Option<Failure>,
}

/// What a balancer does with one host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSeen {
    /// The share that is in effect.
    pub weight: Weight,
    /// Whether the balancer would send requests there: it takes the host for healthy, as far as it looks.
    pub up: bool,
    /// Requests (or connections, where only those can be counted) under way.
    pub in_flight: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_a_percentage() {
        assert_eq!(Weight::percent(100), Ok(Weight::FULL));
        assert_eq!(Weight::percent(101).unwrap_err().to_string(), "a weight is 0 to 100 percent, not 101");
        assert!(Weight::percent(u32::MAX).is_err() && serde_json::from_str::<Weight>("256").is_err());
        assert_eq!((Weight::DRAINED.to_string(), Weight::percent(5).unwrap().to_string()), ("drained".into(), "5 %".into()));
    }
}
