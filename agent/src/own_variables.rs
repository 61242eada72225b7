//! Tells the controller anew when root changes what an app's own file on the host sets: before a rollout begins it is known then what is
//! missing. Only names are told, see [`crate::facts`].

use roadstead_worker::tasks::{Tasks, blocking};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::sleep;

use crate::layout::Layout;
use roadstead_worker::worker::Event;

/// How often the folder is looked at: whoever writes there and then deploys is not to be told what was lacking before.
const EVERY: Duration = Duration::from_secs(1);

/// The files of a folder, by name, with what changes when they are written.
type Seen = BTreeMap<String, (i64, i64, u64)>;

/// Looks until the agent stops.
pub(crate) async fn run(layout: Layout, events: Sender<Event>, tasks: Tasks) {
    let folder = layout.configuration().join("apps");
    let mut before = look(&folder).await;
    loop {
        tokio::select! {
            biased;
            () = tasks.stopping().cancelled() => return,
            () = sleep(EVERY) => {}
        }
        let now = look(&folder).await;
        if now != before {
            before = now;
            // Without a worker the agent is stopping.
            drop(events.send(Event::Changed).await);
        }
    }
}

async fn look(folder: &Path) -> Seen {
    let folder = folder.to_owned();
    blocking(move || seen(&folder)).await
}

fn seen(folder: &Path) -> Seen {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let file = |entry: fs::DirEntry| {
        let name = entry.file_name().into_string().ok().filter(|name| name.ends_with(".env"))?;
        // What a link leads to is what counts.
        let found = fs::metadata(entry.path()).ok()?;
        Some((name, (found.mtime(), found.mtime_nsec(), found.size())))
    };
    entries.filter_map(file).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_written_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(seen(&folder.path().join("nowhere")), Seen::new());
        fs::write(folder.path().join("erp.env"), "A=1\n").unwrap();
        fs::write(folder.path().join("erp.txt"), "A=1\n").unwrap();
        let one = seen(folder.path());
        assert_eq!(one.keys().collect::<Vec<_>>(), ["erp.env"]);
        fs::write(folder.path().join("erp.env"), "A=1\nB=2\n").unwrap();
        assert_ne!(seen(folder.path()), one);
    }
}
