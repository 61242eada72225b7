//! What each kind of service runs, pure: closed templates filled from the signed manifest, never through a shell.

use roadstead_bundle::arguments::reserved;
use roadstead_bundle::manifest::Package;
use roadstead_bundle::spec::{Service, ServiceKind};
use std::path::{Path, PathBuf};

/// Uvicorn by itself drops connections that it took just before it is told to stop.
const UVICORN_LAUNCHER: &str = include_str!("uvicorn_launcher.py");
/// Daphne by itself cancels the answers that it is at when it is told to stop.
const DAPHNE_LAUNCHER: &str = include_str!("daphne_launcher.py");
/// Celery by itself tells nobody what it still runs, and leaves what it did not acknowledge with some brokers when it is killed.
const CELERY_LAUNCHER: &str = include_str!("celery_launcher.py");

/// The exit status of a Celery worker whose time to end its tasks was over.
pub(crate) const TIME_WAS_OVER: i32 = 75;
/// What a Celery worker has, of its time to stop, to give back to the broker what it did not do.
const GIVE_BACK_SECONDS: u64 = 5;

/// Where a web service's instance listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Bind {
    /// On a unix socket that the server makes itself.
    Unix(PathBuf),
    /// On the socket that systemd hands over as descriptor 3.
    Inherited,
}

/// What an instance's command line depends on beside its service.
#[derive(Debug)]
pub(crate) struct ArgvInput<'a> {
    /// `bin` of the virtual environment.
    pub(crate) bin: &'a Path,
    /// A name for the instance that no other release's instance has.
    pub(crate) node: &'a str,
    /// Where a web service listens.
    pub(crate) bind: Option<&'a Bind>,
    /// The home of the app's user.
    pub(crate) home: &'a Path,
    /// The release's packages: options differ between versions.
    pub(crate) packages: &'a [Package],
}

/// Why a service has no command line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ArgvError {
    /// An argument that would move the listener, load other code or leave the unit.
    #[error("the argument {argument:?} of {server} is the agent's to set: remove it from roadstead.toml")]
    Reserved {
        /// The server.
        server: &'static str,
        /// The argument.
        argument: String,
    },
    /// A command without a word, or one that is a path.
    #[error("{0:?} is not the name of a program in the virtual environment: write its name without '/'")]
    Program(String),
    /// Units of the team's own have no command line here.
    #[error("units of your own have no command line here")]
    NoCommand,
}

