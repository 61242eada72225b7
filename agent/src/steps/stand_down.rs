//! Standing down: the fleet has cut this host off, so what may run only once in the environment is another host's from now on.
//! Everything else goes on serving.

use roadstead_model::{AppName, Failure};
use roadstead_worker::state::States;

use super::hold::{Single, singles};
use super::stage::Stage;
use crate::host::Host;
use crate::layout::Layout;

/// Stops such services of an app, also at the next boot; how many there were.
pub(crate) async fn run(host: &Host, layout: &Layout, states: &States, app: &AppName) -> Result<usize, Failure> {
    let stage = Stage { host, layout, app, own_units: &[] };
    let mut stopped = 0;
    for Single { instance, name, stop_timeout } in singles(&stage).await? {
        states.update(app, |memory| {
            if let Some(listed) = memory.singletons.get_mut(&instance.release) {
                listed.retain(|listed| *listed != name);
            }
        })?;
        stage.stop(&instance.unit, stop_timeout).await?;
        host.systemd.disable(&[&instance.unit]).await.map_err(|error| error.failure())?;
        stopped += 1;
    }
    Ok(stopped)
}
