//! What a rollout would be, as text: what matters on the first screen, then the hosts. Pure, so that it can be compared.

mod hosts;
pub(crate) mod migrations;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;

use roadstead_model::outlook::{
    Changes, Counts, Course, Estimate, FileChanges, Migration, NewMigration, Outlook, PackageChange, ServiceChange, ServiceOutlook,
    TrafficOutlook, VariableChange,
};
use roadstead_model::{Analysis, BackupDemand, HostName, Millis, OnFailure};

use crate::output::{count, printable, size};
use hosts::host_table;

/// Things that a line names; the others are counted, and are all in the JSON.
const NAMES_MAX: usize = 6;

/// How it is shown.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shown {
    /// The environment has several apps, so the command that starts it names this one.
    pub(crate) named_app: bool,
    /// The SQL of migrations is shown whole.
    pub(crate) whole_sql: bool,
}

/// The whole text.
pub(crate) fn picture(outlook: &Outlook, shown: Shown) -> String {
    let mut lines = vec![title(outlook)];
    let mut tell = |label: &str, text: String| lines.push(format!("{label:<11}{text}"));
    for obstacle in &outlook.obstacles {
        tell("Refused", format!("{}\n{:11}{}", obstacle.what, "", obstacle.next));
    }
    outlook.gates.iter().for_each(|gate| tell("Waits for", format!("{} ({})", gate.why, gate.way)));
    if let Some(plan) = &outlook.plan {
        tell("Hosts", hosts_in_batches(plan));
        tell("Losses", losses(plan));
        if let Some(of_hosts) = &plan.traffic {
            tell("Traffic", traffic(of_hosts));
        }
        if let Some(analysis) = &plan.analysis {
            judges(analysis).into_iter().for_each(|(label, text)| tell(label, text));
        }
        if let Some(bytes) = plan.bytes_at_most {
            tell("Bytes", format!("at most {} for all hosts together", size(bytes)));
        }
        tell("Time", time(&plan.estimate));
        if !plan.estimate.steps.is_empty() {
            tell("Steps", steps(&plan.estimate));
        }
        tell("Database", plan.migration.as_ref().map_or_else(|| "no migration runs".to_owned(), migration));
        if let Some(migration) = &plan.migration {
            tell("Backup", backup(migration.backup));
        }
        tell("Services", services(&plan.services));
    }
    changes(outlook, &mut tell);
    outlook.notes.iter().for_each(|note| tell("Note", printable(note)));
    if let Some(plan) = &outlook.plan {
        lines.extend([String::new(), host_table(plan)]);
        // Where nothing runs yet, migrations break nobody and lock what nobody uses.
        let told = plan.migration.as_ref().filter(|_| outlook.current.is_some() || shown.whole_sql);
        if let Some(section) = told.and_then(|migration| migrations::section(migration, shown.whole_sql)) {
            lines.extend([String::new(), section]);
        }
        if outlook.obstacles.is_empty() {
            lines.extend([String::new(), start(outlook, plan, shown.named_app)]);
        }
    }
    lines.join("\n")
}

fn title(outlook: &Outlook) -> String {
    let Outlook { environment, app, release, current, plan, .. } = outlook;
    let name = plan.as_ref().map_or_else(|| "no plan".to_owned(), |plan| format!("plan {}", plan.digest.short()));
    let what = match current {
        None => "; nothing runs there yet".to_owned(),
        Some(current) if current == release => ", which runs there already".to_owned(),
        Some(current) => format!(", in place of {current}"),
    };
    format!("{name}: {app} {release} to {environment}{what}")
}

fn hosts_in_batches(plan: &Course) -> String {
    let hosts: usize = plan.batches.iter().map(|batch| batch.hosts.len()).sum();
    let batches = match plan.batches.len() {
        1 => "1 batch".to_owned(),
        several => format!("{several} batches"),
    };
    format!("{} in {batches}, at most {} out at once", count(hosts, "host"), plan.max_unavailable)
}

