//! What hosts may run of what runs only once, and how they ask for it.

use roadstead_model::{AppName, LeaseAsk, LeaseSpan, LeaseTable, Millis, ServiceName, limits};
use std::collections::BTreeSet;

use crate::invalid::{InField, bounded};
use crate::{Invalid, v1};

impl From<LeaseTable> for v1::LeaseTable {
    fn from(table: LeaseTable) -> Self {
        Self {
            app: table.app.to_string(),
            turn: table.turn,
            lasts_ms: table.lasts.map_or(0, |span| span.get().0),
            services: table.services.iter().map(ToString::to_string).collect(),
            answers: table.answers,
        }
    }
}

impl TryFrom<v1::LeaseTable> for LeaseTable {
    type Error = Invalid;
    fn try_from(wire: v1::LeaseTable) -> Result<Self, Invalid> {
        let span = || LeaseSpan::try_from(Millis(wire.lasts_ms)).field("lease.lasts_ms");
        Ok(Self {
            app: AppName::parse(&wire.app).field("lease.app")?,
            turn: wire.turn,
            lasts: (wire.lasts_ms != 0).then(span).transpose()?,
            services: services(&wire.services)?,
            answers: wire.answers,
        })
    }
}

pub(super) fn services(wire: &[String]) -> Result<BTreeSet<ServiceName>, Invalid> {
    bounded(wire.len(), limits::SERVICES_MAX, "services")?;
    wire.iter().map(|name| ServiceName::parse(name).field("services")).collect()
}

impl From<LeaseAsk> for v1::LeaseAsk {
    fn from(ask: LeaseAsk) -> Self {
        Self {
            app: ask.app.to_string(),
            number: ask.number,
            turn: ask.turn,
            needs: ask.needs,
            keeps: ask.keeps,
            lasts_ms: ask.lasts.map(|lasts| lasts.0),
        }
    }
}

impl TryFrom<v1::LeaseAsk> for LeaseAsk {
    type Error = Invalid;
    fn try_from(wire: v1::LeaseAsk) -> Result<Self, Invalid> {
        let app = AppName::parse(&wire.app).field("lease.app")?;
        Ok(Self { app, number: wire.number, turn: wire.turn, needs: wire.needs, keeps: wire.keeps, lasts: wire.lasts_ms.map(Millis) })
    }
}
