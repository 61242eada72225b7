//! The operator's settings of a host: `/etc/roadstead/agent.toml`.

use roadstead_model::AppName;
use std::collections::BTreeMap;

/// The settings, checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// Where the controller is (`host:port`), when it is not where the agent enrolled.
    pub(crate) controller: Option<String>,
    /// What the host's operator allows apps, by name.
    pub(crate) apps: BTreeMap<AppName, AppSettings>,
}

/// What the host's operator allows one app.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppSettings {
    /// An existing system user that the app may run as.
    pub(crate) user: Option<String>,
    /// Units of the team's own that the app's release may restart or reload.
    pub(crate) units: Vec<String>,
}
