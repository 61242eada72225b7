//! What runs beside what should, and the links that the traffic hangs on.
//!
//! systemd starts a service again by itself, and an operator may restart one: what is seen of processes counts only when it is seen twice.

use roadstead_bundle::spec::{Service, ServiceKind, UnitCutover};
use roadstead_model::{Differs, DriftFinding, DriftPart, Failure, ServiceName};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::host::proof::{Expected, ProofError, prove, prove_connection, prove_some};
use crate::host::systemd::UnitState;
use crate::host::unit_file::release_of_unit;
use crate::layout::Layout;
use crate::steps::proof::programs;
use crate::steps::release::{Release, Role, role};
use crate::steps::stage::Stage;
use crate::steps::util::disk;

/// Processes of the host that are looked at.
const PROCESSES_MAX: usize = 65_536;

/// The links: `current`, and the public address of each service behind a unix socket.
pub(crate) fn links(layout: &Layout, release: &Release) -> Vec<DriftFinding> {
    let app = release.app();
    let mut wanted = vec![(layout.current(app), Path::new("releases").join(release.id.as_str()))];
    for (name, _) in release.services().filter(|(_, service)| role(service) == Role::WebUnix) {
        wanted.push((layout.public_socket(app, name), Path::new(name.as_str()).join(format!("{}.sock", release.id))));
    }
    let compare = |(link, target): (PathBuf, PathBuf)| {
        let told = |how, detail: &str| Some(DriftFinding::new(DriftPart::Link, how, link.to_string_lossy(), detail));
        match fs::read_link(&link) {
            Ok(found) if found == target => None,
            Ok(found) => told(Differs::Elsewhere, &format!("it leads to {}", found.display())),
            Err(_) if fs::symlink_metadata(&link).is_ok() => told(Differs::Changed, "it is no link"),
            Err(_) => told(Differs::Missing, ""),
        }
    };
    wanted.into_iter().filter_map(compare).collect()
}

/// The processes of the release's services, and those that should be gone.
pub(crate) async fn processes(stage: &Stage<'_>, release: &Release) -> Result<Vec<DriftFinding>, Failure> {
    let mut findings = Vec::new();
    let mut ours = BTreeSet::new();
    for (name, service) in release.services() {
        let units = match &service.kind {
            ServiceKind::Units { units, .. } => units.clone(),
            _ => vec![release.unit(name)],
        };
        for unit in units {
            let state = stage.host.systemd.unit(&unit).await.map_err(|error| error.failure())?;
            findings.extend(service_differs(stage, release, service, &unit, &state));
            ours.insert(unit);
        }
        if let Role::WebTcp(_) = role(service) {
            findings.extend(socket_differs(stage, release, name).await?);
        }
    }
    findings.extend(leftovers(stage, &ours).await?);
    let (root, layout, of) = (stage.host.root.clone(), stage.layout.clone(), release.clone());
    findings.extend(disk(move || Ok(by_hand(&root, &layout, &of, &ours))).await?);
    Ok(findings)
}

fn service_differs(stage: &Stage<'_>, release: &Release, service: &Service, unit: &str, state: &UnitState) -> Option<DriftFinding> {
    let tree = fs::canonicalize(release.tree(stage.layout)).unwrap_or_else(|_| release.tree(stage.layout));
    let (python, anything) = (programs(stage.layout, release), [PathBuf::from("/")]);
    let root = &stage.host.root;
    let proven = match &service.kind {
        ServiceKind::Units { cutover: UnitCutover::Reload, .. } => prove_some(root, unit, state, &tree),
        ServiceKind::Units { .. } | ServiceKind::Command { .. } => {
            prove(root, unit, state, &Expected { release: &tree, programs: &anything })
        }
        _ => prove(root, unit, state, &Expected { release: &tree, programs: &python }),
    };
    let proven = proven.and_then(|count| match role(service) {
        Role::WebTcp(address) => prove_connection(root, address, unit, state).map(|()| count),
        Role::WebUnix | Role::Worker | Role::Single | Role::Own => Ok(count),
    });
    Some(of_proof(unit, &proven.err()?))
}

fn of_proof(unit: &str, error: &ProofError) -> DriftFinding {
    match error {
        ProofError::NoProcess { state, .. } => DriftFinding::new(DriftPart::Process, Differs::Down, unit, format!("it is {state}")),
        other => DriftFinding::new(DriftPart::Process, Differs::Elsewhere, unit, other.to_string()),
    }
}

async fn socket_differs(stage: &Stage<'_>, release: &Release, name: &ServiceName) -> Result<Option<DriftFinding>, Failure> {
    let unit = release.socket(name);
    let state = stage.host.systemd.unit(&unit).await.map_err(|error| error.failure())?;
    let down = || DriftFinding::new(DriftPart::Process, Differs::Down, &unit, format!("it is {}", state.words()));
    Ok((!state.is_active()).then(down))
}

