//! The text of a `roadstead.toml` for what was found: what matters, with a word on why.

use roadstead_bundle::spec::PythonVersion;
use std::fmt::Write as _;

use super::look::Project;

/// The file's text. `python` is the version to name where the project names none.
pub(crate) fn file(project: &Project, python: PythonVersion) -> String {
    let mut text = String::from("# How this application is built and run; `roadstead build` reads it.\n");
    let mut line = |content: String| {
        text.push_str(&content);
        text.push('\n');
    };
    line("\n[app]".to_owned());
    line(format!("name = {}", quoted(&project.name)));
    line(format!("python = \"{}\"  # what the hosts run", project.python.unwrap_or(python)));
    if project.root != "." {
        line(format!("root = {}  # all paths below are relative to it", quoted(&project.root)));
    }
    if project.dependencies.is_some() || !project.extra_packages.is_empty() {
        line("\n[dependencies]".to_owned());
        if let Some(file) = &project.dependencies {
            line(format!("files = [{}]", quoted(file)));
        }
        if !project.extra_packages.is_empty() {
            line(format!("extra-packages = {}  # not named by the project, needed to serve it", list(&project.extra_packages)));
        }
    }
    if let Some(settings) = &project.settings {
        line("\n[django]".to_owned());
        line(format!("settings = {}", quoted(settings)));
        if !project.inner.is_empty() {
            line(format!("manage = {}", quoted(&format!("{}/manage.py", project.inner))));
        }
    }
    environment(project, &mut line);
    if let Some(root) = &project.static_root {
        line("\n[static]".to_owned());
        line(format!("root = {}  # collected when the release is built; served from /srv/roadstead/{}/static", quoted(root), project.name));
    }
    if !project.shared.is_empty() {
        let why =
            if project.sqlite { "lives across releases, on one host: use a database server for more" } else { "lives across releases" };
        line("\n[files]".to_owned());
        line(format!("shared = {}  # {why}", list(&project.shared)));
    }
    services(project, &mut line);
    for note in &project.notes {
        let _infallible = write!(text, "\n# Note: {note}.\n");
    }
    text
}

fn environment(project: &Project, line: &mut impl FnMut(String)) {
    if project.variables.is_empty() {
        return;
    }
    let needed: Vec<&String> = project.variables.iter().filter(|(_, default)| !**default).map(|(name, _)| name).collect();
    if needed.iter().any(|name| name.contains("SECRET")) {
        line("\n[build.env]  # what the settings need while the release is built; never real secrets".to_owned());
        for name in needed.iter().filter(|name| name.contains("SECRET")) {
            line(format!("{name} = \"only-for-the-build-not-a-secret-0123456789-abcdefghijklmnop\""));
        }
    }
    line("\n[env]  # variables that the app reads: only these reach it".to_owned());
    for (name, has_default) in project.variables.iter().take(64) {
        line(format!("{name} = {}", if *has_default { "{}" } else { "{ required = true }" }));
    }
}

fn services(project: &Project, line: &mut impl FnMut(String)) {
    let folder = |line: &mut dyn FnMut(String)| {
        if !project.inner.is_empty() {
            line(format!("working-directory = {}", quoted(&project.inner)));
        }
    };
    if let Some((kind, app)) = &project.web {
        line("\n[services.web]".to_owned());
        line(format!("kind = {}", quoted(kind)));
        line(format!("app = {}", quoted(app)));
        folder(line);
    }
    let celery = [("worker", "celery-worker", true), ("beat", "celery-beat", project.beat)];
    for (name, kind, wanted) in celery {
        if let Some(app) = project.celery.as_ref().filter(|_| wanted) {
            line(format!("\n[services.{name}]"));
            line(format!("kind = {}", quoted(kind)));
            line(format!("app = {}", quoted(app)));
            folder(line);
        }
    }
    if project.web.is_some() {
        line("\n[[checks.health]]  # asked before a release gets traffic, and after".to_owned());
        line("service = \"web\"".to_owned());
        line(format!("path = {}", quoted(&project.health)));
        if !project.headers.is_empty() {
            let headers: Vec<String> = project.headers.iter().map(|(name, value)| format!("{name} = {}", quoted(value))).collect();
            line(format!("headers = {{ {} }}", headers.join(", ")));
        }
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn list(items: &[String]) -> String {
    format!("[{}]", items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
}
