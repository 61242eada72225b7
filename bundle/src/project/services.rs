//! `[services.…]`: what the app runs.

use roadstead_model::{Millis, Selector, ServiceName, limits};
use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::cursor::Table;
use super::sections::{WORDS_MAX, command, named_texts};
use super::values::{duration, module, size};
use crate::arguments::reserved;
use crate::spec::{Listen, RelativePath, Resources, Service, ServiceKind, UnitCutover};

const KINDS: [&str; 7] = ["gunicorn", "uvicorn", "daphne", "celery-worker", "celery-beat", "command", "units"];

/// All services, by name. `shared` are the paths that live across releases.
pub(super) fn services(file: &Table<'_>, shared: &[RelativePath]) -> BTreeMap<ServiceName, Service> {
    let Some(table) = file.table("services").filter(|table| !table.entries().is_empty()) else {
        file.reader.mistake(0, "the app has no service: write at least one, such as [services.web] with kind = \"gunicorn\"");
        return BTreeMap::new();
    };
    let mut all = BTreeMap::new();
    let mut ports: BTreeMap<SocketAddr, String> = BTreeMap::new();
    let mut schedulers: BTreeMap<String, String> = BTreeMap::new();
    for (at, key, value) in table.entries() {
        let name = ServiceName::parse(key).map_err(|error| file.reader.mistake(at, error.to_string()));
        let Some(entry) = table.entry_table(value, format!("[services.{key}]")) else { continue };
        let Some(service) = service(entry) else { continue };
        if let Some(Listen::Tcp { address, port }) = service.kind.listen()
            && let Some(other) = ports.insert(SocketAddr::new(*address, *port), key.to_owned())
        {
            file.reader.mistake(at, format!("the services {other} and {key} listen on the same port"));
        }
        if let ServiceKind::CeleryBeat { app, .. } = &service.kind
            && let Some(other) = schedulers.insert(app.clone(), key.to_owned())
        {
            file.reader
                .mistake(at, format!("the services {other} and {key} are both the scheduler of {app}: every task would be sent twice"));
        }
        if let Some(path) = shared.iter().find(|path| service.working_directory.is_within(path)) {
            let what =
                format!("the working directory of {key} is the shared {path}: a process runs in its release, which shows whose it is");
            file.reader.mistake(at, what);
        }
        all.extend(name.ok().map(|name| (name, service)));
    }
    if all.len() > limits::SERVICES_MAX {
        file.reader.mistake(table.at, format!("more than {} services are not taken", limits::SERVICES_MAX));
    }
    all
}

fn service(table: Table<'_>) -> Option<Service> {
    let (at, kind) = table.needed("kind", "gunicorn")?;
    let Some(known) = KINDS.into_iter().find(|known| *known == kind) else {
        let shown: String = kind.chars().take(40).collect();
        let meant =
            roadstead_model::mistake::meant(kind, &KINDS).map_or_else(|| KINDS.join(", "), |meant| format!("did you mean \"{meant}\"?"));
        table.reader.mistake(at, format!("there is no kind {shown:?}: {meant}"));
        return None;
    };
    let kind = kind_of(&table, known);
    let hosts = table.parsed("hosts", Selector::parse).unwrap_or_default();
    let environment = table.table("env").map(|env| named_texts(&env)).unwrap_or_default();
    let working_directory = table.parsed("working-directory", RelativePath::parse).unwrap_or_else(RelativePath::root);
    let resources = table.table("resources").map(resources).unwrap_or_default();
    let start_timeout = table.parsed("start-timeout", duration).unwrap_or(Millis::from_secs(60));
    let worker = matches!(known, "celery-worker" | "command");
    let stop_timeout = table.parsed("stop-timeout", duration).unwrap_or(Millis::from_secs(if worker { 300 } else { 60 }));
    table.finish();
    Some(Service { kind: kind?, hosts, environment, working_directory, resources, start_timeout, stop_timeout })
}

