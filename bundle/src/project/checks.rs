//! `[[checks.health]]` and `[[checks.smoke]]`: what a release is asked before and after it gets traffic.

use roadstead_model::{Millis, ServiceName};
use std::collections::BTreeMap;

use super::cursor::Table;
use super::values::duration;
use crate::spec::{Checks, HttpCheck, Service};

const CHECKS_MAX: usize = 64;
const HEADERS_MAX: usize = 32;

/// All checks.
pub(super) fn checks(file: &Table<'_>, services: &BTreeMap<ServiceName, Service>) -> Checks {
    let Some(table) = file.table("checks") else { return Checks::default() };
    let read = |key: &'static str, name: &str| {
        let tables = table.tables(key, name);
        if tables.len() > CHECKS_MAX {
            file.reader.mistake(table.at, format!("more than {CHECKS_MAX} checks are not taken"));
        }
        tables.into_iter().filter_map(|entry| check(entry, services)).collect()
    };
    let checks = Checks { health: read("health", "[[checks.health]]"), smoke: read("smoke", "[[checks.smoke]]") };
    table.finish();
    checks
}

fn check(table: Table<'_>, services: &BTreeMap<ServiceName, Service>) -> Option<HttpCheck> {
    let service = table.needed("service", "web").and_then(|(at, text)| web_service(&table, at, text, services));
    let path = table.needed("path", "/healthz").and_then(|(at, text)| {
        let fits = text.starts_with('/') && text.len() <= 2048 && !text.chars().any(|c| c.is_control() || c.is_whitespace());
        if !fits {
            table.reader.mistake(at, "a path begins with / and holds no spaces");
        }
        fits.then(|| text.to_owned())
    });
    let status = table.number("status", 200, 599).unwrap_or(200);
    let contains = table.text("contains").map(|(_, text)| text.to_owned());
    let headers = table.table("headers").map(headers).unwrap_or_default();
    let timeout = table.parsed("timeout", duration).unwrap_or(Millis::from_secs(5));
    let within = table.parsed("within", duration).unwrap_or(Millis::from_secs(30));
    let successes = table.number("successes", 1, 100).unwrap_or(1);
    table.finish();
    let status = u16::try_from(status).ok()?;
    Some(HttpCheck { service: service?, path: path?, status, contains, headers, timeout, within, successes })
}

fn web_service(table: &Table<'_>, at: usize, text: &str, services: &BTreeMap<ServiceName, Service>) -> Option<ServiceName> {
    let found = services.iter().find(|(name, _)| name.as_str() == text);
    match found {
        Some((name, service)) if service.kind.listen().is_some() => return Some(name.clone()),
        Some(_) => table.reader.mistake(at, format!("the service {text} answers no requests: checks ask web services")),
        // The services themselves may have been mistaken: then this one says nothing new.
        None if services.is_empty() => {}
        None => {
            let names: Vec<&str> = services.keys().map(ServiceName::as_str).collect();
            let shown: String = text.chars().take(60).collect();
            table.reader.mistake(at, format!("there is no service {shown:?}; there is {}", names.join(", ")));
        }
    }
    None
}

fn headers(table: Table<'_>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (at, key, value) in table.entries() {
        let Some(text) = table.entry_text(value, key) else { continue };
        let name = !key.is_empty() && key.len() <= 100 && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        if name && text.len() <= 4096 && !text.chars().any(char::is_control) && all.len() < HEADERS_MAX {
            all.insert(key.to_owned(), text.to_owned());
        } else {
            table.reader.mistake(at, "a header has a name of letters, digits and '-', and a value of one line");
        }
    }
    all
}
