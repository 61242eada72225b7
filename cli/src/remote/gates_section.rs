//! `[gates]` of an environment file.

use roadstead_model::{After, ApprovalRule, EnvironmentName, Freeze, Gates, Millis, RoleName, Window};
use serde::Deserialize;
use toml::Spanned;

use super::spans::Span;

/// The section as it is written.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct GatesSection {
    #[serde(default)]
    approvals: Vec<Approvals>,
    time_zone: Option<String>,
    #[serde(default)]
    windows: Vec<Window>,
    #[serde(default)]
    freezes: Vec<Freeze>,
    after: Option<First>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Approvals {
    role: RoleName,
    #[serde(default = "one")]
    count: u32,
}

impl Approvals {
    /// So many people of a role.
    pub(super) fn rule(self) -> ApprovalRule {
        ApprovalRule { role: self.role, count: self.count }
    }
}

const fn one() -> u32 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct First {
    environment: EnvironmentName,
    healthy_for: Option<Span>,
}

impl GatesSection {
    /// What a rollout waits for.
    ///
    /// # Errors
    /// Where the section begins, and why its gates could never open.
    pub(crate) fn read(section: Option<Spanned<Self>>, environment: &EnvironmentName) -> Result<Gates, (usize, String)> {
        let Some(section) = section else { return Ok(Gates::default()) };
        let place = section.span().start;
        let Self { approvals, time_zone, windows, freezes, after } = section.into_inner();
        let approvals = approvals.into_iter().map(Approvals::rule).collect();
        let after = after
            .map(|First { environment, healthy_for }| After { environment, healthy_for: healthy_for.map_or(Millis(0), |span| span.0) });
        let gates = Gates { approvals, time_zone, windows, freezes, after };
        gates.check(environment).map_err(|error| (place, error.to_string()))?;
        Ok(gates)
    }
}
