//! `roadstead-agent doctor`: looks at what only the host can see, one thing after another. Nothing is changed.

mod program;
mod secrets;
mod traffic;

use roadstead_model::{AppName, Finding, OrderOutcome, limits};
use roadstead_pki::{ConnectError, Refusal};
use roadstead_worker::clock;
use roadstead_worker::failure::chain;
use roadstead_worker::files::read_bounded;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::facts::{apps_on_disk, look};
use crate::host::disk::free;
use crate::host::{environment_file, python};
use crate::identity::Identity;
use crate::layout::Layout;
use crate::remembered;
use crate::settings::Settings;
use crate::steps::trusted_keys;

/// How long a name or a connection may take.
const PATIENCE: Duration = Duration::from_secs(10);
const FREE_BYTES_WARNING: u64 = 2 << 30;
const FREE_BYTES_FAILED: u64 = 512 << 20;
const FREE_INODES_WARNING: u64 = 50_000;

/// Looks at everything, and hands each finding on as soon as it is there.
pub(crate) async fn look_at_all(layout: &Layout, config: &Path, tell: &mut dyn FnMut(Finding)) {
    let settings = settings(config, tell);
    if let Some(identity) = identity(layout, tell) {
        let address =
            settings.as_ref().and_then(|settings| settings.controller.clone()).unwrap_or_else(|| identity.controller().to_owned());
        for finding in controller(&address, &identity).await {
            tell(finding);
        }
    }
    tell(keys(layout));
    tell(systemd(Path::new("/run/systemd/system")));
    tell(interpreters(Path::new("/")));
    for folder in [layout.apps(), layout.agent_state()] {
        tell(disk(&folder));
    }
    for app in apps_on_disk(layout) {
        tell(variables(layout, &app));
        tell(standing(layout, &app));
    }
    for (app, settings) in settings.iter().flat_map(|settings| &settings.traffic) {
        tell(traffic::traffic(app, settings).await);
    }
    if let Some(settings) = &settings {
        for finding in secrets::secrets(layout, &settings.secrets).await {
            tell(finding);
        }
        settings.migrations.iter().for_each(|(app, own)| tell(secrets::migrations(app, own, &settings.secrets)));
        let buckets = settings.backups.iter().filter_map(|(app, own)| Some((app, own.bucket.as_ref()?)));
        buckets.for_each(|(app, own)| tell(secrets::bucket(app, own, &settings.secrets)));
        settings.statics.iter().for_each(|(app, own)| tell(secrets::statics(app, own, &settings.secrets)));
    }
}

fn settings(config: &Path, tell: &mut dyn FnMut(Finding)) -> Option<Settings> {
    match Settings::read(config) {
        Ok(settings) => {
            let says = if config.exists() { format!("{} is read", config.display()) } else { "all defaults".to_owned() };
            tell(Finding::ok("settings", says));
            Some(settings)
        }
        Err(error) => {
            tell(Finding::failed("settings", chain(&error), "correct the file as root, then `systemctl restart roadstead-agent`"));
            None
        }
    }
}

fn identity(layout: &Layout, tell: &mut dyn FnMut(Finding)) -> Option<Identity> {
    match Identity::load(layout) {
        Ok(identity) if identity.valid_until() <= clock::now() => {
            let hint = "is the clock right (`timedatectl`)? Then an admin makes a token with `roadstead host token`, for `roadstead-agent enroll \
                        --again` here";
            let says = format!("host {}: its certificate has ended, by this host's clock", identity.host());
            tell(Finding::failed("identity", says, hint));
            None
        }
        Ok(identity) => {
            tell(Finding::ok("identity", format!("host {}, {}", identity.host(), identity.validity())));
            Some(identity)
        }
        Err(error) => {
            tell(Finding::failed("identity", chain(&error), "an admin makes a token with `roadstead host token`"));
            None
        }
    }
}