/// The command line of an instance: the first word is an absolute path.
///
/// On a unix socket every request is a connection of its own. A proxy that kept connections would go on asking the old instance for as
/// long as it is warm, since the link that moves at a cutover is only looked at when a connection is made.
pub(crate) fn argv(service: &Service, input: &ArgvInput<'_>) -> Result<Vec<String>, ArgvError> {
    match &service.kind {
        ServiceKind::Gunicorn { app, workers, threads, timeout_seconds, arguments, .. } => {
            check("gunicorn", arguments)?;
            let mut words = module(input, "gunicorn");
            words.extend(arguments.iter().cloned());
            // A file `gunicorn.conf.py` in the working directory would be read silently; a module without settings is read instead.
            words.extend(texts(&["--config", "python:__future__"]));
            words.extend(["--workers".into(), workers.to_string(), "--threads".into(), threads.to_string()]);
            words.extend(["--timeout".into(), timeout_seconds.to_string()]);
            words.extend(["--graceful-timeout".into(), graceful_seconds(service).to_string()]);
            if major(input.packages, "gunicorn").is_some_and(|major| major >= 25) {
                words.push("--no-control-socket".into());
            }
            match input.bind {
                Some(Bind::Unix(path)) => {
                    words.extend(["--keep-alive".into(), "0".into(), "--bind".into(), format!("unix:{}", path.display())]);
                }
                // It asks systemd's variables itself, before any address of its own.
                Some(Bind::Inherited) | None => {}
            }
            words.push(app.clone());
            Ok(words)
        }
        ServiceKind::Uvicorn { app, workers, arguments, .. } => {
            check("uvicorn", arguments)?;
            let mut words = launched(input, UVICORN_LAUNCHER);
            words.push(connections(input).into());
            words.extend(arguments.iter().cloned());
            words.extend(["--workers".into(), workers.to_string()]);
            words.extend(["--timeout-graceful-shutdown".into(), graceful_seconds(service).to_string()]);
            match input.bind {
                Some(Bind::Unix(path)) => words.extend(["--uds".into(), path.display().to_string()]),
                Some(Bind::Inherited) => words.extend(texts(&["--fd", "3"])),
                None => {}
            }
            words.push(app.clone());
            Ok(words)
        }
        ServiceKind::Daphne { app, arguments, .. } => {
            check("daphne", arguments)?;
            let mut words = launched(input, DAPHNE_LAUNCHER);
            words.extend([graceful_seconds(service).to_string(), connections(input).into()]);
            words.extend(arguments.iter().cloned());
            match input.bind {
                Some(Bind::Unix(path)) => words.extend(["--unix-socket".into(), path.display().to_string()]),
                Some(Bind::Inherited) => words.extend(texts(&["--fd", "3"])),
                None => {}
            }
            words.push(app.clone());
            Ok(words)
        }
        ServiceKind::CeleryWorker { app, queues, concurrency, arguments } => {
            check("celery-worker", arguments)?;
            let mut words = launched(input, CELERY_LAUNCHER);
            words.push(task_seconds(service).to_string());
            words.extend(["--app".into(), app.clone(), "worker".into(), "--hostname".into(), format!("{}@%h", input.node)]);
            if !names_option(arguments, "--loglevel", "-l") {
                words.extend(texts(&["--loglevel", "INFO"]));
            }
            if !queues.is_empty() {
                words.extend(["--queues".into(), queues.join(",")]);
            }
            if *concurrency > 0 {
                words.extend(["--concurrency".into(), concurrency.to_string()]);
            }
            words.extend(arguments.iter().cloned());
            Ok(words)
        }
        ServiceKind::CeleryBeat { app, arguments } => {
            check("celery-beat", arguments)?;
            let mut words = module(input, "celery");
            words.extend(["--app".into(), app.clone(), "beat".into()]);
            if !names_option(arguments, "--loglevel", "-l") {
                words.extend(texts(&["--loglevel", "INFO"]));
            }
            words.extend(["--schedule".into(), input.home.join("celerybeat-schedule").display().to_string(), "--pidfile=".into()]);
            words.extend(arguments.iter().cloned());
            Ok(words)
        }
        ServiceKind::Command { command, .. } => program(input.bin, command),
        ServiceKind::Units { .. } => Err(ArgvError::NoCommand),
    }
}

/// A command of the release: its first word is looked up in the virtual environment.
pub(crate) fn program(bin: &Path, command: &[String]) -> Result<Vec<String>, ArgvError> {
    let (first, rest) = command.split_first().ok_or_else(|| ArgvError::Program(String::new()))?;
    if first.is_empty() || first.contains('/') || first.contains('\0') || first == "." || first == ".." {
        return Err(ArgvError::Program(first.chars().take(80).collect()));
    }
    let mut words = vec![bin.join(first).display().to_string()];
    words.extend(rest.iter().cloned());
    Ok(words)
}

/// The reader of `roadstead.toml` refuses these too; a manifest is believed no more than it must be.
fn check(kind: &'static str, arguments: &[String]) -> Result<(), ArgvError> {
    match arguments.iter().find(|argument| reserved(kind, argument).is_some()) {
        Some(argument) => Err(ArgvError::Reserved { server: kind, argument: argument.chars().take(80).collect() }),
        None => Ok(()),
    }
}

fn names_option(arguments: &[String], long: &str, short: &str) -> bool {
    arguments.iter().any(|argument| argument.starts_with(long) || (argument.starts_with(short) && !argument.starts_with("--")))
}

fn module(input: &ArgvInput<'_>, name: &str) -> Vec<String> {
    vec![input.bin.join("python").display().to_string(), "-m".into(), name.into()]
}

fn launched(input: &ArgvInput<'_>, launcher: &str) -> Vec<String> {
    vec![input.bin.join("python").display().to_string(), "-c".into(), launcher.into()]
}

