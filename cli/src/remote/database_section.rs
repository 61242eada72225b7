//! `[database]` of an environment file.

use roadstead_model::{ApprovalRule, BackupDemand, DatabasePolicy, EnvironmentName, Gates};
use serde::Deserialize;
use toml::Spanned;

use super::gates_section::Approvals;

/// The section as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct DatabaseSection {
    #[serde(default)]
    backup: BackupDemand,
    restore_approvals: Option<Spanned<Vec<Approvals>>>,
}

impl DatabaseSection {
    /// What is done for the database.
    ///
    /// # Errors
    /// Where the approvals stand, and why they could never be given.
    pub(crate) fn read(self, environment: &EnvironmentName) -> Result<DatabasePolicy, (usize, String)> {
        let Some(listed) = self.restore_approvals else { return Ok(DatabasePolicy { backup: self.backup, restore_approvals: None }) };
        let place = listed.span().start;
        let rules: Vec<ApprovalRule> = listed.into_inner().into_iter().map(Approvals::rule).collect();
        let gates = Gates { approvals: rules.clone(), ..Gates::default() };
        gates.check(environment).map_err(|error| (place, error.to_string()))?;
        Ok(DatabasePolicy { backup: self.backup, restore_approvals: Some(rules) })
    }
}
