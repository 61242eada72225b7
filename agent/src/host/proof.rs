//! Proof of who serves: the processes of a unit's cgroup, and what each of them shows of the release that it runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::ports;
use super::systemd::UnitState;

/// Processes of one unit that are looked at; more than that is no web server.
const PROCESSES_MAX: usize = 4096;

/// What a process must show.
#[derive(Debug, Clone)]
pub(crate) struct Expected<'a> {
    /// Its current directory is in here.
    pub(crate) release: &'a Path,
    /// Its program is one of these: the interpreter of the virtual environment, or something inside it.
    pub(crate) programs: &'a [PathBuf],
}

/// Why the proof failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProofError {
    /// The unit has no process.
    #[error("{unit} has no process: it is {state}")]
    NoProcess {
        /// The unit.
        unit: String,
        /// Its state in words.
        state: String,
    },
    /// A main process runs elsewhere than it should.
    #[error("the main process {pid} of {unit} runs in {found}, not in {expected}")]
    Elsewhere {
        /// The unit.
        unit: String,
        /// The process.
        pid: u32,
        /// Where it runs.
        found: String,
        /// Where it should.
        expected: String,
    },
    /// A reload changed nothing.
    #[error("no process of {unit} runs in {release}: its reload does not bring it to the new release")]
    NotReloaded {
        /// The unit.
        unit: String,
        /// Where one should run.
        release: String,
    },
    /// A main process is another program.
    #[error("the main process {pid} of {unit} is {found}, not the release's Python")]
    OtherProgram {
        /// The unit.
        unit: String,
        /// The process.
        pid: u32,
        /// Its program.
        found: String,
    },
    /// The unit has no part in a port.
    #[error("no process of {unit} holds the socket that listens on {address}")]
    NotListening {
        /// What was asked.
        address: String,
        /// Who should.
        unit: String,
    },
    /// Someone else listens too.
    #[error("{holder} takes connections of {address} as well, and is not of {unit}")]
    SharedListener {
        /// What was asked.
        address: String,
        /// Who listens.
        holder: String,
        /// Who should.
        unit: String,
    },
    /// Someone else listens.
    #[error("{address} is served by process {pid}, which is not of {unit}")]
    OtherListener {
        /// What was asked.
        address: String,
        /// Who listens.
        pid: i32,
        /// Who should.
        unit: String,
    },
}

/// Shows that a unit's main process belongs to the release; how many processes the unit has.
pub(crate) fn prove(root: &Path, unit: &str, state: &UnitState, expected: &Expected<'_>) -> Result<usize, ProofError> {
    let pids = processes(root, &state.control_group);
    if state.main_pid == 0 || !state.is_active() {
        return Err(ProofError::NoProcess { unit: unit.to_owned(), state: state.words() });
    }
    let process = root.join("proc").join(state.main_pid.to_string());
    let shown = |link: &str| std::fs::read_link(process.join(link)).unwrap_or_default();
    let found = shown("cwd");
    if !found.starts_with(expected.release) {
        let (found, expected) = (found.display().to_string(), expected.release.display().to_string());
        return Err(ProofError::Elsewhere { unit: unit.to_owned(), pid: state.main_pid, found, expected });
    }
    let program = shown("exe");
    if !expected.programs.iter().any(|allowed| program.starts_with(allowed)) {
        return Err(ProofError::OtherProgram { unit: unit.to_owned(), pid: state.main_pid, found: program.display().to_string() });
    }
    Ok(pids.len().max(1))
}

/// Shows that some process of a unit runs in the release. A reload leaves the main process where it was started.
pub(crate) fn prove_some(root: &Path, unit: &str, state: &UnitState, release: &Path) -> Result<usize, ProofError> {
    let pids = processes(root, &state.control_group);
    let inside =
        |pid: &u32| std::fs::read_link(root.join("proc").join(pid.to_string()).join("cwd")).is_ok_and(|cwd| cwd.starts_with(release));
    if !state.is_active() {
        return Err(ProofError::NoProcess { unit: unit.to_owned(), state: state.words() });
    }
    match pids.iter().filter(|pid| inside(pid)).count() {
        0 => Err(ProofError::NotReloaded { unit: unit.to_owned(), release: release.display().to_string() }),
        count => Ok(count),
    }
}

/// Shows that who listens at a unix socket is a process of the unit.
pub(crate) fn prove_listener(root: &Path, socket: &Path, unit: &str, state: &UnitState) -> Result<(), ProofError> {
    let stream = std::os::unix::net::UnixStream::connect(socket);
    let peer = stream.and_then(|stream| Ok(nix::sys::socket::getsockopt(&stream, nix::sys::socket::sockopt::PeerCredentials)?));
    let pid = peer.map_or(0, |peer| peer.pid());
    let of_unit = u32::try_from(pid).is_ok_and(|pid| pid == state.main_pid || processes(root, &state.control_group).contains(&pid));
    if of_unit { Ok(()) } else { Err(ProofError::OtherListener { address: socket.display().to_string(), pid, unit: unit.to_owned() }) }
}

/// Shows that the unit holds the socket that listens on a TCP address, and nobody else but systemd does: a process that was left behind
/// by an older release would take its share of the connections.
pub(crate) fn prove_connection(root: &Path, address: SocketAddr, unit: &str, state: &UnitState) -> Result<(), ProofError> {
    let mut pids = processes(root, &state.control_group);
    pids.push(state.main_pid);
    let (own, others): (Vec<_>, Vec<_>) =
        ports::holders(root, &ports::listening(root, address)).into_iter().partition(|holder| pids.contains(&holder.pid));
    if let Some(other) = others.into_iter().find(|holder| holder.pid != 1) {
        return Err(ProofError::SharedListener { address: address.to_string(), holder: other.to_string(), unit: unit.to_owned() });
    }
    match own.len() {
        0 => Err(ProofError::NotListening { address: address.to_string(), unit: unit.to_owned() }),
        _ => Ok(()),
    }
}

