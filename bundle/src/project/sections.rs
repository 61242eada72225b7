//! The sections of the file but for services and checks.

use roadstead_model::{AppName, ServiceName, VariableName, limits};
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::DeTable;

use super::cursor::{Reader, Table};
use super::values::{duration, module, size};
use super::{BuildSettings, Project, Ship, checks, jobs, services};
use crate::spec::{AppSpec, Collect, Django, Hooks, PythonVersion, RelativePath, Service, Statics, StepLimits, ValueType, Variable};

/// Words of a command, and bytes of each.
pub(super) const WORDS_MAX: usize = 64;
const PATHS_MAX: usize = 256;

/// Reads the whole file. What is returned counts only if there was no mistake.
pub(super) fn project<'a>(reader: &'a Reader, table: &'a Spanned<DeTable<'a>>) -> Option<Project> {
    let file = Table::root(reader, table);
    let app = app(&file);
    let django = file.table("django").and_then(django);
    let dependencies = file.table("dependencies").map(dependencies).unwrap_or_default();
    let built = file.table("build").map(build).unwrap_or_default();
    let variables = file.table("env").map(|table| variables(&table)).unwrap_or_default();
    let statics = file.table("static").and_then(|table| statics(table, django.is_some()));
    let (statics, collect_anywhere) = statics.map_or((None, false), |(statics, anywhere)| (Some(statics), anywhere));
    let files = file.table("files").map(|table| files(table, statics.as_ref())).unwrap_or_default();
    let services = services::services(&file, &files.shared);
    needed_by(&file, &variables, &services);
    let checks = checks::checks(&file, &services);
    let hooks = file.table("hooks").map(hooks).unwrap_or_default();
    let steps = file.table("steps").map(steps).unwrap_or_default();
    let jobs = file.table("jobs").map(|table| jobs::jobs(&table)).unwrap_or_default();
    file.finish();
    let (name, python, root) = app?;
    let Files { shared, from_host, configured, include, exclude } = files;
    let spec =
        AppSpec { name, python, root, django, variables, statics, shared, from_host, configured, services, checks, hooks, steps, jobs };
    let build = BuildSettings { include, exclude, collect_anywhere, ..merged(dependencies, built) };
    Some(Project { spec, build })
}

/// What `[dependencies]` and `[build]` say, together.
fn merged(dependencies: BuildSettings, build: BuildSettings) -> BuildSettings {
    let BuildSettings { environment, before_collectstatic, after_collectstatic, .. } = build;
    BuildSettings { environment, before_collectstatic, after_collectstatic, ..dependencies }
}

fn app(file: &Table<'_>) -> Option<(AppName, PythonVersion, RelativePath)> {
    let Some(table) = file.table("app") else {
        file.reader.mistake(0, "there is no [app]: it says the app's name and Python");
        return None;
    };
    table.needed("name", "shop");
    table.needed("python", "3.11");
    let name = table.parsed("name", AppName::parse);
    let python = table.parsed("python", PythonVersion::parse);
    let root = table.parsed("root", RelativePath::parse).unwrap_or_else(RelativePath::root);
    table.finish();
    Some((name?, python?, root))
}

fn django(table: Table<'_>) -> Option<Django> {
    table.needed("settings", "config.settings");
    let settings = table.parsed("settings", |text| module(text, false));
    let manage = table.parsed("manage", RelativePath::parse).or_else(|| RelativePath::parse("manage.py").ok());
    let migrate = table.flag("migrate").unwrap_or(true);
    let lock_timeout = table.parsed("lock-timeout", duration);
    let statement_timeout = table.parsed("statement-timeout", duration);
    table.finish();
    Some(Django { settings: settings?, manage: manage?, migrate, lock_timeout, statement_timeout })
}

