//! What the host says of itself: read afresh from the system each time, never kept.

use roadstead_model::{AppName, AppState, DiskSpace, HostFacts, HostName, PythonFact, ReleaseId, ReleaseKeys, limits};
use roadstead_worker::state::States;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::layout::Layout;
use crate::steps::{local_variables, trusted_keys};

/// Folders where interpreters are looked for.
const PYTHON_FOLDERS: [&str; 2] = ["usr/local/bin", "usr/bin"];
const PYTHONS_MAX: usize = 16;
const RELEASES_MAX: usize = 256;

/// The facts of the host, with the given apps. `systemd` is the version that the manager told.
pub(crate) fn gather(root: &Path, layout: &Layout, states: &States, systemd: &str, apps: &[AppName]) -> HostFacts {
    HostFacts {
        host_name: host_name(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        operating_system: operating_system(root),
        architecture: std::env::consts::ARCH.to_owned(),
        systemd: systemd.chars().take(100).collect(),
        boot_id: first_line(&root.join("proc/sys/kernel/random/boot_id")),
        pythons: pythons(root),
        disk: disk_space(&layout.apps()),
        apps: apps.iter().map(|app| (app.clone(), look(layout, states, app))).collect::<BTreeMap<_, _>>(),
        release_keys: Some(release_keys(layout)),
    }
}

/// Whom the host believes: ids of keys, or why nobody.
fn release_keys(layout: &Layout) -> ReleaseKeys {
    match trusted_keys(layout) {
        Ok(keys) => ReleaseKeys {
            threshold: u32::try_from(keys.threshold()).unwrap_or(u32::MAX),
            ids: keys.keys().iter().map(|key| *key.public.id().as_bytes()).collect(),
            problem: String::new(),
        },
        Err(failure) => ReleaseKeys { problem: printable(&failure.summary.replace('\n', " ")), ..ReleaseKeys::default() },
    }
}

/// Where an app stands, as far as the disk tells. What follows from its orders is the worker's to add.
pub(crate) fn look(layout: &Layout, states: &States, app: &AppName) -> AppState {
    let (current, memory) = (current(layout, app), states.read(app).unwrap_or_default());
    let listed = current.as_ref().and_then(|current| memory.singletons.get(current));
    AppState {
        listed: listed.map(|listed| listed.iter().cloned().collect()),
        current,
        previous: memory.previous,
        releases: release_names(&layout.releases(app)),
        bad: release_names(&layout.bad_marks(app)),
        highest: None,
        unconfirmed: false,
        drift: None,
        // A file that is not in order, or sets more than is told, sets nothing that anybody knows of.
        set: local_variables(layout, app).ok().filter(|set| set.len() <= limits::VARIABLES_MAX).map(|set| set.into_keys().collect()),
    }
}

/// The release that `current` names.
pub(crate) fn current(layout: &Layout, app: &AppName) -> Option<ReleaseId> {
    let target = fs::read_link(layout.current(app)).ok()?;
    ReleaseId::parse(target.file_name()?.to_str()?).ok()
}

/// Apps that have a folder for releases, or of which the agent remembers something.
pub(crate) fn apps_on_disk(layout: &Layout) -> Vec<AppName> {
    let mut apps: Vec<AppName> = [layout.apps(), layout.app_states()]
        .iter()
        .flat_map(|folder| names(folder))
        .filter_map(|name| AppName::parse(&name).ok())
        .collect();
    apps.sort();
    apps.dedup();
    apps
}

fn release_names(folder: &Path) -> Vec<ReleaseId> {
    let mut releases: Vec<ReleaseId> = names(folder).filter_map(|name| ReleaseId::parse(&name).ok()).collect();
    releases.sort();
    releases.truncate(RELEASES_MAX);
    releases
}

fn names(folder: &Path) -> impl Iterator<Item = String> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| entry.ok()?.file_name().into_string().ok())
}

