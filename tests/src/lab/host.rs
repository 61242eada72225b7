//! One host: what a test does to it.

use crate::lab::boot::{self, inside, machine_name};
use crate::lab::command::{Execution, run};
use crate::lab::error::{LabError, Result};
use crate::lab::network::{self, Network};
use crate::lab::process::Process;
use crate::lab::recorder::Recorder;
use crate::lab::registry::{Record, Running};
use crate::lab::wait::wait_for;
use crate::lab::{Shared, cgroup, disk};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// How long a command in a host may take when the test does not say.
const COMMAND_DEADLINE: Duration = Duration::from_secs(120);
const DEATH_DEADLINE: Duration = Duration::from_secs(30);

/// A host of a lab. Cloning it gives another handle on the same host.
#[derive(Debug, Clone)]
pub struct Host {
    shared: Arc<Shared>,
    name: String,
}

impl Host {
    pub(crate) fn new(shared: Arc<Shared>, name: &str) -> Self {
        Self { shared, name: name.to_owned() }
    }

    /// Its name, which is its host name too.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address on the lab's switch.
    pub fn ip(&self) -> String {
        network::address(self.number())
    }

    /// Whether its systemd runs.
    pub fn is_running(&self) -> bool {
        self.running().is_ok()
    }

    /// This process' place in its network.
    pub fn network(&self) -> Network {
        Network::of_host(&self.lab(), &self.name)
    }

    /// Its disk as this machine sees it. What the host mounted over it (`/run`, `/tmp`) is not in it.
    pub fn root_path(&self) -> PathBuf {
        self.folder().join("root")
    }

    /// The CPU time that its systemd and all units have used; what the test itself runs in it is not counted.
    pub fn cpu_time(&self) -> Result<Duration> {
        cgroup::cpu_time(&machine_name(&self.lab(), &self.name))
    }

    /// The most memory that a unit has had since it was started, the pages of its files included.
    pub fn unit_memory_peak(&self, unit: &str) -> Result<u64> {
        cgroup::memory_peak(&machine_name(&self.lab(), &self.name), &self.unit_property(unit, "ControlGroup")?)
    }

    /// Makes it a machine with so many bytes of memory: when they are used up, the kernel kills somebody.
    pub fn limit_memory(&self, most: u64) -> Result<()> {
        cgroup::limit_memory(&machine_name(&self.lab(), &self.name), most)
    }

    // --- commands ---

    /// Runs a shell command and returns its standard output; anything but success is an error that shows what it said.
    pub fn sh(&self, script: &str) -> Result<String> {
        self.try_sh(script)?.checked(&self.name, script)
    }

    /// Runs a shell command and returns how it ended.
    pub fn try_sh(&self, script: &str) -> Result<Execution> {
        self.execute(&["sh", "-c", script], COMMAND_DEADLINE, &[])
    }

    /// Runs a shell command that may take longer than two minutes.
    pub fn sh_within(&self, deadline: Duration, script: &str) -> Result<String> {
        self.execute(&["sh", "-c", script], deadline, &[])?.checked(&self.name, script)
    }

    /// Runs a program with its arguments, as they are, and returns its standard output.
    pub fn exec(&self, words: &[&str]) -> Result<String> {
        self.try_exec(words)?.checked(&self.name, &words.join(" "))
    }

    /// Runs a program with its arguments and returns how it ended.
    pub fn try_exec(&self, words: &[&str]) -> Result<Execution> {
        self.execute(words, COMMAND_DEADLINE, &[])
    }

    /// Runs a program that reads the given bytes, and returns how it ended.
    pub fn execute(&self, words: &[&str], deadline: Duration, input: &[u8]) -> Result<Execution> {
        let seconds = deadline.as_secs_f64().to_string();
        let mut command = inside(self.running()?.init);
        command.args(["timeout", "--kill-after=5", &seconds]).args(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(LabError::io("start", "nsenter"))?;
        let mut pipe = child.stdin.take();
        let output = std::thread::scope(|scope| {
            // a program that does not read to the end says why by its exit code
            scope.spawn(move || pipe.take().map(|mut pipe| pipe.write_all(input)));
            child.wait_with_output()
        });
        Ok(Execution::of(&output.map_err(LabError::io("wait for", "nsenter"))?))
    }

    /// Starts a program and returns at once; it ends with the host, or by the handle.
    pub fn exec_in_background(&self, words: &[&str]) -> Result<Child> {
        let mut command = inside(self.running()?.init);
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().map_err(LabError::io("start", "nsenter"))
    }

    /// A command of this machine's that is to run in the host with the caller's own input and output.
    pub fn command(&self, words: &[&str]) -> Result<std::process::Command> {
        let mut command = inside(self.running()?.init);
        command.args(words).stdin(Stdio::inherit());
        Ok(command)
    }

    // --- files ---

    /// Writes a file, with its folders, as root and for all to read.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let script = "mkdir -p \"$(dirname \"$0\")\" && cat >\"$0\"";
        let written = self.execute(&["sh", "-c", script, path], COMMAND_DEADLINE, content.as_ref())?;
        written.checked(&self.name, &format!("write {path}")).map(drop)
    }

