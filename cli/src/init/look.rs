//! What a project is made of.

use roadstead_bundle::spec::PythonVersion;
use std::path::Path;

use super::dependencies::Dependencies;
use super::files::{Files, folder_of};
use super::settings::{Variables, assignment, literals, project_path, variables};
use crate::failure::{Failure, Result};

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Project {
    /// A name for the app.
    pub(crate) name: String,
    /// The Python that it asks for, when it says so.
    pub(crate) python: Option<PythonVersion>,
    /// Folder of the app: where `manage.py` and the dependency file both are; `.` at the top.
    pub(crate) root: String,
    /// Folder of `manage.py` below the root; empty when it is the root.
    pub(crate) inner: String,
    /// The settings module for servers.
    pub(crate) settings: Option<String>,
    /// The dependency file, relative to the root.
    pub(crate) dependencies: Option<String>,
    /// Packages that servers need and the dependency file does not name.
    pub(crate) extra_packages: Vec<String>,
    /// The web service: kind and application.
    pub(crate) web: Option<(&'static str, String)>,
    /// The Celery app.
    pub(crate) celery: Option<String>,
    /// Whether something schedules periodic tasks.
    pub(crate) beat: bool,
    /// `STATIC_ROOT` below the root.
    pub(crate) static_root: Option<String>,
    /// Paths that live across releases.
    pub(crate) shared: Vec<String>,
    /// The database is a file on the host.
    pub(crate) sqlite: bool,
    /// Variables that settings read.
    pub(crate) variables: Variables,
    /// The path that tells health.
    pub(crate) health: String,
    /// Headers that a check needs.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Further things that a person should know.
    pub(crate) notes: Vec<String>,
}

/// Looks at the project in a folder.
pub(crate) fn look(folder: &Path) -> Result<Project> {
    let name =
        folder.canonicalize().ok().and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned())).unwrap_or_default();
    of_files(&Files::read(folder), &name).ok_or_else(|| {
        Failure::failed(format!("no application was found in {}", folder.display()))
            .cause("there is no manage.py, no wsgi.py and no asgi.py")
            .hint("run it in the repository of a Django project, or write roadstead.toml by hand")
    })
}

/// See [`look`]; `None` when there is no application.
pub(super) fn of_files(files: &Files, name: &str) -> Option<Project> {
    let manages: Vec<&str> = files.named("manage.py").filter(|path| !path.contains("test")).collect();
    let entry = manages.first().copied().or_else(|| files.named("wsgi.py").next()).or_else(|| files.named("asgi.py").next())?;
    let is_django = !manages.is_empty();
    // Without manage.py, the entry point's package lies in the folder above it.
    let home = if is_django { folder_of(entry) } else { folder_of(folder_of(entry).trim_end_matches('/')) };
    // The nearest folder at or above the app's that names dependencies is the root: paths below it need no `..`.
    let above = home.match_indices('/').map(|(at, _)| &home[..=at]).rev().chain([""]);
    let found = above.map(|folder| (folder, Dependencies::look(files, &[folder]))).find(|(_, found)| found.file.is_some());
    let (root, dependencies) = found.unwrap_or_else(|| (home, Dependencies::default()));
    let mut project = Project { root: or_dot(root), inner: home[root.len()..].trim_end_matches('/').to_owned(), ..Project::default() };
    project.dependencies = dependencies.file.as_ref().map(|file| file[root.len()..].to_owned());
    if let Some(other) = manages.get(1) {
        project.notes.push(format!("there is another manage.py in {other}: it is left alone"));
    }
    let world = World { files, home, dependencies: &dependencies };
    world.settings(&mut project, entry, is_django);
    world.web(&mut project);
    world.celery(&mut project);
    world.packages(&mut project, is_django);
    project.python = world.python(root);
    project.name = app_name(project.settings.as_deref(), name);
    Some(project)
}

struct World<'a> {
    files: &'a Files,
    home: &'a str,
    dependencies: &'a Dependencies,
}