fn kind_of(table: &Table<'_>, kind: &'static str) -> Option<ServiceKind> {
    let app = |attribute: bool| {
        table.needed("app", if attribute { "config.wsgi:application" } else { "config.celery" });
        table.parsed("app", |text| module(text, attribute))
    };
    Some(match kind {
        "gunicorn" => {
            let (app, listen, arguments) = (app(true), listen(table), arguments(table, kind));
            let workers = table.number("workers", 1, 256).unwrap_or(2);
            let threads = table.number("threads", 1, 256).unwrap_or(1);
            let timeout_seconds = table.number("timeout", 1, 3600).unwrap_or(30);
            ServiceKind::Gunicorn { app: app?, workers, threads, timeout_seconds, arguments, listen: listen? }
        }
        "uvicorn" => {
            let (app, listen, arguments) = (app(true), listen(table), arguments(table, kind));
            let workers = table.number("workers", 1, 256).unwrap_or(1);
            ServiceKind::Uvicorn { app: app?, workers, arguments, listen: listen? }
        }
        "daphne" => {
            let (app, listen, arguments) = (app(true), listen(table), arguments(table, kind));
            ServiceKind::Daphne { app: app?, arguments, listen: listen? }
        }
        "celery-worker" => {
            let (app, arguments) = (app(true), arguments(table, kind));
            let queues = table.list("queues").unwrap_or_default().into_iter().map(|(_, queue)| queue.to_owned()).collect();
            let concurrency = table.number("concurrency", 0, 1024).unwrap_or(0);
            ServiceKind::CeleryWorker { app: app?, queues, concurrency, arguments }
        }
        "celery-beat" => {
            let (app, arguments) = (app(true), arguments(table, kind));
            ServiceKind::CeleryBeat { app: app?, arguments }
        }
        "command" => {
            if table.value("command").is_none() {
                table
                    .reader
                    .mistake(table.at, format!("{} needs command, such as command = [\"python\", \"manage.py\", \"consume\"]", table.name));
            }
            let words = table.list("command");
            let (singleton, overlap) = (table.flag("singleton").unwrap_or(false), table.flag("overlap").unwrap_or(true));
            let words = words?.into_iter().map(|(_, word)| word).collect();
            ServiceKind::Command { command: command(table, table.at, "command", words)?, singleton, overlap }
        }
        _ => units(table)?,
    })
}

fn units(table: &Table<'_>) -> Option<ServiceKind> {
    let units = table.list("units").unwrap_or_default();
    if units.is_empty() {
        table.reader.mistake(table.at, format!("{} needs units, such as units = [\"erp-web.service\"]", table.name));
    }
    for (at, unit) in &units {
        let plain =
            unit.len() <= 200 && unit.ends_with(".service") && unit.chars().all(|c| c.is_ascii_alphanumeric() || "@._-".contains(c));
        if !plain {
            table.reader.mistake(*at, "a unit is named as in \"erp-web.service\"");
        }
    }
    let cutover = table.parsed("cutover", |text| match text {
        "restart" => Ok(UnitCutover::Restart),
        "reload" => Ok(UnitCutover::Reload),
        _ => Err("it is \"restart\" or \"reload\""),
    });
    let listen = if table.value("listen").is_some() { Some(listen(table)?) } else { None };
    let units = units.into_iter().map(|(_, unit)| unit.to_owned()).collect();
    Some(ServiceKind::Units { units, cutover: cutover.unwrap_or(UnitCutover::Restart), listen })
}

fn listen(table: &Table<'_>) -> Option<Listen> {
    let Some((at, text)) = table.text("listen") else { return Some(Listen::Unix) };
    if text == "unix" {
        return Some(Listen::Unix);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Some(Listen::Tcp { address: address.ip(), port: address.port() }),
        _ => {
            table.reader.mistake(
                at,
                "listen is \"unix\" (the default: /run/roadstead/APP/SERVICE.sock) or an address and port, such as \"127.0.0.1:8000\"",
            );
            None
        }
    }
}

fn arguments(table: &Table<'_>, kind: &str) -> Vec<String> {
    let list = table.list("arguments").unwrap_or_default();
    if list.len() > WORDS_MAX {
        table.reader.mistake(table.at, format!("arguments has more than {WORDS_MAX} words"));
    }
    let mut all = Vec::new();
    for (at, word) in list {
        if let Some(found) = reserved(kind, word) {
            table.reader.mistake(at, format!("{found} is not among the arguments of {kind}: the agent sets it, or a key of its own does"));
        } else if word.len() > 2048 || word.contains('\0') {
            table.reader.mistake(at, "an argument has at most 2048 bytes and no NUL");
        } else {
            all.push(word.to_owned());
        }
    }
    all
}

fn resources(table: Table<'_>) -> Resources {
    let resources = Resources {
        memory_max: table.parsed("memory-max", size),
        cpu_percent: table.number("cpu-percent", 1, 100_000),
        tasks_max: table.number("tasks-max", 1, 1_000_000),
        open_files_max: table.number("open-files-max", 16, 10_000_000),
    };
    table.finish();
    resources
}
