//! Showing configurations.

use roadstead_model::configuration::{Configuration, Key, meant};
use roadstead_proto::v1;
use std::io::Write as _;

use super::{Named, name};
use crate::failure::{Failure, Result};
use crate::output::{Output, table};
use crate::remote::{Controller, moment};

/// Characters of a value that a table shows.
const SHOWN_MAX: usize = 60;

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// The environment; with `@7` its version 7, without it the newest.
    #[arg(value_name = "ENVIRONMENT[@VERSION]")]
    named: Named,
    /// The app, where an environment of this name exists for several.
    #[arg(long, default_value = "", hide_default_value = true)]
    app: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Get {
    /// The environment; with `@7` its version 7, without it the newest.
    #[arg(value_name = "ENVIRONMENT[@VERSION]")]
    named: Named,
    /// The variable, `secret:NAME` for where a secret is, or `file:PATH`.
    key: Key,
    /// The app, where an environment of this name exists for several.
    #[arg(long, default_value = "", hide_default_value = true)]
    app: String,
    /// As it is said to the hosts with these labels, exactly as the selector was written; without it, to all.
    #[arg(long, value_name = "SELECTOR", default_value = "", hide_default_value = true)]
    hosts: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct History {
    /// The environment.
    environment: String,
    /// The app, where an environment of this name exists for several.
    #[arg(long, default_value = "", hide_default_value = true)]
    app: String,
    /// So many versions.
    #[arg(long, default_value_t = 20)]
    limit: u32,
}

pub(super) fn list(arguments: &List, output: &Output) -> Result<()> {
    let (found, content) = arguments.named.fetch(&arguments.app)?;
    output.result(&json(&found, &content), || text(&found, &content));
    Ok(())
}

fn json(found: &v1::Configuration, content: &Configuration) -> serde_json::Value {
    let entry = |(hosts, key, value, is_set): (String, Key, String, bool)| serde_json::json!({ "name": key, "value": value, "hosts": hosts, "from": if is_set { "set" } else { "file" } });
    let entries: Vec<_> = entries(content).into_iter().map(entry).collect();
    serde_json::json!({
        "environment": found.environment,
        "app": found.app,
        "version": found.version,
        "id": found.id,
        "newest": found.newest,
        "current": found.current,
        "values": entries,
    })
}

/// What is said: to whom, of what, and whether it was set one by one.
fn entries(content: &Configuration) -> Vec<(String, Key, String, bool)> {
    let of_layer = |(layer, is_set): (&roadstead_model::Layer, bool)| {
        let hosts = layer.hosts.to_string();
        let values = &layer.values;
        values.entries().map(|(key, value)| (hosts.clone(), key, value, is_set)).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = content.layers().flat_map(of_layer).collect();
    all.sort();
    all
}

fn text(found: &v1::Configuration, content: &Configuration) -> String {
    let entries = entries(content);
    if entries.is_empty() {
        return format!("{} of {} in {} says nothing", name(found), found.app, found.environment);
    }
    let row = |(hosts, key, value, is_set): (String, Key, String, bool)| {
        let hosts = if hosts.is_empty() { "all hosts".to_owned() } else { hosts };
        [key.to_string(), shown(&value), hosts, if is_set { "config set" } else { "file" }.to_owned()]
    };
    let state = match (found.current, found.newest) {
        (true, _) => "the environment runs with it",
        (false, true) => "the next rollout brings it",
        (false, false) => "an earlier one",
    };
    let rows = table(["NAME", "VALUE", "FOR", "FROM"], entries.into_iter().map(row));
    format!("{} of {} in {}: {state}\n{rows}", name(found), found.app, found.environment)
}

/// A value on one line, cut where it is long.
pub(super) fn shown(value: &str) -> String {
    let line: String = value.chars().map(|c| if c == '\n' { '⏎' } else { c }).filter(|c| !c.is_control()).take(SHOWN_MAX + 1).collect();
    match line.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}… ({} bytes)", &line[..end], value.len()),
        None => line,
    }
}

pub(super) fn get(arguments: &Get) -> Result<()> {
    let (found, content) = arguments.named.fetch(&arguments.app)?;
    let hosts = roadstead_model::Selector::parse(&arguments.hosts).map_err(|error| Failure::usage(error.to_string()))?;
    let values = content.by_hosts();
    let value = values.get(&hosts.to_string()).and_then(|values| values.get(&arguments.key));
    let Some(value) = value else {
        let hint = format!("`roadstead config list {}` shows all of it", arguments.named.environment);
        return Err(Failure::failed(format!("{} is not set for {} in {}", arguments.key, meant(&hosts), name(&found))).hint(hint));
    };
    let mut out = std::io::stdout().lock();
    let end: &[u8] = if value.ends_with('\n') { b"" } else { b"\n" };
    let written = out.write_all(value.as_bytes()).and_then(|()| out.write_all(end)).and_then(|()| out.flush());
    written.map_err(|error| Failure::failed(format!("the value cannot be written: {error}")))
}

pub(super) fn history(arguments: &History, output: &Output) -> Result<()> {
    let History { environment, app, limit } = arguments;
    let request = v1::ListConfigurationsRequest { environment: environment.clone(), app: app.clone(), limit: *limit };
    let answer = Controller::of_user()?.call(async |mut client| Ok(client.list_configurations(request).await?.into_inner()))?;
    let all = answer.configurations;
    let json: Vec<_> = all.iter().map(version).collect();
    output.result(&json, || match all.as_slice() {
        [] => format!("nothing was ever said to the app in {environment}"),
        all => table(["VERSION", "MADE", "BY", "CHANGES", "REASON", ""], all.iter().map(row)),
    });
    Ok(())
}

fn version(found: &v1::Configuration) -> serde_json::Value {
    serde_json::json!({
        "version": found.version,
        "id": found.id,
        "at_ms": found.at_ms,
        "by": found.by,
        "reason": found.reason,
        "changes": found.changes,
        "current": found.current,
    })
}

fn row(found: &v1::Configuration) -> [String; 6] {
    let state = if found.current { "runs" } else { "" };
    let by = found.by.strip_prefix("admin:").unwrap_or(&found.by).to_owned();
    [found.version.to_string(), moment(found.at_ms), by, found.changes.join(", "), found.reason.clone(), state.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::Selector;

    fn configuration() -> (v1::Configuration, Configuration) {
        let set = |configuration: Configuration, hosts: &str, key: &str, value: &str| {
            configuration.with(&Selector::parse(hosts).unwrap(), &Key::parse(key).unwrap(), Some(value.to_owned())).unwrap()
        };
        let mut content = set(Configuration::default(), "", "POOL_SIZE", "16");
        std::mem::swap(&mut content.applied, &mut content.set);
        let content = set(content, "zone=b", "POOL_SIZE", "8");
        let content = set(content, "", "file:config/limits.toml", "rate = 5\nburst = 10\n");
        let content = set(content, "", "LONG", &"x".repeat(100));
        let found = v1::Configuration {
            environment: "production".into(),
            app: "erp".into(),
            version: 7,
            id: "9f3a21cc".into(),
            newest: true,
            ..v1::Configuration::default()
        };
        (found, content)
    }

    #[test]
    fn what_is_said_is_listed_with_where_it_comes_from() {
        let (found, content) = configuration();
        insta::assert_snapshot!(text(&found, &content));
        insta::assert_snapshot!(serde_json::to_string_pretty(&json(&found, &content)).unwrap());
        assert_eq!(text(&found, &Configuration::default()), "configuration 7 of erp in production says nothing");
    }
}
