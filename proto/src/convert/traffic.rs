//! What balancers are told, and what they say.

use roadstead_model::{AppName, EnvironmentName, HostName, ServerSeen, TrafficSeen, TrafficTable, Weight, limits};
use std::collections::BTreeMap;

use crate::invalid::{InField, bounded};
use crate::{Invalid, v1};

impl From<TrafficTable> for v1::TrafficTable {
    fn from(table: TrafficTable) -> Self {
        let weight = |(host, weight): (HostName, Weight)| v1::TrafficWeight { host: host.to_string(), percent: weight.into() };
        Self {
            key: Some(table.key.into()),
            environment: table.environment.to_string(),
            app: table.app.to_string(),
            weights: table.weights.into_iter().map(weight).collect(),
        }
    }
}

impl TryFrom<v1::TrafficTable> for TrafficTable {
    type Error = Invalid;
    fn try_from(wire: v1::TrafficTable) -> Result<Self, Invalid> {
        bounded(wire.weights.len(), limits::HOSTS_PER_ROLLOUT_MAX, "traffic.weights")?;
        let mut weights = BTreeMap::new();
        for wire in wire.weights {
            let host = HostName::parse(&wire.host).field("traffic.weights.host")?;
            let weight = Weight::percent(wire.percent).field("traffic.weights.percent")?;
            if weights.insert(host, weight).is_some() {
                return Err(Invalid::new("traffic.weights", "a host is named twice"));
            }
        }
        Ok(Self {
            key: wire.key.field("traffic.key")?.into(),
            environment: EnvironmentName::parse(&wire.environment).field("traffic.environment")?,
            app: AppName::parse(&wire.app).field("traffic.app")?,
            weights,
        })
    }
}

impl From<TrafficSeen> for v1::TrafficSeen {
    fn from(seen: TrafficSeen) -> Self {
        let server = |(host, server): (HostName, ServerSeen)| v1::ServerSeen {
            host: host.to_string(),
            percent: server.weight.into(),
            up: server.up,
            in_flight: server.in_flight,
        };
        Self {
            key: Some(seen.key.into()),
            app: seen.app.to_string(),
            servers: seen.servers.into_iter().map(server).collect(),
            problem: seen.problem.map(Into::into),
        }
    }
}

impl TryFrom<v1::TrafficSeen> for TrafficSeen {
    type Error = Invalid;
    fn try_from(wire: v1::TrafficSeen) -> Result<Self, Invalid> {
        bounded(wire.servers.len(), limits::HOSTS_PER_ROLLOUT_MAX, "traffic.servers")?;
        let mut servers = BTreeMap::new();
        for wire in wire.servers {
            let host = HostName::parse(&wire.host).field("traffic.servers.host")?;
            let weight = Weight::percent(wire.percent).field("traffic.servers.percent")?;
            if servers.insert(host, ServerSeen { weight, up: wire.up, in_flight: wire.in_flight }).is_some() {
                return Err(Invalid::new("traffic.servers", "a host is named twice"));
            }
        }
        Ok(Self {
            key: wire.key.field("traffic.key")?.into(),
            app: AppName::parse(&wire.app).field("traffic.app")?,
            servers,
            problem: wire.problem.map(TryInto::try_into).transpose()?,
        })
    }
}
