//! A program that gives a secret: run with fixed words, an environment of its settings alone, for so long and with so much output at most.
//! It ends with all that it started. What it writes to its standard error is read and thrown away.
//!
//! Where systemd runs the host, the program is a transient unit of its own, whose standard input and output are our pipes: it has neither
//! the agent's limits of memory and system calls nor any part in its cgroup. Elsewhere it is a child in a process group of its own.

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, User};
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout_at};
use zeroize::Zeroizing;

use crate::fault::Fault;
use crate::private_file::FILE_BYTES_MAX;
use crate::value::{Buffer, Value};

/// That systemd runs the host.
const SYSTEMD: &str = "/run/systemd/system";
const SYSTEMD_RUN: &str = "/usr/bin/systemd-run";
const SYSTEMCTL: &str = "/usr/bin/systemctl";
/// What a unit of a program has. A core of it would hold the secret.
const PROPERTIES: [&str; 6] =
    ["MemoryMax=512M", "TasksMax=128", "LimitCORE=0", "NoNewPrivileges=yes", "PrivateTmp=yes", "KillMode=control-group"];
/// What systemd grants a program beyond its time: it is killed here first.
const UNIT_GRACE: Duration = Duration::from_secs(5);
/// What systemd's program says where systemd was away, as it is for a moment while it executes itself anew (its package was upgraded): what
/// it was to run did not run, or nobody knows how it ended.
const AWAY: [&str; 3] = ["Failed to connect to bus", "Failed to start transient service unit", "Failed to query unit state"];
/// How often it is asked again then, and after which pause.
const ASKED_AGAIN: u32 = 8;
const PAUSE: Duration = Duration::from_millis(500);
/// What a program sees where its settings say nothing else.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A program to run.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    /// Its words; the first is an absolute path.
    pub(crate) words: &'a [String],
    /// Its whole environment, beside a plain `PATH`.
    pub(crate) environment: &'a [(String, String)],
    /// As whom.
    pub(crate) user: Option<&'a str>,
    /// What it reads from its standard input.
    pub(crate) input: Option<Value>,
    /// How long it may take.
    pub(crate) within: Duration,
}

/// Ends the program with all that it started when it is dropped, however that comes about.
struct Running {
    child: Child,
    unit: Option<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
        let Some(unit) = self.unit.take() else { return };
        let mut kill = Command::new(SYSTEMCTL);
        kill.args(["--quiet", "--signal=KILL", "kill", &unit]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Nobody waits for it. Where it fails, the unit is gone, or ends at its own time.
        kill.spawn().ok();
    }
}

impl Running {
    /// The child's number, which nobody else has until the child is waited for.
    fn pid(&self) -> Option<Pid> {
        self.child.id().and_then(|pid| i32::try_from(pid).ok()).map(Pid::from_raw)
    }

    fn end(&self) {
        // It fails where nobody is left, which is as well.
        self.pid().map(|pid| killpg(pid, Signal::SIGKILL).ok());
    }

    /// Waits for the child's end, and ends what it left behind.
    async fn wait(&mut self) -> io::Result<ExitStatus> {
        if let Some(pid) = self.pid() {
            // Its number stays its own meanwhile. However long this takes, the deadline kills what is waited for.
            let over = move || waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).map(drop);
            tokio::task::spawn_blocking(over).await.map_err(io::Error::other)??;
            self.end();
        }
        let status = self.child.wait().await?;
        // Its unit was waited for, too, with its whole cgroup.
        self.unit = None;
        Ok(status)
    }
}

/// Runs a program to its end and gives what it printed.
pub(crate) async fn run(run: Run<'_>, until: Instant) -> Result<Value, Fault> {
    run_by(&run, until, Path::new(SYSTEMD).is_dir().then_some(Path::new(SYSTEMD_RUN))).await
}

/// As a unit by systemd's program, if there is one.
async fn run_by(run: &Run<'_>, until: Instant, systemd: Option<&Path>) -> Result<Value, Fault> {
    let until = until.min(Instant::now() + run.within);
    for _ in 0..ASKED_AGAIN {
        match once(run, until, systemd).await {
            Ended::Away if Instant::now() + PAUSE < until => sleep(PAUSE).await,
            ended => return ended.told(run),
        }
    }
    once(run, until, systemd).await.told(run)
}

/// How one run ended.
enum Ended {
    Well(Value),
    Badly(Fault),
    /// systemd was away.
    Away,
}

impl Ended {
    fn told(self, run: &Run<'_>) -> Result<Value, Fault> {
        match self {
            Self::Well(value) => Ok(value),
            Self::Badly(fault) => Err(fault),
            Self::Away => {
                let program = run.words.first().cloned().unwrap_or_default();
                Err(Fault::Program { program, how: "was not run: systemd of this host did not take it".to_owned() })
            }
        }
    }
}

async fn once(run: &Run<'_>, until: Instant, systemd: Option<&Path>) -> Ended {
    match attempt(run, until, systemd).await {
        Ok(Some(value)) => Ended::Well(value),
        Ok(None) => Ended::Away,
        Err(fault) => Ended::Badly(fault),
    }
}

