//! `roadstead config`: what environments say to their apps.

mod compare;
mod edit;
mod show;

use clap::Subcommand;
use roadstead_model::configuration::Configuration;
use roadstead_proto::v1;

use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::remote::Controller;

/// Shows and changes configurations: variables and files of an app in an environment, for all hosts or for those with a label.
///
/// Each change is a new version. It moves nobody by itself: the next rollout brings it, as it brings a release, in batches, with health
/// checks and a way back. Of secrets only
/// their places are said: each host finds the values by itself.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  roadstead config list production\n  roadstead config set production POOL_SIZE=16 --reason 'month end' --deploy\n  roadstead config diff production"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists what an environment says to its app, with where each value comes from.
    #[command(after_help = "Examples:\n  roadstead config list production\n  roadstead config list production@7 --output json")]
    List(show::List),
    /// Prints one value as it is, for scripts.
    #[command(
        after_help = "Examples:\n  roadstead config get production POOL_SIZE\n  roadstead config get production file:config/limits.toml > limits.toml"
    )]
    Get(show::Get),
    /// Sets values, all or none: a new version.
    #[command(
        after_help = "Examples:\n  roadstead config set production POOL_SIZE=16 LOG_LEVEL=INFO --reason 'month end'\n  roadstead config set production --file config/limits.toml=limits.toml --deploy\n  roadstead config set production CACHE=redis://b/0 --hosts zone=b\n  roadstead config set production --secret STRIPE_KEY=vault:secret/erp#stripe_key?version=4 --deploy"
    )]
    Set(edit::Set),
    /// Takes values back that were set: the default counts again, or what is said to all.
    #[command(
        after_help = "Examples:\n  roadstead config unset production POOL_SIZE\n  roadstead config unset production CACHE --hosts zone=b"
    )]
    Unset(edit::Unset),
    /// Shows what differs: between what runs and what the next rollout brings, two versions, or two environments.
    #[command(
        after_help = "Examples:\n  roadstead config diff production\n  roadstead config diff production@6 production@7\n  roadstead config diff staging production"
    )]
    Diff(compare::Arguments),
    /// Lists the versions, the newest first: who changed what, when and why.
    #[command(after_help = "Example:\n  roadstead config history production")]
    History(show::History),
}

/// Runs the action.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    match &arguments.action {
        Action::List(arguments) => show::list(arguments, output),
        Action::Get(arguments) => show::get(arguments),
        Action::Set(arguments) => edit::set(arguments, output),
        Action::Unset(arguments) => edit::unset(arguments, output),
        Action::Diff(arguments) => compare::run(arguments, output),
        Action::History(arguments) => show::history(arguments, output),
    }
}

/// A configuration as a person names it: an environment, and perhaps `@` and a version of its.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    environment: String,
    version: u64,
    /// The version that the environment runs with, whichever it is.
    running: bool,
}

impl std::str::FromStr for Named {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let Some((environment, version)) = text.split_once('@') else {
            return Ok(Self { environment: text.to_owned(), version: 0, running: false });
        };
        let version = version.parse().ok().filter(|version| *version > 0);
        let version = version.ok_or_else(|| format!("{text:?} names no version: write ENVIRONMENT or ENVIRONMENT@7"))?;
        Ok(Self { environment: environment.to_owned(), version, running: false })
    }
}

impl Named {
    fn fetch(&self, app: &str) -> Result<(v1::Configuration, Configuration)> {
        let Self { environment, version, running } = self.clone();
        let request = v1::GetConfigurationRequest { environment, app: app.to_owned(), version, running };
        let found = Controller::of_user()?.call(async |mut client| Ok(client.get_configuration(request).await?.into_inner()))?;
        let content = read(&found)?;
        Ok((found, content))
    }
}

fn read(found: &v1::Configuration) -> Result<Configuration> {
    serde_json::from_slice(&found.content).map_err(|error| {
        let hint = "use the command of the controller's version";
        Failure::failed(format!("the controller's configuration cannot be read: {error}")).hint(hint)
    })
}

/// A configuration, named for people.
fn name(found: &v1::Configuration) -> String {
    if found.version == 0 { "no configuration".to_owned() } else { format!("configuration {}", found.version) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_controller_sends_is_read_or_told() {
        let sent = |content: &[u8]| read(&v1::Configuration { content: content.to_vec(), ..v1::Configuration::default() });
        assert_eq!(sent(b"{}").unwrap(), Configuration::default());
        assert!(sent(b"{").unwrap_err().to_string().contains("cannot be read"));
    }

    #[test]
    fn versions_are_named_behind_the_environment() {
        let named = |text: &str| text.parse::<Named>().map(|named| (named.environment, named.version));
        assert_eq!(named("production"), Ok(("production".to_owned(), 0)));
        assert_eq!(named("production@7"), Ok(("production".to_owned(), 7)));
        for bad in ["production@", "production@0", "production@x", "production@-1", "production@99999999999999999999"] {
            assert!(named(bad).unwrap_err().contains("names no version"), "{bad}");
        }
    }
}