fn dependencies(table: Table<'_>) -> BuildSettings {
    let dependencies = paths(&table, "files");
    let packages = table.list("extra-packages").unwrap_or_default();
    let mut extra_packages = Vec::new();
    for (at, package) in packages {
        let fits =
            package.len() <= 200 && package.starts_with(|c: char| c.is_ascii_alphanumeric()) && !package.chars().any(char::is_control);
        if fits {
            extra_packages.push(package.to_owned());
        } else {
            table.reader.mistake(at, "a package is written as \"gunicorn>=23\"");
        }
    }
    let (extras, groups) = (words(&table, "extras"), words(&table, "groups"));
    let ship = table.parsed("ship", |text| match text {
        "auto" => Ok(Ship::Auto),
        "installed" => Ok(Ship::Installed),
        "wheels" => Ok(Ship::Wheels),
        "both" => Ok(Ship::Both),
        _ => Err("it is \"auto\", \"installed\", \"wheels\" or \"both\""),
    });
    table.finish();
    BuildSettings { dependencies, extra_packages, extras, groups, ship: ship.unwrap_or_default(), ..BuildSettings::default() }
}

/// Names of extras and groups.
fn words(table: &Table<'_>, key: &'static str) -> Vec<String> {
    let list = table.list(key).unwrap_or_default();
    let good = |word: &str| {
        !word.is_empty()
            && word.len() <= 100
            && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !word.starts_with('-')
    };
    for (at, word) in list.iter().filter(|(_, word)| !good(word)) {
        let shown: String = word.chars().take(60).collect();
        table.reader.mistake(*at, format!("{shown:?} in {key} is no name: letters, digits, '-', '_' and '.'"));
    }
    list.into_iter().map(|(_, word)| word.to_owned()).collect()
}

fn build(table: Table<'_>) -> BuildSettings {
    let environment = table.table("env").map(|env| named_texts(&env)).unwrap_or_default();
    let before_collectstatic = commands(&table, "before-collectstatic");
    let after_collectstatic = commands(&table, "after-collectstatic");
    table.finish();
    BuildSettings { environment, before_collectstatic, after_collectstatic, ..BuildSettings::default() }
}

/// Variables with values, by names that the team chose.
pub(super) fn named_texts(table: &Table<'_>) -> BTreeMap<VariableName, String> {
    let mut all = BTreeMap::new();
    for (at, key, value) in table.entries() {
        let Some(text) = table.entry_text(value, key) else { continue };
        match VariableName::parse(key) {
            Ok(name) if text.len() <= limits::VARIABLE_VALUE_BYTES_MAX && !text.contains('\0') => drop(all.insert(name, text.to_owned())),
            Ok(_) => table.reader.mistake(value.at, format!("the value of {key} is too long, or holds a NUL")),
            Err(error) => table.reader.mistake(at, error.to_string()),
        }
    }
    all
}

fn variables(table: &Table<'_>) -> BTreeMap<VariableName, Variable> {
    let mut all = BTreeMap::new();
    for (at, key, value) in table.entries() {
        let name = VariableName::parse(key).map_err(|error| table.reader.mistake(at, error.to_string()));
        let Some(entry) = table.entry_table(value, format!("{key} of [env]")) else { continue };
        let variable = variable(entry, key, value.at);
        all.extend(name.ok().map(|name| (name, variable)));
    }
    if all.len() > limits::VARIABLES_MAX {
        table.reader.mistake(table.at, format!("more than {} variables are not taken", limits::VARIABLES_MAX));
    }
    all
}

