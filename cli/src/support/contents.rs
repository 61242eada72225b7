//! What goes into a support bundle, as files. Pure: everything passes the scrub before it is a file.

use roadstead_model::{Configuration, Finding};
use roadstead_proto::v1::{Environment, Event, Host, Release, Rollout, WhoAmIResponse};
use serde_json::Value;
use std::collections::BTreeMap;

use super::archive::NAME_BYTES_MAX;
use super::scrub::{Scrub, lengths};
use crate::commands::{env, history, host, release};
use crate::output::size;
use crate::remote::{explain, watch};

/// Characters of a host's name in a file's.
const HOST_CHARS_MAX: usize = 64;

/// Everything that was asked for.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    /// When, in milliseconds since 1970 UTC.
    pub(crate) at_ms: u64,
    /// What the controller says of itself.
    pub(crate) controller: WhoAmIResponse,
    pub(crate) environments: Vec<Environment>,
    /// The newest configurations of each, for what they say to be hidden.
    pub(crate) configurations: Vec<Configuration>,
    pub(crate) hosts: Vec<Host>,
    pub(crate) releases: Vec<Release>,
    pub(crate) rollouts: Vec<Rollout>,
    /// The newest lines of the whole history.
    pub(crate) events: Vec<Event>,
    /// The rollout that is in question.
    pub(crate) rollout: Option<InQuestion>,
    /// What a check-up found.
    pub(crate) findings: Vec<Finding>,
}

/// A rollout that somebody wants to understand.
#[derive(Debug, Default)]
pub(crate) struct InQuestion {
    pub(crate) rollout: Rollout,
    pub(crate) events: Vec<Event>,
    /// By host and step.
    pub(crate) outputs: BTreeMap<(String, String), Said>,
    /// Bytes of output that had no room in the bundle.
    pub(crate) no_room: u64,
}

/// What a step said.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) text: String,
    /// Bytes that the controller did not keep.
    pub(crate) dropped: u64,
}

/// A file of the bundle.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) content: Vec<u8>,
}

/// The files, without secrets. `moment` writes a point in time for people.
pub(crate) fn files(collected: &Collected, moment: &dyn Fn(u64) -> String) -> Vec<File> {
    let scrub = scrub(collected);
    let mut files = vec![File { name: "README.txt".to_owned(), content: scrub.text(&readme(collected, moment)).into_bytes() }];
    let mut document = |name: &str, mut value: Value| {
        scrub.document(&mut value);
        let content = serde_json::to_vec_pretty(&value).unwrap_or_default();
        files.push(File { name: name.to_owned(), content });
    };
    let list = |values: Vec<Value>| Value::Array(values);
    document("versions.json", versions(collected));
    document("doctor.json", serde_json::to_value(&collected.findings).unwrap_or_default());
    document("environments.json", list(collected.environments.iter().map(environment).collect()));
    document("hosts.json", list(collected.hosts.iter().map(host::json).collect()));
    document("releases.json", list(collected.releases.iter().map(release::json).collect()));
    document("rollouts.json", list(collected.rollouts.iter().map(|rollout| watch::summary(&scrub.rollout(rollout))).collect()));
    document("history.json", list(collected.events.iter().map(history::json).collect()));
    if let Some(InQuestion { rollout, events, outputs, .. }) = &collected.rollout {
        let (rollout, events) = (scrub.rollout(rollout), events.iter().map(|event| scrub.event(event)).collect::<Vec<_>>());
        let folder = format!("r-{}", rollout.id);
        document(&format!("{folder}/rollout.json"), watch::summary(&rollout));
        document(&format!("{folder}/history.json"), list(events.iter().map(history::json).collect()));
        let told = explain::explain(&rollout, &events, collected.at_ms, moment).text();
        files.push(File { name: format!("{folder}/explained.txt"), content: scrub.text(&told).into_bytes() });
        files.extend(said(&folder, outputs, &scrub));
    }
    files
}

/// The outputs, a file for each step of each host. Hosts whose names look alike as files share them.
fn said(folder: &str, outputs: &BTreeMap<(String, String), Said>, scrub: &Scrub) -> Vec<File> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    for ((host, step), Said { text, dropped }) in outputs {
        let mut name = format!("{folder}/output/{}/{}.txt", as_file(host), as_file(step));
        name.truncate(NAME_BYTES_MAX);
        let all = texts.entry(name).or_default();
        all.push_str(&scrub.text(text));
        if *dropped > 0 {
            all.push_str(&format!("[{} were not kept by the controller]\n", size(*dropped)));
        }
    }
    texts.into_iter().map(|(name, text)| File { name, content: text.into_bytes() }).collect()
}