/// Whether a connection from this address of ours was taken by a process of the unit; `None` while nobody took it.
pub(crate) fn taken_by(root: &Path, ours: SocketAddr, state: &UnitState) -> Option<bool> {
    let inode = ports::sockets(root).into_iter().find(|socket| socket.remote == ours && socket.inode > 0)?.inode;
    Some(processes(root, &state.control_group).into_iter().any(|pid| ports::holds(root, pid, &[inode])))
}

/// The processes of a cgroup and those below it, on hosts with one hierarchy and with the older layout.
pub(crate) fn processes(root: &Path, control_group: &str) -> Vec<u32> {
    let below = control_group.trim_start_matches('/');
    if below.is_empty() {
        return Vec::new();
    }
    let hierarchies = ["sys/fs/cgroup", "sys/fs/cgroup/unified", "sys/fs/cgroup/systemd"];
    let folder = hierarchies.iter().map(|hierarchy| root.join(hierarchy).join(below)).find(|folder| folder.join("cgroup.procs").exists());
    let mut pids = Vec::new();
    collect(&folder.unwrap_or_default(), &mut pids);
    pids
}

fn collect(folder: &Path, pids: &mut Vec<u32>) {
    let list = std::fs::read_to_string(folder.join("cgroup.procs")).unwrap_or_default();
    pids.extend(list.lines().filter_map(|line| line.parse::<u32>().ok()));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if pids.len() < PROCESSES_MAX && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            collect(&entry.path(), pids);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    struct Fake {
        root: tempfile::TempDir,
    }

    impl Fake {
        fn new(cwd: &str, exe: &str) -> Self {
            let root = tempfile::tempdir().unwrap();
            let process = root.path().join("proc/7");
            std::fs::create_dir_all(&process).unwrap();
            symlink(cwd, process.join("cwd")).unwrap();
            symlink(exe, process.join("exe")).unwrap();
            let cgroup = root.path().join("sys/fs/cgroup/unified/web");
            std::fs::create_dir_all(cgroup.join("inner")).unwrap();
            std::fs::write(cgroup.join("cgroup.procs"), "7\n8\n").unwrap();
            std::fs::write(cgroup.join("inner/cgroup.procs"), "9\n").unwrap();
            Self { root }
        }

        fn prove(&self, active: &str) -> Result<usize, ProofError> {
            let state = UnitState { active: active.into(), main_pid: 7, control_group: "/web".into(), ..UnitState::default() };
            let expected = Expected { release: Path::new("/srv/erp/releases/2"), programs: &["/usr/bin/python3.11".into()] };
            prove(self.root.path(), "web", &state, &expected)
        }
    }

    #[test]
    fn processes_show_where_they_are_from() {
        assert_eq!(Fake::new("/srv/erp/releases/2/app", "/usr/bin/python3.11").prove("active"), Ok(3));
        let old = Fake::new("/srv/erp/releases/1/app", "/usr/bin/python3.11").prove("active");
        assert!(matches!(old, Err(ProofError::Elsewhere { .. })), "{old:?}");
        let other = Fake::new("/srv/erp/releases/2", "/bin/sleep").prove("active");
        assert!(matches!(other, Err(ProofError::OtherProgram { .. })), "{other:?}");
        let gone = Fake::new("/srv/erp/releases/2", "/usr/bin/python3.11").prove("failed");
        assert!(matches!(gone, Err(ProofError::NoProcess { .. })), "{gone:?}");
    }

    #[test]
    fn after_a_reload_some_process_shows_it() {
        let root = Fake::new("/srv/erp/releases/1", "/usr/bin/python3.11").root;
        let state = UnitState { active: "active".into(), main_pid: 7, control_group: "/web".into(), ..UnitState::default() };
        let release = Path::new("/srv/erp/releases/2");
        let before = prove_some(root.path(), "web", &state, release);
        assert!(matches!(before, Err(ProofError::NotReloaded { .. })), "{before:?}");
        std::fs::create_dir_all(root.path().join("proc/9")).unwrap();
        symlink("/srv/erp/releases/2/app", root.path().join("proc/9/cwd")).unwrap();
        assert_eq!(prove_some(root.path(), "web", &state, release), Ok(1));
    }

    #[test]
    fn a_port_is_served_by_who_holds_its_socket() {
        let listeners = [std::net::TcpListener::bind("127.0.0.1:0").unwrap(), std::net::TcpListener::bind("[::1]:0").unwrap()];
        let state = |main_pid| UnitState { main_pid, ..UnitState::default() };
        for listener in &listeners {
            let address = listener.local_addr().unwrap();
            assert_eq!(prove_connection(Path::new("/"), address, "web", &state(std::process::id())), Ok(()));
            assert!(prove_connection(Path::new("/"), address, "web", &state(1)).is_err());
        }
        let closed = "127.0.0.1:1".parse().unwrap();
        assert!(prove_connection(Path::new("/"), closed, "web", &state(std::process::id())).is_err());
    }

    #[test]
    fn a_socket_is_served_by_whoever_listens() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("sock");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let state = |main_pid| UnitState { main_pid, ..UnitState::default() };
        assert_eq!(prove_listener(folder.path(), &socket, "web", &state(std::process::id())), Ok(()));
        assert!(prove_listener(folder.path(), &socket, "web", &state(1)).is_err());
        assert!(prove_listener(folder.path(), &folder.path().join("none"), "web", &state(1)).is_err());
    }
}
