//! The worker processes of a running nginx: which ones take connections, and when a new configuration is in effect.
//!
//! After a reload the master starts new workers, then tells the old ones to end: each gives itself another title first, then closes the
//! sockets that it takes connections from. So a configuration is in effect once no worker of before has the title of one at work.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The title of a worker that takes connections; one that ends what it has is a `worker process is shutting down`.
const AT_WORK: &str = "nginx: worker process";

/// A process, told apart from a later one of the same number by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Process {
    pid: u32,
    started: u64,
}

/// The workers of a master that take connections.
pub(super) fn at_work(root: &Path, master: u32) -> BTreeSet<Process> {
    let entries = fs::read_dir(root.join("proc")).into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| worker(root, pid, master)).collect()
}

/// The new configuration has replaced the old one. Of an nginx that had no workers yet nobody knows which ones are there now.
pub(super) fn have_changed(before: &BTreeSet<Process>, now: &BTreeSet<Process>) -> bool {
    !before.is_empty() && !now.is_empty() && now.is_disjoint(before)
}

fn worker(root: &Path, pid: u32, master: u32) -> Option<Process> {
    let read = |file: &str| fs::read(root.join("proc").join(pid.to_string()).join(file)).ok();
    let (parent, started) = parent_and_start(&String::from_utf8_lossy(&read("stat")?))?;
    let title = String::from_utf8_lossy(&read("cmdline")?).trim_end_matches(['\0', ' ']).to_owned();
    (parent == master && title == AT_WORK).then_some(Process { pid, started })
}

/// Two fields of proc_pid_stat(5), counted from behind the program's name, which may hold anything.
fn parent_and_start(stat: &str) -> Option<(u32, u64)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    Some((fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(root: &Path, pid: u32, parent: u32, started: u64, title: &str) {
        let folder = root.join("proc").join(pid.to_string());
        fs::create_dir_all(&folder).unwrap();
        let stat = format!("{pid} (ng) inx) S {parent} 1 1 0 -1 4194624 50 0 0 0 0 0 0 0 20 0 1 0 {started} 1 2 3\n");
        fs::write(folder.join("stat"), stat).unwrap();
        fs::write(folder.join("cmdline"), format!("{title}\0\0\0")).unwrap();
    }

    #[test]
    fn workers_at_work_are_told_from_those_that_end() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        fs::create_dir_all(root.join("proc/net")).unwrap();
        process(root, 10, 1, 5, "nginx: master process /usr/sbin/nginx");
        process(root, 11, 10, 6, AT_WORK);
        process(root, 12, 10, 6, AT_WORK);
        process(root, 13, 10, 6, "nginx: cache manager process");
        process(root, 21, 20, 6, AT_WORK);
        let before = at_work(root, 10);
        assert_eq!(before.len(), 2);
        assert!(!have_changed(&before, &before));

        process(root, 11, 10, 6, "nginx: worker process is shutting down");
        process(root, 14, 10, 7, AT_WORK);
        assert!(!have_changed(&before, &at_work(root, 10)), "one of before still takes connections");
        // The number of one that has gone is given to a new one.
        process(root, 12, 10, 9, AT_WORK);
        assert!(have_changed(&before, &at_work(root, 10)));
        assert!(!have_changed(&before, &BTreeSet::new()), "nobody takes connections");
        assert!(!have_changed(&BTreeSet::new(), &before), "it was only starting");
    }

    #[test]
    fn what_is_no_process_is_passed_over() {
        for stat in ["", "1", "1 (x)", "1 (x) S", "1 (x) S a 1 1 0 -1 4194624 50 0 0 0 0 0 0 0 20 0 1 0 5"] {
            assert_eq!(parent_and_start(stat), None, "{stat}");
        }
    }
}
