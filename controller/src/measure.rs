//! `roadstead-controller measure`: how many lines of history a second the disk of the state folder takes. Each line is durable when
//! it counts, as it is in the daemon: changes that wait are committed together.

use std::path::Path;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

use crate::clock;
use crate::settings::Settings;
use crate::store::{NewEvent, Store, StoreError};

/// Changes that are asked for at a time.
const ASKERS: usize = 256;
const SPAN: Duration = Duration::from_secs(5);

/// Writes to a database of its own beside the real one, and removes it.
///
/// # Errors
/// When it cannot be written.
pub(crate) async fn measure(settings: &Settings) -> Result<String, crate::Failure> {
    let folder = settings.state.join(format!("measure-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
    let measured = fill(&folder, SPAN).await;
    let removed = std::fs::remove_dir_all(&folder);
    let mut took = measured?;
    removed.map_err(|error| format!("cannot remove {}: {error}", folder.display()))?;
    took.sort_unstable();
    Ok(told(&took, SPAN))
}

/// How long each line took until it was durable.
async fn fill(folder: &Path, span: Duration) -> Result<Vec<Duration>, StoreError> {
    let store = Store::open(&folder.join("roadstead.db")).await?;
    let mut askers = JoinSet::new();
    let end = Instant::now() + span;
    for _ in 0..ASKERS {
        let store = store.clone();
        askers.spawn(async move {
            let mut took = Vec::new();
            while Instant::now() < end {
                let asked = Instant::now();
                let line = NewEvent::new(clock::now(), "host:abcdefghijklmnopqrstuvwxyz", "host", "r-17", "web-1 is healthy");
                store.tell(line).await?;
                took.push(asked.elapsed());
            }
            Ok::<_, StoreError>(took)
        });
    }
    let mut all = Vec::new();
    while let Some(ended) = askers.join_next().await {
        // Nothing in them panics, and nobody aborts them.
        all.extend(ended.unwrap_or(Err(StoreError::Stopping))?);
    }
    store.close().await;
    Ok(all)
}

/// One line for people, which begins with the number.
fn told(sorted: &[Duration], span: Duration) -> String {
    let millis = |percent: usize| sorted.get(sorted.len() * percent / 100).copied().unwrap_or_default().as_secs_f64() * 1000.0;
    let rate = sorted.len() as u128 * 1000 / span.as_millis().max(1);
    format!("{rate} lines of history a second are durable; half of them within {:.1} ms, 99 % within {:.1} ms\n", millis(50), millis(99))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_measured_is_gone_afterwards_and_told_in_one_line() {
        let state = tempfile::tempdir().unwrap();
        let took = fill(state.path(), Duration::from_millis(50)).await.unwrap();
        assert!(took.len() >= ASKERS, "each asker wrote at least once");
        let text = told(&[Duration::from_millis(2); 200], Duration::from_secs(2));
        assert_eq!(text, "100 lines of history a second are durable; half of them within 2.0 ms, 99 % within 2.0 ms\n");
    }
}
