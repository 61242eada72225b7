//! Configure: the release's environment file, its units and the folders of its sockets. Nothing that serves is touched.

use roadstead_bundle::spec::Service;
use roadstead_model::{AppName, Failure, FailureKind, OrderKind, ReleaseId, SecretRef, ServiceName, VariableName, limits};
use roadstead_worker::files::{create_private_folder, read_bounded, write_atomically};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::StepContext;
use super::account;
use super::environment::{Sources, complete, declared};
use super::fitness;
use super::placed;
use super::release::{Release, Role, below, role};
use super::secrets;
use super::stage::Stage;
use super::util::{disk, on_disk};
use crate::host::argv::{ArgvInput, Bind, argv};
use crate::host::environment_file;
use crate::host::unit_file::{UnitInput, boot_files, service_unit};
use crate::host::user::{Account, own_folder};
use crate::layout::Layout;

/// From this version on systemd sees new unit files without being told to read all of them again.
const SEES_NEW_UNITS_SINCE: u32 = 246;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Prepare { release, variables, secrets: places, files, .. } = &context.order.kind else {
        return Ok("nothing to do".to_owned());
    };
    let release = context.whole_release(release)?;
    fitness::check(&context.stage(), &release).await?;
    let found = secrets::find(&context.providers, &context.layout, &release, places, &context.cancelled).await?;
    let (note, places) = (found.note.clone(), places.clone());
    let (layout, variables, files, app) = (context.layout.clone(), variables.clone(), files.clone(), context.order.app.clone());
    let (release_id, units) = (release.id.clone(), units_that_start(&release));
    let written = disk(move || {
        let account = account::of(&layout, &app)?;
        let variables = write_environment(&layout, &release, &variables, &places)?;
        found.write(&layout, &release)?;
        make_folders(&layout, &release, &account)?;
        placed::place(&layout, &release, &files, &account)?;
        let units = write_units(&layout, &release, &account)?;
        Ok(Written { variables, units })
    })
    .await?;
    let systemd = &context.host.systemd;
    let paths: Vec<&Path> = written.units.iter().map(|unit| unit.path.as_path()).collect();
    if !paths.is_empty() {
        systemd.link(&paths).await.map_err(|error| error.failure())?;
    }
    let serves = context.current().as_ref() == Some(&release_id);
    if serves {
        unmask(context, &units).await?;
    }
    let seen = systemd.version().await.map_err(|error| error.failure())? >= SEES_NEW_UNITS_SINCE;
    // What somebody changed of units that run may be what systemd has read.
    if serves || !seen || written.units.iter().any(|unit| unit.replaced) {
        systemd.daemon_reload().await.map_err(|error| error.failure())?;
    }
    Ok(format!("{} variables, {} units{note}", written.variables, paths.len()))
}

/// The units of a release that are started, sockets among them.
fn units_that_start(release: &Release) -> Vec<String> {
    let mut units = Vec::new();
    for (name, service) in release.services() {
        match role(service) {
            Role::Own => {}
            Role::WebTcp(_) => units.extend([release.unit(name), release.socket(name)]),
            Role::WebUnix | Role::Worker | Role::Single => units.push(release.unit(name)),
        }
    }
    units
}

/// Somebody may have masked units of the release that serves: nothing can start them until that is undone.
async fn unmask(context: &StepContext, units: &[String]) -> Result<(), Failure> {
    let systemd = &context.host.systemd;
    let mut masked = Vec::new();
    for unit in units {
        if systemd.file_state(unit).await.map_err(|error| error.failure())?.starts_with("masked") {
            masked.push(unit.as_str());
        }
    }
    if masked.is_empty() {
        return Ok(());
    }
    systemd.unmask(&masked).await.map_err(|error| error.failure())?;
    let files: Vec<PathBuf> = masked.iter().map(|unit| context.layout.units().join(unit)).filter(|path| path.exists()).collect();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    systemd.link(&files).await.map_err(|error| error.failure())
}

struct Written {
    variables: usize,
    units: Vec<WrittenUnit>,
}

struct WrittenUnit {
    path: PathBuf,
    replaced: bool,
}

/// What the host's operator set for the app; nothing when there is no file.
pub(crate) fn local_variables(layout: &Layout, app: &AppName) -> Result<BTreeMap<VariableName, String>, Failure> {
    let path = layout.host_variables(app);
    let hint = format!("correct {} on the host, as root", path.display());
    let bytes = match read_bounded(&path, limits::CONFIG_FILE_BYTES_MAX) {
        Err(error) if error.is_missing() => return Ok(BTreeMap::new()),
        other => other.map_err(|error| Failure::new(FailureKind::Unfit, roadstead_worker::failure::chain(&error), hint.as_str()))?,
    };
    let unfit = |why: String| Failure::new(FailureKind::Unfit, format!("{}: {why}", path.display()), hint.as_str());
    let text = String::from_utf8(bytes).map_err(|_| unfit("it is not UTF-8".to_owned()))?;
    environment_file::parse(&text).map_err(|error| unfit(error.to_string()))
}