/// Name, connection and trust, up to the first that does not hold.
async fn controller(address: &str, identity: &Identity) -> Vec<Finding> {
    let name_hint = "is the name right, and does this host's DNS know it? controller in agent.toml names another";
    let found = match timeout(PATIENCE, lookup_host(address)).await {
        Ok(Ok(found)) => found.map(|address| address.ip().to_string()).collect::<Vec<_>>(),
        Ok(Err(error)) => return vec![Finding::failed("name", format!("{address} cannot be looked up: {error}"), name_hint)],
        Err(_) => return vec![Finding::failed("name", format!("{address} cannot be looked up in time"), name_hint)],
    };
    let mut findings = vec![Finding::ok("name", format!("{address} is {}", found.join(", ")))];
    let hint = "is the controller running, and does a firewall let this host out to it? It dials out, nothing dials in";
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => findings.push(Finding::ok("connection", format!("{address} answers"))),
        Ok(Err(error)) => findings.push(Finding::failed("connection", format!("{address}: {error}"), hint)),
        Err(_) => findings.push(Finding::failed("connection", format!("{address} does not answer"), hint)),
    }
    if findings.len() == 2 && findings.iter().all(|finding| finding.hint.is_empty()) {
        findings.push(trust(roadstead_pki::connect(address, identity.tls()).await.err()));
    }
    findings
}

fn trust(error: Option<ConnectError>) -> Finding {
    let hint = match &error {
        None => return Finding::ok("trust", "the controller is of the authority with which this host enrolled"),
        Some(ConnectError::Refused { refusal: Refusal::Expired, .. }) => "compare the clocks of both machines: `timedatectl`",
        Some(ConnectError::Refused { refusal: Refusal::Unwelcome, .. }) => {
            "this host may have been cut off (`roadstead host show`): `roadstead-agent enroll --again` with a new token"
        }
        Some(_) => "is this still the controller with which the host enrolled? If it was made anew, `roadstead-agent enroll --again`",
    };
    Finding::failed("trust", error.map(|error| error.to_string()).unwrap_or_default(), hint)
}

fn keys(layout: &Layout) -> Finding {
    match trusted_keys(layout) {
        Ok(keys) => {
            let names: Vec<&str> = keys.keys().iter().map(|key| key.name.as_str()).collect();
            Finding::ok("release keys", format!("{} of {} must sign a release", keys.threshold(), names.join(", ")))
        }
        Err(failure) => Finding::failed("release keys", failure.summary, failure.hint),
    }
}

fn systemd(marker: &Path) -> Finding {
    if marker.is_dir() {
        return Finding::ok("systemd", "it runs this host");
    }
    Finding::failed("systemd", "it does not run this host", "the agent needs a host that systemd 247 or newer has booted")
}

fn interpreters(root: &Path) -> Finding {
    let found = python::find(root);
    if found.is_empty() {
        return Finding::failed("python", "none was found in /usr/bin, /usr/local/bin and /opt/*/bin", "`apt install python3`");
    }
    let list: Vec<String> = found.iter().map(|python| format!("{} ({})", python.version, python.path.display())).collect();
    Finding::ok("python", list.join(", "))
}

fn disk(folder: &Path) -> Finding {
    let hint = "make room (`df -h`, `df -i`), or lower keep in the environment";
    let space = match free(folder) {
        Ok(space) => space,
        Err(error) => return Finding::failed("disk", format!("{}: {error}", folder.display()), "look at the file system"),
    };
    let says = format!("{} has {} MiB and {} inodes left", folder.display(), space.free_bytes >> 20, space.free_inodes);
    if space.free_bytes < FREE_BYTES_FAILED {
        Finding::failed("disk", says, hint)
    } else if space.free_bytes < FREE_BYTES_WARNING || space.free_inodes < FREE_INODES_WARNING {
        Finding::warning("disk", says, hint)
    } else {
        Finding::ok("disk", says)
    }
}