impl World<'_> {
    /// The module name of a file below the home folder.
    fn module(&self, path: &str) -> Option<String> {
        let inside = path.strip_prefix(self.home)?.strip_suffix(".py")?;
        Some(inside.strip_suffix("/__init__").unwrap_or(inside).replace('/', "."))
    }

    fn path(&self, module: &str) -> Option<String> {
        let base = format!("{}{}", self.home, module.replace('.', "/"));
        [format!("{base}.py"), format!("{base}/__init__.py")].into_iter().find(|path| self.files.has(path))
    }

    fn below_home(&self, name: &str) -> Vec<&str> {
        self.files.paths().filter(|path| path.starts_with(self.home) && path.rsplit('/').next() == Some(name)).collect()
    }

    fn settings(&self, project: &mut Project, manage: &str, is_django: bool) {
        if !is_django {
            project.health = "/".to_owned();
            return;
        }
        let stated = |path: &str| self.files.text(path).and_then(stated_settings);
        // What serves says best what servers use; manage.py often names the developers' settings.
        let serving = ["wsgi.py", "asgi.py"].iter().flat_map(|name| self.below_home(name)).find_map(stated);
        project.settings = serving.or_else(|| stated(manage));
        let Some(module) = project.settings.clone() else { return };
        let text = self.settings_text(&module);
        let inner = |path: String| if project.inner.is_empty() { path } else { format!("{}/{path}", project.inner) };
        let stated = assignment(&text, "STATIC_ROOT");
        project.static_root = stated.and_then(project_path).map(inner);
        if stated.is_none() && text.contains("django.contrib.staticfiles") {
            // The build tells Django where to collect; what serves the files reads them from the host's folder, not from the settings.
            project.static_root = Some(inner("staticfiles".to_owned()));
        } else if project.static_root.is_none() && stated.is_some() {
            project.notes.push("STATIC_ROOT is no path below the project: name one there, and under [static] here".to_owned());
        }
        let media = assignment(&text, "MEDIA_ROOT").and_then(project_path).map(inner);
        let database = assignment(&text, "DATABASES").filter(|value| value.contains("sqlite3") && !value.contains("environ"));
        let is_file = |literal: &&str| !literal.contains("backends") && (literal.contains(".sqlite") || literal.ends_with(".db"));
        let file = database.and_then(|value| literals(value).into_iter().find(is_file));
        project.sqlite = file.is_some();
        project.shared = file.map(|file| inner(file.to_owned())).into_iter().chain(media).collect();
        variables(&text, &mut project.variables);
        project.variables.remove("DJANGO_SETTINGS_MODULE");
        self.health(project, &text);
        self.honest(project, &module, &text);
    }

    /// What works at a desk and deserves a word before it serves others.
    fn honest(&self, project: &mut Project, module: &str, settings: &str) {
        let is = |name: &str, value: &str| assignment(settings, name).is_some_and(|found| found.trim_start().starts_with(value));
        let mut note = |text: String| project.notes.push(text);
        if is("DEBUG", "True") {
            note("DEBUG is on in the settings: error pages show the insides of the application to whoever asks".to_owned());
        }
        if assignment(settings, "ALLOWED_HOSTS").is_none_or(|hosts| hosts.trim() == "[]") {
            let then =
                if is("DEBUG", "True") { "while DEBUG is on, only requests to localhost are answered" } else { "no request is answered" };
            note(format!("ALLOWED_HOSTS is empty: {then}"));
        }
        if assignment(settings, "SECRET_KEY").is_some_and(|key| key.contains("django-insecure-")) {
            note("SECRET_KEY stands in the repository: read it from a variable, and declare that under [env]".to_owned());
        }
        let (package, name) = module.rsplit_once('.').unwrap_or(("", module));
        let developers = ["dev", "develop", "development", "local"].contains(&name);
        let mut servers = ["production", "prod", "deploy"].into_iter().map(|other| format!("{package}.{other}"));
        if let Some(other) = servers.find(|other| developers && self.path(other).is_some()) {
            note(format!("what serves names {module}, and there is {other}, too: change settings here if that is meant for servers"));
        }
    }

    /// The settings module with what it imports from its own package, base first.
    fn settings_text(&self, module: &str) -> String {
        let mut order = Vec::new();
        let mut open = vec![module.to_owned()];
        while let Some(next) = open.pop() {
            let Some(path) = self.path(&next).filter(|path| !order.contains(path) && order.len() < 16) else { continue };
            let text = self.files.text(&path).unwrap_or_default();
            let package =
                if path.ends_with("/__init__.py") { next.as_str() } else { next.rsplit_once('.').map_or("", |(package, _)| package) };
            for line in text.lines().map(str::trim) {
                let Some((from, _)) = line.strip_prefix("from ").and_then(|rest| rest.split_once(" import ")) else { continue };
                match from.trim().strip_prefix('.') {
                    Some("") => {}
                    Some(relative) => open.push(format!("{package}.{relative}")),
                    None => open.push(from.trim().to_owned()),
                }
            }
            order.push(path);
        }
        order.iter().rev().filter_map(|path| self.files.text(path)).collect::<Vec<_>>().join("\n")
    }

    fn health(&self, project: &mut Project, settings: &str) {
        let urls: Vec<&str> = self.below_home("urls.py").into_iter().filter_map(|path| self.files.text(path)).collect();
        let routes: Vec<&str> = urls.iter().flat_map(|text| literals(text)).collect();
        let known = ["readyz", "healthz", "ready", "health", "healthcheck", "health-check", "-/health", "ping", "status"];
        let told = known.iter().find_map(|known| routes.iter().find(|route| route.trim_matches(['^', '$', '/']) == *known));
        let admin = urls.iter().find_map(|text| {
            let line = text.lines().find(|line| !line.trim_start().starts_with('#') && line.contains("admin.site.urls"))?;
            literals(line).first().map(|route| route.trim_matches(['^', '$', '/']).to_owned())
        });
        project.health = match (told, admin) {
            (Some(route), _) => {
                let slash = if route.trim_end_matches('$').ends_with('/') { "/" } else { "" };
                format!("/{}{slash}", route.trim_matches(['^', '$', '/']))
            }
            (None, Some(admin)) => format!("/{admin}/login/"),
            (None, None) => "/".to_owned(),
        };
        let hosts = assignment(settings, "ALLOWED_HOSTS").map(literals).unwrap_or_default();
        let local = hosts.is_empty() || hosts.iter().any(|host| ["*", "localhost", ".localhost"].contains(host));
        if let Some(host) = hosts.first().filter(|host| !local && host.contains('.')) {
            project.headers.push(("Host", host.trim_start_matches('.').to_owned()));
        }
        let redirects = assignment(settings, "SECURE_SSL_REDIRECT").is_some_and(|value| !value.trim_start().starts_with("False"));
        if redirects {
            project.headers.push(("X-Forwarded-Proto", "https".to_owned()));
        }
    }

    fn web(&self, project: &mut Project) {
        let settings = project.settings.as_deref().map(|module| self.settings_text(module)).unwrap_or_default();
        let application = |name: &str| assignment(&settings, name).map(literals).and_then(|all| all.first().map(|path| (*path).to_owned()));
        let of_path = |path: &str| path.rsplit_once('.').map(|(module, attribute)| format!("{module}:{attribute}"));
        let of_file =
            |name: &str| self.below_home(name).first().and_then(|path| self.module(path)).map(|module| format!("{module}:application"));
        let asgi = of_file("asgi.py").or_else(|| application("ASGI_APPLICATION").as_deref().and_then(of_path));
        let wsgi = application("WSGI_APPLICATION")
            .as_deref()
            .and_then(of_path)
            .filter(|app| self.path(app.split(':').next().unwrap_or_default()).is_some());
        let wsgi = wsgi.or_else(|| of_file("wsgi.py"));
        let speaks_asgi = settings.contains("\"channels\"")
            || settings.contains("'channels'")
            || settings.contains("\"daphne\"")
            || settings.contains("'daphne'");
        project.web = match (wsgi, asgi) {
            (Some(app), None) => Some(("gunicorn", app)),
            (Some(app), Some(_)) if !speaks_asgi => Some(("gunicorn", app)),
            (_, Some(app)) => Some((if self.dependencies.name("daphne") { "daphne" } else { "uvicorn" }, app)),
            (None, None) => None,
        };
    }

    fn celery(&self, project: &mut Project) {
        let mut apps = self.files.modules().filter(|(path, text)| path.starts_with(self.home) && is_celery_app(text));
        let found = apps.find(|(path, _)| path.ends_with("celery.py") || path.ends_with("celery_app.py") || path.ends_with("celeryapp.py"));
        project.celery = found.and_then(|(path, _)| self.module(path));
        let schedules = ["beat_schedule", "CELERY_BEAT_SCHEDULE", "CELERYBEAT_SCHEDULE", "django_celery_beat", "add_periodic_task"];
        project.beat = project.celery.is_some()
            && self.files.modules().any(|(path, text)| path.starts_with(self.home) && schedules.iter().any(|word| text.contains(word)));
    }

    fn packages(&self, project: &mut Project, is_django: bool) {
        if is_django && !self.dependencies.name("django") && project.dependencies.as_deref().is_none_or(|file| !file.ends_with(".lock")) {
            let settings = project.settings.as_deref().map(|module| self.settings_text(module)).unwrap_or_default();
            project.extra_packages.push(generated_by(&settings).unwrap_or_else(|| "Django".to_owned()));
            project.notes.push(match &project.dependencies {
                Some(file) => format!("{file} does not name Django: it is listed under extra-packages"),
                None => "there is no requirements file, uv.lock, poetry.lock or pyproject.toml: what the project needs is listed under extra-packages".to_owned(),
            });
        }
        let server = project.web.as_ref().map(|(kind, _)| *kind);
        project.extra_packages.extend(server.filter(|server| !self.dependencies.name(server)).map(str::to_owned));
    }

    fn python(&self, root: &str) -> Option<PythonVersion> {
        let stated =
            |file: String| self.files.text(&file).and_then(|text| PythonVersion::parse(text.trim().trim_start_matches("python-")).ok());
        let exact =
            [format!("{root}.python-version"), ".python-version".to_owned(), format!("{root}runtime.txt")].into_iter().find_map(stated);
        exact.or_else(|| {
            let text = self.files.text(&format!("{root}pyproject.toml")).or_else(|| self.files.text("pyproject.toml"))?;
            let table: toml::Table = text.parse().ok()?;
            let wanted = table.get("project")?.get("requires-python")?.as_str()?;
            let exact = wanted.trim_start_matches(['=', '~', ' ']).trim_end_matches(".*");
            if wanted.starts_with("==") || wanted.starts_with("~=") { PythonVersion::parse(exact).ok() } else { None }
        })
    }
}

