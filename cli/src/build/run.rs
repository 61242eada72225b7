//! Running another program to its end with its output kept, and telling its failure in its own words.

use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::failure::{Failure, Result};

/// Variables that a clean environment keeps: what programs need to find their way, nothing that changes what they make.
const KEPT: [&str; 18] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSH_AUTH_SOCK",
];

/// A program about to run.
#[derive(Debug)]
pub(crate) struct Run {
    command: Command,
    name: String,
    input: Option<Vec<u8>>,
    time_max: Option<Duration>,
}

/// What a program said.
#[derive(Debug)]
pub(crate) struct Ran {
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
    /// Whether it ended well.
    pub(crate) success: bool,
    /// Its exit code or signal, in words.
    pub(crate) status: String,
}

impl Run {
    /// A program with the environment of this process.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref();
        let name = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
        Self { command: Command::new(program), name, input: None, time_max: None }
    }

    /// A program with a nearly empty environment: only [`KEPT`] variables and those named by one of the `prefixes`.
    pub(crate) fn clean(program: impl AsRef<OsStr>, prefixes: &[&str]) -> Self {
        let mut run = Self::new(program);
        run.command.env_clear();
        for (name, value) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if KEPT.contains(&text.as_ref()) || prefixes.iter().any(|prefix| text.starts_with(prefix)) {
                run.command.env(name, value);
            }
        }
        run.command.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        run
    }

    /// The words that follow the program's name.
    pub(crate) fn args<I: IntoIterator<Item = A>, A: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.command.args(args);
        self
    }

    /// One more word.
    pub(crate) fn arg(self, arg: impl AsRef<OsStr>) -> Self {
        self.args([arg])
    }

    /// A variable of its environment.
    pub(crate) fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes a variable from its environment.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// The folder that it runs in.
    pub(crate) fn within(mut self, folder: &Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// What it reads from its standard input.
    pub(crate) fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = Some(input.into());
        self
    }

    /// How long it may take before it is killed.
    pub(crate) fn at_most(mut self, time: Duration) -> Self {
        self.time_max = Some(time);
        self
    }

    /// Runs it to its end, well or not.
    pub(crate) fn output(mut self) -> Result<Ran> {
        let stdin = if self.input.is_some() { Stdio::piped() } else { Stdio::null() };
        let spawned = self.command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| self.unstartable(&error))?;
        let writer = self.input.take().zip(child.stdin.take()).map(|(input, mut pipe)| {
            // A child that closes its input early says so by its status; the broken pipe adds nothing.
            thread::spawn(move || drop(pipe.write_all(&input)))
        });
        let (ended, end) = mpsc::channel::<()>();
        let pid = child.id();
        let watch = self.time_max.map(|time| thread::spawn(move || kill_after(time, &end, pid)));
        let output = child.wait_with_output().map_err(|error| self.unstartable(&error))?;
        drop(ended);
        let killed = watch.is_some_and(|watch| watch.join().unwrap_or(false));
        if let Some(writer) = writer {
            drop(writer.join());
        }
        Ok(Ran {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            success: output.status.success(),
            status: if killed { "its time was up: it was killed".to_owned() } else { output.status.to_string() },
        })
    }

    /// Runs it and gives its standard output; a bad end is a failure with this one line and the end of what it said.
    pub(crate) fn expect(self, what: &str) -> Result<String> {
        let name = self.name.clone();
        let ran = self.output()?;
        if ran.success { Ok(ran.stdout) } else { Err(ran.failure(&name, what)) }
    }

    fn unstartable(&self, error: &std::io::Error) -> Failure {
        let failure = Failure::failed(format!("cannot run {}", self.name)).because(error);
        if error.kind() == std::io::ErrorKind::NotFound {
            failure.hint(format!("install {} or put it on PATH", self.name))
        } else {
            failure
        }
    }
}

impl Ran {
    /// The failure that this end amounts to.
    pub(crate) fn failure(&self, program: &str, what: &str) -> Failure {
        let said = if self.stderr.trim().is_empty() { &self.stdout } else { &self.stderr };
        Failure::failed(what).cause(format!("{program} ended with {}", self.status)).detail(said)
    }
}

/// Kills a process unless the channel closes in time, which it does right after the process was waited for.
fn kill_after(time: Duration, end: &mpsc::Receiver<()>, pid: u32) -> bool {
    let late = end.recv_timeout(time) == Err(mpsc::RecvTimeoutError::Timeout);
    if let Some(pid) = i32::try_from(pid).ok().filter(|_| late) {
        // One that has ended meanwhile needs no signal.
        let _gone: nix::Result<()> = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
    }
    late
}

/// The first of these programs on PATH.
pub(crate) fn on_path(names: &[&str]) -> Vec<OsString> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&path).filter(|folder| folder.is_absolute()).collect();
    let candidates = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    candidates.filter(|file| file.is_file()).map(std::path::PathBuf::into_os_string).collect()
}