/// Instances that run and are not among those of the serving release on this host: of releases before, of a service that another host
/// runs, of one that was only tried.
async fn leftovers(stage: &Stage<'_>, ours: &BTreeSet<String>) -> Result<Vec<DriftFinding>, Failure> {
    let units = stage.host.systemd.units(&format!("{}-*@*.service", stage.app)).await.map_err(|error| error.failure())?;
    let mut findings = Vec::new();
    for unit in units.into_iter().filter(|unit| !ours.contains(unit)) {
        let Some(release) = release_of_unit(stage.app, &unit) else { continue };
        // Another app's name may begin with this one's.
        if !stage.layout.manifest(stage.app, &release).exists() {
            continue;
        }
        if stage.host.systemd.unit(&unit).await.map_err(|error| error.failure())?.is_active() {
            findings.push(DriftFinding::new(DriftPart::Process, Differs::Added, &unit, format!("it is of {release}")));
        }
    }
    Ok(findings)
}

/// Python processes in the app's trees that are of none of its units: an operator started them, and knows what for.
fn by_hand(root: &Path, layout: &Layout, release: &Release, ours: &BTreeSet<String>) -> Vec<DriftFinding> {
    let (app, trees) = (release.app(), layout.releases(release.app()));
    let trees = fs::canonicalize(&trees).unwrap_or(trees);
    let pids = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    let pids = pids.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit())).take(PROCESSES_MAX);
    let python = programs(layout, release);
    let mut findings = Vec::new();
    for process in pids.map(|entry| entry.path()) {
        let shown = |link: &str| fs::read_link(process.join(link)).unwrap_or_default();
        if !shown("cwd").starts_with(&trees) || !python.iter().any(|program| shown("exe").starts_with(program)) {
            continue;
        }
        let cgroup = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        let of_a_unit = cgroup.split(['/', '\n']).any(|part| {
            ours.contains(part)
                || release_of_unit(app, part).is_some()
                || part.strip_prefix("roadstead-").is_some_and(|rest| rest.starts_with(app.as_str()))
        });
        if !of_a_unit {
            let pid = process.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let detail = format!("it runs in {}", shown("cwd").display());
            findings.push(DriftFinding::new(DriftPart::Process, Differs::Own, format!("process {pid}"), detail));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;
    use std::os::unix::fs::symlink;

    fn world() -> (tempfile::TempDir, Layout, Release) {
        let root = tempfile::tempdir().unwrap();
        let (layout, release) = (Layout::new(root.path()), samples::release("1.0"));
        fs::create_dir_all(release.tree(&layout)).unwrap();
        fs::create_dir_all(layout.sockets(release.app())).unwrap();
        symlink(Path::new("releases").join(release.id.as_str()), layout.current(release.app())).unwrap();
        let socket = layout.public_socket(release.app(), &samples::name("web"));
        symlink(format!("web/{}.sock", release.id), socket).unwrap();
        (root, layout, release)
    }

    #[test]
    fn links_lead_to_the_release_that_serves() {
        let (_root, layout, release) = world();
        assert_eq!(links(&layout, &release), []);
        let current = layout.current(release.app());
        fs::remove_file(&current).unwrap();
        symlink("releases/0.9-0123456789ab", &current).unwrap();
        fs::remove_file(layout.public_socket(release.app(), &samples::name("web"))).unwrap();
        let found = links(&layout, &release);
        assert_eq!(found.iter().map(|finding| finding.how).collect::<Vec<_>>(), [Differs::Elsewhere, Differs::Missing]);
        assert!(found[0].detail.contains("0.9-0123456789ab"), "{found:?}");
    }

    #[test]
    fn what_an_operator_started_is_told_as_theirs() {
        let (root, layout, release) = world();
        let process = |pid: &str, cwd: &Path, cgroup: &str| {
            let folder = root.path().join("proc").join(pid);
            fs::create_dir_all(&folder).unwrap();
            symlink(cwd, folder.join("cwd")).unwrap();
            symlink(release.venv(&layout).join("bin/python"), folder.join("exe")).unwrap();
            fs::write(folder.join("cgroup"), cgroup).unwrap();
        };
        let tree = fs::canonicalize(release.tree(&layout)).unwrap();
        let unit = release.unit(&samples::name("web"));
        process("7", &tree, &format!("0::/system.slice/{unit}\n"));
        process("8", &tree, "0::/user.slice/user-0.slice/session-1.scope\n");
        process("9", root.path(), "0::/user.slice/user-0.slice/session-1.scope\n");
        process("10", &tree, "0::/system.slice/roadstead-erp-hook0-1-3.service\n");
        let found = by_hand(root.path(), &layout, &release, &BTreeSet::new());
        assert_eq!(found.iter().map(|finding| finding.place.as_str()).collect::<Vec<_>>(), ["process 8"]);
        assert_eq!(found[0].how, Differs::Own);
    }

    #[test]
    fn what_does_not_run_and_what_runs_elsewhere_are_told_apart() {
        let down = of_proof("web", &ProofError::NoProcess { unit: "web".to_owned(), state: "failed (failed)".to_owned() });
        assert_eq!((down.how, down.to_string()), (Differs::Down, "web does not run (it is failed (failed))".to_owned()));
        let other = ProofError::OtherProgram { unit: "web".to_owned(), pid: 7, found: "/bin/sleep".to_owned() };
        assert_eq!(of_proof("web", &other).how, Differs::Elsewhere);
    }
}
