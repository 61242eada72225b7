//! Changing configurations.

use roadstead_model::configuration::Key;
use roadstead_model::{RelativePath, SecretRef, VariableName, limits};
use roadstead_proto::v1;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use super::name;
use crate::args::Wait;
use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::remote::Controller;
use crate::remote::watch::{self, Wanted};

#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// The environment.
    environment: String,
    /// The app, where an environment of this name exists for several.
    #[arg(long, default_value = "", hide_default_value = true)]
    app: String,
    /// Only for hosts with these labels; for all without it.
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    hosts: String,
    /// Why, for the history.
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// Refuse when the newest version is another one than this by now.
    #[arg(long, value_name = "VERSION", default_value_t = 0, hide_default_value = true)]
    expect: u64,
    /// Bring it at once: a rollout of the release that runs, with the new configuration.
    #[arg(long)]
    deploy: bool,
    #[command(flatten)]
    wait: Wait,
}

#[derive(Debug, clap::Args)]
pub(super) struct Set {
    #[command(flatten)]
    place: Place,
    /// Variables with their values.
    #[arg(value_name = "NAME=VALUE", required_unless_present_any = ["file", "secret"])]
    values: Vec<String>,
    /// A file of the app's, with the local file whose text it is to have; `-` reads it from standard input.
    #[arg(long, value_name = "PATH=LOCAL")]
    file: Vec<String>,
    /// A secret, by where hosts find it: a provider of theirs, a path, a key and perhaps a version. Never the secret itself.
    #[arg(long, value_name = "NAME=PROVIDER:PATH#KEY")]
    secret: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Unset {
    #[command(flatten)]
    place: Place,
    /// Variables, or `file:PATH`.
    #[arg(required = true)]
    names: Vec<Key>,
}

pub(super) fn set(arguments: &Set, output: &Output) -> Result<()> {
    let set = given(&arguments.values, &arguments.secret, &arguments.file)?;
    change(&arguments.place, set, Vec::new(), output)
}

pub(super) fn unset(arguments: &Unset, output: &Output) -> Result<()> {
    change(&arguments.place, BTreeMap::new(), arguments.names.iter().map(ToString::to_string).collect(), output)
}

/// What is to be set, by the keys of the wire.
fn given(values: &[String], secrets: &[String], files: &[String]) -> Result<BTreeMap<String, String>> {
    let mut set = BTreeMap::new();
    let mut put = |key: Key, value: String| match set.insert(key.to_string(), value) {
        Some(_) => Err(Failure::usage(format!("{key} is set twice"))),
        None => Ok(()),
    };
    for text in values {
        let (name, value) = text.split_once('=').ok_or_else(|| Failure::usage(format!("{text:?} is no NAME=VALUE")))?;
        let key = Key::parse(name).ok().filter(|key| matches!(key, Key::Variable(_)));
        put(key.ok_or_else(|| Failure::usage(format!("{name:?} is no name of a variable: files are set with --file")))?, value.to_owned())?;
    }
    for text in secrets {
        // Somebody may have written the secret itself: nothing of it is told.
        let (name, place) = text.split_once('=').ok_or_else(|| Failure::usage("--secret is to be NAME=PROVIDER:PATH#KEY"))?;
        let name = VariableName::parse(name).map_err(|error| Failure::usage(error.to_string()))?;
        let place: SecretRef = place.parse().map_err(|error| Failure::usage(format!("{name}: {error}")))?;
        put(Key::Secret(name), place.to_string())?;
    }
    for text in files {
        let (path, local) = text.split_once('=').ok_or_else(|| Failure::usage(format!("{text:?} is no PATH=LOCAL")))?;
        let path = RelativePath::parse(path).map_err(|error| Failure::usage(error.to_string()))?;
        put(Key::File(path), read(Path::new(local))?)?;
    }
    Ok(set)
}

fn read(local: &Path) -> Result<String> {
    let failed = |why: String| Failure::failed(format!("{} cannot be read: {why}", local.display()));
    let source: Box<dyn std::io::Read> = match local == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(std::fs::File::open(local).map_err(|error| failed(error.to_string()))?),
    };
    let mut text = Vec::new();
    let most = limits::VARIABLE_VALUE_BYTES_MAX as u64;
    source.take(most + 1).read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > most {
        return Err(failed(format!("it has more than the {most} bytes that a configuration's file may have")));
    }
    String::from_utf8(text).map_err(|_| failed("it is not UTF-8".to_owned()))
}

