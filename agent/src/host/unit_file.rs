//! The text of units, pure: what systemd runs for an instance of a service, and the socket that instances share.

use roadstead_bundle::spec::{Service, ServiceKind};
use roadstead_model::{AppName, ReleaseId, ServiceName};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::quote;

/// What the unit of an instance is made of.
#[derive(Debug)]
pub(crate) struct UnitInput<'a> {
    /// The app.
    pub(crate) app: &'a AppName,
    /// The service's name.
    pub(crate) name: &'a ServiceName,
    /// The service.
    pub(crate) service: &'a Service,
    /// The release.
    pub(crate) release: &'a ReleaseId,
    /// The user that it runs as, with its primary group.
    pub(crate) user: &'a str,
    /// The command line.
    pub(crate) argv: &'a [String],
    /// The current directory: the real path, so that a process shows which release it is of.
    pub(crate) working_directory: &'a Path,
    /// Environment files; later ones win.
    pub(crate) environment_files: &'a [PathBuf],
    /// Folders that it may write.
    pub(crate) writable: &'a [PathBuf],
    /// The unix socket that it makes.
    pub(crate) socket: Option<&'a Path>,
    /// The socket unit whose socket it takes over.
    pub(crate) socket_unit: Option<&'a str>,
}

/// The name of the unit of an instance.
pub(crate) fn unit_name(app: &AppName, service: &ServiceName, release: &ReleaseId) -> String {
    format!("{app}-{service}@{}.service", quote::instance(release.as_str()))
}

/// The name of the unit of an instance that is only tried, on a private socket, where the real one shares a TCP socket.
pub(crate) fn trial_name(app: &AppName, service: &ServiceName, release: &ReleaseId) -> String {
    format!("{app}-{service}-trial@{}.service", quote::instance(release.as_str()))
}

/// The name of the socket unit of a service on TCP.
pub(crate) fn socket_name(app: &AppName, service: &ServiceName) -> String {
    format!("{app}-{service}.socket")
}

/// The release in the name of an app's unit, as [`unit_name`] and [`trial_name`] make them.
pub(crate) fn release_of_unit(app: &AppName, unit: &str) -> Option<ReleaseId> {
    let rest = unit.strip_prefix(app.as_str())?.strip_prefix('-')?;
    let (_, instance) = rest.strip_suffix(".service")?.split_once('@')?;
    ReleaseId::parse(&quote::from_instance(instance)?).ok()
}

/// The unit of an instance.
pub(crate) fn service_unit(input: &UnitInput<'_>) -> String {
    let mut unit = Text::default();
    unit.raw("# Written by roadstead-agent for this release; changes are overwritten.");
    unit.section("Unit");
    unit.set("Description", &quote::line(&format!("{} {} {}", input.app, input.name, input.release)));
    unit.set("After", "network-online.target nss-lookup.target");
    unit.set("Wants", "network-online.target");
    // What stopped the app at boot (a database that was not there yet) passes: it is tried until it works.
    unit.set("StartLimitIntervalSec", "0");
    unit.section("Service");
    start(&mut unit, input);
    stop(&mut unit, input.service);
    resources(&mut unit, input.service);
    hardening(&mut unit, input.writable);
    unit.section("Install");
    unit.set("WantedBy", "multi-user.target");
    unit.0
}

/// The socket unit of a service on TCP, whose connections `service` takes.
pub(crate) fn socket_unit(app: &AppName, name: &ServiceName, address: std::net::SocketAddr, service: &str) -> String {
    let mut unit = Text::default();
    unit.raw("# Written by roadstead-agent; changes are overwritten.");
    unit.section("Unit");
    unit.set("Description", &format!("{app} {name} socket"));
    unit.section("Socket");
    unit.set("ListenStream", &address.to_string());
    unit.set("Service", service);
    unit.set("Backlog", "2048");
    unit.set("FileDescriptorName", "web");
    unit.section("Install");
    unit.set("WantedBy", "sockets.target");
    unit.0
}

/// What makes the app's folders below `/run` at boot, for `systemd-tmpfiles`.
pub(crate) fn boot_files(sockets: &Path, user: &str, services: &[(ServiceName, Option<ReleaseId>)]) -> String {
    let mut text = "# Written by roadstead-agent; changes are overwritten.\n".to_owned();
    let sockets = sockets.display();
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _infallible = writeln!(text, "{line}");
    };
    line(format_args!("d {sockets} 0755 root root -"));
    for (service, release) in services {
        line(format_args!("d {sockets}/{service} 0755 {user} - -"));
        if let Some(release) = release {
            line(format_args!("L+ {sockets}/{service}.sock - - - - {service}/{release}.sock"));
        }
    }
    text
}

