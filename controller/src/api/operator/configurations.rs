//! Configurations: showing what an environment says to its app, and changing it. A change moves nobody: a rollout does.

use roadstead_bundle::configured::{Unfit, is_code, wrong};
use roadstead_model::configuration::compare;
use roadstead_model::{AppName, EnvironmentName, Key, Layer, Selector, Values, VariableName, limits, steers_code};
use roadstead_proto::v1;
use tonic::Status;

use super::super::Context;
use super::super::status::{internal, invalid, not_now, stored, unknown};
use super::Admin;
use super::releases::reason;
use super::rollouts::place;
use crate::clock;
use crate::store::{ConfigurationRecord, Edit, EnvironmentRecord, NotSet, Runs, shortly};

/// Versions that one answer shows.
const SHOWN_MAX: u32 = 200;

pub(super) async fn get(context: &Context, request: v1::GetConfigurationRequest) -> Result<v1::Configuration, Status> {
    let known = environment(context, &request.environment, &request.app).await?;
    let (name, app) = (&known.spec.name, &known.spec.app);
    let newest = newest(context, name, app).await?;
    let record = match request.version {
        0 if request.running => running(context, &known).await?,
        0 => newest.clone(),
        version => {
            let found = context.store.configuration(name, app, version).await.map_err(stored)?;
            let hint = format!("see `roadstead config history {name}`");
            found.ok_or_else(|| unknown(format!("{name} has no configuration {version} of {app}"), &hint))?
        }
    };
    let shown = shown(&known, &record, &newest);
    Ok(v1::Configuration { content: serde_json::to_vec(&record.content).map_err(internal)?, ..shown })
}

pub(super) async fn list(context: &Context, request: v1::ListConfigurationsRequest) -> Result<v1::ListConfigurationsResponse, Status> {
    let known = environment(context, &request.environment, &request.app).await?;
    let limit = if request.limit == 0 { SHOWN_MAX } else { request.limit.min(SHOWN_MAX) };
    let (name, app) = (&known.spec.name, &known.spec.app);
    // One more, to tell what the oldest of them changed.
    let records = context.store.configurations(name, app, limit + 1).await.map_err(stored)?;
    let (newest, none) = (records.first().cloned().unwrap_or_else(ConfigurationRecord::none), ConfigurationRecord::none());
    let told = |(at, record): (usize, &ConfigurationRecord)| {
        let before = records.get(at + 1).unwrap_or(&none);
        let changes = compare(&before.content, &record.content);
        v1::Configuration { changes: shortly(&changes), ..shown(&known, record, &newest) }
    };
    let configurations = records.iter().enumerate().take(limit as usize).map(told).collect();
    Ok(v1::ListConfigurationsResponse { configurations })
}

pub(super) async fn set(context: &Context, admin: &Admin, request: v1::SetConfigurationRequest) -> Result<v1::Configuration, Status> {
    let known = environment(context, &request.environment, &request.app).await?;
    let hosts = Selector::parse(&request.hosts).map_err(invalid)?;
    let key = |text: &String| Key::parse(text).map_err(invalid);
    let mut values = Vec::new();
    for (text, value) in &request.set {
        values.push((key(text)?, Some(value.clone())));
    }
    for text in &request.unset {
        values.push((key(text)?, None));
    }
    if values.is_empty() {
        return Err(invalid("nothing is to be set, and nothing taken back"));
    }
    let expected = (request.expected > 0).then_some(request.expected);
    let warnings = check(context, &known, &values).await?;
    let (name, app) = (known.spec.name.clone(), known.spec.app.clone());
    let before = newest(context, &name, &app).await?;
    let why = (admin.actor(), reason(&request.reason)?);
    let done = context.store.set_configuration((name, app), Edit { hosts, values, expected }, why, clock::now()).await.map_err(stored)?;
    let record = done.map_err(|refused| not_set(&known.spec.name, &refused))?;
    let changes = compare(&before.content, &record.content).iter().map(ToString::to_string).collect();
    Ok(v1::Configuration { changes, warnings, ..shown(&known, &record, &record) })
}

fn not_set(environment: &EnvironmentName, refused: &NotSet) -> Status {
    match refused {
        NotSet::Invalid(_) => invalid(refused),
        NotSet::Changed(_) => not_now(refused.to_string(), &format!("look at `roadstead config diff {environment}` and set it again")),
        NotSet::NoEnvironment => unknown(refused.to_string(), "see `roadstead env list`"),
        NotSet::NotThere { .. } => unknown(refused.to_string(), &format!("see `roadstead config list {environment}`")),
    }
}