/// The lowest Python that a project allows, when it says so.
pub(super) fn stated_settings(text: &str) -> Option<String> {
    let at = text.find("DJANGO_SETTINGS_MODULE")?;
    let rest = &text[at..];
    let line_end = rest.find(')').unwrap_or(rest.len());
    let found = literals(&rest["DJANGO_SETTINGS_MODULE".len() + 1..line_end.max("DJANGO_SETTINGS_MODULE".len() + 1)]);
    found
        .into_iter()
        .find(|literal| !literal.is_empty() && literal.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.'))
        .map(str::to_owned)
}

fn is_celery_app(text: &str) -> bool {
    text.lines()
        .any(|line| line.split_once('=').is_some_and(|(name, value)| !name.starts_with(' ') && value.trim_start().starts_with("Celery(")))
}

/// `django-admin startproject` writes its version into the settings.
fn generated_by(settings: &str) -> Option<String> {
    let version = settings.split_once("using Django ")?.1;
    let mut parts = version.split(|c: char| !c.is_ascii_digit());
    let (major, minor) = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u32>().ok()?);
    Some(format!("Django>={major}.{minor},<{major}.{}", minor + 1))
}

fn or_dot(folder: &str) -> String {
    let folder = folder.trim_end_matches('/');
    if folder.is_empty() { ".".to_owned() } else { folder.to_owned() }
}

/// A name for the app: of the settings' package unless that says nothing, else of the folder.
fn app_name(settings: Option<&str>, folder: &str) -> String {
    let package = settings
        .and_then(|module| module.split('.').next())
        .filter(|name| !["config", "core", "settings", "project", "app", "src", "backend", "server", "conf", "main"].contains(name));
    let clean = |name: &str| {
        let text: String = name.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let text = text.trim_matches(|c: char| c == '-' || c.is_ascii_digit()).chars().take(24).collect::<String>();
        text.trim_end_matches('-').to_owned()
    };
    let found = package.map(clean).filter(|name| !name.is_empty()).unwrap_or_else(|| clean(folder));
    if found.is_empty() { "app".to_owned() } else { found }
}