/// Everything that the processes of a release find in their environment.
pub(crate) fn variables(
    layout: &Layout,
    release: &Release,
    ordered: &BTreeMap<VariableName, String>,
    secrets: &BTreeMap<VariableName, SecretRef>,
) -> Result<BTreeMap<VariableName, String>, Failure> {
    variables_with(layout, release, ordered, secrets, &local_variables(layout, release.app())?)
}

fn variables_with(
    layout: &Layout,
    release: &Release,
    ordered: &BTreeMap<VariableName, String>,
    secrets: &BTreeMap<VariableName, SecretRef>,
    local: &BTreeMap<VariableName, String>,
) -> Result<BTreeMap<VariableName, String>, Failure> {
    let spec = &release.manifest.spec;
    let local_file = layout.host_variables(release.app());
    let runs: BTreeSet<&ServiceName> = release.services().map(|(name, _)| name).collect();
    let declared = declared(&Sources { spec, ordered, secrets, local, local_file: &local_file, runs: &runs })?;
    let mut overridable = vec![
        ("LANG", "C.UTF-8".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", release.bin(layout).display())),
    ];
    if let Some(django) = &spec.django {
        overridable.push(("DJANGO_SETTINGS_MODULE", django.settings.clone()));
    }
    let fixed = [
        ("HOME", layout.home(release.app()).display().to_string()),
        ("VIRTUAL_ENV", release.venv(layout).display().to_string()),
        // The tree is read-only, and its bytecode was compiled when it was built.
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("ROADSTEAD_RELEASE", release.id.to_string()),
        ("ROADSTEAD_VERSION", release.manifest.version.to_string()),
    ];
    Ok(complete(declared, &overridable, &fixed))
}

fn write_environment(
    layout: &Layout,
    release: &Release,
    ordered: &BTreeMap<VariableName, String>,
    secrets: &BTreeMap<VariableName, SecretRef>,
) -> Result<usize, Failure> {
    let local = local_variables(layout, release.app())?;
    let variables = variables_with(layout, release, ordered, secrets, &local)?;
    create_private_folder(&layout.environment_files(release.app())).map_err(|error| on_disk(&error))?;
    let write = |path: &Path, variables: &BTreeMap<VariableName, String>| {
        let hint = "correct the value in the environment or on the host";
        let text = environment_file::render(variables).map_err(|error| Failure::new(FailureKind::Unfit, error.to_string(), hint))?;
        write_when_other(path, &text)
    };
    // What root set is not told, as long as a release runs with it.
    let own: String = local.keys().map(|name| format!("{name}\n")).collect();
    write_when_other(&layout.own_names(release.app(), &release.id), &own)?;
    write(&release.environment_file(layout), &variables)?;
    for (name, service) in release.services() {
        let mut own = service.environment.clone();
        own.extend(VariableName::parse("ROADSTEAD_SERVICE").ok().map(|variable| (variable, name.to_string())));
        write(&layout.service_environment_file(release.app(), &release.id, name), &own)?;
    }
    Ok(variables.len())
}

/// Writes a file of root's alone, unless it says so already: what was started since its last change need not be started again.
pub(super) fn write_when_other(path: &Path, text: &str) -> Result<(), Failure> {
    let is_own = std::fs::metadata(path).is_ok_and(|found| found.permissions().mode() & 0o777 == 0o600);
    if is_own && std::fs::read_to_string(path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    write_atomically(path, text.as_bytes(), 0o600).map_err(|error| on_disk(&error))
}

/// The folders that processes write to.
pub(crate) fn make_folders(layout: &Layout, release: &Release, account: &Account) -> Result<(), Failure> {
    let app = release.app();
    let owned = |path: PathBuf, owner: Option<&Account>, mode| {
        own_folder(&path, owner, owner, mode).map_err(|error| super::util::io_failure("make the folder", &path, &error))
    };
    owned(layout.sockets(app), None, 0o755)?;
    for (name, service) in release.services() {
        if matches!(role(service), Role::WebUnix | Role::WebTcp(_)) {
            owned(layout.service_sockets(app, name), Some(account), 0o755)?;
        }
    }
    owned(layout.home(app), Some(account), 0o750)?;
    owned(layout.shared(app), Some(account), 0o750)
}

fn write_units(layout: &Layout, release: &Release, account: &Account) -> Result<Vec<WrittenUnit>, Failure> {
    let folder = layout.units();
    std::fs::create_dir_all(&folder).map_err(|error| super::util::io_failure("make the folder", &folder, &error))?;
    let mut written = Vec::new();
    for (name, text) in unit_texts(layout, release, account)? {
        let path = folder.join(&name);
        let before = std::fs::read_to_string(&path).ok();
        if before.as_deref() != Some(text.as_str()) {
            write_atomically(&path, text.as_bytes(), 0o644).map_err(|error| on_disk(&error))?;
        }
        written.push(WrittenUnit { replaced: before.is_some_and(|before| before != text), path });
    }
    Ok(written)
}

/// Every unit of the release on this host that is written when it is prepared, with its text.
pub(crate) fn unit_texts(layout: &Layout, release: &Release, account: &Account) -> Result<Vec<(String, String)>, Failure> {
    let mut texts = Vec::new();
    for (name, service) in release.services() {
        for unit in units_of(layout, release, name, service) {
            let text = unit_text(layout, release, account, name, service, &unit)?;
            texts.push((unit.name, text));
        }
    }
    Ok(texts)
}

/// A unit to write for a service.
struct UnitPlan {
    name: String,
    /// The socket that is its own.
    private: Option<PathBuf>,
    socket: Option<String>,
}

fn units_of(layout: &Layout, release: &Release, name: &ServiceName, service: &Service) -> Vec<UnitPlan> {
    let own_socket = || Some(layout.instance_socket(release.app(), name, &release.id));
    match role(service) {
        Role::WebUnix => vec![UnitPlan { name: release.unit(name), private: own_socket(), socket: None }],
        // It is tried once on a private socket before it shares the public one.
        Role::WebTcp(_) => vec![
            UnitPlan { name: release.unit(name), private: None, socket: Some(release.socket(name)) },
            UnitPlan { name: release.trial(name), private: own_socket(), socket: None },
        ],
        Role::Worker | Role::Single => vec![UnitPlan { name: release.unit(name), private: None, socket: None }],
        Role::Own => Vec::new(),
    }
}

fn unit_text(
    layout: &Layout,
    release: &Release,
    account: &Account,
    name: &ServiceName,
    service: &Service,
    unit: &UnitPlan,
) -> Result<String, Failure> {
    let app = release.app();
    let socket = &unit.private;
    let bind = match (socket, &unit.socket) {
        (Some(path), _) => Some(Bind::Unix(path.clone())),
        (None, Some(_)) => Some(Bind::Inherited),
        (None, None) => None,
    };
    let (bin, home) = (release.bin(layout), layout.home(app));
    let node = format!("{name}-{}", release.id);
    let input = ArgvInput { bin: &bin, node: &node, bind: bind.as_ref(), home: &home, packages: &release.manifest.packages.list };
    let argv = argv(service, &input).map_err(|error| {
        Failure::new(FailureKind::Unfit, format!("the service {name}: {error}"), "correct roadstead.toml and build again")
    })?;
    let mut writable = release.writable(layout);
    if socket.is_some() {
        writable.push(layout.service_sockets(app, name));
    }
    let mut environment_files = release.environment_files(layout);
    environment_files.push(layout.service_environment_file(app, &release.id, name));
    Ok(service_unit(&UnitInput {
        app,
        name,
        service,
        release: &release.id,
        user: &account.name,
        argv: &argv,
        working_directory: &below(&release.root(layout), &service.working_directory),
        environment_files: &environment_files,
        writable: &writable,
        socket: socket.as_deref(),
        socket_unit: unit.socket.as_deref(),
    }))
}

/// The unit of one that stands in for a web instance, on a socket of its own.
pub(crate) fn stand_in_text(
    layout: &Layout,
    release: &Release,
    account: &Account,
    name: &ServiceName,
    service: &Service,
) -> Result<String, Failure> {
    let socket = layout.stand_in_socket(release.app(), name, &release.id);
    let plan = UnitPlan { name: release.trial(name), private: Some(socket), socket: None };
    unit_text(layout, release, account, name, service, &plan)
}

/// Writes what makes the app's sockets at boot: folders for its services, links to the serving release's instances.
pub(crate) fn write_boot_files(stage: &Stage<'_>, serving: Option<&Release>) -> Result<(), Failure> {
    let path = stage.layout.boot_files(stage.app);
    let Some(release) = serving else {
        return crate::host::links::remove(&path).map_err(|error| super::util::io_failure("remove", &path, &error));
    };
    let text = boot_text(stage.layout, release, &account::of(stage.layout, stage.app)?);
    if std::fs::read_to_string(&path).is_ok_and(|before| before == text) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| super::util::io_failure("make the folder", folder, &error))?;
    }
    write_atomically(&path, text.as_bytes(), 0o644).map_err(|error| on_disk(&error))
}

/// What makes the sockets of the serving release at boot.
pub(crate) fn boot_text(layout: &Layout, release: &Release, account: &Account) -> String {
    let services: Vec<(ServiceName, Option<ReleaseId>)> = release
        .services()
        .filter_map(|(name, service)| match role(service) {
            Role::WebUnix => Some((name.clone(), Some(release.id.clone()))),
            Role::WebTcp(_) => Some((name.clone(), None)),
            _ => None,
        })
        .collect();
    boot_files(&layout.sockets(release.app()), &account.name, &services)
}
