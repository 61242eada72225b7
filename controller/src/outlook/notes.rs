//! What deserves a look before a rollout begins, or is not known.

use roadstead_bundle::diff::Difference;
use roadstead_bundle::migrations::MigrationFacts;
use roadstead_rollout::{Plan, PlannedHost};

use super::contents::Contents;
use roadstead_driver::Foreseen;

/// Names in one note; others are counted.
const NAMES_MAX: usize = 5;

/// All that there is to say.
pub(super) fn notes(foreseen: &Foreseen, contents: &Contents, lists: &Difference) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(level) = foreseen.gives_way {
        notes.push(format!("{level} brings hosts level now; it gives way, and what it moves until then makes this another plan"));
    }
    if let Some(plan) = &foreseen.plan {
        notes.extend(of_hosts(plan, foreseen));
    }
    notes.extend(foreseen.plan.as_ref().and_then(of_analysis));
    let django = foreseen.release.manifest.spec.django.as_ref().is_some_and(|django| django.migrate);
    if django && foreseen.plan.as_ref().is_some_and(|plan| plan.migrate) && !lists.new_migrations.is_empty() {
        notes.extend(of_migrations(contents.facts.as_ref().map(Option::as_ref)));
    }
    if !foreseen.unused.is_empty() {
        let unused: Vec<String> = foreseen.unused.iter().map(ToString::to_string).collect();
        let unused = named(unused.iter().map(String::as_str));
        notes.push(format!("the release does not take these variables of the environment: {unused}"));
    }
    if let Err(why) = &contents.files {
        notes.push(format!("which files change is not known: {why}"));
    }
    match &contents.bytes {
        Err(why) => {
            notes.push(format!("what hosts have to fetch is not known, and they may not be able to: {why}; push the release again"))
        }
        Ok(_) if foreseen.release.manifest.packages.installed.is_some() && foreseen.release.manifest.packages.wheels.is_some() => {
            notes.push("a host whose C library is older than the builder's fetches wheels, which are not in its bytes".to_owned());
        }
        Ok(_) => {}
    }
    notes
}

/// After the last batch no host is left that queries could be compared with.
fn of_analysis(plan: &Plan) -> Option<String> {
    let analysis = plan.analysis.as_ref()?;
    let relative = || analysis.queries.iter().filter(|query| !query.is_absolute()).map(|query| query.name.as_str());
    relative().next()?;
    let alone = analysis.checks.is_empty() && relative().count() == analysis.queries.len();
    let when = if plan.batches == 1 { "all hosts move in one batch" } else { "after the last batch" };
    let judged = if alone { "that bake is not judged" } else { "the others judge that bake" };
    Some(format!("{when}: no host is left that {} could be compared with, and {judged}", named(relative())))
}

/// What there is to say of all of them, where there are any.
fn of_migrations(facts: Result<Option<&MigrationFacts>, &String>) -> Option<String> {
    let facts = match facts {
        Err(why) => return Some(format!("what the new migrations do is not known: {why}; push the release again")),
        Ok(None) => {
            return Some("the release does not tell what its migrations do: it was built without, or by an older command".to_owned());
        }
        Ok(Some(facts)) => facts,
    };
    match facts.engine.as_str() {
        "postgresql" if facts.assumed => Some("SQL and locks are those of PostgreSQL: at build the settings name no database".to_owned()),
        "postgresql" => None,
        "" => Some("locks are those of PostgreSQL: the database engine could not be loaded at build".to_owned()),
        other => Some(format!("SQL is for {other}, which the settings name at build; locks are known of PostgreSQL alone, and not told")),
    }
}

fn of_hosts(plan: &Plan, foreseen: &Foreseen) -> Vec<String> {
    let mut notes = Vec::new();
    let mut away: Vec<&PlannedHost> = plan.hosts.iter().filter(|(id, _)| foreseen.away.contains(*id)).map(|(_, host)| host).collect();
    away.sort_by_key(|host| &host.name);
    if !away.is_empty() {
        let names = named(away.iter().map(|host| host.name.as_str()));
        let then = match away.len() > plan.failure_budget {
            true => format!("more hosts than may be lost ({}): unless they return in time, nobody moves", plan.failure_budget),
            false => "within the failure budget: left out, and level later".to_owned(),
        };
        notes.push(format!("away now: {names}; {then}"));
    }
    let same = plan.hosts.values().filter(|host| host.current.as_ref() == Some(&plan.release)).count();
    if same > 0 {
        notes.push(format!("{same} of {} hosts serve this release already", plan.hosts.len()));
    }
    notes
}

fn named<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    let shown = names.iter().take(NAMES_MAX).copied().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