fn start(unit: &mut Text, input: &UnitInput<'_>) {
    if matches!(input.service.kind, ServiceKind::Gunicorn { .. }) {
        unit.set("Type", "notify");
        unit.set("NotifyAccess", "main");
    } else {
        unit.set("Type", "exec");
    }
    if matches!(input.service.kind, ServiceKind::CeleryWorker { .. }) {
        // It tells there what it still runs while it ends.
        unit.set("NotifyAccess", "main");
    }
    unit.set("User", input.user);
    unit.set("WorkingDirectory", &quote::line(&input.working_directory.display().to_string()));
    for file in input.environment_files {
        unit.set("EnvironmentFile", &quote::line(&file.display().to_string()));
    }
    if let Some(name) = input.socket_unit {
        unit.set("Sockets", name);
        // Without it systemd makes the socket a blocking one at every start, also for the instance that shares it: that one would
        // wait for a connection which the other took, and answer nobody meanwhile.
        unit.set("NonBlocking", "yes");
    }
    if let Some(socket) = input.socket {
        // What a power cut or a kill left behind would be in the way of a server that does not remove it itself.
        unit.set("ExecStartPre", &format!("/bin/rm -f {}", quote::argument(&socket.display().to_string())));
    }
    let words: Vec<String> = input.argv.iter().map(|word| quote::argument(word)).collect();
    unit.set("ExecStart", &words.join(" "));
    unit.set("TimeoutStartSec", &format!("{}ms", input.service.start_timeout.0));
    // A service is to run: also one that ended of itself and well, such as a server that had all the requests that it may have.
    unit.set("Restart", "always");
    unit.set("RestartSec", "1");
}

fn stop(unit: &mut Text, service: &Service) {
    // The main process is asked and ends its work; what is left of the cgroup after the time is killed.
    unit.set("KillMode", "mixed");
    unit.set("TimeoutStopSec", &format!("{}ms", service.stop_timeout.0));
    // One process that ran out of memory is replaced by its server; the others go on.
    unit.set("OOMPolicy", "continue");
}

fn resources(unit: &mut Text, service: &Service) {
    let limits = &service.resources;
    let mut set = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            unit.set(name, &value);
        }
    };
    set("MemoryMax", limits.memory_max.map(|n| n.to_string()));
    set("CPUQuota", limits.cpu_percent.map(|n| format!("{n}%")));
    set("TasksMax", limits.tasks_max.map(|n| n.to_string()));
    set("LimitNOFILE", limits.open_files_max.map(|n| n.to_string()));
}

fn hardening(unit: &mut Text, writable: &[PathBuf]) {
    unit.set("NoNewPrivileges", "yes");
    unit.set("CapabilityBoundingSet", "");
    unit.set("UMask", "0027");
    unit.set("ProtectSystem", "strict");
    for path in writable {
        unit.set("ReadWritePaths", &quote::word(&format!("-{}", path.display())));
    }
    for name in [
        "ProtectHome",
        "PrivateTmp",
        "PrivateDevices",
        "ProtectClock",
        "ProtectHostname",
        "ProtectKernelLogs",
        "ProtectKernelModules",
        "ProtectKernelTunables",
        "ProtectControlGroups",
        "RestrictSUIDSGID",
        "RestrictRealtime",
        "RestrictNamespaces",
        "LockPersonality",
    ] {
        unit.set(name, "yes");
    }
    unit.set("ProtectProc", "invisible");
    unit.set("RestrictAddressFamilies", "AF_UNIX AF_INET AF_INET6 AF_NETLINK");
    unit.set("SystemCallArchitectures", "native");
}

#[derive(Default)]
struct Text(String);

impl Text {
    fn raw(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn section(&mut self, name: &str) {
        self.raw("");
        self.raw(&format!("[{name}]"));
    }

    fn set(&mut self, name: &str, value: &str) {
        self.raw(&format!("{name}={value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::samples;

    fn unit(kind: ServiceKind, socket_unit: Option<&str>) -> String {
        let (app, name, service) = (samples::app(), samples::name("web"), samples::service(kind));
        let release = samples::manifest("1.0").release_id();
        let (argv, files, writable) = (["/venv/bin/python".to_owned()], [PathBuf::from("/env")], [PathBuf::from("/shared")]);
        service_unit(&UnitInput {
            app: &app,
            name: &name,
            service: &service,
            release: &release,
            user: "erp",
            argv: &argv,
            working_directory: Path::new("/srv/erp"),
            environment_files: &files,
            writable: &writable,
            socket: None,
            socket_unit,
        })
    }

    #[test]
    fn a_shared_socket_stays_one_that_nobody_waits_at() {
        let shared = unit(samples::uvicorn(), Some("erp-web.socket"));
        assert!(shared.contains("\nSockets=erp-web.socket\nNonBlocking=yes\n"), "{shared}");
        assert!(!unit(samples::uvicorn(), None).contains("NonBlocking"));
    }

    #[test]
    fn a_worker_may_tell_what_it_runs() {
        assert!(unit(samples::worker(), None).contains("\nType=exec\nNotifyAccess=main\n"));
        assert!(!unit(samples::beat(), None).contains("NotifyAccess"));
    }

    #[test]
    fn a_service_runs_again_however_it_ended() {
        assert!(unit(samples::worker(), None).contains("\nRestart=always\n"));
    }
}
