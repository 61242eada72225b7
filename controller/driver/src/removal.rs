//! An environment goes. Its rollouts, their output and the history stay.
//!
//! Why no rollout begins in an environment that is being removed: rollouts begin in the driver's one task and nowhere else, be they
//! asked for or be they to bring hosts level, and that task waits while the ledger removes. All that it decided before is saved by
//! then, so the ledger sees every rollout that has not ended; whatever is asked for later, or was parked, finds no environment.
//! Hosts are let in by others: therefore the ledger looks for them in the transaction in which the environment goes.

use roadstead_model::{AppName, EnvironmentName, HostName, RolloutId, Timestamp};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::{Driver, Event, Loop};
use crate::LedgerError;

/// Hosts that a refusal names.
const NAMED_MAX: usize = 5;

/// An environment of an app that is to go.
#[derive(Debug, Clone)]
pub struct Removal {
    /// Which.
    pub environment: EnvironmentName,
    /// Of which app.
    pub app: AppName,
    /// Who wants it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Only says whether it would be refused.
    pub dry_run: bool,
}

/// Why an environment is not removed.
#[derive(Debug, thiserror::Error)]
pub enum NotRemoved {
    /// There is no such environment.
    #[error("there is no environment {0} of {1}")]
    NoEnvironment(EnvironmentName, AppName),
    /// A rollout has not ended in it.
    #[error("{environment} of {app} is not removed: {rollout} has not ended in it")]
    Busy {
        /// Which environment.
        environment: EnvironmentName,
        /// Of which app.
        app: AppName,
        /// Which rollout.
        rollout: RolloutId,
    },
    /// Hosts still belong to it.
    #[error("{environment} of {app} is not removed: {} to it", belong(hosts))]
    Hosts {
        /// Which environment.
        environment: EnvironmentName,
        /// Of which app.
        app: AppName,
        /// Those that match its selector; all that enrolled for it when no other app has an environment of this name.
        hosts: Vec<HostName>,
    },
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The first hosts by name, and how many more there are.
fn belong(hosts: &[HostName]) -> String {
    let named: Vec<&str> = hosts.iter().take(NAMED_MAX).map(HostName::as_str).collect();
    let more = match hosts.len().saturating_sub(named.len()) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more} {}", named.join(", "), if hosts.len() == 1 { "belongs" } else { "belong" })
}

impl Driver {
    /// Removes an environment, or says whether that would be refused.
    ///
    /// # Errors
    /// [`NotRemoved`].
    pub async fn remove(&self, removal: Removal) -> Result<(), NotRemoved> {
        let (answer, answered) = oneshot::channel();
        self.tell(Event::Remove { removal, answer }).await;
        answered.await.map_err(|_| NotRemoved::Ledger(LedgerError::Stopping))?
    }
}

impl Loop {
    pub(super) async fn remove(&mut self, removal: Removal, answer: oneshot::Sender<Result<(), NotRemoved>>, stopping: &CancellationToken) {
        // What was decided before is saved first: the ledger looks at what it knows.
        self.finish_round(stopping).await;
        drop(answer.send(self.parts.ledger.remove_environment(removal).await));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_some_hosts_and_counts_the_others() {
        let told = |hosts: usize| {
            let hosts = (1..=hosts).map(|number| HostName::parse(&format!("web-{number}")).unwrap()).collect();
            let environment = EnvironmentName::parse("staging").unwrap();
            NotRemoved::Hosts { environment, app: AppName::parse("erp").unwrap(), hosts }.to_string()
        };
        assert_eq!(told(1), "staging of erp is not removed: web-1 belongs to it");
        assert_eq!(told(2), "staging of erp is not removed: web-1, web-2 belong to it");
        assert!(told(9).ends_with("web-5 and 4 more belong to it"), "{}", told(9));
    }
}