fn change(place: &Place, set: BTreeMap<String, String>, unset: Vec<String>, output: &Output) -> Result<()> {
    let Place { environment, app, hosts, reason, expect, deploy, wait } = place;
    let controller = Controller::of_user()?;
    let request = v1::SetConfigurationRequest {
        environment: environment.clone(),
        app: app.clone(),
        hosts: hosts.clone(),
        set: set.into_iter().collect(),
        unset,
        reason: reason.clone(),
        expected: *expect,
    };
    let made = controller.call(async |mut client| Ok(client.set_configuration(request).await?.into_inner()))?;
    if !deploy {
        output.result(&json(&made), || told(&made));
        return Ok(());
    }
    output.note(told(&made).lines().next().unwrap_or_default());
    let request = v1::StartRolloutRequest {
        environment: made.environment.clone(),
        app: made.app.clone(),
        release: "current".to_owned(),
        reason: if reason.is_empty() { name(&made) } else { format!("{}: {reason}", name(&made)) },
        ..v1::StartRolloutRequest::default()
    };
    let rollout = controller.call(async |mut client| Ok(client.start_rollout(request).await?.into_inner()))?;
    output.note(&format!("r-{}: {} {} goes to {}", rollout.id, rollout.app, rollout.release, rollout.environment));
    watch::begun(&controller, rollout, *wait, Wanted::Done, output)
}

fn json(made: &v1::Configuration) -> serde_json::Value {
    serde_json::json!({ "version": made.version, "id": made.id, "changes": made.changes, "warnings": made.warnings, "current": made.current })
}

fn told(made: &v1::Configuration) -> String {
    let place = format!("{} of {} in {}", name(made), made.app, made.environment);
    if made.changes.is_empty() {
        return format!("{place}: nothing is different");
    }
    let next = match made.current {
        true => "the environment runs with it already".to_owned(),
        false => format!("`roadstead deploy {} current` brings it to the hosts", made.environment),
    };
    let warnings: String = made.warnings.iter().map(|warning| format!("warning: {warning}\n")).collect();
    format!("{place}: {}\n{warnings}{next}", made.changes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn values_and_files_are_read_as_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let local = folder.path().join("limits.toml");
        std::fs::write(&local, "rate = 5\n").unwrap();
        let file = format!("./config/limits.toml={}", local.display());
        let place = "vault:secret/erp#key?version=4";
        let secret = texts(&[&format!("KEY={place}")]);
        let set = given(&texts(&["A=1", "URL=a=b", "EMPTY="]), &secret, &[file]).unwrap();
        let file = ("file:config/limits.toml", "rate = 5\n");
        let expected = [("A", "1"), ("EMPTY", ""), ("URL", "a=b"), file, ("secret:KEY", place)];
        assert_eq!(set.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_cannot_be_read_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let large = folder.path().join("large");
        std::fs::write(&large, "x".repeat(limits::VARIABLE_VALUE_BYTES_MAX + 1)).unwrap();
        let binary = folder.path().join("binary");
        std::fs::write(&binary, [0xff, 0xfe]).unwrap();
        let file = |path: &Path| vec![format!("a.toml={}", path.display())];
        let why = |values: &[&str], files: &[String]| given(&texts(values), &[], files).unwrap_err().to_string();
        let told = given(&[], &texts(&["KEY=sk_live_51"]), &[]).unwrap_err().to_string();
        assert!(told.contains("KEY: this is no reference") && !told.contains("sk_live"), "{told}");
        for (told, part) in [
            (why(&["A"], &[]), "is no NAME=VALUE"),
            (why(&["1A=x"], &[]), "is no name of a variable"),
            (why(&["file:a.toml=x"], &[]), "files are set with --file"),
            (why(&["A=1", "A=2"], &[]), "A is set twice"),
            (why(&[], &texts(&["../a=x"])), "not a path below the app's root"),
            (why(&[], &file(&large)), "more than the 65536 bytes"),
            (why(&[], &file(&binary)), "it is not UTF-8"),
            (why(&[], &file(Path::new("/nowhere/at/all"))), "cannot be read"),
        ] {
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn what_was_done_is_told_with_what_to_do_next() {
        let made = v1::Configuration {
            environment: "production".into(),
            app: "erp".into(),
            version: 8,
            changes: texts(&["POOL_SIZE changed", "file:config/limits.toml set for zone=b"]),
            warnings: texts(&["POOL_SIZE is to be a whole number, as 1.4.2-0b05da999f66 says, which production runs"]),
            ..v1::Configuration::default()
        };
        insta::assert_snapshot!(told(&made));
        let nothing = v1::Configuration { changes: vec![], warnings: vec![], ..made };
        assert_eq!(told(&nothing), "configuration 8 of erp in production: nothing is different");
    }
}
