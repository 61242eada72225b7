//! Halt: everything of the app stops on this host and starts no more, neither with the machine nor with the agent, until a revert makes a release
//! serve again. It is the state of a host on which nothing was ever deployed: `current` names nothing.

use roadstead_bundle::spec::ServiceKind;
use roadstead_model::{Failure, FailureKind, OrderKind};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;
use tokio::time::{Instant, sleep};

use super::StepContext;
use super::fitness::permitted;
use super::serve::stop_serving;
use super::util::disk;

/// How long a unit of the team's own may take to stop.
const OWN_UNIT_STOP: Duration = Duration::from_secs(120);
/// How long processes may take to vanish that were told to end.
const VANISH: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Processes that are named.
const TOLD_MAX: usize = 5;

/// Runs the step.
pub(crate) async fn run(context: &StepContext) -> Result<String, Failure> {
    let OrderKind::Halt { .. } = &context.order.kind else { return Ok("nothing to do".to_owned()) };
    stop_own_units(context).await?;
    stop_serving(&context.stage()).await?;
    let (root, folder) = (context.host.root.clone(), context.layout.app(&context.order.app));
    let user = super::account::of(&context.layout, &context.order.app).map(|account| account.uid.as_raw()).ok();
    let end = Instant::now() + VANISH;
    loop {
        let (root, folder) = (root.clone(), folder.clone());
        let left = disk(move || Ok(left(&root, &folder, user))).await?;
        if left.is_empty() {
            return Ok("nothing of the app runs".to_owned());
        }
        context.go_on()?;
        if Instant::now() >= end {
            let told: Vec<&str> = left.iter().take(TOLD_MAX).map(String::as_str).collect();
            let summary = format!("processes of the app are left: {}", told.join("; "));
            return Err(Failure::new(FailureKind::Host, summary, "end them, and what starts them (cron, a shell), then ask again"));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// The team's own units that the serving release runs by.
async fn stop_own_units(context: &StepContext) -> Result<(), Failure> {
    let Some(current) = context.current() else { return Ok(()) };
    let (release, stage) = (context.release_by_id(&current)?, context.stage());
    for (_, service) in release.services() {
        let ServiceKind::Units { units, .. } = &service.kind else { continue };
        for unit in units {
            permitted(stage.own_units, stage.app, unit)?;
            stage.host.systemd.stop(unit, OWN_UNIT_STOP).await.map_err(|error| error.failure())?;
        }
    }
    Ok(())
}

/// Processes that run the app's code, whoever started them: those that work in its folder or are called with something of it. An editor or a
/// shell of somebody else that happens to be there is none.
fn left(root: &Path, folder: &Path, user: Option<u32>) -> Vec<String> {
    let Ok(entries) = fs::read_dir(root.join("proc")) else { return Vec::new() };
    let numbered = entries.flatten().filter(|entry| entry.file_name().as_bytes().iter().all(u8::is_ascii_digit));
    numbered.filter_map(|entry| of_the_app(&entry.path(), folder, user)).collect()
}

/// A process of the app in words; nothing for any other.
fn of_the_app(process: &Path, folder: &Path, user: Option<u32>) -> Option<String> {
    let words = fs::read(process.join("cmdline")).unwrap_or_default();
    let words: Vec<String> = words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let link = |name: &str| fs::read_link(process.join(name)).unwrap_or_default();
    // What has ended has no program any more.
    let program = link("exe");
    if program.as_os_str().is_empty() {
        return None;
    }
    let folder_text = format!("{}/", folder.display());
    let touches = link("cwd").starts_with(folder) || words.iter().any(|word| word.contains(&folder_text)) || program.starts_with(folder);
    let is_python = program.file_name().is_some_and(|name| name.as_bytes().starts_with(b"python"));
    let owner = fs::metadata(process).ok().map(|found| found.uid());
    let runs = program.starts_with(folder) || is_python || (owner.is_some() && owner == user);
    (touches && runs).then(|| {
        let number = process.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let called: String = words.join(" ").chars().filter(|c| !c.is_control()).take(120).collect();
        format!("{called} (process {number})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(root: &Path, number: u32, program: &str, folder: &str, words: &[&str]) {
        let path = root.join("proc").join(number.to_string());
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("cmdline"), words.join("\0")).unwrap();
        std::os::unix::fs::symlink(program, path.join("exe")).unwrap();
        std::os::unix::fs::symlink(folder, path.join("cwd")).unwrap();
    }

    #[test]
    fn whatever_runs_the_apps_code_is_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        process(root, 1, "/usr/lib/systemd/systemd", "/", &["init"]);
        process(root, 2, "/usr/bin/python3.11", "/srv/roadstead/erp/releases/1", &["gunicorn"]);
        process(root, 3, "/usr/bin/python3.11", "/root", &["/srv/roadstead/erp/venvs/x/bin/python", "manage.py", "shell"]);
        process(root, 4, "/usr/bin/vim", "/srv/roadstead/erp/current", &["vim", "manage.py"]);
        process(root, 5, "/usr/bin/python3.11", "/srv/roadstead/erp2", &["python", "/srv/roadstead/erp2/x"]);
        let told = left(root, Path::new("/srv/roadstead/erp"), None);
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told.iter().any(|line| line.contains("manage.py shell (process 3)")), "{told:?}");
        let ours = fs::metadata(root).unwrap().uid();
        assert_eq!(left(root, Path::new("/srv/roadstead/erp"), Some(ours)).len(), 3, "an editor of the app's user counts");
    }
}