    /// Reads a file.
    pub fn read(&self, path: &str) -> Result<String> {
        self.exec(&["cat", path])
    }

    /// Copies a file of this machine to a path in the host, with its mode.
    pub fn push_file(&self, from: &Path, to: &str) -> Result<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let content = std::fs::read(from).map_err(LabError::io("read", from))?;
        let mode = std::fs::metadata(from).map_err(LabError::io("read", from))?.permissions().mode() & 0o7777;
        self.write(to, content)?;
        self.exec(&["chmod", &format!("{mode:o}"), to]).map(drop)
    }

    /// Copies a folder of this machine to a path in the host.
    pub fn push_folder(&self, from: &Path, to: &str) -> Result<()> {
        let archive = std::process::Command::new("tar").arg("-C").arg(from).args(["-c", "."]).output();
        let archive = archive.map_err(LabError::io("pack", from))?;
        let script = "mkdir -p \"$0\" && tar -x --no-same-owner -C \"$0\"";
        let unpacked = self.execute(&["sh", "-c", script, to], COMMAND_DEADLINE, &archive.stdout)?;
        unpacked.checked(&self.name, &format!("unpack to {to}")).map(drop)
    }

    /// Installs Debian packages as an administrator would, keeping changed configuration files.
    pub fn install_debs(&self, packages: &[impl AsRef<Path>]) -> Result<()> {
        let folder = "/var/tmp/debs";
        self.exec(&["rm", "-rf", folder])?;
        for package in packages {
            let package = package.as_ref();
            let name = package.file_name().unwrap_or_default().to_string_lossy();
            self.push_file(package, &format!("{folder}/{name}"))?;
        }
        self.sh(&format!("dpkg --force-confold -i {folder}/*.deb && rm -rf {folder}")).map(drop)
    }

    // --- units ---

    /// Runs systemctl and returns what it wrote.
    pub fn systemctl(&self, words: &[&str]) -> Result<String> {
        self.exec(&[&["systemctl"], words].concat())
    }

    /// A property of a unit, or an empty text.
    pub fn unit_property(&self, unit: &str, property: &str) -> Result<String> {
        Ok(self.systemctl(&["show", "--value", "--property", property, unit])?.trim().to_owned())
    }

    /// Waits until a unit is in the state (`active`, `inactive`, `failed`, …) and shows its journal when it is not.
    pub fn wait_for_unit(&self, unit: &str, state: &str, deadline: Duration) -> Result<()> {
        let look = || match self.unit_property(unit, "ActiveState") {
            Ok(seen) if seen == state => Ok(()),
            Ok(seen) => Err(seen),
            Err(error) => Err(error.to_string()),
        };
        let waited = wait_for(&format!("{unit} on {} to be {state}", self.name), deadline, look);
        waited.map_err(|error| match error {
            LabError::Timeout { what, after, last } => {
                let words = self.journal_lines(unit, 30).unwrap_or_default();
                LabError::Timeout { what, after, last: format!("{last}{}", crate::lab::command::tail(&words)) }
            }
            other => other,
        })
    }

    /// Looks again and again until the condition holds on this host.
    pub fn wait_until(&self, what: &str, deadline: Duration, mut holds: impl FnMut(&Self) -> bool) -> Result<()> {
        crate::lab::wait_until(&format!("{what} on {}", self.name), deadline, || holds(self))
    }

    /// All that a unit (or a pattern of units) has said since the host was made, whether it runs or not.
    pub fn journal(&self, unit: &str) -> Result<String> {
        self.journal_lines(unit, 100_000)
    }

    pub(crate) fn journal_lines(&self, unit: &str, lines: usize) -> Result<String> {
        let (unit, lines) = (format!("--unit={unit}"), format!("--lines={lines}"));
        let words = ["journalctl", "--no-pager", "--quiet", "--output=short-precise", &unit, &lines];
        if self.is_running() {
            return self.exec(&words);
        }
        let folder = format!("--directory={}", disk::inside(&self.root_path(), "/var/log/journal").display());
        run(&[&words[..], &[&folder]].concat())
    }

    // --- faults ---

    /// Pulls the network cable.
    pub fn cut(&self) -> Result<()> {
        network::set_link(&self.lab(), self.number(), false)
    }

    /// Puts the cable back.
    pub fn heal(&self) -> Result<()> {
        network::set_link(&self.lab(), self.number(), true)
    }

    /// Loses every packet between this host and another, silently; both still reach everybody else.
    pub fn cut_from(&self, other: &Self) -> Result<()> {
        self.cut_to(other)?;
        other.cut_to(self)
    }

    /// Undoes `cut_from`.
    pub fn heal_from(&self, other: &Self) -> Result<()> {
        self.heal_to(other)?;
        other.heal_to(self)
    }

    /// Loses every packet that this host sends to another, silently; what the other sends arrives.
    pub fn cut_to(&self, other: &Self) -> Result<()> {
        network::lose_neighbour(self.network().name(), &other.ip())
    }

    /// Undoes `cut_to`.
    pub fn heal_to(&self, other: &Self) -> Result<()> {
        network::find_neighbour(self.network().name(), &other.ip())
    }

    /// Pulls the plug: every process is gone at once, the disk is as the last write left it.
    pub fn power_cut(&self) -> Result<()> {
        let running = self.running()?;
        // the manager first: it must not see its child die and tidy up
        running.nspawn.kill();
        running.init.kill();
        self.wait_for_death(running)
    }

    /// The recorded disk that all that it writes lies on; an error when it was made without one.
    pub fn recorder(&self) -> Result<Recorder> {
        let recorder = self.shared.recorders().get(&self.name).cloned();
        recorder.ok_or_else(|| LabError::NoRecorder(self.name.clone()))
    }

    /// Puts another disk, a file with a file system, in the place of its recorded one, while it is off.
    pub fn replace_disk(&self, file: &Path) -> Result<()> {
        if self.is_running() {
            return Err(LabError::On(self.name.clone()));
        }
        disk::replace(&self.shared.image, &self.folder(), file)
    }

    /// Copies all that it has written, while it is off, for [`Self::load_disk`]. Its further disks are not in it.
    pub fn save_disk(&self, name: &str) -> Result<PathBuf> {
        if self.is_running() {
            return Err(LabError::On(self.name.clone()));
        }
        let saved = self.shared.state().folder.join(format!("saved-{name}"));
        disk::save(&self.folder(), &saved)?;
        Ok(saved)
    }

    /// Puts what a host had written, this one earlier or another one, in the place of what it has written, while it is off.
    pub fn load_disk(&self, saved: &Path) -> Result<()> {
        if self.is_running() {
            return Err(LabError::On(self.name.clone()));
        }
        disk::load(&self.shared.image, &self.folder(), saved)
    }

    /// Shuts down in order, as `systemctl poweroff` does.
    pub fn shutdown(&self) -> Result<()> {
        let running = self.running()?;
        // the answer may be lost with the host
        self.try_exec(&["systemctl", "poweroff"]).map(drop)?;
        self.wait_for_death(running)
    }

    /// Switches on a host that is off, on the disk that it had.
    pub fn boot(&self) -> Result<()> {
        if self.is_running() {
            return Err(LabError::On(self.name.clone()));
        }
        let running = boot::boot(&self.shared, &self.name, &self.folder())?;
        self.shared.change(&self.name, |record| record.running = Some(running))
    }

    /// Shuts down in order and boots again.
    pub fn reboot(&self) -> Result<()> {
        self.shutdown()?;
        self.boot()
    }

    /// The main process of a unit, to be killed at an exact moment.
    pub fn main_process(&self, unit: &str) -> Result<Process> {
        let number = self.unit_property(unit, "MainPID")?.parse().unwrap_or(0);
        let found = Process::inside(self.running()?.init, number);
        found.ok_or_else(|| LabError::NoProcess { host: self.name.clone(), unit: unit.to_owned() })
    }

    /// Kills every process of a unit at once, as a crash would.
    pub fn kill_unit(&self, unit: &str) -> Result<()> {
        self.systemctl(&["kill", "--signal=KILL", unit]).map(drop)
    }

    // --- making and unmaking ---

    /// Makes its disk and its place on the switch.
    pub(crate) fn install(&self) -> Result<()> {
        let options = self.record().map(|record| record.options).unwrap_or_default();
        if let Some(recorder) = disk::make(&self.shared.image, &self.folder(), &options)? {
            self.shared.recorders().insert(self.name.clone(), recorder);
        }
        network::plug_in(&self.lab(), &self.name, self.number())
    }

    /// Removes all of it, whatever state it is in; what is gone already is no error.
    pub(crate) fn remove(&self) -> Result<()> {
        let lab = self.lab();
        if let Ok(running) = self.running() {
            running.nspawn.kill();
            running.init.kill();
            self.wait_for_death(running)?;
        }
        cgroup::kill(&machine_name(&lab, &self.name));
        cgroup::remove(&machine_name(&lab, &self.name))?;
        disk::remove(&self.folder())?;
        network::remove(&network::of_host(&lab, &self.name))
    }

    fn wait_for_death(&self, running: Running) -> Result<()> {
        let dead = || {
            // dead children stay until somebody asks how they ended
            self.shared.children().retain_mut(|child| matches!(child.try_wait(), Ok(None)));
            !running.nspawn.is_alive() && !running.init.is_alive()
        };
        crate::lab::wait_until(&format!("{} to be off", self.name), DEATH_DEADLINE, dead)?;
        self.shared.change(&self.name, |record| record.running = None)
    }

    fn lab(&self) -> String {
        self.shared.state().id.clone()
    }

    fn folder(&self) -> PathBuf {
        self.shared.state().folder.join(&self.name)
    }

    fn record(&self) -> Option<Record> {
        self.shared.state().hosts.get(&self.name).cloned()
    }

    pub(crate) fn number(&self) -> u8 {
        self.record().map_or(0, |record| record.number)
    }

    fn running(&self) -> Result<Running> {
        let running = self.record().and_then(|record| record.running);
        running.filter(|running| Process::is_alive(running.init)).ok_or_else(|| LabError::Off(self.name.clone()))
    }
}
