//! `roadstead host`: the fleet, new hosts, hosts that must go.

use clap::Subcommand;
use roadstead_proto::v1::{AppState, CreateTokenRequest, Host, HostFacts, ListHostsRequest, RepairHostRequest, RevokeHostRequest};

use crate::failure::{Failure, Result};
use crate::output::{Output, count, size, table};
use crate::remote::{Controller, drift, moment, now_ms, rollout_view::span, spans};

/// Looks at hosts, lets new ones in, and cuts hosts off.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  roadstead host list\n  roadstead host token --env staging --label role=web\n  roadstead host revoke web-3 --reason 'sold'"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Lists the hosts.
    #[command(after_help = "Examples:\n  roadstead host list\n  roadstead host list --env production --output json")]
    List {
        /// Only those of this environment.
        #[arg(long, default_value = "", hide_default_value = true)]
        env: String,
        /// Those that were cut off, too.
        #[arg(long)]
        revoked: bool,
    },
    /// Shows one host.
    #[command(after_help = "Example:\n  roadstead host show web-1")]
    Show {
        /// Its name or id.
        host: String,
    },
    /// Prints a join token: it lets one host in, once, for a short time.
    #[command(after_help = "Example:\n  roadstead host token --env staging --label role=web --ttl 15m\n  \
        then on the host: roadstead-agent enroll --controller deploy.example.org:7443 --token-file -")]
    Token {
        /// The environment that the host joins.
        #[arg(long)]
        env: String,
        /// A label of the host, as key=value; may be given several times.
        #[arg(long = "label")]
        labels: Vec<String>,
        /// How long the token is good.
        #[arg(long, default_value = "15m", value_parser = spans::parse)]
        ttl: roadstead_model::Millis,
    },
    /// Brings a host that was changed behind the product's back to what it should run, like any host that comes level.
    #[command(after_help = "Example:\n  roadstead host repair web-3 --reason 'views.py was edited by hand'")]
    Repair {
        /// Its name or id.
        host: String,
        /// Why, for the history.
        #[arg(long)]
        reason: String,
    },
    /// Cuts a host off at once and for good. What it serves goes on serving: it only hears no controller any more.
    #[command(after_help = "Example:\n  roadstead host revoke web-3 --reason 'sold' --yes")]
    Revoke {
        /// Its name or id.
        host: String,
        /// Why, for the history.
        #[arg(long)]
        reason: String,
        /// Do not ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// Runs the action.
pub(crate) fn run(arguments: &Arguments, output: &Output) -> Result<()> {
    let controller = Controller::of_user()?;
    match &arguments.action {
        Action::List { env, revoked } => {
            let mut hosts = hosts(&controller, env)?;
            hosts.retain(|host| *revoked || !host.revoked || host.locked);
            let json: Vec<_> = hosts.iter().map(json).collect();
            output.result(&json, || table(["HOST", "ENVIRONMENT", "LABELS", "STATE", "RUNS", "SEEN"], hosts.iter().map(row)));
        }
        Action::Show { host } => {
            let hosts = hosts(&controller, "")?;
            let found = meant(&hosts, host)?;
            output.result(&json(found), || text(found));
        }
        Action::Token { env, labels, ttl } => {
            let request = CreateTokenRequest { environment: env.clone(), labels: labels.clone(), ttl_ms: ttl.0, admin: String::new() };
            let made = controller.call(async |mut client| Ok(client.create_token(request).await?.into_inner()))?;
            output.note(&format!("good for one host until {}", moment(made.expires_at_ms)));
            output.result(&serde_json::json!({ "token": made.token, "expires_at_ms": made.expires_at_ms }), || made.token.clone());
        }
        Action::Repair { host, reason } => {
            let request = RepairHostRequest { host: host.clone(), reason: reason.clone() };
            let begun = controller.call(async |mut client| Ok(client.repair_host(request).await?.into_inner().begun))?;
            output.result(&serde_json::json!({ "repaired": host, "begun": begun }), || {
                format!("{host} comes level with {}: see `roadstead rollout list`", begun.join(", "))
            });
        }
        Action::Revoke { host, reason, yes } => {
            let hosts = hosts(&controller, "")?;
            let found = meant(&hosts, host)?;
            output.confirm(*yes, &format!("{} ({}) of {} is cut off for good", found.name, found.id, found.environment))?;
            let request = RevokeHostRequest { host: host.clone(), reason: reason.clone() };
            controller.call(async |mut client| client.revoke_host(request).await)?;
            output.result(&serde_json::json!({ "revoked": host }), || format!("{host} is cut off"));
        }
    }
    Ok(())
}

/// The host that a person means by its id or its name; one that was cut off only when there is no other.
pub(crate) fn meant<'a>(hosts: &'a [Host], text: &str) -> Result<&'a Host> {
    let named = || hosts.iter().filter(|host| host.name == text);
    let found = hosts.iter().find(|host| host.id == text).or_else(|| named().find(|host| !host.revoked)).or_else(|| named().next());
    found.ok_or_else(|| Failure::failed(format!("there is no host {text:?}")).hint("`roadstead host list` shows them all"))
}

