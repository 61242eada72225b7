//! From a disk and a namespace to a running systemd.

use crate::lab::command::{Execution, tail};
use crate::lab::error::{LabError, Result};
use crate::lab::process::Process;
use crate::lab::registry::Running;
use crate::lab::wait::wait_for;
use crate::lab::{Shared, cgroup, network};
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(60);

/// The name of a host's cgroups and of its container.
pub(crate) fn machine_name(lab: &str, host: &str) -> String {
    format!("roadstead-lab-{lab}.{host}")
}

/// Boots a host and returns when its systemd has started all that it wants to.
pub(crate) fn boot(shared: &Shared, host: &str, folder: &Path) -> Result<Running> {
    let console = folder.join("console.log");
    let nspawn = start(shared, host, folder, &console)?;
    let said = || fs::read_to_string(&console).unwrap_or_default();
    let init = wait_for(&format!("process 1 of {host}"), DEADLINE, || match nspawn.find_init() {
        Some(init) => Ok(init),
        None => Err(said()),
    })?;
    let running = Running { nspawn, init };
    wait_for(&format!("systemd of {host} to be up"), DEADLINE, || match manager_state(init).as_str() {
        "running" => Ok(()),
        // a unit that failed is the test's affair: the host is up
        "degraded" => Ok(()),
        other => Err(format!("{other}\n{}", said())),
    })?;
    hand_over_controllers(host, init)?;
    Ok(running)
}

/// Starts the container manager in the host's cgroups. A shell moves itself there and becomes it.
fn start(shared: &Shared, host: &str, folder: &Path, console: &Path) -> Result<Process> {
    let (id, options) = {
        let state = shared.state();
        (state.id.clone(), state.hosts.get(host).map(|record| record.options.clone()).unwrap_or_default())
    };
    let machine = machine_name(&id, host);
    let mut script = String::new();
    for file in cgroup::make(&machine)? {
        script.push_str(&format!("echo $$ > '{}' && ", file.display()));
    }
    script.push_str("exec \"$@\"");
    let log = File::create(console).map_err(LabError::io("make", console))?;
    let second = log.try_clone().map_err(LabError::io("open", console))?;
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh", "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--console=pipe", "--boot"]);
    command.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
    command.arg(format!("--machine={machine}")).arg(format!("--hostname={host}"));
    command.arg(format!("--directory={}", folder.join("root").display()));
    command.arg(format!("--network-namespace-path=/run/netns/{}", network::of_host(&id, host)));
    for (at, from) in &options.read_only {
        command.arg(format!("--bind-ro={}:{at}", from.display()));
    }
    // a group of its own: Ctrl-C at the tests' terminal is for the tests, which then take the lab down in order
    use std::os::unix::process::CommandExt as _;
    let child = command.stdin(Stdio::null()).stdout(log).stderr(second).process_group(0).spawn();
    let child = child.map_err(LabError::io("start", "systemd-nspawn"))?;
    let pid = i32::try_from(child.id()).unwrap_or_default();
    shared.children().push(child);
    Process::of(pid).ok_or_else(|| LabError::Off(host.to_owned()))
}

/// What the host's systemd says of itself.
fn manager_state(init: Process) -> String {
    inside(init).args(["systemctl", "is-system-running"]).output().map(|o| Execution::of(&o).stdout.trim().to_owned()).unwrap_or_default()
}

/// With cgroups of version 1, the host's own part of each controller is mounted read-only and its systemd does not
/// use it: it is made writable and systemd looks again, so that MemoryMax= and TasksMax= hold as on a server.
fn hand_over_controllers(host: &str, init: Process) -> Result<()> {
    let controllers = cgroup::split_controllers();
    if controllers.is_empty() {
        return Ok(());
    }
    let remounts: Vec<String> = controllers.iter().map(|name| format!("mount -o remount,rw,bind /sys/fs/cgroup/{name}")).collect();
    let script = format!("{} && systemctl daemon-reexec", remounts.join(" && "));
    let output = inside(init).args(["sh", "-c", &script]).output().map_err(LabError::io("start", "nsenter"))?;
    Execution::of(&output).checked(host, &script)?;
    wait_for(&format!("systemd of {host} to be up again"), DEADLINE, || match manager_state(init).as_str() {
        "running" | "degraded" => Ok(()),
        other => Err(tail(other)),
    })
}

/// A command that will run in a host, with a host's own environment.
pub(crate) fn inside(init: Process) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--target={}", init.pid)).args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"]);
    command.env_clear().stdin(Stdio::null());
    command.envs([
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("HOME", "/root"),
        ("LANG", "C.UTF-8"),
        ("SYSTEMD_PAGER", "cat"),
        ("DEBIAN_FRONTEND", "noninteractive"),
    ]);
    command
}
