//! Preflight: whether this host can take the app at all. Nothing of the release is here yet, and nothing has changed.

use roadstead_model::{Failure, FailureKind, OrderKind};

use super::StepContext;
use super::util::{disk, io_failure};
use super::verdict;
use super::{account, verify};
use crate::host::disk::free;

/// Below this the agent's own journals are in danger.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;
/// Files and folders that must still fit.
const FREE_INODES_MIN: u64 = 5_000;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Prepare { release, .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    let app = &context.order.app;
    verdict::refuse(&context.layout, app, &release.id, "prepared")?;
    let layout = context.layout.clone();
    disk(move || {
        verify::trusted_keys(&layout)?;
        for folder in [layout.apps(), layout.agent_state()] {
            let space = free(&folder).map_err(|error| io_failure("look at the disk of", &folder, &error))?;
            if space.free_bytes < FREE_BYTES_MIN || space.free_inodes < FREE_INODES_MIN {
                let left = format!("{} MiB and {} files", space.free_bytes >> 20, space.free_inodes);
                let summary = format!("only {left} are left on the disk of {}", folder.display());
                return Err(Failure::new(FailureKind::Unfit, summary, "make room on the host (df -h, df -i), then deploy again"));
            }
        }
        Ok(())
    })
    .await?;
    let systemd = context.host.systemd.version().await.map_err(|error| error.failure())?;
    let account = account::ensure(context).await?;
    Ok(format!("the app runs as {}, systemd {systemd}", account.name))
}
