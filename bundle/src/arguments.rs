//! Arguments of servers that are the agent's to set: address, configuration, process, user, code. One list for the reader of
//! `roadstead.toml`, which names the place, and for the agent, which believes no manifest.

/// For each kind, options that no release sets by itself.
const RESERVED: [(&str, &[&str]); 5] = [
    (
        "gunicorn",
        &[
            "-b",
            "--bind",
            "-c",
            "--config",
            "-D",
            "--daemon",
            "-p",
            "--pid",
            "-u",
            "--user",
            "-g",
            "--group",
            "-m",
            "--umask",
            "-e",
            "--env",
            "-w",
            "--workers",
            "--threads",
            "-t",
            "--timeout",
            "--graceful-timeout",
            "--chdir",
            "--pythonpath",
            "--paste",
            "--paster",
            "--reload",
            "--control-socket",
            "--no-control-socket",
            "--check-config",
            "--print-config",
        ],
    ),
    (
        "uvicorn",
        &[
            "--host",
            "--port",
            "--uds",
            "--fd",
            "--app-dir",
            "--env-file",
            "--reload",
            "--workers",
            "--log-config",
            "--timeout-graceful-shutdown",
        ],
    ),
    ("daphne", &["-b", "--bind", "-p", "--port", "-u", "--unix-socket", "--fd", "-e", "--endpoint"]),
    (
        "celery-worker",
        &[
            "-A",
            "--app",
            "-b",
            "--broker",
            "-n",
            "--hostname",
            "-D",
            "--detach",
            "-B",
            "--beat",
            "--pidfile",
            "--workdir",
            "--uid",
            "--gid",
            "--umask",
            "--config",
            "--loader",
        ],
    ),
    (
        "celery-beat",
        &[
            "-A",
            "--app",
            "-b",
            "--broker",
            "-D",
            "--detach",
            "-s",
            "--schedule",
            "--pidfile",
            "--workdir",
            "--uid",
            "--gid",
            "--umask",
            "--config",
            "--loader",
        ],
    ),
];

/// The reserved option that an argument of a server of this kind is, if it is one.
#[must_use]
pub fn reserved(kind: &str, argument: &str) -> Option<&'static str> {
    let (_, options) = RESERVED.iter().find(|(of, _)| *of == kind)?;
    let meant = |option: &&&str| {
        if option.starts_with("--") {
            // Servers take a beginning of an option's name for the option: `--bin=0.0.0.0:80`.
            let name = argument.split_once('=').map_or(argument, |(name, _)| name);
            name.len() > 2 && option.starts_with(name)
        } else {
            // A short option may carry its value: `-b0.0.0.0:80`.
            argument.starts_with(**option) && !argument.starts_with("--")
        }
    };
    options.iter().find(meant).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_and_joined_values_are_seen_through() {
        for bad in ["--bind=0.0.0.0:80", "--bin=0.0.0.0:80", "-b0.0.0.0:80", "--config", "-c", "--pythonpath=/tmp", "-e", "--daemon"] {
            assert!(reserved("gunicorn", bad).is_some(), "{bad}");
        }
        for good in ["--max-requests=1000", "--keep-alive", "--access-logfile", "gthread", "-k", "-"] {
            assert_eq!(reserved("gunicorn", good), None, "{good}");
        }
        // The scheduler of django-celery-beat is a class; the schedule's file is the agent's.
        assert_eq!(reserved("celery-beat", "--scheduler"), None);
        assert_eq!(reserved("celery-beat", "--schedule=/tmp/x"), Some("--schedule"));
        assert_eq!(reserved("command", "--bind"), None);
    }
}