fn traffic(traffic: &TrafficOutlook) -> String {
    let all = |hosts: &[HostName]| named(hosts.iter().map(HostName::as_str), hosts.len());
    let balancers = all(&traffic.balancers);
    match traffic.switched_from.as_slice() {
        [] => format!("each host is drained at {balancers} before it moves, for {} at most", traffic.drain),
        from => format!("all of it is switched at {balancers} from {} when the hosts have moved", all(from)),
    }
}

fn losses(plan: &Course) -> String {
    let then = match plan.on_failure {
        OnFailure::GoBack => "all go back".to_owned(),
        OnFailure::Ask => format!("an operator is asked, and all go back after {} without an answer", plan.timeouts.decide),
    };
    match plan.failure_budget {
        0 => format!("with the first host that is lost {then}"),
        budget => format!("{budget} may be lost; with one more {then}"),
    }
}

/// How often is looked, and what is looked at, a line for each.
fn judges(analysis: &Analysis) -> Vec<(&'static str, String)> {
    let queries = analysis.queries.iter().map(|query| format!("{}: {query}", query.name));
    let checks = analysis.checks.iter().map(|check| format!("{}: {check}", check.name));
    let mut lines = vec![("Judged", format!("every {} while a batch bakes, and at least once, by", analysis.every))];
    lines.extend(queries.chain(checks).map(|text| ("", text)));
    lines
}

fn time(estimate: &Estimate) -> String {
    let Estimate { total, bakes, promotions, unknown, from, .. } = estimate;
    let bakes = if *bakes == Millis(0) { "no bake".to_owned() } else { format!("{bakes} of bakes") };
    let mut text = match total {
        None => format!("not known, as no rollout has ended well here yet ({bakes})"),
        Some(total) => {
            let from: Vec<String> = from.iter().map(ToString::to_string).collect();
            format!("about {total} ({bakes}), by what {} took", from.join(", "))
        }
    };
    let mut left_out: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    if *promotions > 0 {
        left_out.push(format!("{} by an operator", count(*promotions, "promotion")));
    }
    if !left_out.is_empty() {
        text.push_str(&format!("; not counted: {}", left_out.join(", ")));
    }
    text
}

fn steps(estimate: &Estimate) -> String {
    let steps: Vec<String> = estimate.steps.iter().map(|step| format!("{} {}", step.step, step.median)).collect();
    steps.join(", ")
}

fn backup(demand: BackupDemand) -> String {
    match demand {
        BackupDemand::None => "none is demanded: make one before you deploy".to_owned(),
        BackupDemand::AtLeast(check) => format!("before it, if the database has tables: {}", check.words()),
        BackupDemand::RestoredUpTo(_) => format!("before it, if the database has tables: {demand}, a larger one read back"),
    }
}

fn migration(migration: &Migration) -> String {
    let Migration { host, django, new, hooks, .. } = migration;
    let what = match new {
        _ if !django => "commands of the release".to_owned(),
        None => "migrations, which the release does not list".to_owned(),
        Some(new) if new.is_empty() => "migrate, with no new migration listed".to_owned(),
        Some(new) => {
            let names: Vec<String> = new.iter().map(name_and_class).collect();
            format!("{}: {}", count(new.len(), "new migration"), named(names.iter().map(String::as_str), new.len()))
        }
    };
    let hooks = if *django && *hooks { ", and commands of the release" } else { "" };
    format!("{host} runs {what}{hooks}")
}

fn name_and_class(migration: &NewMigration) -> String {
    let class = migration.class.map(|class| format!(" ({})", class.as_str())).unwrap_or_default();
    format!("{}{class}", printable(&migration.name))
}

