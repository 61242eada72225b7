//! `[jobs.NAME]`: commands that somebody asks for while the release serves, such as the long part of a migration of data.

use roadstead_model::{JobName, Millis, limits};
use std::collections::BTreeMap;

use super::cursor::Table;
use super::sections::command;
use super::values::duration;
use crate::spec::Job;

/// How long one may take where nothing is said.
const TIMEOUT: Millis = Millis::from_secs(3600);

/// Reads all of them.
pub(super) fn jobs(table: &Table<'_>) -> BTreeMap<JobName, Job> {
    let mut all = BTreeMap::new();
    for (at, key, value) in table.entries() {
        let name = JobName::parse(key).map_err(|error| table.reader.mistake(at, error.to_string()));
        let Some(entry) = table.entry_table(value, format!("[jobs.{key}]")) else { continue };
        let Some(job) = job(entry) else { continue };
        all.extend(name.ok().map(|name| (name, job)));
    }
    if all.len() > limits::JOBS_MAX {
        table.reader.mistake(table.at, format!("more than {} jobs are not taken", limits::JOBS_MAX));
    }
    all
}

fn job(table: Table<'_>) -> Option<Job> {
    let words = match table.list("command") {
        Some(words) => command(&table, table.at, "command", words.into_iter().map(|(_, word)| word).collect()),
        None => {
            table.reader.mistake(table.at, format!("{} has no command: command = [\"python\", \"manage.py\", \"backfill\"]", table.name));
            None
        }
    };
    let timeout = table.parsed("timeout", duration).unwrap_or(TIMEOUT);
    table.finish();
    Some(Job { command: words?, timeout })
}
