//! What users live through, told on real hosts: one file per story.

mod broken_releases;
mod first_deployment;
mod upgrade_under_load;

use std::time::Duration;

/// How long a thing may take on a busy machine before it counts as not happening.
const SOON: Duration = Duration::from_secs(60);