fn services(services: &[ServiceOutlook]) -> String {
    let words = [
        (ServiceChange::Starts, ["starts anew", "start anew"]),
        (ServiceChange::Restarts, ["restarts", "restart"]),
        (ServiceChange::Reloads, ["reloads", "reload"]),
        (ServiceChange::Goes, ["goes", "go"]),
    ];
    let told = words.iter().filter_map(|(change, [one, several])| {
        let names: Vec<String> = services.iter().filter(|service| service.change == *change).map(service).collect();
        let word = if names.len() == 1 { one } else { several };
        (!names.is_empty()).then(|| format!("{} {word}", names.join(", ")))
    });
    let told: Vec<String> = told.collect();
    if told.is_empty() { "the release has none".to_owned() } else { told.join("; ") }
}

/// Its name, and where it runs when that is not every host for which it is meant.
fn service(service: &ServiceOutlook) -> String {
    match (&service.only_on, service.hosts) {
        (Some(host), _) => format!("{} (only on {host})", service.name),
        (None, Some(0)) => format!("{} (on no host)", service.name),
        _ => service.name.to_string(),
    }
}

fn changes(outlook: &Outlook, tell: &mut impl FnMut(&str, String)) {
    let Changes { files: changed, packages: others, lost_migrations, variables } = &outlook.changes;
    if let Some(changed) = changed {
        tell("Files", files(changed));
    }
    match (others.is_empty(), &outlook.current) {
        (true, _) => {}
        (false, None) => tell("Packages", count(others.len(), "package")),
        (false, Some(_)) => tell("Packages", packages(others)),
    }
    if !lost_migrations.is_empty() {
        let names: Vec<String> = lost_migrations.iter().map(|name| printable(name)).collect();
        let names = named(names.iter().map(String::as_str), lost_migrations.len());
        tell("Warning", format!("the database may be ahead: the release has no more of {names}"));
    }
    match variables {
        Some(variables) if variables.is_empty() => {}
        Some(variables) => {
            let told: Vec<String> = variables.iter().map(|variable| format!("{} {}", variable.name, word(variable.change))).collect();
            tell("Variables", named(told.iter().map(String::as_str), told.len()));
        }
        None if outlook.plan.is_some() => {
            tell("Variables", "what changes is not known: the rollout that brought what runs is too long ago".to_owned())
        }
        None => {}
    }
}

fn files(files: &FileChanges) -> String {
    let FileChanges { all, folders, more_folders } = files;
    if all.total() == 0 {
        return "no file of the app changes".to_owned();
    }
    let Counts { added, changed, removed } = all;
    let place = |name: &str| if name == "." { "at the top".to_owned() } else { format!("{name}/") };
    let told: Vec<String> = folders.iter().map(|(name, counts)| format!("{} {}", place(name), counts.total())).collect();
    let places = named(told.iter().map(String::as_str), told.len().saturating_add(*more_folders));
    format!("{added} added, {changed} changed, {removed} removed: {places}")
}

fn packages(packages: &[PackageChange]) -> String {
    let told = packages.iter().map(|PackageChange { name, before, after }| match (before, after) {
        (Some(before), Some(after)) => format!("{name} {before} → {after}"),
        (None, Some(after)) => format!("{name} {after} is new"),
        (_, None) => format!("{name} goes"),
    });
    let told: Vec<String> = told.collect();
    named(told.iter().map(String::as_str), told.len())
}

const fn word(change: VariableChange) -> &'static str {
    match change {
        VariableChange::Set => "is set",
        VariableChange::Changed => "changes",
        VariableChange::Removed => "is removed",
    }
}

/// The first of so many things in all.
fn named<'a>(things: impl Iterator<Item = &'a str>, total: usize) -> String {
    let shown: Vec<&str> = things.take(NAMES_MAX).collect();
    match total.saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn start(outlook: &Outlook, plan: &Course, named_app: bool) -> String {
    let Outlook { environment, app, release, .. } = outlook;
    let app = if named_app { format!(" --app {app}") } else { String::new() };
    format!("Exactly this: roadstead deploy {environment} {release}{app} --plan {}", plan.digest.short())
}
