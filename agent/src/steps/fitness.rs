//! Whether this host has what the release's services want of it: units that they may touch, ports that nobody else has.
//! It is asked while the release is prepared, before anything of the app changes.

use roadstead_bundle::spec::ServiceKind;
use roadstead_model::{AppName, Failure, FailureKind, ServiceName};
use std::net::SocketAddr;
use std::path::Path;

use super::release::{Release, Role, role};
use super::stage::Stage;
use crate::host::ports::{holders, in_the_way};

/// The longest path of a socket, and its end.
const SOCKET_PATH_BYTES: usize = 108;

/// Asks for every service.
pub(crate) async fn check(stage: &Stage<'_>, release: &Release) -> Result<(), Failure> {
    for (name, service) in release.services() {
        if matches!(role(service), Role::WebUnix | Role::WebTcp(_)) {
            has_a_name(&stage.layout.stand_in_socket(release.app(), name, &release.id))?;
        }
        if let ServiceKind::Units { units, .. } = &service.kind {
            for unit in units {
                permitted(stage.own_units, stage.app, unit)?;
                installed(stage, name, unit).await?;
            }
        }
        if let Role::WebTcp(address) = role(service) {
            port_is_free(stage, release, name, address).await?;
        }
    }
    Ok(())
}

/// Whether a socket can have its name: `sun_path` has 108 bytes, a NUL at its end among them (unix(7)).
fn has_a_name(socket: &Path) -> Result<(), Failure> {
    let length = socket.as_os_str().len();
    if length < SOCKET_PATH_BYTES {
        return Ok(());
    }
    let summary = format!("{} is {length} bytes long, and a socket's path has at most {}", socket.display(), SOCKET_PATH_BYTES - 1);
    Err(Failure::new(FailureKind::Unfit, summary, "build the release with a shorter version, or give the service a shorter name"))
}

/// Whether the host's operator lets the app's releases touch a unit.
pub(crate) fn permitted(own_units: &[String], app: &AppName, unit: &str) -> Result<(), Failure> {
    if own_units.iter().any(|allowed| allowed == unit) {
        return Ok(());
    }
    let summary = format!("the release wants to restart {unit}, which this host does not let the app {app} touch");
    let hint = format!("write units = [\"{unit}\"] under [apps.{app}] in agent.toml on the host, and restart roadstead-agent");
    Err(Failure::new(FailureKind::Unfit, summary, hint))
}

async fn installed(stage: &Stage<'_>, name: &ServiceName, unit: &str) -> Result<(), Failure> {
    if stage.host.systemd.is_installed(unit).await.map_err(|error| error.failure())? {
        return Ok(());
    }
    let summary = format!("the service {name} is {unit}, which is not installed on this host");
    Err(Failure::new(FailureKind::Unfit, summary, "install the unit (and run systemctl daemon-reload), then deploy again"))
}

/// The port is this service's already, or nobody's.
async fn port_is_free(stage: &Stage<'_>, release: &Release, name: &ServiceName, address: SocketAddr) -> Result<(), Failure> {
    let root = &stage.host.root;
    let taken = in_the_way(root, address);
    if taken.is_empty() {
        return Ok(());
    }
    // Whoever shares the socket with systemd is of the app, or was left behind by it: the proof of the cutover looks closer.
    if stage.host.systemd.unit(&release.socket(name)).await.map_err(|error| error.failure())?.is_active() {
        return Ok(());
    }
    let by: Vec<String> = holders(root, &taken).iter().map(ToString::to_string).collect();
    let who = if by.is_empty() { "another process".to_owned() } else { by.join(", ") };
    let summary = format!("the service {name} is to listen on {address}, where {who} listens");
    let hint = format!("stop what has the port (ss -ltnp 'sport = :{}'), or let the service listen elsewhere", address.port());
    Err(Failure::new(FailureKind::Unfit, summary, hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_have_names_that_the_kernel_takes() {
        assert!(has_a_name(Path::new(&"x".repeat(107))).is_ok());
        assert!(has_a_name(Path::new(&"x".repeat(108))).unwrap_err().summary.contains("at most 107"));
    }

    #[test]
    fn only_units_that_the_operator_named_are_touched() {
        let (app, own) = (AppName::parse("erp").unwrap(), ["erp-web.service".to_owned()]);
        assert!(permitted(&own, &app, "erp-web.service").is_ok());
        let refused = permitted(&own, &app, "ssh.service").unwrap_err();
        assert!(refused.summary.contains("ssh.service") && refused.hint.contains("[apps.erp]"), "{refused:?}");
    }
}
