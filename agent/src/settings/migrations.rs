//! `[migrations.APP]`: variables that are in force on this host for the steps that change or back up the app's database, and for no other.

use roadstead_model::{AppName, ProviderName, VariableName};
use roadstead_secrets::ProviderSettings;
use serde::Deserialize;
use std::collections::BTreeMap;
use toml::Spanned;

use super::traffic::{Mistake, placed};
use crate::credentials::template::Template;

const VARIABLES_MAX: usize = 32;

/// The credentials of an app's migrations on this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MigrationSettings {
    /// What each variable is made of.
    pub(crate) variables: BTreeMap<VariableName, Template>,
    /// Whether the backup before migrations is made with them, too.
    pub(crate) backup: bool,
}

/// The section as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Section {
    env: Spanned<BTreeMap<Spanned<String>, Spanned<String>>>,
    backup: Option<bool>,
}

impl Section {
    /// The settings that it makes, for an app.
    pub(super) fn check(self, app: &AppName, providers: &BTreeMap<ProviderName, ProviderSettings>) -> Result<MigrationSettings, Mistake> {
        let at = self.env.span().start;
        let env = self.env.into_inner();
        if !(1..=VARIABLES_MAX).contains(&env.len()) {
            return Err((at, format!("`env` names 1 to {VARIABLES_MAX} variables, each with a reference to a secret")));
        }
        let mut variables = BTreeMap::new();
        for (name, text) in env {
            let name = placed(name, |name| variable(&name))?;
            let template = placed(text, |text| {
                let template = Template::parse(&text)?;
                template.references().into_iter().try_for_each(|reference| known(app, &reference.provider, providers))?;
                Ok(template)
            })?;
            variables.insert(name, template);
        }
        Ok(MigrationSettings { variables, backup: self.backup.unwrap_or(true) })
    }
}

fn variable(name: &str) -> Result<VariableName, String> {
    match VariableName::parse(name) {
        Ok(_) if name.starts_with("ROADSTEAD_") => Err(format!("{name} is the agent's own to set")),
        Ok(name) => Ok(name),
        Err(error) => Err(error.to_string()),
    }
}

/// Whether a provider is there for an app.
pub(super) fn known(app: &AppName, provider: &ProviderName, providers: &BTreeMap<ProviderName, ProviderSettings>) -> Result<(), String> {
    match providers.get(provider) {
        None => Err(format!("there is no section [secrets.{provider}] in this file")),
        Some(settings) if !settings.serves(app) => Err(format!("`apps` of [secrets.{provider}] does not name {app}")),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    const PROVIDERS: &str = "[secrets.keys]\nkind = \"credential\"\n[secrets.closed]\nkind = \"credential\"\napps = [\"shop\"]\n";

    fn of(section: &str) -> Result<MigrationSettings, String> {
        let settings = parse(&format!("{PROVIDERS}[migrations.erp]\n{section}"))?;
        Ok(settings.migrations[&AppName::parse("erp").unwrap()].clone())
    }

    #[test]
    fn variables_have_references_and_the_backup_is_made_with_them() {
        let given =
            of("env = { DB_USER = \"keys:erp.user\", DATABASE_URL = \"postgres://{keys:erp.user}:{keys:erp.password}@db/erp\" }").unwrap();
        assert_eq!((given.variables.len(), given.backup), (2, true));
        assert!(!of("env = { DB_USER = \"keys:erp.user\" }\nbackup = false").unwrap().backup);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_where_it_stands() {
        for (text, at, says) in [
            ("env = {}", "7:7", "1 to 32 variables"),
            ("env = { DB_PASSWORD = \"canary\" }", "7:23", "never write the secret itself"),
            ("env = { DB_PASSWORD = \"postgres://{canary\" }", "7:23", "begins a reference"),
            ("env = { \"1A\" = \"keys:erp.user\" }", "7:9", "variable"),
            ("env = { ROADSTEAD_APP = \"keys:erp.user\" }", "7:9", "the agent's own"),
            ("env = { DB_USER = \"vault:secret/erp#user\" }", "7:19", "no section [secrets.vault]"),
            ("env = { DB_USER = \"closed:erp.user\" }", "7:19", "`apps` of [secrets.closed] does not name erp"),
            ("env = { DB_USER = \"keys:erp.user\" }\nbackups = false", "8:1", "did you mean `backup`?"),
            ("backup = true", "6:1", "env"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.starts_with(&format!("{at}: ")) && error.contains(says) && !error.contains("canary"), "{text}: {error}");
        }
    }
}