fn variable(entry: Table<'_>, key: &str, at: usize) -> Variable {
    let texts = |key| entry.list(key).unwrap_or_default();
    let services = texts("services")
        .into_iter()
        .filter_map(|(at, text)| ServiceName::parse(text).map_err(|error| entry.reader.mistake(at, error.to_string())).ok());
    let variable = Variable {
        default: entry.text("default").map(|(_, text)| text.to_owned()),
        required: entry.flag("required").unwrap_or(false),
        fixed: entry.flag("fixed").unwrap_or(false),
        kind: entry.parsed("type", value_type).unwrap_or_default(),
        one_of: texts("one-of").into_iter().map(|(_, text)| text.to_owned()).collect(),
        secret: entry.flag("secret").unwrap_or(false),
        services: services.collect(),
    };
    let mistake = |what: String| entry.reader.mistake(at, what);
    if variable.required && variable.default.is_some() {
        mistake(format!("{key} has a default and is required: one of the two says nothing"));
    }
    if variable.fixed && variable.default.is_none() {
        mistake(format!("{key} is fixed, so it needs its value as default"));
    }
    if variable.secret && variable.default.is_some() {
        mistake(format!("{key} is secret, and its default stands in the repository: leave the default away"));
    }
    if let Some(why) = variable.default.as_ref().and_then(|value| variable.mistake(value)) {
        mistake(format!("the default of {key} {why}"));
    }
    entry.finish();
    variable
}

fn value_type(text: &str) -> Result<ValueType, String> {
    let words = || ValueType::ALL.map(ValueType::as_str).map(|word| format!("\"{word}\"")).join(", ");
    ValueType::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| format!("it is one of {}", words()))
}

/// Variables name services that there are.
fn needed_by(file: &Table<'_>, variables: &BTreeMap<VariableName, Variable>, services: &BTreeMap<ServiceName, Service>) {
    for (name, variable) in variables {
        if let Some(unknown) = variable.services.iter().find(|service| !services.contains_key(*service)) {
            file.reader.mistake(0, format!("{name} of [env] is needed by the service {unknown}, and there is no [services.{unknown}]"));
        }
    }
}

/// Static files, and whether they are collected wherever it works.
fn statics(table: Table<'_>, is_django: bool) -> Option<(Statics, bool)> {
    table.needed("root", "staticfiles");
    let root = table.parsed("root", RelativePath::parse);
    let collect = table.parsed("collect", |text| match text {
        "auto" if is_django => Ok((Collect::Build, true)),
        "build" if is_django => Ok((Collect::Build, false)),
        "host" if is_django => Ok((Collect::Host, false)),
        "never" => Ok((Collect::Never, false)),
        "auto" | "build" | "host" => Err("only Django collects static files: write \"never\", or add [django]"),
        _ => Err("it is \"auto\", \"build\", \"host\" or \"never\""),
    });
    let (collect, anywhere) = collect.unwrap_or(if is_django { (Collect::Build, true) } else { (Collect::Never, false) });
    if root.as_ref().is_some_and(RelativePath::is_root) {
        table.reader.mistake(table.at, "the whole app cannot be its static files: name a folder below the app's root");
    }
    table.finish();
    Some((Statics { root: root?, collect }, anywhere))
}

#[derive(Default)]
struct Files {
    shared: Vec<RelativePath>,
    from_host: Vec<RelativePath>,
    configured: Vec<RelativePath>,
    include: Vec<String>,
    exclude: Vec<String>,
}

fn files(table: Table<'_>, statics: Option<&Statics>) -> Files {
    let (shared, from_host) = (paths(&table, "shared"), paths(&table, "from-host"));
    for (index, path) in shared.iter().enumerate() {
        if let Some(outer) = shared.iter().find(|other| path != *other && path.is_within(other)) {
            table.reader.mistake(table.at, format!("shared names {path} and {outer}, which holds it: the outer one is enough"));
        }
        if shared.iter().take(index).any(|other| other == path) {
            table.reader.mistake(table.at, format!("shared names {path} twice"));
        }
        if path.is_root() {
            table.reader.mistake(table.at, "the whole app cannot be shared across releases: name the paths that it writes");
        }
        if let Some(root) = statics.map(|statics| &statics.root).filter(|root| path.is_within(root) || root.is_within(path)) {
            table.reader.mistake(table.at, format!("shared names {path}, and static files are collected into {root}: keep them apart"));
        }
    }
    for path in &from_host {
        if path.is_root() || shared.iter().any(|shared| path.is_within(shared)) {
            table.reader.mistake(table.at, format!("from-host names {path}, which is shared: a file comes from one place"));
        }
    }
    let configured = paths(&table, "configured");
    for path in &configured {
        if path.is_root() || shared.iter().any(|shared| path.is_within(shared)) || from_host.contains(path) {
            table
                .reader
                .mistake(table.at, format!("configured names {path}, which is shared or from the host: a file comes from one place"));
        }
        if let Some(why) = crate::configured::is_code(path) {
            table
                .reader
                .mistake(table.at, format!("configured names {path}: {why}; use from-host for it, so that it stays root's to change"));
        }
    }
    if configured.len() > limits::CONFIGURED_FILES_MAX {
        table.reader.mistake(table.at, format!("configured has more than {} paths", limits::CONFIGURED_FILES_MAX));
    }
    let (include, exclude) = (patterns(&table, "include"), patterns(&table, "exclude"));
    table.finish();
    Files { shared, from_host, configured, include, exclude }
}

