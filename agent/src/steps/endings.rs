//! Endings: what is told of instances while they end what they are at, and of those that had to be ended.

use roadstead_bundle::spec::ServiceKind;
use roadstead_model::{Failure, FailureKind, Millis, ReleaseId, ServiceName, Timestamp};
use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::sleep;

use super::StepContext;
use super::release::Release;
use super::stage::{Other, Stage};
use crate::host::argv::TIME_WAS_OVER;
use crate::host::systemd::UnitState;
use crate::host::tasks_left::TasksLeft;

/// How often what ends is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// An instance that ends what it is at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ending {
    service: String,
    release: ReleaseId,
    tasks: Tasks,
    /// When it is ended, whatever it is at.
    until: Timestamp,
}

/// What is known of an instance's tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tasks {
    /// It is no Celery worker: what it is at is its own.
    None,
    /// It did not say.
    Unknown,
    /// What it said last.
    Known(TasksLeft),
}

/// An instance that did not end by itself within its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CutOff {
    service: String,
    release: ReleaseId,
    tasks: Tasks,
    within: Millis,
}

/// Does a part of a step, and tells meanwhile which instances of the app end, what they still run and until when they are waited for.
pub(crate) async fn told_during<T>(context: &StepContext, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    let mut until = BTreeMap::new();
    let mut told = String::new();
    loop {
        let look = async {
            sleep(LOOK_EVERY).await;
            endings(&context.stage(), &mut until).await
        };
        let found = tokio::select! {
            biased;
            done = &mut work => return done,
            found = look => found,
        };
        // A systemd that does not answer is the work's to complain of.
        let Some(found) = found else { continue };
        let text = found.iter().map(words).collect::<Vec<_>>().join("; ");
        if text != told {
            context.progress.say(&context.secrets.hide(&text));
            told = text;
        }
    }
}

/// The instances that end now. `until` remembers the end of each, so that it is told the same each time.
async fn endings(stage: &Stage<'_>, until: &mut BTreeMap<String, Timestamp>) -> Option<Vec<Ending>> {
    let mut found = Vec::new();
    for other in stage.others(None).await.ok()? {
        let state = stage.host.systemd.unit(&other.unit).await.ok()?;
        let Some(left) = state.left_to_stop() else {
            until.remove(&other.unit);
            continue;
        };
        let until = *until.entry(other.unit.clone()).or_insert_with(|| now().plus(whole_millis(left)));
        let tasks = tasks(stage, &other, &state);
        found.push(Ending { service: other.service, release: other.release, tasks, until });
    }
    Some(found)
}

/// What is known of an instance's tasks.
fn tasks(stage: &Stage<'_>, other: &Other, state: &UnitState) -> Tasks {
    let kind = || {
        let release = Release::load(stage.layout, stage.app, &other.release, None).ok()?;
        let name = ServiceName::parse(&other.service).ok()?;
        release.manifest.spec.services.get(&name).map(|service| service.kind.clone())
    };
    match kind() {
        Some(ServiceKind::CeleryWorker { .. }) => TasksLeft::read(&state.status_text).map_or(Tasks::Unknown, Tasks::Known),
        _ => Tasks::None,
    }
}

/// What a stopped instance tells of its end: `None` when it ended by itself.
pub(crate) fn cut_off(stage: &Stage<'_>, other: &Other, state: &UnitState, within: Millis) -> Option<CutOff> {
    let by_itself = state.result == "exit-code" && state.status == TIME_WAS_OVER;
    if !by_itself && state.result != "timeout" {
        return None;
    }
    let tasks = tasks(stage, other, state);
    Some(CutOff { service: other.service.clone(), release: other.release.clone(), tasks, within })
}

/// The failure of a step that had to cut off work; `None` when it had not.
pub(crate) fn failure(cut_off: &[CutOff]) -> Option<Failure> {
    let summary = cut_off.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let hint = "give it a longer stop-timeout in roadstead.toml, or shorter tasks; docs/celery.md tells which of them run again";
    (!cut_off.is_empty()).then(|| Failure::new(FailureKind::Deadline, summary, hint))
}

impl std::fmt::Display for CutOff {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { service, release, tasks, within } = self;
        match tasks {
            Tasks::None => write!(f, "{service} of {release} did not end within its {within} and was killed"),
            Tasks::Unknown => write!(f, "{service} of {release} did not end within its {within} and was killed, tasks unknown"),
            Tasks::Known(known) => {
                let again = match known.again {
                    Some(again) if known.count > 0 => format!(", of which {again} run again"),
                    _ => String::new(),
                };
                let (counted, named) = (known.counted(), known.named());
                write!(f, "{counted} of {service} of {release} cut off when its {within} were over{again}{named}")
            }
        }
    }
}

fn words(ending: &Ending) -> String {
    let Ending { service, release, tasks, until } = ending;
    let at = clock(*until);
    match tasks {
        Tasks::None => format!("{service} of {release} ends, at the latest at {at} UTC"),
        Tasks::Unknown => format!("{service} of {release}: tasks unknown, waited for until {at} UTC"),
        Tasks::Known(known) => {
            format!("{service} of {release}: {} left{}, waited for until {at} UTC", known.counted(), known.named())
        }
    }
}

/// The time of the day in UTC, to the second.
fn clock(at: Timestamp) -> String {
    let seconds = at.0 / 1000 % 86_400;
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn now() -> Timestamp {
    Timestamp(whole_millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()).0)
}

fn whole_millis(duration: Duration) -> Millis {
    Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(text: &str) -> Tasks {
        Tasks::Known(TasksLeft::read(text).unwrap())
    }

    fn release() -> ReleaseId {
        ReleaseId::parse("1.0.0-0123456789ab").unwrap()
    }

    #[test]
    fn what_ends_is_told_with_what_is_known_of_it() {
        let ending = |service: &str, tasks| Ending { service: service.into(), release: release(), tasks, until: Timestamp(50_709_999) };
        let told = [
            ending("worker", known("2 tasks left: mail.send since 14:01:02, report.build since 14:05:00")),
            ending("worker", known("1 task left")),
            ending("worker", known("0 tasks left")),
            ending("worker", Tasks::Unknown),
            ending("consumer", Tasks::None),
        ];
        insta::assert_snapshot!(told.iter().map(words).collect::<Vec<_>>().join("\n"));
    }

    #[test]
    fn what_was_cut_off_is_counted_and_named() {
        let cut = |service: &str, tasks| CutOff { service: service.into(), release: release(), tasks, within: Millis::from_secs(300) };
        let cut = [
            cut("worker", known("3 tasks cut off, 1 to run again: mail.send since 14:01:02")),
            cut("solo", known("1 task cut off: mail.send since 14:01:02")),
            cut("worker", Tasks::Unknown),
            cut("consumer", Tasks::None),
        ];
        let failure = failure(&cut).unwrap();
        insta::assert_snapshot!(format!("{}\n{}", failure.summary.replace("; ", "\n"), failure.hint));
        assert_eq!(super::failure(&[]), None);
    }
}
