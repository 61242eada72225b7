//! Standing down: the fleet has cut this host off, so what may run only once in the environment is another host's from now on.
//! Everything else goes on serving.

use roadstead_model::{AppName, Failure, ServiceName};
use roadstead_worker::state::States;

use super::release::Release;
use super::stage::Stage;
use crate::host::Host;
use crate::layout::Layout;

/// Stops such services of an app, also at the next boot; how many there were.
pub(crate) async fn run(host: &Host, layout: &Layout, states: &States, app: &AppName) -> Result<usize, Failure> {
    let stage = Stage { host, layout, app, own_units: &[] };
    let mut stopped = 0;
    for instance in stage.others(None).await? {
        let Ok(name) = ServiceName::parse(&instance.service) else { continue };
        let Ok(release) = Release::load(layout, app, &instance.release, &[]) else { continue };
        let Some(service) = release.manifest.spec.services.get(&name).filter(|service| service.kind.is_singleton()) else { continue };
        states.update(app, |memory| {
            if let Some(listed) = memory.singletons.get_mut(&release.id) {
                listed.retain(|listed| *listed != name);
            }
        })?;
        stage.stop(&instance.unit, service.stop_timeout).await?;
        host.systemd.disable(&[&instance.unit]).await.map_err(|error| error.failure())?;
        stopped += 1;
    }
    Ok(stopped)
}