/// None where systemd was away.
async fn attempt(run: &Run<'_>, until: Instant, systemd: Option<&Path>) -> Result<Option<Value>, Fault> {
    let program = run.words.first().cloned().unwrap_or_default();
    let fault = |how: String| Fault::Program { program: program.clone(), how };
    std::fs::metadata(&program).map_err(|error| fault(format!("cannot be run: {error}")))?;
    let user = run.user.map(|name| User::from_name(name).ok().flatten().ok_or_else(|| Fault::NoUser(name.to_owned()))).transpose()?;
    let unit = systemd.map(|systemd| (systemd, unit_name()));
    let mut command = match &unit {
        Some((systemd, unit)) => in_unit(run, systemd, unit),
        None => as_child(run, user.as_ref()),
    };
    command.stdin(if run.input.is_some() { Stdio::piped() } else { Stdio::null() }).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.current_dir("/").process_group(0).kill_on_drop(true);
    let child = command.spawn().map_err(|error| fault(format!("cannot be run: {error}")))?;
    let mut running = Running { child, unit: unit.map(|(_, unit)| unit) };
    let (input, output, errors) = (running.child.stdin.take(), running.child.stdout.take(), running.child.stderr.take());
    let feed = async {
        if let (Some(mut pipe), Some(value)) = (input, &run.input) {
            // A program that does not read to the end says so by how it ends.
            drop(pipe.write_all(value.reveal()).await);
            drop(pipe.shutdown().await);
        }
    };
    let outcome = timeout_at(until, async {
        let ((), printed, was_away) = tokio::join!(feed, gather(output), complains(errors));
        let printed = printed.map_err(|()| Fault::TooLarge { from: program.clone(), max: FILE_BYTES_MAX })?;
        let status = running.wait().await.map_err(|error| fault(format!("cannot be waited for: {error}")))?;
        match status.success() {
            true => Ok(Some(printed.into_value())),
            false if systemd.is_some() && was_away => Ok(None),
            false => Err(fault(ended(status))),
        }
    });
    outcome.await.unwrap_or_else(|_| Err(fault("took too long and was killed".to_owned())))
}