fn patterns(table: &Table<'_>, key: &'static str) -> Vec<String> {
    let mut all = Vec::new();
    for (at, pattern) in table.list(key).unwrap_or_default() {
        if pattern.is_empty() || pattern.starts_with('/') || pattern.split('/').any(|part| part == "..") || pattern.len() > 500 {
            table.reader.mistake(at, format!("{key} holds patterns of paths below the folder of roadstead.toml, such as \"docs/**\""));
        } else {
            all.push(pattern.to_owned());
        }
    }
    all
}

fn paths(table: &Table<'_>, key: &'static str) -> Vec<RelativePath> {
    let list = table.list(key).unwrap_or_default();
    if list.len() > PATHS_MAX {
        table.reader.mistake(table.at, format!("{key} has more than {PATHS_MAX} paths"));
    }
    let parsed = list
        .into_iter()
        .filter_map(|(at, text)| RelativePath::parse(text).map_err(|error| table.reader.mistake(at, error.to_string())).ok());
    parsed.collect()
}

fn hooks(table: Table<'_>) -> Hooks {
    let hooks = Hooks {
        before_migrate: commands(&table, "before-migrate"),
        after_migrate: commands(&table, "after-migrate"),
        after_cutover: commands(&table, "after-cutover"),
    };
    table.finish();
    hooks
}

fn commands(table: &Table<'_>, key: &'static str) -> Vec<Vec<String>> {
    let lists = table.lists(key).unwrap_or_default();
    lists.into_iter().filter_map(|(at, words)| command(table, at, key, words)).collect()
}

/// The words of a command. There is no shell: what looks like one is refused.
pub(super) fn command(table: &Table<'_>, at: usize, key: &str, words: Vec<&str>) -> Option<Vec<String>> {
    let refuse = |what: String| {
        table.reader.mistake(at, what);
        None
    };
    let Some(first) = words.first() else { return refuse(format!("a command in {key} has at least one word")) };
    if words.len() > WORDS_MAX || words.iter().any(|word| word.len() > 2048 || word.contains('\0')) {
        return refuse(format!("a command in {key} has at most {WORDS_MAX} words of at most 2048 bytes"));
    }
    if first.contains(char::is_whitespace) {
        return refuse(format!("a command in {key} is a list of words, without a shell: [\"python\", \"manage.py\", \"check\"]"));
    }
    if first.contains('/') || *first == ".." {
        return refuse(format!(
            "a command in {key} begins with a program of the app's packages, such as \"python\" or \"celery\", not with a path"
        ));
    }
    Some(words.into_iter().map(str::to_owned).collect())
}

fn steps(table: Table<'_>) -> StepLimits {
    let defaults = StepLimits::default();
    let limits = StepLimits {
        working_directory: table.parsed("working-directory", RelativePath::parse).unwrap_or_else(RelativePath::root),
        migrate_timeout: table.parsed("migrate-timeout", duration).unwrap_or(defaults.migrate_timeout),
        command_timeout: table.parsed("command-timeout", duration).unwrap_or(defaults.command_timeout),
        memory_max: table.parsed("memory-max", size),
    };
    table.finish();
    limits
}
