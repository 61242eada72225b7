//! What runs of the ERP on a host beside one release.

use super::Result;
use crate::lab::Host;

/// Units that belong neither to the release whose id begins so, nor to all of them: of other releases, of steps, and what has failed.
pub fn strays(host: &Host, release: &str) -> Result<Vec<String>> {
    let list = "systemctl list-units --plain --no-legend --state=active,activating,deactivating,failed 'erp-*' 'roadstead-*'";
    let units = host.sh(list)?;
    let names = units.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned);
    Ok(names.filter(|name| name != "roadstead-agent.service" && !name.contains(&format!("@{release}"))).collect())
}