/// The operator's variables of an app: readable by root alone, in a syntax that systemd takes.
fn variables(layout: &Layout, app: &AppName) -> Finding {
    let path: PathBuf = layout.host_variables(app);
    let check = "variables";
    let bytes = match read_bounded(&path, limits::CONFIG_FILE_BYTES_MAX) {
        Err(error) if error.is_missing() => return Finding::ok(check, format!("{app} has none on this host")),
        Err(error) => return Finding::failed(check, chain(&error), "correct the file as root"),
        Ok(bytes) => bytes,
    };
    let parsed = environment_file::parse(&String::from_utf8_lossy(&bytes));
    let mode = std::fs::metadata(&path).map(|metadata| metadata.permissions().mode()).unwrap_or_default();
    match parsed {
        Err(error) => Finding::failed(check, format!("{}: {error}", path.display()), "correct the file as root"),
        Ok(_) if mode & 0o077 != 0 => {
            Finding::warning(check, format!("{} can be read by others", path.display()), format!("chmod 600 {}", path.display()))
        }
        Ok(variables) => Finding::ok(check, format!("{} has {} on this host", app, variables.len())),
    }
}

/// What an app serves, and how its last order ended.
fn standing(layout: &Layout, app: &AppName) -> Finding {
    let state = look(layout, &remembered::states(layout), app);
    let serves = state.current.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string);
    let on_disk = state.releases.len();
    let says = format!("{app} serves {serves}; {on_disk} {} on disk", if on_disk == 1 { "release" } else { "releases" });
    match remembered::journals(layout).peek(app) {
        Err(error) => {
            Finding::failed("app", format!("{says}; its journal: {}", chain(&error)), "see docs/recovery.md, \"An agent is stuck\"")
        }
        Ok(mut orders) => {
            orders.sort_by_key(|status| status.order.fence);
            match orders.last().and_then(|status| status.outcome().cloned()) {
                Some(OrderOutcome::Stuck { step, failure, .. }) => {
                    Finding::failed("app", format!("{says}; stuck at {step}: {}", failure.summary), failure.hint)
                }
                Some(OrderOutcome::Failed { step, failure, .. }) => {
                    Finding::warning("app", format!("{says}; the last order failed at {step}: {}", failure.summary), failure.hint)
                }
                _ => Finding::ok("app", says),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roadstead_model::Verdict;
    use std::fs;

    #[tokio::test]
    async fn a_host_that_was_never_set_up_is_told_how_to_begin() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let mut findings = Vec::new();
        look_at_all(&layout, &root.path().join("agent.toml"), &mut |finding| findings.push(finding)).await;
        let of = |check: &str| findings.iter().find(|finding| finding.check == check).unwrap();
        assert_eq!(of("settings").verdict, Verdict::Ok);
        assert_eq!((of("identity").verdict, of("release keys").verdict), (Verdict::Failed, Verdict::Failed));
        assert!(of("identity").says.contains("roadstead-agent enroll"), "{:?}", of("identity"));
        assert!(findings.iter().all(|finding| finding.verdict != Verdict::Failed || !finding.hint.is_empty()), "{findings:?}");
    }

    #[test]
    fn variables_that_others_read_or_nobody_understands_are_told() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        let app = AppName::parse("erp").unwrap();
        let path = layout.host_variables(&app);
        assert_eq!(variables(&layout, &app).verdict, Verdict::Ok);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, "SECRET_KEY=x\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(variables(&layout, &app).verdict, Verdict::Warning);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(variables(&layout, &app).verdict, Verdict::Ok);
        fs::write(&path, "no assignment\n").unwrap();
        assert_eq!(variables(&layout, &app).verdict, Verdict::Failed);
    }

    #[test]
    fn a_host_without_systemd_or_python_is_told() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(systemd(&root.path().join("nothing")).verdict, Verdict::Failed);
        assert_eq!(interpreters(root.path()).verdict, Verdict::Failed);
        assert!(disk(root.path()).says.contains("MiB"));
    }
}
