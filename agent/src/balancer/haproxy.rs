//! HAProxy: shares are set through its runtime socket, and read back from it.
//!
//! A share is a percentage of the weight that the configuration gives a server; none at all is the state `drain`, in which its health
//! is checked on. What an admin took out for maintenance stays out. HAProxy forgets all of it when it is started anew.

mod client;
mod plan;
mod servers;

use async_trait::async_trait;
use std::collections::BTreeMap;

use super::{Balancer, Sight, Weights};
use crate::settings::HaProxySettings;
pub(crate) use client::Client;
use client::HaProxyError;
use plan::Plan;
pub(crate) use servers::Server;

/// The backend of an app.
#[derive(Debug)]
pub(crate) struct HaProxy {
    settings: HaProxySettings,
    client: Client,
}

impl HaProxy {
    /// Connects to nothing yet.
    pub(crate) fn new(settings: HaProxySettings) -> Self {
        let client = Client::new(settings.socket.clone());
        Self { settings, client }
    }

    /// The servers of the backend.
    pub(crate) async fn look(&self) -> Result<BTreeMap<String, Server>, HaProxyError> {
        let backend = &self.settings.backend;
        let state = self.client.table(&format!("show servers state {backend}")).await?;
        let stat = self.client.table(&format!("show stat {backend} 4 -1")).await?;
        Ok(servers::read(backend, &stat, &state)?)
    }

    async fn brought(&self, wanted: &Weights) -> Result<Sight, HaProxyError> {
        let before = self.look().await?;
        let settings = &self.settings;
        let plan = Plan { settings, wanted, servers: &before };
        let commands = plan.commands();
        if commands.is_empty() {
            return Ok(plan.sight());
        }
        let told = self.tell_all(&commands).await;
        let after = self.look().await?;
        let mut sight = Plan { settings, wanted, servers: &after }.sight();
        if let Err(error) = told {
            // Why it says no tells more than what it left undone.
            sight.problem = Some(error.failure());
        }
        Ok(sight)
    }

    /// Up to the first that is refused: whoever is to take more comes first.
    async fn tell_all(&self, commands: &[String]) -> Result<(), HaProxyError> {
        for command in commands {
            self.client.tell(command).await?;
            tracing::info!("told HAProxy: {command}");
        }
        Ok(())
    }
}

#[async_trait]
impl Balancer for HaProxy {
    async fn bring(&self, wanted: &Weights) -> Sight {
        self.brought(wanted).await.unwrap_or_else(|error| Sight::failed(error.failure()))
    }
}

#[cfg(test)]
mod tests;