/// Whether a connection may be kept for a second request.
const fn connections(input: &ArgvInput<'_>) -> &'static str {
    match input.bind {
        Some(Bind::Unix(_)) => "close",
        Some(Bind::Inherited) | None => "keep",
    }
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Requests get a second less than the unit before systemd kills what is left.
fn graceful_seconds(service: &Service) -> u64 {
    (service.stop_timeout.0 / 1000).saturating_sub(1).max(1)
}

/// Tasks get what is left of the time when the worker has yet to give back to the broker what is not done.
fn task_seconds(service: &Service) -> u64 {
    let whole = service.stop_timeout.0 / 1000;
    (whole - GIVE_BACK_SECONDS.min(whole / 2)).max(1)
}

/// The first number of a package's version.
fn major(packages: &[Package], name: &str) -> Option<u32> {
    let package = packages.iter().find(|package| package.name == name)?;
    package.version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;

    fn line(kind: ServiceKind, bind: Option<Bind>) -> Result<String, ArgvError> {
        let packages = [Package { name: "gunicorn".into(), version: "25.1.0".into() }];
        let input = ArgvInput {
            bin: Path::new("/venv/bin"),
            node: "web-1.0-0123456789ab",
            bind: bind.as_ref(),
            home: Path::new("/home"),
            packages: &packages,
        };
        argv(&samples::service(kind), &input).map(|words| words.join(" "))
    }

    #[test]
    fn servers_listen_where_they_are_told() {
        let unix = || Some(Bind::Unix("/run/web/1.sock".into()));
        assert_eq!(
            line(samples::gunicorn(), unix()).unwrap(),
            "/venv/bin/python -m gunicorn --config python:__future__ --workers 2 --threads 4 --timeout 30 --graceful-timeout 29 \
             --no-control-socket --keep-alive 0 --bind unix:/run/web/1.sock config.wsgi:application"
        );
        let uvicorn = line(samples::uvicorn(), Some(Bind::Inherited)).unwrap();
        assert!(uvicorn.ends_with(" keep --workers 2 --timeout-graceful-shutdown 29 --fd 3 config.asgi:application"), "{uvicorn}");
        let daphne = line(samples::daphne(), unix()).unwrap();
        assert!(daphne.ends_with(" 29 close --unix-socket /run/web/1.sock config.asgi:application"), "{daphne}");
    }

    #[test]
    fn celery_keeps_its_files_at_home() {
        let worker = line(samples::worker(), None).unwrap();
        assert!(worker.starts_with("/venv/bin/python -c ") && worker.contains("sys.exit(main())"), "{worker}");
        assert_eq!(
            worker.rsplit('\n').next().unwrap(),
            " 25 --app config worker --hostname web-1.0-0123456789ab@%h --loglevel INFO --queues mail,default --concurrency 3"
        );
        assert_eq!(
            line(samples::beat(), None).unwrap(),
            "/venv/bin/python -m celery --app config beat --loglevel INFO --schedule /home/celerybeat-schedule --pidfile="
        );
    }

    #[test]
    fn arguments_cannot_move_the_listener() {
        for bad in ["--bind=0.0.0.0:80", "--bin=0.0.0.0:80", "-b0.0.0.0:80", "--config", "-c", "--pythonpath=/tmp", "-e", "--daemon"] {
            let ServiceKind::Gunicorn { app, workers, threads, timeout_seconds, listen, .. } = samples::gunicorn() else { panic!() };
            let kind = ServiceKind::Gunicorn { app, workers, threads, timeout_seconds, arguments: vec![bad.into()], listen };
            assert!(matches!(line(kind, None), Err(ArgvError::Reserved { .. })), "{bad}");
        }
    }

    #[test]
    fn programs_come_from_the_virtual_environment() {
        let words = |list: &[&str]| list.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        assert_eq!(program(Path::new("/v/bin"), &words(&["python", "-c", "x"])).unwrap(), words(&["/v/bin/python", "-c", "x"]));
        for bad in ["", "/bin/sh", "../sh", "..", "."] {
            assert!(program(Path::new("/v/bin"), &words(&[bad])).is_err(), "{bad}");
        }
        assert!(program(Path::new("/v/bin"), &[]).is_err());
    }
}