/// A name without anything that means something in a path.
fn as_file(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    name.chars().map(plain).take(HOST_CHARS_MAX).collect()
}

/// Knows the values of every environment's variables.
fn scrub(collected: &Collected) -> Scrub {
    let variables: Vec<BTreeMap<String, String>> = collected.environments.iter().map(|environment| variables(&spec(environment))).collect();
    let of_environments = collected.environments.iter().flat_map(|environment| [environment.name.as_str(), environment.app.as_str()]);
    let public: Vec<&str> = of_environments.chain(collected.hosts.iter().map(|host| host.name.as_str())).collect();
    let said: Vec<(String, String)> = collected.configurations.iter().flat_map(said_in).collect();
    let of_specs = variables.iter().flatten().map(|(name, value)| (name.as_str(), value.as_str()));
    Scrub::new(of_specs.chain(said.iter().map(|(name, value)| (name.as_str(), value.as_str()))), &public)
}

/// What a configuration says, by name.
fn said_in(configuration: &Configuration) -> Vec<(String, String)> {
    let values = configuration.layers().map(|(layer, _)| &layer.values);
    values.flat_map(|values| values.entries().map(|(key, value)| (key.to_string(), value.to_owned())).collect::<Vec<_>>()).collect()
}

fn spec(environment: &Environment) -> Value {
    serde_json::from_slice(&environment.spec).unwrap_or_default()
}

/// Every value that a policy says to the app: to all hosts, and to those with a label.
fn variables(spec: &Value) -> BTreeMap<String, String> {
    let overrides = spec.get("overrides").and_then(Value::as_array).into_iter().flatten();
    let layers = std::iter::once(spec).chain(overrides);
    layers.flat_map(|layer| CONFIGURED.into_iter().flat_map(|kind| texts(layer, kind))).collect()
}

/// Where a policy says something to the app.
const CONFIGURED: [&str; 2] = ["variables", "files"];

fn texts(layer: &Value, kind: &str) -> BTreeMap<String, String> {
    let as_text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = layer.get(kind).and_then(Value::as_object);
    fields.into_iter().flatten().map(|(name, value)| (name.clone(), as_text(value))).collect()
}

/// Leaves names and lengths of what a policy says.
fn shorten(layer: &mut Value) {
    for kind in CONFIGURED {
        let lengths = lengths(&texts(layer, kind));
        if let Some(found) = layer.get_mut(kind) {
            *found = lengths;
        }
    }
}

fn environment(environment: &Environment) -> Value {
    let mut shown = env::json(environment);
    let mut spec = spec(environment);
    shorten(&mut spec);
    spec.get_mut("overrides").and_then(Value::as_array_mut).into_iter().flatten().for_each(shorten);
    shown["spec"] = spec;
    shown
}

fn versions(collected: &Collected) -> Value {
    let WhoAmIResponse { name, controller_version, term, now_ms, protocol, .. } = &collected.controller;
    serde_json::json!({
        "command": env!("CARGO_PKG_VERSION"),
        "controller": controller_version,
        "protocol": protocol,
        "term": term,
        "made_by": name,
        "made_at_ms": collected.at_ms,
        "controller_at_ms": now_ms,
    })
}

fn readme(collected: &Collected, moment: &dyn Fn(u64) -> String) -> String {
    let mut text = format!(
        "A support bundle of Roadstead, made {} by {} with the command {} of a controller {}.\n\n",
        moment(collected.at_ms),
        collected.controller.name,
        env!("CARGO_PKG_VERSION"),
        collected.controller.controller_version,
    );
    text.push_str(
        "versions.json      of the command and the controller\n\
         doctor.json        what `roadstead doctor` finds\n\
         environments.json  their policies; of variables only names and lengths\n\
         hosts.json         with what they say of themselves\n\
         releases.json      the newest, without their files\n\
         rollouts.json      the newest\n\
         history.json       the newest lines\n",
    );
    if let Some(InQuestion { rollout, no_room, .. }) = &collected.rollout {
        let folder = format!("r-{}/", rollout.id);
        text.push_str(&format!("{folder:18} the rollout in question: in words, its history, what its steps said on each host\n"));
        if *no_room > 0 {
            text.push_str(&format!("\n{} of output had no room here: see `roadstead logs r-{}`.\n", size(*no_room), rollout.id));
        }
    }
    text.push_str(
        "\nIt holds no credentials and no tokens. Values of variables, as environments have them now, are replaced by their lengths\n\
         wherever they stand; what has the form of a key, a token or a password is left out. Programs may have printed other things\n\
         that are nobody's business: read what they said before you pass it on.\n",
    );
    text
}

#[cfg(test)]
mod tests;
