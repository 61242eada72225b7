//! An app whose traffic this host does not share out.

use async_trait::async_trait;
use roadstead_model::{AppName, Failure, FailureKind};

use super::{Balancer, Sight, Weights};

/// There is nothing to bring into effect.
#[derive(Debug)]
pub(super) struct Absent {
    app: AppName,
}

impl Absent {
    pub(super) fn new(app: &AppName) -> Self {
        Self { app: app.clone() }
    }
}

#[async_trait]
impl Balancer for Absent {
    async fn bring(&self, _: &Weights) -> Sight {
        let app = &self.app;
        Sight::failed(Failure::new(
            FailureKind::Unfit,
            format!("this host has no [traffic.{app}] in agent.toml: it does not know what shares out the traffic of {app}"),
            format!(
                "add [traffic.{app}] with provider = \"haproxy\", \"nginx\" or \"command\", restart roadstead-agent, and see docs/traffic.md"
            ),
        ))
    }
}