fn host_name() -> HostName {
    let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
    let fallback = || {
        let fitting: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '.').take(60).collect();
        format!("host-{fitting}")
    };
    HostName::parse(&name).or_else(|_| HostName::parse(&fallback())).unwrap_or_else(|_| plain_host_name())
}

#[expect(clippy::expect_used, reason = "the constant is a valid name")]
fn plain_host_name() -> HostName {
    HostName::parse("host").expect("a valid name")
}

fn operating_system(root: &Path) -> String {
    let text = fs::read_to_string(root.join("etc/os-release")).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or_else(|| "unknown".to_owned(), |name| printable(name.trim_matches('"')))
}

fn first_line(path: &Path) -> String {
    printable(fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default())
}

fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Interpreters, found by name: none is run to ask it.
fn pythons(root: &Path) -> Vec<PythonFact> {
    let mut found = Vec::new();
    for folder in PYTHON_FOLDERS.map(|folder| root.join(folder)) {
        for name in names(&folder) {
            let version = name
                .strip_prefix("python")
                .filter(|v| v.split_once('.').is_some_and(|(major, minor)| major == "3" && minor.parse::<u8>().is_ok()));
            let path: PathBuf = folder.join(&name);
            let executable = || fs::metadata(&path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0);
            if let (Some(version), Some(text)) = (version, path.to_str())
                && executable()
            {
                found.push(PythonFact { version: version.to_owned(), path: text.to_owned() });
            }
        }
    }
    found.sort_by(|a, b| (&a.version, &a.path).cmp(&(&b.version, &b.path)));
    found.truncate(PYTHONS_MAX);
    found
}

/// Free space of the file system that holds a folder, or would.
fn disk_space(folder: &Path) -> DiskSpace {
    let existing = folder.ancestors().find(|path| path.exists()).unwrap_or(folder);
    nix::sys::statvfs::statvfs(existing).map_or_else(
        |_| DiskSpace::default(),
        |vfs| DiskSpace {
            free_bytes: vfs.blocks_available().saturating_mul(vfs.fragment_size()),
            // A file system that makes inodes as it goes counts none at all.
            free_inodes: if vfs.files() == 0 { u64::MAX } else { vfs.files_available() },
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn facts_come_from_what_lies_on_the_disk() {
        let root = tempfile::tempdir().unwrap();
        let path = |text: &str| {
            let path = root.path().join(text);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        fs::write(path("etc/os-release"), "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n").unwrap();
        for (name, mode) in [("python3.11", 0o755), ("python3.12", 0o644), ("python3", 0o755), ("python3.11-config", 0o755)] {
            fs::write(path(&format!("usr/bin/{name}")), "").unwrap();
            fs::set_permissions(path(&format!("usr/bin/{name}")), fs::Permissions::from_mode(mode)).unwrap();
        }
        let app = AppName::parse("erp").unwrap();
        for release in ["1.0-0123456789ab", "1.1-0123456789ab", ".new-1.2-0123456789ab"] {
            fs::create_dir_all(path(&format!("srv/roadstead/erp/releases/{release}"))).unwrap();
        }
        symlink("releases/1.1-0123456789ab", path("srv/roadstead/erp/current")).unwrap();
        fs::write(path("var/lib/roadstead-agent/apps/erp/bad/1.0-0123456789ab"), "").unwrap();
        fs::create_dir_all(path("srv/roadstead/lost+found")).unwrap();

        let layout = Layout::new(root.path());
        assert_eq!(apps_on_disk(&layout), std::slice::from_ref(&app));
        let facts = gather(root.path(), &layout, &crate::remembered::states(&layout), "252", &apps_on_disk(&layout));
        assert_eq!(facts.operating_system, "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(facts.pythons.iter().map(|p| p.version.as_str()).collect::<Vec<_>>(), ["3.11"]);
        assert!(facts.disk.free_bytes > 0 && facts.disk.free_inodes > 0);
        let state = &facts.apps[&app];
        assert_eq!(state.current.as_ref().map(ReleaseId::as_str), Some("1.1-0123456789ab"));
        assert_eq!((state.releases.len(), state.bad.len()), (2, 1));
    }
}