fn unit_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("roadstead-secret-{}-{}.service", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// The program as a unit, for which systemd's own program stands here.
fn in_unit(run: &Run<'_>, systemd: &Path, unit: &str) -> Command {
    let mut command = Command::new(systemd);
    command.env_clear().env("PATH", PATH);
    command.args(["--quiet", "--pipe", "--wait", "--collect", "--service-type=exec"]);
    command.args([format!("--unit={unit}"), "--description=A program that gives Roadstead a secret".to_owned()]);
    command.args(PROPERTIES.iter().flat_map(|property| ["-p", property]));
    command.args(["-p".to_owned(), format!("RuntimeMaxSec={}", (run.within + UNIT_GRACE).as_secs())]);
    command.args(run.user.map(|user| format!("--uid={user}")));
    command.args(run.environment.iter().map(|(name, value)| format!("--setenv={name}={value}")));
    // systemd would put variables in place of their names.
    command.arg("--").args(run.words.iter().take(1)).args(run.words.iter().skip(1).map(|word| word.replace('$', "$$")));
    command
}

fn as_child(run: &Run<'_>, user: Option<&User>) -> Command {
    let mut command = Command::new(run.words.first().map_or("", String::as_str));
    command.args(run.words.iter().skip(1)).env_clear().env("PATH", PATH);
    command.envs(run.environment.iter().map(|(name, value)| (name, value)));
    if let Some(user) = user {
        // Groups beyond its own are dropped with it.
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        command.env("HOME", &user.dir).env("USER", &user.name);
    }
    command
}

async fn gather(pipe: Option<impl AsyncRead + Unpin>) -> Result<Buffer, ()> {
    let (mut buffer, mut part) = (Buffer::default(), Zeroizing::new([0_u8; 8192]));
    let Some(mut pipe) = pipe else { return Ok(buffer) };
    while let Ok(length @ 1..) = pipe.read(&mut *part).await {
        buffer.push(&part[..length], FILE_BYTES_MAX)?;
    }
    Ok(buffer)
}

/// Reads what it complains of to its end and throws it away; whether it began as it does where systemd is away.
async fn complains(pipe: Option<impl AsyncRead + Unpin>) -> bool {
    let longest = AWAY.iter().map(|words| words.len()).max().unwrap_or(0);
    let (mut first, mut part) = (Zeroizing::new(Vec::with_capacity(longest)), Zeroizing::new([0_u8; 8192]));
    let Some(mut pipe) = pipe else { return false };
    while let Ok(length @ 1..) = pipe.read(&mut *part).await {
        let missing = longest - first.len();
        first.extend_from_slice(&part[..length.min(missing)]);
    }
    AWAY.iter().any(|words| first.starts_with(words.as_bytes()))
}

fn ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended badly".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, input: Option<&str>, within: Duration) -> Result<Value, Fault> {
        let words = ["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
        let environment = [("REGION".to_owned(), "eu".to_owned())];
        let input = input.map(|text| Value::new(text.into()));
        run(Run { words: &words, environment: &environment, user: None, input, within }, Instant::now() + Duration::from_secs(60)).await
    }

    const LONG: Duration = Duration::from_secs(30);

    /// It leaves the bus while it executes itself anew, and was told as the program's own failure.
    #[tokio::test]
    async fn a_systemd_that_is_away_for_a_moment_is_asked_again() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let fake = |name: &str, says: &str| {
            let path = folder.path().join(name);
            let text = format!(
                "#!/bin/sh\necho x >>\"$0.asked\"\n[ $(wc -l <\"$0.asked\") -gt 2 ] && printf value && exit\necho '{says}' >&2\nexit 1\n"
            );
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let words = ["/bin/true".to_owned()];
        let asked = async |systemd: &Path| {
            let run = Run { words: &words, environment: &[], user: None, input: None, within: LONG };
            run_by(&run, Instant::now() + LONG, Some(systemd)).await
        };
        for words in AWAY {
            let away =
                fake(&words.replace(' ', "-"), &format!("{words}: Message recipient disconnected from message bus without replying"));
            assert_eq!(asked(&away).await.unwrap().reveal(), b"value");
        }
        let refuses = fake("refuses", "canary: no such secret");
        let said = asked(&refuses).await.unwrap_err().to_string();
        assert!(said.contains("ended with exit status 1") && !said.contains("canary"), "{said}");
        assert_eq!(std::fs::read_to_string(folder.path().join("refuses.asked")).unwrap().lines().count(), 1, "that is its own to say");
    }

    #[tokio::test]
    async fn what_a_program_prints_is_the_value() {
        let value =
            shell("read x; printf '%s %s' \"$x\" \"$REGION\"; env | cut -d= -f1 | sort | tr '\\n' ' ' >&2", Some("in\n"), LONG).await;
        assert_eq!(value.unwrap().reveal(), b"in eu");
        let names = shell("env | cut -d= -f1 | sort | tr '\\n' ' '", None, LONG).await.unwrap();
        // A shell says where it is, systemd which run it is.
        let names = String::from_utf8_lossy(names.reveal()).into_owned();
        let names: Vec<&str> =
            names.split_whitespace().filter(|name| !["PWD", "LANG", "INVOCATION_ID", "SYSTEMD_EXEC_PID"].contains(name)).collect();
        assert_eq!(names, ["PATH", "REGION"]);
    }

    #[tokio::test]
    async fn how_a_program_ends_is_told_and_what_it_prints_is_not() {
        for (script, says) in [
            ("echo canary; echo canary >&2; exit 3", "ended with exit status 3"),
            ("echo canary; kill -9 $$", if Path::new(SYSTEMD).is_dir() { "exit status 255" } else { "was killed by signal 9" }),
            ("exec head -c 2000000 /dev/zero", "more than 1048576 bytes"),
        ] {
            let error = shell(script, None, LONG).await.unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
            assert!(!format!("{error} {error:?} {}", error.hint()).contains("canary"), "{error}");
        }
        let words = ["/nonexistent/x".to_owned()];
        let none = run(Run { words: &words, environment: &[], user: None, input: None, within: LONG }, Instant::now() + LONG);
        assert!(none.await.unwrap_err().to_string().contains("/nonexistent/x cannot be run"));
    }

    #[tokio::test]
    async fn a_program_that_hangs_ends_with_all_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // The grandchild keeps the pipe open as long as it lives.
        let script = format!("(echo; exec sleep 1000) > {} & wait", pipe.display());
        let mut reader = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&pipe).unwrap();
        let ended = tokio::spawn(async move { shell(&script, None, Duration::from_secs(2)).await });
        while !matches!(reader.read(&mut [0; 8]).await, Ok(1..)) {
            tokio::task::yield_now().await;
        }
        let error = ended.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("took too long"), "{error}");
        assert_eq!(reader.read(&mut [0; 8]).await.unwrap(), 0, "nobody has the other end any more");
    }

    #[tokio::test]
    async fn what_a_program_leaves_behind_ends_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let mut reader = tokio::net::unix::pipe::OpenOptions::new().open_receiver(&pipe).unwrap();
        // It holds none of the program's own pipes, but the one that the shell opened before.
        let script = format!("exec 3>{}; sleep 1000 </dev/null >&3 2>&1 & exec 3>&-; echo value", pipe.display());
        assert_eq!(shell(&script, None, LONG).await.unwrap().reveal(), b"value\n");
        assert_eq!(reader.read(&mut [0; 8]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn who_does_not_read_its_input_is_no_trouble() {
        assert_eq!(shell("echo done", Some(&"x".repeat(500_000)), LONG).await.unwrap().reveal(), b"done\n");
        assert!(matches!(
            run(
                Run { words: &["/bin/true".into()], environment: &[], user: Some("no-such-user-here"), input: None, within: LONG },
                Instant::now() + LONG
            )
            .await,
            Err(Fault::NoUser(_))
        ));
    }
}
