//! The wire side: which bus, and the members of systemd's interfaces.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use zbus::fdo::PropertiesProxy;
use zbus::names::InterfaceName;
use zbus::proxy::CacheProperties;
use zbus::{Connection, OwnedObjectPath, OwnedVariant, Variant, connection};

/// Where systemd is found.
#[derive(Debug, Clone)]
pub(crate) enum Bus {
    /// The system bus; systemd's own socket when there is no bus.
    System,
    /// A socket of a test, which speaks for systemd.
    #[cfg(test)]
    Socket(std::path::PathBuf),
}

const PRIVATE_SOCKET: &str = "/run/systemd/private";

impl Bus {
    pub(super) async fn connect(&self, answer_timeout: Duration) -> zbus::Result<ManagerProxy<'static>> {
        let connection = match self {
            Self::System => match connection::Builder::system().method_timeout(answer_timeout).build().await {
                Ok(connection) => connection,
                Err(error) => direct(Path::new(PRIVATE_SOCKET), answer_timeout).await.map_err(|_| error)?,
            },
            #[cfg(test)]
            Self::Socket(socket) => direct(socket, answer_timeout).await?,
        };
        let manager = ManagerProxy::builder(&connection).cache_properties(CacheProperties::No).build().await?;
        // Without it systemd sends no signals about jobs.
        match manager.subscribe().await {
            Err(zbus::Error::MethodError(name, _, _)) if name == "org.freedesktop.systemd1.AlreadySubscribed" => {}
            other => other?,
        }
        Ok(manager)
    }
}

async fn direct(socket: &Path, answer_timeout: Duration) -> zbus::Result<Connection> {
    let stream = std::os::unix::net::UnixStream::connect(socket)?;
    connection::Builder::unix_stream(stream).p2p().method_timeout(answer_timeout).build().await
}

/// All properties of a unit and of its service side.
pub(super) async fn properties(manager: &ManagerProxy<'_>, unit: &OwnedObjectPath) -> zbus::Result<HashMap<String, OwnedVariant>> {
    let proxy = PropertiesProxy::builder(manager.inner().connection())
        .destination("org.freedesktop.systemd1")
        .path(unit)
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    let mut all = proxy.get_all(InterfaceName::from_static_str("org.freedesktop.systemd1.Unit")?).await?;
    match proxy.get_all(InterfaceName::from_static_str("org.freedesktop.systemd1.Service")?).await {
        Ok(service) => all.extend(service),
        // A socket or a slice has no service side.
        Err(zbus::fdo::Error::UnknownInterface(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(all)
}

/// A unit as `ListUnitsByPatterns` tells it; only the name is used.
pub(super) type ListedUnit = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
pub(super) trait Manager {
    fn subscribe(&self) -> zbus::Result<()>;
    fn start_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn stop_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reload_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn reload_or_restart_unit(&self, name: &str, mode: &str) -> zbus::Result<OwnedObjectPath>;
    fn start_transient_unit(
        &self,
        name: &str,
        mode: &str,
        properties: &[(&str, Variant<'_>)],
        auxiliary: &[(&str, Vec<(&str, Variant<'_>)>)],
    ) -> zbus::Result<OwnedObjectPath>;
    fn get_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn load_unit(&self, name: &str) -> zbus::Result<OwnedObjectPath>;
    fn get_job(&self, id: u32) -> zbus::Result<OwnedObjectPath>;
    fn list_units_by_patterns(&self, states: &[&str], patterns: &[&str]) -> zbus::Result<Vec<ListedUnit>>;
    fn reset_failed_unit(&self, name: &str) -> zbus::Result<()>;
    fn reload(&self) -> zbus::Result<()>;
    fn get_unit_file_state(&self, file: &str) -> zbus::Result<String>;
    fn unmask_unit_files(&self, files: &[&str], runtime: bool) -> zbus::Result<Vec<(String, String, String)>>;
    fn link_unit_files(&self, files: &[&str], runtime: bool, force: bool) -> zbus::Result<Vec<(String, String, String)>>;
    fn enable_unit_files(&self, files: &[&str], runtime: bool, force: bool) -> zbus::Result<(bool, Vec<(String, String, String)>)>;
    fn disable_unit_files(&self, files: &[&str], runtime: bool) -> zbus::Result<Vec<(String, String, String)>>;

    #[zbus(property)]
    fn userspace_timestamp_monotonic(&self) -> zbus::Result<u64>;

    #[zbus(property)]
    fn version(&self) -> zbus::Result<String>;

    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: OwnedObjectPath, unit: String, result: String) -> zbus::Result<()>;
}
