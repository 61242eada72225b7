//! `[database]` of an environment file.

use roadstead_model::{ApprovalRule, BackupDemand, DatabasePolicy, EnvironmentName, Gates};
use serde::Deserialize;
use toml::Spanned;

use super::gates_section::Approvals;
use super::spans::Span;

/// The section as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DatabaseSection {
    #[serde(default)]
    backup: BackupDemand,
    contract_after: Option<Span>,
    restore_approvals: Option<Spanned<Vec<Approvals>>>,
}

impl DatabaseSection {
    /// What is done for the database.
    ///
    /// # Errors
    /// Where the approvals stand, and why they could never be given.
    pub(crate) fn read(self, environment: &EnvironmentName) -> Result<DatabasePolicy, (usize, String)> {
        let (backup, contract_after) = (self.backup, self.contract_after.map(|span| span.0));
        let Some(listed) = self.restore_approvals else { return Ok(DatabasePolicy { backup, contract_after, restore_approvals: None }) };
        let place = listed.span().start;
        let rules: Vec<ApprovalRule> = listed.into_inner().into_iter().map(Approvals::rule).collect();
        let gates = Gates { approvals: rules.clone(), ..Gates::default() };
        gates.check(environment).map_err(|error| (place, error.to_string()))?;
        Ok(DatabasePolicy { backup, contract_after, restore_approvals: Some(rules) })
    }
}