fn hosts(controller: &Controller, environment: &str) -> Result<Vec<Host>> {
    let request = ListHostsRequest { environment: environment.to_owned() };
    controller.call(async |mut client| Ok(client.list_hosts(request).await?.into_inner().hosts))
}

fn state(host: &Host) -> &'static str {
    match (host.locked, host.revoked, host.connected) {
        (true, ..) => "locked",
        (false, true, _) => "revoked",
        (false, false, true) => "connected",
        (false, false, false) => "away",
    }
}

/// Its state, and what an operator has to do about it.
fn state_and_why(host: &Host) -> String {
    let why = match (host.locked, host.ahead) {
        (true, _) => ": two machines came with its identity; see \"A host was copied\" in docs/recovery.md",
        (false, true) => ": it is ahead of the controller, whose database is older, and nothing moves it; see `roadstead doctor`",
        (false, false) => "",
    };
    format!("{}{why}", state(host))
}

fn runs(host: &Host) -> String {
    let apps = host.facts.as_ref().map(|facts| facts.apps.as_slice()).unwrap_or_default();
    apps.iter().filter(|app| !app.current.is_empty()).map(|app| format!("{} {}", app.app, app.current)).collect::<Vec<_>>().join(", ")
}

fn row(host: &Host) -> [String; 6] {
    let seen = if host.connected { "now".to_owned() } else { format!("{} ago", span(now_ms().saturating_sub(host.last_seen_ms))) };
    let state = if host.ahead { format!("{}, ahead", state(host)) } else { state(host).to_owned() };
    [host.name.clone(), host.environment.clone(), host.labels.join(","), state, runs(host), seen]
}

fn text(host: &Host) -> String {
    let facts = host.facts.clone().unwrap_or_default();
    let pythons: Vec<_> = facts.pythons.iter().map(|p| format!("{} ({})", p.version, p.path)).collect();
    let rows = [
        ("host", host.name.clone()),
        ("id", host.id.clone()),
        ("environment", host.environment.clone()),
        ("labels", host.labels.join(",")),
        ("state", state_and_why(host)),
        ("runs", runs(host)),
        ("seen", moment(host.last_seen_ms)),
        ("enrolled", moment(host.enrolled_at_ms)),
        ("certificate until", moment(host.certificate_not_after_ms)),
        ("system", format!("{}, systemd {}, {}", facts.operating_system, facts.systemd, facts.architecture)),
        ("python", pythons.join(", ")),
        ("agent", facts.agent_version.clone()),
        ("free disk", free(&facts)),
        ("believes", believes(&facts)),
        ("differs", drift::lines(host).join("\n")),
    ];
    table(["", ""], rows.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| [name.to_owned(), value]))
}

fn free(facts: &HostFacts) -> String {
    let inodes = if facts.disk_free_inodes == u64::MAX { String::new() } else { format!(", {} inodes", facts.disk_free_inodes) };
    format!("{}{inodes}", size(facts.disk_free_bytes))
}

fn believes(facts: &HostFacts) -> String {
    match &facts.release_keys {
        None => String::new(),
        Some(keys) if !keys.problem.is_empty() => format!("nobody: {}", keys.problem),
        Some(keys) => format!("{} of {}", keys.threshold, count(keys.ids.len(), "release key")),
    }
}

/// For programs.
pub(crate) fn json(host: &Host) -> serde_json::Value {
    let facts = host.facts.clone().unwrap_or_default();
    let app = |app: &AppState| serde_json::json!({ "app": app.app, "current": app.current, "previous": app.previous, "releases": app.releases, "bad": app.bad, "drift": drift::of_app(app) });
    serde_json::json!({
        "host": host.name,
        "id": host.id,
        "environment": host.environment,
        "labels": host.labels,
        "state": state(host),
        "ahead": host.ahead,
        "last_seen_ms": host.last_seen_ms,
        "enrolled_at_ms": host.enrolled_at_ms,
        "certificate_not_after_ms": host.certificate_not_after_ms,
        "apps": facts.apps.iter().map(app).collect::<Vec<_>>(),
        "operating_system": facts.operating_system,
        "architecture": facts.architecture,
        "systemd": facts.systemd,
        "agent_version": facts.agent_version,
        "pythons": facts.pythons.iter().map(|python| serde_json::json!({ "version": python.version, "path": python.path })).collect::<Vec<_>>(),
        "disk_free_bytes": facts.disk_free_bytes,
        "disk_free_inodes": facts.disk_free_inodes,
    })
}