/// Refuses what no release takes, and tells what the one that runs would not take: one that comes may.
async fn check(context: &Context, known: &EnvironmentRecord, values: &[(Key, Option<String>)]) -> Result<Vec<String>, Status> {
    let mut given = Values::default();
    for (key, value) in values.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        refuse_code(key)?;
        given.put(key, Some(value.clone())).map_err(|why| invalid(format!("{key}: {why}")))?;
    }
    refuse_secrets(context, known.current.as_ref(), &known.spec.app, &given).await?;
    let Some(current) = &known.current else { return Ok(Vec::new()) };
    let Some(release) = context.store.release(&current.release.manifest).await.map_err(stored)? else { return Ok(Vec::new()) };
    let warn = |unfit: &Unfit| format!("{unfit}, as {} says, which {} runs", release.id(), known.spec.name);
    Ok(wrong(&release.manifest.spec, &given).iter().map(warn).collect())
}

/// Refuses the value of a variable that the release which runs, or the newest one, declares as a secret: what is stored once stays.
pub(super) async fn refuse_secrets(context: &Context, runs: Option<&Runs>, app: &AppName, given: &Values) -> Result<(), Status> {
    let mut releases = context.store.releases(app.as_str(), 1).await.map_err(stored)?;
    if let Some(runs) = runs {
        releases.extend(context.store.release(&runs.release.manifest).await.map_err(stored)?);
    }
    for release in &releases {
        let secret = |name: &&VariableName| release.manifest.spec.variables.get(*name).is_some_and(|variable| variable.secret);
        if let Some(name) = given.variables.keys().find(secret) {
            return Err(invalid(format!(
                "{name} is a secret, as {} says: its value belongs into no configuration. Say where it is (`roadstead config set --secret \
                 {name}=PROVIDER:PATH#KEY`, [secrets] in the file), or set it as root on the hosts",
                release.id()
            )));
        }
    }
    Ok(())
}

/// What an environment runs with.
async fn running(context: &Context, known: &EnvironmentRecord) -> Result<ConfigurationRecord, Status> {
    let version = known.current.as_ref().map_or(0, |current| current.configuration);
    if version == 0 {
        return Ok(ConfigurationRecord::none());
    }
    let found = context.store.configuration(&known.spec.name, &known.spec.app, version).await.map_err(stored)?;
    Ok(found.unwrap_or_else(ConfigurationRecord::none))
}

/// What decides which code runs comes from no configuration.
pub(super) fn refuse_code(key: &Key) -> Result<(), Status> {
    let why = match key {
        Key::Variable(name) | Key::Secret(name) => steers_code(name),
        Key::File(path) => is_code(path),
    };
    match why {
        Some(why) => Err(invalid(format!(
            "{key} is not set by a configuration: {why}. A release may fix it in its signed roadstead.toml, or root on the host sets it"
        ))),
        None => Ok(()),
    }
}

/// Refuses code in what an environment's file says.
pub(super) fn refuse_code_in(layers: &[Layer]) -> Result<(), Status> {
    layers.iter().try_for_each(|layer| layer.values.entries().try_for_each(|(key, _)| refuse_code(&key)))
}

async fn environment(context: &Context, environment: &str, app: &str) -> Result<EnvironmentRecord, Status> {
    let (environment, app) = place(context, environment, app).await?;
    let known = context.store.environment(&environment, &app).await.map_err(stored)?;
    known.ok_or_else(|| unknown(format!("there is no environment {environment} of {app}"), "see `roadstead env list`"))
}

async fn newest(context: &Context, name: &EnvironmentName, app: &AppName) -> Result<ConfigurationRecord, Status> {
    Ok(context.store.newest_configuration(name, app).await.map_err(stored)?.unwrap_or_else(ConfigurationRecord::none))
}

fn shown(known: &EnvironmentRecord, record: &ConfigurationRecord, newest: &ConfigurationRecord) -> v1::Configuration {
    v1::Configuration {
        environment: known.spec.name.to_string(),
        app: known.spec.app.to_string(),
        version: record.version,
        id: record.id().map(String::from).unwrap_or_default(),
        content: Vec::new(),
        at_ms: record.at.0,
        by: record.by.clone(),
        reason: record.reason.clone(),
        changes: Vec::new(),
        warnings: Vec::new(),
        current: known.current.as_ref().is_some_and(|current| current.configuration == record.version),
        newest: record.version == newest.version,
    }
}

/// Whether a value is within what one message holds.
const _: () = assert!(limits::CONFIGURATION_BYTES_MAX * 2 < limits::MESSAGE_BYTES_MAX, "all of a configuration fits into one message");
